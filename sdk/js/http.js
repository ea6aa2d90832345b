// Requests to other hosts: `tessera:http/client`.

import * as host from "tessera:http/client@0.1.0";
import { call } from "./error.js";
import { Request } from "./service.js";
import { encode } from "./text.js";

/** Sends a request, as far as the policy lets it; `method`, `headers`, `body` (text or bytes), `redirectsMax`, `timeoutMs`. */
export async function send(url, { method = "GET", headers = {}, body = "", redirectsMax = 0, timeoutMs = null } = {}) {
  const lines = Object.entries(headers).map(([name, value]) => ({ name: name.toLowerCase(), value: encode(String(value)) }));
  const whole = { tag: "whole", val: typeof body === "string" ? encode(body) : body };
  const answer = await call(() => host.send({ method, url, headers: lines, body: whole, redirectsMax, timeoutMs }));
  return Object.assign(new Request({ method, target: answer.url, headers: answer.headers, body: answer.body }), {
    status: answer.status,
    url: answer.url,
  });
}
