"""Answers a question from documents: finds the nearest by their embeddings, sorts those by how well they answer, and lets a
model write from the best."""

from tessera_sdk import HttpError, embed, generate, rerank, service

NEAREST_MAX = 8  # documents that are sorted
SOURCES_MAX = 2  # documents that the model reads


@service.post("/answer")
async def answer(request):
    asked = await request.json()
    question, documents = asked["question"], asked["documents"]
    if not documents:
        raise HttpError.bad_request("`documents` is empty: post at least one", param="documents")
    near = await nearest(question, documents)
    scores = await rerank(question, [documents[index] for index in near])
    sources = [{"index": near[place], "score": score} for place, score in scores.ranked()[:SOURCES_MAX]]
    texts = "\n".join(documents[source["index"]] for source in sources)
    content = f"Answer from these texts alone.\n\n{texts}\n\nQuestion: {question}"
    text = await generate([{"role": "user", "content": content}], tokens_max=64).text()
    return {"answer": text, "sources": sources}


async def nearest(question, documents):
    """Places of the documents that are nearest to the question."""
    asked, *found = (await embed([question, *documents], normalize=True)).vectors
    similarity = [sum(x * y for x, y in zip(asked, vector)) for vector in found]
    return sorted(range(len(documents)), key=lambda index: -similarity[index])[:NEAREST_MAX]
