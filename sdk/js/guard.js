// Looking at what goes into other components and comes out of them: the export `tessera:guard/guard`.

import { encode } from "./text.js";

/** The text may pass. */
export const allow = { tag: "allow" };

/** The text must not pass, for a reason that `component.toml` declares. */
export function block(reason) {
  return { tag: "block", val: reason };
}

/** The text may pass without what the pattern (a RegExp with the flag g) finds; `replacement` stands in its place. */
export function redact(text, pattern, replacement) {
  const spans = [];
  for (const found of text.matchAll(pattern)) {
    const start = encode(text.slice(0, found.index)).length;
    spans.push({ start, end: start + encode(found[0]).length, replacement });
  }
  return spans.length === 0 ? allow : { tag: "redact", val: spans };
}

/** The export `guard` of a component: `check(text, { direction, component, offset, isFinal })` gives a verdict. */
export function guard(check) {
  return {
    async check(text, at) {
      try {
        return await check(text, at);
      } catch (error) {
        throw String(error?.message ?? error);
      }
    },
  };
}
