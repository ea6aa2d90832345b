"""Requests to other hosts: `tessera:http/client`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from wit_world.imports import tessera_handler_types as types
from wit_world.imports import tessera_http as host

from .error import call
from .service import whole


@dataclass
class Answer:
    """What the other host answered."""

    status: int
    url: str
    headers: list[tuple[str, bytes]]
    _body: Any

    async def bytes(self) -> bytes:
        """The body's bytes."""
        return await whole(self._body)

    async def text(self) -> str:
        """The body as text."""
        return (await self.bytes()).decode()

    async def json(self) -> Any:
        """The body as JSON."""
        return json.loads(await self.text())


async def send(
    url: str,
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str | bytes = b"",
    redirects_max: int = 0,
    timeout_ms: int | None = None,
) -> Answer:
    """Sends a request, as far as the policy lets it."""
    lines = [types.Header(name.lower(), value.encode()) for name, value in (headers or {}).items()]
    content = types.Body_Whole(body.encode() if isinstance(body, str) else body)
    answer = await call(host.send(host.Request(method, url, lines, content, redirects_max, timeout_ms)))
    return Answer(answer.status, answer.url, [(line.name, line.value) for line in answer.headers], answer.body)
