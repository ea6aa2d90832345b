"""How well documents answer a query: `tessera:rerank/rerank`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wit_world.imports import tessera_rerank as host

from .error import call


@dataclass
class Scores:
    """One score for each document, in the order given; higher is better."""

    model: str
    scores: list[float]
    usage: list[Any]

    def ranked(self) -> list[tuple[int, float]]:
        """Place and score of each document, best first."""
        return sorted(enumerate(self.scores), key=lambda scored: -scored[1])


async def rerank(
    query: str, documents: Sequence[str], *, model: str | None = None, truncate: bool = False, raw_scores: bool = False
) -> Scores:
    """Scores every document against the query."""
    made = await call(host.rerank(query, list(documents), host.Options(model, truncate, raw_scores)))
    return Scores(made.model, made.values, made.usage)


def rerank_models() -> list[str]:
    """Names of the models that the policy grants for it and that are loaded."""
    return host.models()
