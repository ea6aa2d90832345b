// A model's tokens: `tessera:tokenize/tokenize`.

import * as host from "tessera:tokenize/tokenize@0.1.0";
import { call } from "./error.js";

function tagged(input, special) {
  if (typeof input !== "string") return { tag: "chat", val: input };
  return { tag: special ? "whole-text" : "text", val: input };
}

/** The ids of a text or of a conversation; `special` adds the tokens that the model wants around a text. */
export function tokenize(input, { model = null, special = false } = {}) {
  return call(() => host.tokenize(model, tagged(input, special)));
}

/** How many ids an input has. */
export async function countTokens(input, { model = null, special = false } = {}) {
  const [count] = await call(() => host.count(model, [tagged(input, special)]));
  return count;
}

/** The text of ids. */
export function detokenize(ids, { model = null } = {}) {
  return call(() => host.detokenize(model, ids));
}
