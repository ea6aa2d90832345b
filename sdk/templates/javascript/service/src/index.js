// Answers questions as they are written, and tells how alike two texts are.

import { HttpError, embed, generate, json, log, service, sse } from "tessera-sdk";

export const handler = service({
  "POST /ask": async (request) => {
    const { question } = await request.json();
    if (typeof question !== "string") throw HttpError.badRequest("`question` is missing: it is a text", "question");
    const generation = generate([{ role: "user", content: question }], { tokensMax: 64 });
    log.info(`${await generation.start()} answers`); // what is refused is told before the first event
    return sse(answer(generation));
  },

  "POST /similarity": async (request) => {
    const { a, b } = await request.json();
    const { vectors } = await embed([a, b], { normalize: true });
    return json({ similarity: vectors[0].reduce((sum, value, index) => sum + value * vectors[1][index], 0) });
  },
});

async function* answer(generation) {
  for await (const event of generation) {
    yield { text: event.text };
  }
  yield { done: { tokens: generation.outcome.generatedTokens } };
}
