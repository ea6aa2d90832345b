"""Answers questions as they are written, and tells how alike two texts are."""

from tessera_sdk import HttpError, embed, generate, log, service, sse


@service.post("/ask")
async def ask(request):
    question = (await request.json()).get("question")
    if not isinstance(question, str):
        raise HttpError.bad_request("`question` is missing: it is a text", param="question")
    generation = generate([{"role": "user", "content": question}], tokens_max=64)
    log.info(f"{await generation.start()} answers")  # what is refused is told before the first event
    return sse(answer(generation))


async def answer(generation):
    async for event in generation:
        yield {"text": event.text}
    yield {"done": {"tokens": generation.outcome.generated_tokens}}


@service.post("/similarity")
async def similarity(request):
    pair = await request.json()
    embeddings = await embed([pair["a"], pair["b"]], normalize=True)
    a, b = embeddings.vectors
    return {"similarity": sum(x * y for x, y in zip(a, b))}
