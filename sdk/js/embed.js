// Texts to vectors: `tessera:embed/embed`.

import * as host from "tessera:embed/embed@0.1.0";
import { call } from "./error.js";

/** Embeds texts, or arrays of token ids. */
export async function embed(inputs, options = {}) {
  const { model = null, prompt = "standard", truncate = false, normalize = null, dimensions = null } = options;
  const tagged = inputs.map((input) => ({ tag: typeof input === "string" ? "text" : "tokens", val: input }));
  const which = ["standard", "query", "document"].includes(prompt) ? { tag: prompt } : { tag: "named", val: prompt };
  const made = await call(() => host.embed(tagged, { model, prompt: which, truncate, normalize, dimensions }));
  const vectors = made.usage.map((_, index) => made.values.slice(index * made.dimensions, (index + 1) * made.dimensions));
  return { model: made.model, dimensions: made.dimensions, vectors, usage: made.usage };
}

/** Names of the models that the policy grants for it and that are loaded. */
export function embedModels() {
  return host.models();
}
