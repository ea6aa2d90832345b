// What went wrong, for clients and for code.

/** An answer that is an error: thrown by a handler, it is sent in OpenAI's shape. */
export class HttpError extends Error {
  constructor(status, code, message, { param = null, headers = {} } = {}) {
    super(message);
    this.name = "HttpError";
    Object.assign(this, { status, code, param, headers });
  }

  /** 400: the request says something that cannot be. */
  static badRequest(message, param = null) {
    return new HttpError(400, "invalid_value", message, { param });
  }

  /** 404. */
  static notFound(message) {
    return new HttpError(404, "not_found", message);
  }

  /** The body of the answer. */
  body() {
    return { error: { message: this.message, type: kind(this.status, this.code), param: this.param, code: this.code } };
  }
}

/** What a capability refuses or fails at; `code` is the host's, as `unknown-model` or `quota`. */
export class CapabilityError extends Error {
  constructor({ code, message, retryAfterMs = null }) {
    super(message);
    this.name = "CapabilityError";
    Object.assign(this, { code, retryAfterMs });
  }

  /** The same for a client. */
  toHttp() {
    const [status, code] = STATUS[this.code] ?? [502, this.code];
    const seconds = Math.max(1, Math.ceil((this.retryAfterMs ?? 0) / 1000));
    return new HttpError(status, code, this.message, {
      param: this.code === "unknown-model" ? "model" : null,
      headers: status === 429 ? { "retry-after": String(seconds) } : {},
    });
  }
}

const STATUS = {
  "unknown-model": [404, "model_not_found"],
  unsupported: [400, "unsupported"],
  "invalid-input": [400, "invalid_value"],
  "too-long": [400, "context_length_exceeded"],
  overloaded: [429, "overloaded"],
  deadline: [504, "deadline_exceeded"],
  internal: [500, "internal_error"],
  cancelled: [500, "cancelled"],
  quota: [429, "quota_exceeded"],
  denied: [403, "denied"],
};

const KINDS = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
  501: "not_supported_error",
  503: "unavailable_error",
};

function kind(status, code) {
  if (code === "context_length_exceeded") return "exceed_context_size_error";
  return KINDS[status] ?? (status >= 500 ? "server_error" : "invalid_request_error");
}

/** Any error as one for a client. What the author did not foresee stays in the log. */
export function toHttp(error) {
  if (error instanceof HttpError) return error;
  if (error instanceof CapabilityError) return error.toHttp();
  return new HttpError(500, "internal_error", "the service failed; its log says why");
}

/** Calls a capability; what the host says is wrong becomes a `CapabilityError`. */
export async function call(capability) {
  try {
    return await capability();
  } catch (error) {
    const told = error?.payload ?? error; // componentize-qjs wraps what is no Error
    throw typeof told?.code === "string" && !(told instanceof Error) ? new CapabilityError(told) : error;
  }
}
