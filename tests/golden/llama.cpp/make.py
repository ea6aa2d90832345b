"""Reference generations: what llama.cpp answers greedily, on the CPU, with the models that `tessera pull` knows.

Chat prompts rendered by each model's own template, the ids that llama.cpp makes of that text, and the ids it
generates up to 64 or the end of the turn, with the five best logits at every step. Its matrix products round
activations to 8 bits and its cache keys and values to 16, and one rounding that falls the other way moves all that
follows: it differs from itself as soon as its kernels are others. `settings_differ_at` is the first step at which not all
`SETTINGS` give the same id (null if they do throughout); up to there, `differs_from_itself` is how far their logits are
apart. `exact` is what comes without any of this rounding (exact.py): nothing between weights and logits but float32.
Build the peer first (`make peers`); nothing here is needed to use the files.
usage: python make.py MODELS OUT
"""
import ctypes
import hashlib
import json
import os
import sys
import types

import jinja2
import jinja2.sandbox
import numpy

import exact

NEW_TOKENS = 64
BEST = 5
CONTEXT = 1024
THREADS = 1
# Logits of the last prompt position that are kept, and for how many of the prompts.
KEPT_LOGITS, KEPT_PROMPTS = 2000, 2
F32, F16 = 0, 1  # enum ggml_type
# Whether weights are repacked for the kernels of this machine, flash attention (-1: llama.cpp chooses), the cache's type.
# The first are the defaults and give the reference.
SETTINGS = [(True, -1, F16), (False, -1, F16), (False, 0, F32)]

PEER = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "tessera/peers/llama.cpp")


def binding():
    """The C functions of llama-cpp-python, without the rest of that package."""
    os.environ["LLAMA_CPP_LIB_PATH"] = os.path.join(PEER, "build/bin")
    package = types.ModuleType("llama_cpp")
    package.__path__ = [os.path.join(PEER, "source/llama_cpp")]
    sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp
    return llama_cpp.llama_cpp


llama = binding()


def ask(name, content, system=None):
    system = [{"role": "system", "content": system}] if system else []
    return name, [*system, {"role": "user", "content": content}]


FOLLOW_UP = "follow-up", [
    {"role": "user", "content": "My name is Ada and I grow tomatoes."},
    {"role": "assistant", "content": "Nice to meet you, Ada! Tomatoes like sun and regular water."},
    {"role": "user", "content": "What could I plant beside them, and why?"},
]
PASSAGES = """\
[1] The Halden lighthouse was built in 1874 from red granite. It is 31 metres high and was automated in 1989.
[2] The museum in the keeper's house opens from May to September, every day except Monday, from 10:00 to 17:00. \
A ticket costs 8 euros; children under twelve pay nothing.
[3] The ferry to the island leaves from the old harbour every two hours and takes 25 minutes."""

PROMPTS = {
    "smollm2-135m-instruct": [
        ask("capital", "What is the capital of France?"),
        ask("count", "Count from 1 to 30, separated by commas."),
        ask("hello", "Write the word hello twenty times."),
        ask("times7", "Write the multiplication table of 7."),
        ask("times9", "Write the multiplication table of 9."),
        ask("tens", "Count from 10 to 500 in steps of ten, one number a line."),
        ask("letter", "Write the letter A fifty times."),
        ask("happy", "Write the sentence 'I am happy.' ten times."),
        ask("fibonacci", "Write the Fibonacci numbers up to 1000."),
        ask("bread", "Explain step by step how to bake a simple loaf of bread."),
        ask("rain", "Why does it rain?"),
        ask("photosynthesis", "What is photosynthesis?"),
        ask("pirate", "How do I boil an egg?", system="You are a pirate. You answer in two sentences."),
        ask("repeat", "Repeat this exactly: The quick brown fox jumps over the lazy dog. 0123456789 naïve café 😀"),
        FOLLOW_UP,
    ],
    "qwen2.5-coder-0.5b-instruct": [
        ask("rag", f"Passages:\n{PASSAGES}\n\nQuestion: How much is a ticket for the museum, and on which day is it closed?",
            system="Answer the question from the passages only, and name the passage you used."),
        ask("rag-ferry", f"Passages:\n{PASSAGES}\n\nQuestion: How long does the ferry take?",
            system="Answer the question from the passages only, in one sentence."),
        ask("reverse", "Write a Python function that reverses a linked list, with a short explanation."),
        ask("fibonacci", "Write a Python function that gives the n-th Fibonacci number."),
        ask("sql", "Write an SQL query that gives the three customers with the highest total of orders in 2023."),
        ask("rust", "Write a Rust function that adds up a slice of i32."),
        ask("photosynthesis", "Explain photosynthesis to a ten-year-old."),
        ask("json", "Give me a JSON object for a book with title, authors and year. Only the JSON.",
            system="You are a careful assistant."),
        ask("regex", "Write a regular expression for an ISO date and explain each part."),
        ask("sort", "Implement bubble sort in C."),
        ask("html", "Write a minimal HTML page with a heading and a list of three fruits."),
        ask("chinese", "用中文介绍一下长城。"),
        FOLLOW_UP,
    ],
}


class Model:
    def __init__(self, path, settings):
        repack, self.flash_attention, self.cache = settings
        params = llama.llama_model_default_params()
        params.use_extra_bufts = repack
        self.model = llama.llama_model_load_from_file(path.encode(), params)
        self.vocab = llama.llama_model_get_vocab(self.model)

    def context(self):
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
        params.n_threads = params.n_threads_batch = THREADS
        params.flash_attn_type = self.flash_attention
        params.type_k = params.type_v = self.cache
        return llama.llama_init_from_model(self.model, params)

    def metadata(self, key):
        buffer = ctypes.create_string_buffer(1 << 16)
        length = llama.llama_model_meta_val_str(self.model, key.encode(), buffer, len(buffer))
        return buffer.value.decode() if 0 <= length < len(buffer) else None

    def rendered(self, messages):
        """The messages as the template has them, with the settings that transformers uses."""
        def no(message):
            raise jinja2.TemplateError(message)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals.update(raise_exception=no)
        template = environment.from_string(self.metadata("tokenizer.chat_template"))
        return template.render(messages=messages, add_generation_prompt=True)

    def tokens(self, text):
        text, ids = text.encode(), (ctypes.c_int32 * CONTEXT)()
        found = [llama.llama_tokenize(self.vocab, text, len(text), ids, CONTEXT, special, True)
                 for special in (False, True)]
        assert 0 < found[0] == found[1], "the tokenizer adds ids of its own"
        return list(ids[:found[0]])

    def ends(self, token):
        return bool(llama.llama_vocab_is_eog(self.vocab, token))

    def greedy(self, prompt_ids):
        """The ids, and the logits behind the prompt and behind each id."""
        context, rows, ids, batch = self.context(), [], [], prompt_ids
        while len(ids) < NEW_TOKENS and not (ids and self.ends(ids[-1])):
            array = (ctypes.c_int32 * len(batch))(*batch)
            assert llama.llama_decode(context, llama.llama_batch_get_one(array, len(batch))) == 0
            size = llama.llama_vocab_n_tokens(self.vocab)
            rows.append(numpy.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (size,)).copy())
            ids.append(int(rows[-1].argmax()))
            batch = ids[-1:]
        llama.llama_free(context)
        return ids, rows

    def text(self, ids):
        pieces, buffer = b"", ctypes.create_string_buffer(256)
        for token in ids:
            length = llama.llama_token_to_piece(self.vocab, token, buffer, 256, 0, True)
            pieces += buffer.raw[:length]
        return pieces.decode(errors="replace")


def reference(models, unrounded, name, messages):
    """What is stored of one prompt, and all logits behind it."""
    text = models[0].rendered(messages)
    prompt_ids = models[0].tokens(text)
    ids, rows = models[0].greedy(prompt_ids)
    others = [model.greedy(prompt_ids) for model in models[1:]]
    differ_at = min((step for step in (first_difference(ids, other) for other, _ in others) if step is not None), default=None)
    same_input = rows if differ_at is None else rows[:differ_at + 1]
    apart = [max(float(abs(row - other[step]).max()) for _, other in others) for step, row in enumerate(same_input)]
    exact_ids, exact_rows = exact.greedy(unrounded, prompt_ids, NEW_TOKENS, models[0].ends)
    error = float(abs(rows[0] - exact_rows[0]).max())
    answer = models[0].text(ids)
    print(f"  {name}: {len(prompt_ids)} + {len(ids)} ids; settings differ at {differ_at}, by up to {max(apart):.3f}; from the "
          f"exact at {first_difference(ids, exact_ids)}, behind the prompt by {error:.3f}\n    {answer!r}")
    return {
        "name": name, "messages": messages, "text": text, "prompt_ids": prompt_ids,
        "answer": answer, "ended": models[0].ends(ids[-1]), **generation(ids, rows),
        "settings_differ_at": differ_at, "differs_from_itself": rounded(apart),
        "exact": generation(exact_ids, exact_rows),
    }, rows[0]


def first_difference(ids, others):
    return next((step for step, pair in enumerate(zip(ids, others)) if pair[0] != pair[1]), None)


def generation(ids, rows):
    best = [numpy.argsort(-row, kind="stable")[:BEST] for row in rows]
    return {"ids": ids, "top_ids": [step.tolist() for step in best],
            "top_logits": [rounded(row[step]) for row, step in zip(rows, best)]}


def rounded(row):
    return [round(float(x), 4) for x in row]


def generations(path, prompts):
    models, unrounded = [Model(path, settings) for settings in SETTINGS], exact.load(path, PEER)
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    found = [reference(models, unrounded, *prompt) for prompt in prompts]
    for answer, logits in found[:KEPT_PROMPTS]:
        answer["logits_after_prompt"] = rounded(logits[:KEPT_LOGITS])
    return {
        "reference": "llama.cpp of llama-cpp-python " + version(),
        "settings": "CPU, one thread, the prompt in one batch, weights repacked, cache f16, flash attention auto",
        "system": llama.llama_print_system_info().decode().strip(),
        "model_sha256": sha256,
        "chat_template": models[0].metadata("tokenizer.chat_template"),
        "prompts": [answer for answer, _ in found],
    }


def main(models, out):
    llama.llama_backend_init()
    exact.torch.set_num_threads(THREADS)
    quiet = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(quiet, None)
    for name, prompts in PROMPTS.items():
        print(name)
        payload = generations(os.path.join(models, name, "model.gguf"), prompts)
        with open(os.path.join(out, f"{name}.json"), "w") as file:
            json.dump(payload, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")


def version():
    with open(os.path.join(PEER, "source/PKG-INFO")) as file:
        return next(line.split()[1] for line in file if line.startswith("Version:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
