"""Looking at what goes into other components and comes out of them: the export `tessera:guard/guard`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from componentize_py_types import Err
from wit_world.exports import guard as wit

Context = wit.Context


@dataclass
class Allow:
    """The text may pass."""


@dataclass
class Span:
    """A part of a text, in bytes of UTF-8, and what stands in its place."""

    start: int
    end: int
    replacement: str


@dataclass
class Redact:
    """The text may pass without these parts."""

    spans: list[Span]


@dataclass
class Block:
    """The text must not pass, for a reason that `component.toml` declares."""

    reason: str


Verdict = Allow | Redact | Block
_check: Callable[..., Any] | None = None


def guard(check: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function the guard: `check(text, at)` gives a verdict. What it raises is a failure of the guard."""
    global _check
    _check = check
    return check


def redact(text: str, pattern: re.Pattern[str], replacement: str) -> Verdict:
    """The text without what the pattern finds."""
    size = lambda part: len(part.encode())
    spans = [
        Span(size(text[: found.start()]), size(text[: found.end()]), replacement)
        for found in pattern.finditer(text)
    ]
    return Redact(spans) if spans else Allow()


async def checked(text: str, at: Any) -> Any:
    """The verdict, as the host takes it."""
    if _check is None:
        raise Err("no function is marked with @guard")
    try:
        verdict = _check(text, at)
        verdict = await verdict if inspect.isawaitable(verdict) else verdict
    except Exception as error:
        raise Err(str(error))
    match verdict:
        case Block(reason):
            return wit.Verdict_Block(reason)
        case Redact(spans):
            return wit.Verdict_Redact([wit.Span(span.start, span.end, span.replacement) for span in spans])
        case _:
            return wit.Verdict_Allow()
