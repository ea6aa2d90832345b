"""Texts to vectors: `tessera:embed/embed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wit_world.imports import tessera_embed as host

from .error import call

_PROMPTS = {"standard": host.Prompt_Standard, "query": host.Prompt_Query, "document": host.Prompt_Document}


@dataclass
class Embeddings:
    """The vectors of one call, in the order of its inputs."""

    model: str
    dimensions: int
    vectors: list[list[float]]
    usage: list[Any]


async def embed(
    inputs: Sequence[str | list[int]],
    *,
    model: str | None = None,
    prompt: str = "standard",
    truncate: bool = False,
    normalize: bool | None = None,
    dimensions: int | None = None,
) -> Embeddings:
    """Embeds texts, or lists of token ids. `prompt` is `standard`, `query`, `document`, or the name of one of the model's own."""
    tagged = [host.Input_Text(given) if isinstance(given, str) else host.Input_Tokens(given) for given in inputs]
    which = _PROMPTS[prompt]() if prompt in _PROMPTS else host.Prompt_Named(prompt)
    made = await call(host.embed(tagged, host.Options(model, which, truncate, normalize, dimensions)))
    starts = range(0, len(made.values), made.dimensions)
    vectors = [made.values[start : start + made.dimensions] for start in starts]
    return Embeddings(made.model, made.dimensions, vectors, made.usage)


def embed_models() -> list[str]:
    """Names of the models that the policy grants for it and that are loaded."""
    return host.models()
