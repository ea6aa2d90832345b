"""What went wrong, for clients and for code."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from componentize_py_types import Err

_STATUS = {
    "unknown-model": (404, "model_not_found"),
    "unsupported": (400, "unsupported"),
    "invalid-input": (400, "invalid_value"),
    "too-long": (400, "context_length_exceeded"),
    "overloaded": (429, "overloaded"),
    "deadline": (504, "deadline_exceeded"),
    "internal": (500, "internal_error"),
    "cancelled": (500, "cancelled"),
    "quota": (429, "quota_exceeded"),
    "denied": (403, "denied"),
}

_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


class HttpError(Exception):
    """An answer that is an error: raised by a handler, it is sent in OpenAI's shape."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.headers = status, code, message, param, headers or {}

    @staticmethod
    def bad_request(message: str, *, param: str | None = None) -> HttpError:
        """400: the request says something that cannot be."""
        return HttpError(400, "invalid_value", message, param=param)

    @staticmethod
    def not_found(message: str) -> HttpError:
        """404."""
        return HttpError(404, "not_found", message)

    def body(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"message": self.message, "type": self._kind(), "param": self.param, "code": self.code}}

    def _kind(self) -> str:
        if self.code == "context_length_exceeded":
            return "exceed_context_size_error"
        return _KINDS.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")


class CapabilityError(Exception):
    """What a capability refuses or fails at; `code` is the host's, as `unknown-model` or `quota`."""

    def __init__(self, code: str, message: str, retry_after_ms: int | None):
        super().__init__(message)
        self.code, self.message, self.retry_after_ms = code, message, retry_after_ms

    @staticmethod
    def of(error: Any) -> CapabilityError:
        """From the host's record."""
        return CapabilityError(error.code.name.lower().replace("_", "-"), error.message, error.retry_after_ms)

    def to_http(self) -> HttpError:
        """The same for a client."""
        status, code = _STATUS.get(self.code, (502, self.code))
        seconds = max(1, -(-(self.retry_after_ms or 0) // 1000))
        headers = {"retry-after": str(seconds)} if status == 429 else {}
        return HttpError(status, code, self.message, param="model" if self.code == "unknown-model" else None, headers=headers)


async def call[T](capability: Awaitable[T]) -> T:
    """Awaits a capability; what the host says is wrong becomes a `CapabilityError`."""
    try:
        return await capability
    except Err as error:
        raise CapabilityError.of(error.value) from None


def to_http(error: Exception) -> HttpError:
    """Any error as one for a client. What the author did not foresee stays in the log."""
    match error:
        case HttpError():
            return error
        case CapabilityError():
            return error.to_http()
        case _:
            return HttpError(500, "internal_error", "the service failed; its log says why")
