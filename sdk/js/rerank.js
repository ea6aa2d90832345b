// How well documents answer a query: `tessera:rerank/rerank`.

import * as host from "tessera:rerank/rerank@0.1.0";
import { call } from "./error.js";

/** Scores every document against the query. */
export async function rerank(query, documents, { model = null, truncate = false, rawScores = false } = {}) {
  const { model: name, values, usage } = await call(() => host.rerank(query, documents, { model, truncate, rawScores }));
  const scores = Array.from(values);
  const ranked = scores.map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score);
  return { model: name, scores, ranked, usage };
}

/** Names of the models that the policy grants for it and that are loaded. */
export function rerankModels() {
  return host.models();
}
