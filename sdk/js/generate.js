// Text by a language model, as it comes: `tessera:generate/generate`.

import * as host from "tessera:generate/generate@0.1.0";
import { CapabilityError, call } from "./error.js";

const SAMPLING = {
  repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: [], temperature: 1,
  topK: null, typicalP: 1, topP: 1, minP: 0, seed: null,
};

/** Goes on from a text, from token ids (an array of numbers), or from a conversation (an array of `{ role, content }`). */
export function generate(prompt, options = {}) {
  return new Generation(prompt, options);
}

/** A generation: an async iterable of events. It starts when it is read; leaving the loop stops it. */
export class Generation {
  #started;
  #prompt;
  #options;

  constructor(prompt, { model = null, tokensMax = null, stop = [], logprobs = null, ...sampling }) {
    this.#prompt = tagged(prompt);
    this.#options = { model, tokensMax, stop, logprobs, sampling: { ...SAMPLING, ...sampling } };
    /** Why it ended and what it cost, once it has come to its end. */
    this.outcome = null;
  }

  /** Starts it now, so that what is refused is thrown here and not in the loop. Gives the name of the model. */
  async start() {
    this.#started ??= call(() => host.generate(this.#prompt, this.#options));
    return (await this.#started).model;
  }

  async *[Symbol.asyncIterator]() {
    await this.start();
    const { events, outcome } = await this.#started;
    for await (const event of events) yield event;
    const end = await outcome.read();
    if (end.tag === "err") throw new CapabilityError(end.val);
    this.outcome = end.val;
  }

  /** All of the text. */
  async text() {
    let text = "";
    for await (const event of this) text += event.text;
    return text;
  }
}

function tagged(prompt) {
  if (typeof prompt === "string") return { tag: "text", val: prompt };
  return { tag: typeof prompt[0] === "number" ? "tokens" : "chat", val: prompt };
}

/** Names of the models that the policy grants for it and that are loaded. */
export function generateModels() {
  return host.models();
}
