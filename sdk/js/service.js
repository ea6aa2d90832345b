// Serving HTTP: routes, requests, answers.

import { HttpError, toHttp } from "./error.js";
import { decode, encode } from "./text.js";

/** A request as a handler gets it. */
export class Request {
  #body;

  constructor({ method, target, headers, body }, params = {}) {
    const [path, query = ""] = split(target, "?");
    Object.assign(this, { method, path, query, params });
    this.headers = headers.map(({ name, value }) => [name, value]);
    this.#body = body;
  }

  /** The first header of a name, in lower case. */
  header(name) {
    const found = this.headers.find(([other]) => other === name);
    return found && decode(found[1]);
  }

  /** The body's bytes. */
  async bytes() {
    if (this.#body.tag === "whole") return this.#body.val;
    const parts = [];
    for await (const part of this.#body.val.bytes) parts.push(part);
    const end = await this.#body.val.end.read();
    if (end.tag === "err") throw HttpError.badRequest(`the body broke off: ${end.val.message}`);
    const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    this.#body = { tag: "whole", val: whole };
    return whole;
  }

  /** The body as text. */
  async text() {
    try {
      return decode(await this.bytes());
    } catch (error) {
      throw error instanceof URIError ? HttpError.badRequest("the body is not UTF-8") : error;
    }
  }

  /** The body as JSON. */
  async json() {
    const text = await this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new HttpError(400, "invalid_json", `the body is not JSON: ${error.message}`);
    }
  }
}

/** An answer: JSON, with a status of 200 unless told otherwise. */
export function json(value, { status = 200, headers = {} } = {}) {
  return response(JSON.stringify(value), { status, headers: { "content-type": "application/json", ...headers } });
}

/** An answer of text or bytes. */
export function response(body, { status = 200, headers = {} } = {}) {
  return { status, headers, body: typeof body === "string" ? encode(body) : body };
}

/** An answer of server-sent events: one for each value that the async iterable gives, as JSON; strings as they are. */
export function sse(events, { headers = {} } = {}) {
  const own = { "content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no" };
  return { status: 200, headers: { ...own, ...headers }, events };
}

/** The export `handler` of a service: `{ "POST /ask": async (request) => json(...) }`. A segment `{name}` is in `request.params`. */
export function service(routes) {
  const table = Object.entries(routes).map(([route, answer]) => {
    const [method, pattern] = split(route, " ");
    return { method, segments: segments(pattern), answer };
  });
  return { handle: (request) => answer(table, request) };
}

async function answer(table, raw) {
  try {
    const { answer, params } = find(table, raw);
    return lower(await answer(new Request(raw, params)));
  } catch (error) {
    return lower(refused(error));
  }
}

function refused(error) {
  const http = toHttp(error);
  if (http !== error && http.status >= 500) globalThis.console?.error(`${error?.stack ?? ""}${error}`);
  return json(http.body(), { status: http.status, headers: http.headers });
}

function find(table, { method, target }) {
  const path = segments(split(target, "?")[0]);
  const fitting = table
    .map((route) => ({ ...route, params: match(route.segments, path) }))
    .filter(({ params }) => params);
  const wanted = method === "HEAD" ? ["HEAD", "GET"] : [method];
  const found = fitting.find((route) => wanted.includes(route.method));
  if (found) return found;
  if (fitting.length === 0) throw HttpError.notFound(`nothing is at ${split(target, "?")[0]}`);
  const allow = fitting.map((route) => route.method).join(", ");
  throw new HttpError(405, "method_not_allowed", `use ${allow} here`, { headers: { allow } });
}

function match(pattern, path) {
  if (pattern.length !== path.length) return null;
  const params = {};
  for (const [index, segment] of pattern.entries()) {
    const name = /^\{(.+)\}$/.exec(segment)?.[1];
    if (name) params[name] = readable(path[index]);
    else if (segment !== path[index]) return null;
  }
  return params;
}

function readable(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw HttpError.badRequest(`the path has a broken % escape: ${segment}`);
  }
}

function segments(path) {
  return path.split("/").filter((segment) => segment !== "");
}

function split(text, at) {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}

function lower({ status, headers, body, events }) {
  const lines = Object.entries(headers).map(([name, value]) => ({ name: name.toLowerCase(), value: encode(String(value)) }));
  return { status, headers: lines, body: events ? streamed(events) : { tag: "whole", val: body } };
}

function streamed(events) {
  const { readable: end, writable } = wit.Future(wit.Future.RESULT_VOID_BODY_ERROR);
  return { tag: "streamed", val: { bytes: wire(events, writable), end } };
}

// Only a good end is told as one: a client can tell an answer that broke off.
async function* wire(events, end) {
  try {
    for await (const event of events) yield frame(event);
  } catch (error) {
    const http = toHttp(error);
    if (http !== error) globalThis.console?.error(String(error));
    yield frame(http.body());
    end.write({ tag: "err", val: { code: "failed", message: http.message } });
    return;
  }
  end.write({ tag: "ok" });
}

function frame(event) {
  const data = typeof event === "string" ? event : JSON.stringify(event);
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return encode(`${lines.join("")}\n`);
}
