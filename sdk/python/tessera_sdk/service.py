"""Serving HTTP: routes, requests, answers."""

from __future__ import annotations

import json as _json
import sys
import traceback
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import componentize_py_async_support
from componentize_py_types import Err, Ok

from .error import HttpError, to_http

# Bytes of a streamed body that one read takes.
_READ_BYTES = 65536


class Request:
    """A request as a handler gets it."""

    def __init__(self, raw: Any, params: dict[str, str]):
        self.method: str = raw.method
        self.path, _, self.query = raw.target.partition("?")
        self.params = params
        self.headers: list[tuple[str, bytes]] = [(line.name, line.value) for line in raw.headers]
        self._body = raw.body

    def header(self, name: str) -> str | None:
        """The first header of a name, in lower case."""
        return next((value.decode("latin-1") for other, value in self.headers if other == name), None)

    async def bytes(self) -> bytes:
        """The body's bytes."""
        return await whole(self._body)

    async def text(self) -> str:
        """The body as text."""
        try:
            return (await self.bytes()).decode()
        except UnicodeDecodeError as error:
            raise HttpError.bad_request(f"the body is not UTF-8: {error}")

    async def json(self) -> Any:
        """The body as JSON. A key that is asked for and missing is the client's error: 400."""
        text = await self.text()
        try:
            return _json.loads(text, object_hook=_Object)
        except ValueError as error:
            raise HttpError(400, "invalid_json", f"the body is not JSON: {error}")


class _Object(dict):
    """An object that a client sent."""

    def __missing__(self, key: str) -> Any:
        raise HttpError.bad_request(f"`{key}` is missing", param=key)


async def whole(body: Any) -> bytes:
    """All of a body of `tessera:handler/types`."""
    chunks = body.value
    if isinstance(chunks, bytes):
        return chunks
    parts = []
    with chunks.bytes as stream:
        while not stream.writer_dropped:
            parts.append(await stream.read(_READ_BYTES))
    end = await chunks.end.read()
    if isinstance(end, Err):
        raise HttpError.bad_request(f"the body broke off: {end.value.message}")
    return b"".join(parts)


@dataclass
class Response:
    """An answer: bytes, or events."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: AsyncIterable[Any] | None = None


def json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of JSON. A handler may give a value that is no `Response` as well: it is sent so."""
    return response(_json.dumps(value), status=status, headers={"content-type": "application/json", **(headers or {})})


def response(body: str | bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of text or bytes."""
    return Response(status, headers or {}, body.encode() if isinstance(body, str) else body)


def sse(events: AsyncIterable[Any], *, headers: dict[str, str] | None = None) -> Response:
    """An answer of server-sent events: one for each value, as JSON; strings as they are."""
    own = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
    return Response(200, {**own, **(headers or {})}, events=events)


Answer = Callable[[Request], Awaitable[Any]]


class Service:
    """The routes of a component. A segment `{name}` of a pattern is in `request.params`."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, list[str], Answer]] = []

    def route(self, method: str, pattern: str) -> Callable[[Answer], Answer]:
        """Adds a route for a method, upper case."""

        def add(answer: Answer) -> Answer:
            self._routes.append((method, _segments(pattern), answer))
            return answer

        return add

    def get(self, pattern: str) -> Callable[[Answer], Answer]:
        """Adds a route for `GET` and `HEAD`."""
        return self.route("GET", pattern)

    def post(self, pattern: str) -> Callable[[Answer], Answer]:
        """Adds a route for `POST`."""
        return self.route("POST", pattern)

    def put(self, pattern: str) -> Callable[[Answer], Answer]:
        """Adds a route for `PUT`."""
        return self.route("PUT", pattern)

    def delete(self, pattern: str) -> Callable[[Answer], Answer]:
        """Adds a route for `DELETE`."""
        return self.route("DELETE", pattern)

    async def handle(self, raw: Any) -> Any:
        """Answers a request of `tessera:handler/types`."""
        try:
            answer, params = self._find(raw.method, raw.target.partition("?")[0])
            answered = await answer(Request(raw, params))
            return _lower(answered if isinstance(answered, Response) else json(answered))
        except Exception as error:
            return _lower(_refused(error))

    def _find(self, method: str, path: str) -> tuple[Answer, dict[str, str]]:
        fitting = [
            (other, answer, params)
            for other, pattern, answer in self._routes
            if (params := _match(pattern, _segments(path))) is not None
        ]
        wanted = ("HEAD", "GET") if method == "HEAD" else (method,)
        for other, answer, params in fitting:
            if other in wanted:
                return answer, params
        if not fitting:
            raise HttpError.not_found(f"nothing is at {path}")
        allow = ", ".join(other for other, _, _ in fitting)
        raise HttpError(405, "method_not_allowed", f"use {allow} here", headers={"allow": allow})


service = Service()


def _match(pattern: list[str], path: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(path):
        return None
    params = {}
    for segment, given in zip(pattern, path):
        if segment.startswith("{") and segment.endswith("}"):
            params[segment[1:-1]] = unquote(given)
        elif segment != given:
            return None
    return params


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _refused(error: Exception) -> Response:
    told = to_http(error)
    if told is not error and told.status >= 500:
        traceback.print_exception(error, file=sys.stderr)
    return json(told.body(), status=told.status, headers=told.headers)


def _lower(response: Response) -> Any:
    from wit_world.imports import tessera_handler_types as types

    headers = [types.Header(name.lower(), str(value).encode()) for name, value in response.headers.items()]
    body = types.Body_Whole(response.body) if response.events is None else _streamed(response.events)
    return types.Response(response.status, headers, body)


def _streamed(events: AsyncIterable[Any]) -> Any:
    import wit_world
    from wit_world.imports import tessera_handler_types as types

    failed = lambda: Err(types.BodyError(types.BodyErrorCode.FAILED, "the service failed"))
    writer, reader = wit_world.byte_stream()
    end, told = wit_world.result_unit_tessera_handler_types_body_error_future(failed)
    componentize_py_async_support.spawn(_send(events, writer, end, failed))
    return types.Body_Streamed(types.Chunks(reader, told))


async def _send(events: AsyncIterable[Any], writer: Any, end: Any, failed: Callable[[], Any]) -> None:
    """Only a good end is told as one: a client can tell an answer that broke off."""
    outcome: Any = Ok(None)
    with writer:
        try:
            async for event in events:
                await writer.write_all(_frame(event))
                if writer.reader_dropped:
                    break
        except Exception as error:
            await writer.write_all(_frame(to_http(error).body()))
            outcome = failed()
        finally:
            if hasattr(events, "aclose"):
                await events.aclose()
    await end.write(outcome)


def _frame(event: Any) -> bytes:
    data = event if isinstance(event, str) else _json.dumps(event)
    return "".join(f"data: {line}\n" for line in data.splitlines() or [""]).encode() + b"\n"
