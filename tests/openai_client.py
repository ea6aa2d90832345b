"""The official `openai` package against a running server: the calls that its users make.

GOLDEN_DIR holds texts.json, vectors.f32 and reference.json (tests/golden/minilm). Prints one line a check and
exits non-zero if any fails. Packages: openai and numpy, versions in benches/peers/requirements.txt.
usage: python openai_client.py BASE_URL GOLDEN_DIR MODEL CHAT_MODEL
"""
import json
import os
import sys

import numpy as np
import openai

COSINE_MIN = 0.9999
LIST_LEN = 12
DIMENSIONS = 128
TIMEOUT_S = 60
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]


class Golden:
    """Texts with their reference vectors [n, dim], and token ids of some of them."""

    def __init__(self, folder):
        def load(name):
            with open(os.path.join(folder, name)) as file:
                return json.load(file)
        reference = load("reference.json")
        self.texts = load("texts.json")
        self.vectors = np.fromfile(os.path.join(folder, "vectors.f32"), "<f4").reshape(reference["n"], reference["dim"])
        self.labels, self.tokens, self.ids = reference["labels"], reference["tokens"], reference["ids"]

    def index(self, label):
        return self.labels.index(label)

    def list_indexes(self):
        """Texts that are not empty, of mixed lengths and scripts: every seventh, LIST_LEN of them."""
        filled = [n for n, text in enumerate(self.texts) if text.strip()]
        return filled[::7][:LIST_LEN]


def same(actual, expected):
    """Each row of `actual` points where its row of `expected` does and has length 1."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    lengths = np.linalg.norm(actual, axis=1)
    assert np.abs(lengths - 1).max() < 1e-3, f"vectors of length {lengths}"
    cosines = (actual * expected).sum(1) / lengths / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= COSINE_MIN, f"cosine {cosines.min():.6f} at row {cosines.argmin()}"


def vectors(response):
    assert [item.index for item in response.data] == list(range(len(response.data))), "indexes are not in order"
    return [item.embedding for item in response.data]


def default_call_asks_for_base64(client, golden, model):
    n = golden.index("sentence")
    raw = client.embeddings.with_raw_response.create(model=model, input=golden.texts[n])
    asked = json.loads(raw.http_request.content)["encoding_format"]
    assert asked == "base64", f"this openai package asks for {asked!r}"
    sent = raw.http_response.json()["data"][0]["embedding"]
    assert isinstance(sent, str), "the server did not answer in base64"
    response = raw.parse()
    same(vectors(response), golden.vectors[[n]])
    assert response.object == "list" and response.data[0].object == "embedding", "wrong `object`"
    assert response.model == model, f"model is {response.model!r}"
    used = response.usage
    assert used.prompt_tokens == used.total_tokens == golden.tokens[n], f"usage is {used}"


def explicit_float(client, golden, model):
    n = golden.index("accents")
    raw = client.embeddings.with_raw_response.create(model=model, input=golden.texts[n], encoding_format="float")
    assert isinstance(raw.http_response.json()["data"][0]["embedding"], list), "the server did not answer with numbers"
    same(vectors(raw.parse()), golden.vectors[[n]])


def list_input(client, golden, model):
    chosen = golden.list_indexes()
    response = client.embeddings.create(model=model, input=[golden.texts[n] for n in chosen])
    same(vectors(response), golden.vectors[chosen])
    expected = sum(golden.tokens[n] for n in chosen)
    assert response.usage.prompt_tokens == expected, f"{response.usage.prompt_tokens} tokens, expected {expected}"


def truncated_input(client, golden, model):
    n = golden.index("2000 words")
    same(vectors(client.embeddings.create(model=model, input=golden.texts[n])), golden.vectors[[n]])


def token_array(client, golden, model):
    row = golden.ids[0]
    same(vectors(client.embeddings.create(model=model, input=row["ids"])), golden.vectors[[row["text"]]])


def list_of_token_arrays(client, golden, model):
    response = client.embeddings.create(model=model, input=[row["ids"] for row in golden.ids])
    same(vectors(response), golden.vectors[[row["text"] for row in golden.ids]])


def dimensions(client, golden, model):
    n = golden.index("sentence")
    response = client.embeddings.create(model=model, input=golden.texts[n], dimensions=DIMENSIONS)
    same(vectors(response), golden.vectors[[n], :DIMENSIONS])


def unknown_model_is_not_found(client, golden, model):
    refused(openai.NotFoundError, client.embeddings.create, model="no-such-model", input="text")


def empty_text_is_a_bad_request(client, golden, model):
    refused(openai.BadRequestError, client.embeddings.create, model=model, input="")


def empty_list_is_a_bad_request(client, golden, model):
    refused(openai.BadRequestError, client.embeddings.create, model=model, input=[])


def chat_whole(client, model):
    reply = client.chat.completions.create(model=model, messages=CAPITAL, max_tokens=32, temperature=0)
    choice, used = reply.choices[0], reply.usage
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-") and reply.model == model, reply
    assert choice.message.role == "assistant" and "Paris" in choice.message.content, choice
    assert choice.finish_reason == "stop", choice
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens and used.completion_tokens > 0, used


def chat_streamed_equals_whole(client, model):
    call = {"model": model, "messages": CAPITAL, "max_tokens": 32, "temperature": 0}
    whole = client.chat.completions.create(**call)
    chunks = list(client.chat.completions.create(**call, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    assert len({chunk.id for chunk in chunks}) == 1, "the chunks have several ids"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, f"{text!r} streamed, {whole.choices[0].message.content!r} whole"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason, chunks[-2]
    assert not chunks[-1].choices and chunks[-1].usage == whole.usage, f"{chunks[-1].usage} streamed, {whole.usage} whole"


def chat_stream_helper(client, model):
    with client.chat.completions.stream(model=model, messages=CAPITAL, max_tokens=32, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert "Paris" in final.choices[0].message.content, final
    assert any(event.type == "content.delta" for event in events), {event.type for event in events}


def chat_seed_is_reproducible(client, model):
    call = {"model": model, "messages": CAPITAL, "max_tokens": 16, "temperature": 1.5, "seed": 7}
    texts = {client.chat.completions.create(**call).choices[0].message.content for _ in range(3)}
    assert len(texts) == 1, texts


def chat_logprobs(client, model):
    reply = client.chat.completions.create(model=model, messages=CAPITAL, max_tokens=4, temperature=0, logprobs=True,
                                           top_logprobs=2)
    tokens = reply.choices[0].logprobs.content
    assert len(tokens) == reply.usage.completion_tokens, f"{len(tokens)} tokens, {reply.usage}"
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens), tokens
    assert all(token.top_logprobs[0].logprob == token.logprob for token in tokens), "greedy is not the likeliest"


def completion_whole_and_streamed(client, model):
    call = {"model": model, "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
    whole = client.completions.create(**call)
    assert whole.object == "text_completion" and whole.choices[0].finish_reason == "length", whole
    chunks = list(client.completions.create(**call, stream=True))
    text = "".join(chunk.choices[0].text for chunk in chunks)
    assert text == whole.choices[0].text and "Paris" in text, f"{text!r} streamed, {whole.choices[0].text!r} whole"


def stop_text_is_left_out(client, model):
    call = {"model": model, "prompt": "one two three four", "max_tokens": 16, "temperature": 0}
    text = client.completions.create(**call).choices[0].text
    stop = text.strip()[3:6]
    reply = client.completions.create(**call, stop=stop).choices[0]
    assert reply.finish_reason == "stop" and reply.text == text[:text.index(stop)], (text, stop, reply)


def models_are_listed(client, model):
    assert model in [listed.id for listed in client.models.list()], "the model is not listed"
    assert client.models.retrieve(model).id == model


def unknown_chat_model_is_not_found(client, model):
    refused(openai.NotFoundError, client.chat.completions.create, model="no-such-model", messages=CAPITAL)


def tools_are_refused_by_name(client, model):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    error = refused(openai.BadRequestError, client.chat.completions.create, model=model, messages=CAPITAL, tools=tools)
    assert error.param == "tools", error.body


def overflow_is_refused_before_the_stream(client, model):
    messages = [{"role": "user", "content": "tessera " * 10_000}]
    error = refused(openai.BadRequestError, client.chat.completions.create, model=model, messages=messages, stream=True)
    assert error.code == "context_length_exceeded", error.body


def refused(kind, create, **call):
    try:
        create(**call)
    except kind as error:
        assert isinstance(error.body, dict) and error.body.get("message"), f"no error message: {error.body!r}"
        return error
    except openai.APIError as error:
        raise AssertionError(f"{type(error).__name__} instead of {kind.__name__}: {error}") from error
    raise AssertionError(f"no {kind.__name__}")


EMBEDDING_CHECKS = [default_call_asks_for_base64, explicit_float, list_input, truncated_input, token_array,
                    list_of_token_arrays, dimensions, unknown_model_is_not_found, empty_text_is_a_bad_request,
                    empty_list_is_a_bad_request]
CHAT_CHECKS = [chat_whole, chat_streamed_equals_whole, chat_stream_helper, chat_seed_is_reproducible, chat_logprobs,
               completion_whole_and_streamed, stop_text_is_left_out, models_are_listed, unknown_chat_model_is_not_found,
               tools_are_refused_by_name, overflow_is_refused_before_the_stream]


def main(base_url, golden_dir, model, chat_model):
    client = openai.OpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "unused"),
                           max_retries=0, timeout=TIMEOUT_S)
    golden, failed = Golden(golden_dir), 0
    checks = [(check, (client, golden, model)) for check in EMBEDDING_CHECKS]
    checks += [(check, (client, chat_model)) for check in CHAT_CHECKS]
    for check, arguments in checks:
        name = check.__name__.replace("_", " ")
        try:
            check(*arguments)
            print(f"OK {name}", flush=True)
        except Exception as error:  # one failing check must not hide the others
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
