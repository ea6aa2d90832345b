// Takes e-mail addresses out of texts, and lets no private key pass. `POST /check` shows what it would say.

import { block, guard as makeGuard, json, redact, service } from "tessera-sdk";

const ADDRESS = /[\w.+-]+@[\w-]+(\.[\w-]+)+/g;

function judge(text) {
  if (text.includes("PRIVATE KEY-----")) return block("private-key");
  return redact(text, ADDRESS, "[e-mail]");
}

export const guard = makeGuard(judge);

export const handler = service({
  "POST /check": async (request) => {
    const { tag, val = true } = judge((await request.json()).text);
    return json({ [tag]: val });
  },
});
