// Answers a question from documents: finds the nearest by their embeddings, sorts those by how well they answer, and lets a
// model write from the best.

import { HttpError, embed, generate, json, rerank, service } from "tessera-sdk";

const NEAREST_MAX = 8; // documents that are sorted
const SOURCES_MAX = 2; // documents that the model reads

export const handler = service({
  "POST /answer": async (request) => {
    const { question, documents } = await request.json();
    if (!documents?.length) throw HttpError.badRequest("`documents` is empty: post at least one", "documents");
    const near = await nearest(question, documents);
    const { ranked } = await rerank(question, near.map((index) => documents[index]));
    const sources = ranked.slice(0, SOURCES_MAX).map(({ index, score }) => ({ index: near[index], score }));
    const texts = sources.map(({ index }) => documents[index]).join("\n");
    const content = `Answer from these texts alone.\n\n${texts}\n\nQuestion: ${question}`;
    const answer = await generate([{ role: "user", content }], { tokensMax: 64 }).text();
    return json({ answer, sources });
  },
});

// Places of the documents that are nearest to the question.
async function nearest(question, documents) {
  const { vectors } = await embed([question, ...documents], { normalize: true });
  const [asked, ...found] = vectors;
  const similarity = found.map((vector) => vector.reduce((sum, value, index) => sum + value * asked[index], 0));
  return [...documents.keys()].sort((a, b) => similarity[b] - similarity[a]).slice(0, NEAREST_MAX);
}
