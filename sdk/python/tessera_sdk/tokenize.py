"""A model's tokens: `tessera:tokenize/tokenize`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wit_world.imports import tessera_inference_types as inference
from wit_world.imports import tessera_tokenize as host

from .error import call

Input = str | Sequence[Mapping[str, str]]


def _tagged(given: Input, special: bool) -> Any:
    if isinstance(given, str):
        return host.Input_WholeText(given) if special else host.Input_Text(given)
    return host.Input_Chat([inference.Message(message["role"], message["content"]) for message in given])


async def tokenize(given: Input, *, model: str | None = None, special: bool = False) -> list[int]:
    """The ids of a text or of a conversation; `special` adds the tokens that the model wants around a text."""
    return await call(host.tokenize(model, _tagged(given, special)))


async def count_tokens(given: Input, *, model: str | None = None, special: bool = False) -> int:
    """How many ids an input has."""
    (count,) = await call(host.count(model, [_tagged(given, special)]))
    return count


async def detokenize(ids: Sequence[int], *, model: str | None = None) -> str:
    """The text of ids."""
    return await call(host.detokenize(model, list(ids)))
