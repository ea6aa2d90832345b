// Types of the SDK. What a plugin has not in `capabilities` of its component.toml throws when it is called.

export type Headers = Record<string, string | number>;
export type Message = { role: string; content: string };
export type Usage = { tokens: number; truncated: boolean };

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly params: Record<string, string>;
  header(name: string): string | undefined;
  bytes(): Promise<Uint8Array>;
  text(): Promise<string>;
  json(): Promise<any>;
}

export interface Response { status: number; headers: Headers }
export interface Handler { handle(request: unknown): Promise<unknown> }
export type ResponseOptions = { status?: number; headers?: Headers };

export function service(routes: Record<string, (request: Request) => Response | Promise<Response>>): Handler;
export function json(value: unknown, options?: ResponseOptions): Response;
export function response(body: string | Uint8Array, options?: ResponseOptions): Response;
export function sse(events: AsyncIterable<unknown> | Iterable<unknown>, options?: { headers?: Headers }): Response;

export class HttpError extends Error {
  constructor(status: number, code: string, message: string, options?: { param?: string | null; headers?: Headers });
  readonly status: number;
  readonly code: string;
  static badRequest(message: string, param?: string | null): HttpError;
  static notFound(message: string): HttpError;
}

export type ErrorCode =
  | "unknown-model" | "unsupported" | "invalid-input" | "too-long" | "overloaded" | "deadline" | "internal" | "cancelled" | "quota"
  | "denied" | "invalid" | "unreachable" | "protocol" | "timeout";

export class CapabilityError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterMs: number | null;
}

export interface EmbedOptions {
  model?: string;
  prompt?: "standard" | "query" | "document" | string;
  truncate?: boolean;
  normalize?: boolean;
  dimensions?: number;
}
export interface Embeddings { model: string; dimensions: number; vectors: number[][]; usage: Usage[] }
export function embed(inputs: (string | number[])[], options?: EmbedOptions): Promise<Embeddings>;
export function embedModels(): string[];

export interface GenerateOptions {
  model?: string;
  tokensMax?: number;
  stop?: string[];
  logprobs?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  typicalP?: number;
  repetitionPenalty?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  logitBias?: [number, number][];
  seed?: number;
}
export interface Logprob { id: number; bytes: Uint8Array; logprob: number }
export interface Event { text: string; tokens: { picked: Logprob; top: Logprob[] }[] }
export interface Outcome { reason: "stop" | "length"; promptTokens: number; generatedTokens: number }
export class Generation implements AsyncIterable<Event> {
  readonly outcome: Outcome | null;
  start(): Promise<string>;
  text(): Promise<string>;
  [Symbol.asyncIterator](): AsyncIterator<Event>;
}
export function generate(prompt: string | number[] | Message[], options?: GenerateOptions): Generation;
export function generateModels(): string[];

export interface Scores { model: string; scores: number[]; ranked: { index: number; score: number }[]; usage: Usage[] }
export function rerank(
  query: string, documents: string[], options?: { model?: string; truncate?: boolean; rawScores?: boolean },
): Promise<Scores>;
export function rerankModels(): string[];

export function tokenize(input: string | Message[], options?: { model?: string; special?: boolean }): Promise<number[]>;
export function countTokens(input: string | Message[], options?: { model?: string; special?: boolean }): Promise<number>;
export function detokenize(ids: number[], options?: { model?: string }): Promise<string>;

export const config: { get(key: string): string | null; all(): Record<string, string> };
export const log: Record<"debug" | "info" | "warn" | "error", (...parts: unknown[]) => void>;
export function secret(name: string): string | null;

export interface SendOptions {
  method?: string;
  headers?: Headers;
  body?: string | Uint8Array;
  redirectsMax?: number;
  timeoutMs?: number;
}
export function send(url: string, options?: SendOptions): Promise<Request & { status: number; url: string }>;

export interface Span { start: number; end: number; replacement: string }
export type Verdict = { tag: "allow" } | { tag: "redact"; val: Span[] } | { tag: "block"; val: string };
export interface Context { direction: "input" | "output"; component: string; offset: number; isFinal: boolean }
export const allow: Verdict;
export function block(reason: string): Verdict;
export function redact(text: string, pattern: RegExp, replacement: string): Verdict;
export function guard(check: (text: string, at: Context) => Verdict | Promise<Verdict>): { check: Function };
