"""Reference vectors of all-MiniLM-L6-v2 from sentence-transformers (float32, CPU).

MODEL_DIR is the Hugging Face folder of the model (config.json, model.safetensors, tokenizer.json,
modules.json); it is only read. Into OUT_DIR go

  texts.json       the inputs, a list of strings
  vectors.f32      their vectors: little-endian f32, row-major [n, 384], pooled and normalised as modules.json says
  reference.json   versions, SHA-256 of the weights, and per text its label and token counts
  rerank.json      late interaction (MaxSim) of one query with eight documents

Every text is encoded in a batch of its own, so no padding takes part. The texts are written for
this file or generated in it. The packages and their versions: benches/peers/requirements.txt.
usage: python make.py MODEL_DIR OUT_DIR
"""
import hashlib
import json
import os
import sys

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers

TOKENS_MAX = 256  # max_seq_length of the model, [CLS] and [SEP] included
SHOW_IDS = ["accents", "chinese", "control characters", "special tokens as text", "255 pieces"]

# Each of these is one word piece of the model's vocabulary.
WORDS = """river stone lamp garden winter market bridge letter engine paper window forest silver captain
village harbor summer kitchen mountain music doctor island table evening painter horse bread ladder
signal copper valley teacher orange ticket shadow cotton pilot mirror basket thunder candle meadow
walks carries builds opens finds keeps sells turns holds leaves under behind near across before with
and the a of in to small old quiet bright heavy cold green early""".split()


def words(count, seed):
    """`count` words of WORDS, by a linear congruential generator: the same on every Python."""
    state, picked = seed, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        picked.append(WORDS[(state >> 33) % len(WORDS)])
    return " ".join(picked)


def labelled_texts():
    shared_head = words(254, 5)
    return [
        # nothing, or next to nothing
        ("empty", ""),
        ("one space", " "),
        ("only whitespace", " \t\r\n  \u3000\u00a0 "),
        ("punctuation", "?!... -- ;:,"),
        ("one full stop", "."),
        ("symbols", "§ ¶ † ‡ © ® ™ € £ ¥ ± × ÷ ≤ ≥ ≠ ∞ ∑ √ ∂"),
        ("quotes and dashes", "“Quoted” ‘text’ – with — every… kind of «mark»"),
        # words and sentences
        ("one word", "lighthouse"),
        ("one letter", "q"),
        ("one unknown word", "zxqvbrt"),
        ("subwords", "untranslatability counterrevolutionaries electroencephalography"),
        ("sentence", "The ferry leaves the island at six in the morning."),
        ("question", "When does the first boat to the mainland go?"),
        ("hyphens and apostrophes", "It's a well-known, state-of-the-art mother-in-law's recipe; don't lose it."),
        ("upper case", "THE FERRY LEAVES THE ISLAND AT SIX IN THE MORNING."),
        ("mixed case", "tHe FeRRy lEaVeS tHe IsLaNd"),
        ("paragraph", "A worker thread owns the device and answers requests in batches. When the queue is full, "
                      "a new request is refused at once, so a client can slow down instead of waiting for an "
                      "answer that comes too late to be of any use."),
        # Latin script with marks
        ("accents", "Crème brûlée à l'élève naïf: où est passé le maïs?"),
        ("accents, decomposed", "Cre\u0300me bru\u0302le\u0301e a\u0300 l'e\u0301le\u0300ve nai\u0308f: "
                                "ou\u0300 est passe\u0301 le mai\u0308s?"),
        ("upper-case accents", "ÉCOLE SUPÉRIEURE, ÅNGSTRÖM, ÑANDÚ"),
        ("german", "Die Straße führt über den größten Fluß nach Süden."),
        ("turkish dotted i", "İstanbul'da ılık bir akşam, IĞDIR"),
        ("polish", "Zażółć gęślą jaźń, źdźbło trawy na łące"),
        ("czech", "Řeřicha roste u potoka; děti běží přes most."),
        ("vietnamese", "Tôi uống cà phê sữa đá mỗi buổi sáng."),
        ("icelandic", "Þórður og Æsa sjá ðörf fjöll"),
        ("ligatures and full width", "ﬁne ﬂour, ＡＢＣ１２３, ½ cup, x² + y³"),
        # other scripts
        ("chinese", "我们今天早上坐船去了那个小岛。"),
        ("chinese with latin", "请在GitHub上打开issue 42，谢谢！"),
        ("japanese", "東京タワーの近くで、おいしいラーメンを食べました。"),
        ("korean", "내일 아침에 도서관에서 만나요."),
        ("rare han", "𠀀𠮷野家 㐀 豈"),
        ("arabic", "القارب الأول يغادر الجزيرة في السادسة صباحا."),
        ("arabic with marks", "مُحَمَّدٌ يَكْتُبُ ٱلرِّسَالَة ١٢٣"),
        ("hebrew", "הסירה יוצאת בשעה שש בבוקר."),
        ("hindi", "पहली नाव सुबह छह बजे द्वीप से निकलती है।"),
        ("thai", "เรือลำแรกออกจากเกาะตอนหกโมงเช้า"),
        ("cyrillic", "Первая лодка уходит с острова в шесть утра. Ёлка, йод."),
        ("ukrainian", "Їжак з'їв яблуко під ґанком"),
        ("greek", "Το πρώτο πλοίο φεύγει στις έξι το πρωί· ΣΊΣΥΦΟΣ"),
        ("tamil", "முதல் படகு காலை ஆறு மணிக்கு புறப்படும்"),
        ("georgian", "პირველი ნავი დილის ექვს საათზე გადის"),
        # emoji
        ("emoji", "Great trip! 😀🚢🌊"),
        ("emoji with joiners", "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👨🏽‍🚀 astronaut, 🇸🇪 Sweden"),
        ("only emoji", "🎉🎉🎉"),
        # control and format characters
        ("control characters", "a\x00b \x07bell\x1b[31mred\x1b[0m zero\u200bwidth re\ufffdplaced"),
        ("only control characters", "\x00\x07\x1b\u200b\ufffd"),
        ("delete and c1", "one\x7ftwo\x85three\x9ffour"),
        ("soft hyphen, bom, joiners", "co\u00adoperate \ufeffstart non\u200djoin non\u200cjoin word\u2060join"),
        ("bidirectional marks", "abc \u202egnirts desrever\u202c def \u200f!\u200e"),
        ("private use", "icon \ue000 and \U000f0000 end"),
        ("newlines and tabs", "first line\nsecond line\r\n\r\n\tindented\tcolumn\n"),
        ("unicode spaces", "thin\u2009space no\u00a0break em\u2003space line\u2028separator paragraph\u2029end"),
        # things that are not prose
        ("long word of 300 letters", "a" * 300),
        ("word of 100 letters", "abcdefghij" * 10),
        ("word of 101 letters", "abcdefghij" * 10 + "k"),
        ("long word in a sentence", "before " + "xyz" * 100 + " after"),
        ("url", "https://example.org/a/b-c_d?query=one+two&page=3#part-4"),
        ("email and path", "Write to someone@example.com about C:\\temp\\notes.txt or /var/log/app.log"),
        ("rust", "fn main() { let v: Vec<u8> = vec![0; 16]; println!(\"{:?}\", &v[..4]); }"),
        ("python", "def area(r):\n    # circle\n    return 3.14159 * r ** 2\n"),
        ("sql", "SELECT name, COUNT(*) FROM boats WHERE year >= 1999 GROUP BY name;"),
        ("json", "{\"id\": 7, \"tags\": [\"red\", null], \"ok\": true}"),
        ("html", "<p class=\"note\">Less &lt; more &amp; <b>bold</b></p>"),
        ("numbers", "1 22 333 4,444 55.555 -6.0e-7 0xFF 1/8 100% $9.99"),
        ("long number", "31415926535897932384626433832795028841971693993751"),
        ("date", "2031-12-24T18:05:09+01:00"),
        ("base64", "VGhpcyBpcyBvbmx5IGEgdGVzdCBvZiBzb21lIGJ5dGVzLg=="),
        ("repeated word", "yes " * 40),
        ("repeated punctuation", "!" * 60),
        # near duplicates
        ("near duplicate a", "The red bicycle stands behind the library."),
        ("near duplicate b", "The red bicycle stands behind the library"),
        ("near duplicate c", "the red  bicycle stands\tbehind the library."),
        ("near duplicate d", "The blue bicycle stands behind the library."),
        ("near duplicate e", "Behind the library there is a bicycle, a red one."),
        ("near duplicate f", "The red bicycle does not stand behind the library."),
        # special tokens
        ("special tokens as text", "[CLS] some text [SEP] more text [MASK] [PAD] [UNK]"),
        ("only [SEP]", "[SEP]"),
        ("special tokens, other case", "[cls] [Sep] [ MASK ] [mask]ed"),
        ("special tokens without spaces", "a[CLS]b[SEP]c"),
        # lengths: 126 pieces are 128 tokens (the limit inside tokenizer.json), 254 are 256 (the model's)
        ("125 pieces", words(125, 1)),
        ("126 pieces", words(126, 2)),
        ("127 pieces", words(127, 3)),
        ("200 pieces", words(200, 4)),
        ("253 pieces", words(253, 6)),
        ("254 pieces", shared_head),
        ("255 pieces", shared_head + " " + words(1, 8)),
        ("300 pieces, same first 254", shared_head + " " + words(46, 9)),
        ("cut inside a word", words(252, 10) + " electroencephalography lamp"),
        ("many sentences", " ".join(words(11, 100 + n).capitalize() + "." for n in range(60))),
        ("2000 words", words(2000, 12)),
        ("long chinese", "今天我们坐船去看海" * 60),
        ("long punctuation", "?!" * 400),
        ("long unknown words", "𓀀𓁐𓂀 " * 300),
    ]


QUERY = "When does the first boat to the mainland go?"
DOCUMENTS = [
    "The museum on the hill opens at ten and is closed on Mondays.",
    "The first ferry leaves the island at six in the morning and reaches the mainland at seven.",
    "A boat needs a new coat of paint every second spring.",
    "Boats to the mainland run hourly; the last one goes at ten in the evening.",
    "To bake bread you need flour, water, salt, yeast and a good deal of patience.",
    "The first train from the capital arrives at noon.",
    "GO! first boat mainland",
    " ".join(words(9, 200 + n).capitalize() + "." for n in range(40)) + " The first boat goes at six.",
]


def late_interaction(model, tokenizer):
    """MaxSim: the mean over query tokens of the best cosine with a document token, [CLS] and [SEP] included."""
    def token_vectors(text):
        batch = tokenizer(text, truncation=True, max_length=TOKENS_MAX, return_tensors="pt")
        return torch.nn.functional.normalize(model(**batch).last_hidden_state[0], dim=1)  # [tokens, 384]

    query = token_vectors(QUERY)
    documents = [token_vectors(text) for text in DOCUMENTS]
    scores = [float((query @ document.T).amax(dim=1).sum() / len(query)) for document in documents]
    return {
        "query": QUERY,
        "documents": DOCUMENTS,
        "query_tokens": len(query),
        "document_tokens": [len(document) for document in documents],
        "scores": scores,
        "order": sorted(range(len(scores)), key=lambda n: -scores[n]),
    }


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def token_rows(texts, tokenizer, model_dir):
    """The ids of each text, whole and cut, by transformers; checked against the tokenizers library."""
    bare = tokenizers.Tokenizer.from_file(os.path.join(model_dir, "tokenizer.json"))
    bare.no_padding()
    bare.no_truncation()
    whole = [tokenizer(text, truncation=False, verbose=False)["input_ids"] for text in texts]
    cut = [tokenizer(text, truncation=True, max_length=TOKENS_MAX)["input_ids"] for text in texts]
    for text, row in zip(texts, whole):
        assert row == bare.encode(text).ids, f"transformers and tokenizers disagree on {text[:60]!r}"
    return whole, cut


def check_labels(labels, whole):
    """A label that promises a number of pieces keeps the promise."""
    for label, row in zip(labels, whole):
        count, _, rest = label.partition(" pieces")
        if count.isdigit() and label != count:
            assert len(row) == int(count) + 2, f"{label}{rest}: {len(row) - 2} pieces"


def dump(payload, path):
    with open(path, "w", newline="\n") as file:
        json.dump(payload, file, indent=1)
        file.write("\n")


@torch.inference_mode()
def main(model_dir, out_dir):
    torch.set_num_threads(1)
    labels, texts = zip(*labelled_texts())
    model = sentence_transformers.SentenceTransformer(model_dir, device="cpu").float().eval()
    assert model.max_seq_length == TOKENS_MAX
    whole, cut = token_rows(texts, model.tokenizer, model_dir)
    check_labels(labels, whole)

    vectors = model.encode(list(texts), batch_size=1, convert_to_numpy=True)
    batched = model.encode(list(texts), batch_size=16, convert_to_numpy=True)
    assert np.abs(vectors - batched).max() < 1e-5, "padding changes the vectors"
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5, "vectors are not normalised"

    dump(texts, os.path.join(out_dir, "texts.json"))
    vectors.astype("<f4").tofile(os.path.join(out_dir, "vectors.f32"))
    reference = {
        "sentence_transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "torch": torch.__version__.split("+")[0],
        "model": "all-MiniLM-L6-v2",
        "model_sha256": sha256(os.path.join(model_dir, "model.safetensors")),
        "tokenizer_sha256": sha256(os.path.join(model_dir, "tokenizer.json")),
        "dtype": "float32",
        "n": len(texts),
        "dim": vectors.shape[1],
        "tokens_max": TOKENS_MAX,
        "labels": labels,
        "tokens": [len(row) for row in cut],
        "tokens_untruncated": [len(row) for row in whole],
        "truncated": [len(row) > TOKENS_MAX for row in whole],
        "ids": [{"text": labels.index(label), "ids": cut[labels.index(label)]} for label in SHOW_IDS],
    }
    dump(reference, os.path.join(out_dir, "reference.json"))
    encoder = transformers.AutoModel.from_pretrained(model_dir, dtype=torch.float32).eval()
    dump(late_interaction(encoder, model.tokenizer), os.path.join(out_dir, "rerank.json"))
    print(f"{len(texts)} texts, {sum(reference['truncated'])} truncated, "
          f"batched differs by {np.abs(vectors - batched).max():.1e} at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
