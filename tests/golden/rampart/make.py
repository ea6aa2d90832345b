"""What onnxruntime and tokenizers give for the token classifier `rampart-pii` (float32, CPU).

MODEL_DIR is the model's folder (config.json, tokenizer.json, onnx/model_q4.onnx); it is only read. Into OUT_DIR go

  reference.json   versions, SHA-256 of the weights, and per text its token ids, their labels, and its parts
                   (label, first byte, byte behind the last, mean score)
  logits.f32       the logits of all tokens of all texts: little-endian f32, row-major [tokens, labels]

Every text is a batch of its own, so no padding takes part. A part begins at `B-` or where the label changes, but not within
a word; the people in the texts are made up.
usage: python make.py MODEL_DIR OUT_DIR
"""
import hashlib
import json
import os
import sys

import numpy as np
import onnxruntime
import tokenizers

TEXTS = [
    "My name is Ada Lovelace and I live at 12 St James's Square, London.",
    "Call me at (555) 010-4477 or write to grace.hopper@example.com before Friday.",
    "The bridge over the river was closed for repairs in winter.",
    "Zoë Müller-Ångström, Passnummer C01X00T47, wohnt in Köln 🌉, Domstraße 4.",
    "Wire it to account 000123456789, routing number 021000021, at First Harbor Bank.",
    "Her SSN is 078-05-1120; her driver's license is D123-4567-8901 (Ohio).",
    "See https://intranet.example.org/people/jdoe for John Doe, Apt 5B, 99 Elm Street, Springfield, IL 62704.",
    "",
    "o",
    "Bob. Carol! Ted? Alice; Mallory/Trent\tand  \u3000Peggy\nVictor",
    "zxqvbrt ��� \u200bhidden\u00adhyphen ﬁancé İstanbul'da Ayşe Yılmaz",
    "tax id 12-3456789, EIN on file; government id AB-99-88-77; passport X1234567",
]


def tagged(name):
    """Whether a label begins a part, and of what kind."""
    if name == "O":
        return None
    return (name[:2] == "B-", name[2:] if name[:2] in ("B-", "I-") else name)


def parts(text, encoding, labels, scores):
    """Runs of tokens of one kind, as places in UTF-8."""
    runs = []
    last = None
    for place, word, special, label, score in zip(
        encoding.offsets, encoding.word_ids, encoding.special_tokens_mask, labels, scores
    ):
        if special or place[0] == place[1]:
            continue
        tag = tagged(label)
        if tag and last and last[0] == tag[1] and (not tag[0] or last[1] == word):
            runs[-1][2] = place[1]
            runs[-1][3].append(score)
        elif tag:
            runs.append([tag[1], place[0], place[1], [score]])
        last = tag and (tag[1], word)
    byte = lambda place: len(text[:place].encode())
    return [[label, byte(start), byte(end), round(float(np.mean(scores)), 6)] for label, start, end, scores in runs]


def main(model, out):
    weights = os.path.join(model, "onnx", "model_q4.onnx")
    with open(os.path.join(model, "config.json")) as file:
        names = json.load(file)["id2label"]
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    texts, rows = [], []
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        ids = np.array([encoding.ids], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        logits = session.run(["logits"], feed)[0][0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1)
        labels = [names[str(label)] for label in logits.argmax(axis=1)]
        found = parts(text, encoding, labels, scores)
        texts.append({"text": text, "ids": encoding.ids, "labels": labels, "parts": found})
        rows.append(logits.astype("<f4"))
    np.concatenate(rows).tofile(os.path.join(out, "logits.f32"))
    with open(weights, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    reference = {
        "reference": f"onnxruntime {onnxruntime.__version__}, tokenizers {tokenizers.__version__}, float32, CPU",
        "weights_sha256": digest,
        "texts": texts,
    }
    with open(os.path.join(out, "reference.json"), "w") as file:
        json.dump(reference, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
