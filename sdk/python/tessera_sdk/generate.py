"""Text by a language model, as it comes: `tessera:generate/generate`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from componentize_py_types import Err
from wit_world.imports import tessera_generate as host
from wit_world.imports import tessera_generate_types as types
from wit_world.imports import tessera_inference_types as inference

from .error import CapabilityError, call

# Events that one read takes.
_EVENTS_MAX = 16


class Generation:
    """A generation: an async iterable of events. It starts when it is read; leaving the loop stops it."""

    def __init__(self, prompt: Any, options: types.Options):
        self._prompt, self._options, self._started = prompt, options, None
        self.outcome: types.Outcome | None = None
        """Why it ended and what it cost, once it has come to its end."""

    async def start(self) -> str:
        """Starts it now, so that what is refused is raised here and not in the loop. Gives the name of the model."""
        if self._started is None:
            self._started = await call(host.generate(self._prompt, self._options))
        return self._started.model

    async def __aiter__(self) -> AsyncIterator[types.Event]:
        await self.start()
        with self._started.events as events:
            while not events.writer_dropped:
                for event in await events.read(_EVENTS_MAX):
                    yield event
        end = await self._started.outcome.read()
        if isinstance(end, Err):
            raise CapabilityError.of(end.value)
        self.outcome = end.value

    async def text(self) -> str:
        """All of the text."""
        return "".join([event.text async for event in self])


def generate(
    prompt: str | Sequence[int] | Sequence[Mapping[str, str]],
    *,
    model: str | None = None,
    tokens_max: int | None = None,
    stop: Sequence[str] = (),
    logprobs: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    typical_p: float = 1.0,
    repetition_penalty: float = 1.0,
    frequency_penalty: float = 0.0,
    presence_penalty: float = 0.0,
    logit_bias: Sequence[tuple[int, float]] = (),
    seed: int | None = None,
) -> Generation:
    """Goes on from a text, from token ids, or from a conversation: dictionaries with `role` and `content`."""
    sampling = types.Sampling(
        repetition_penalty, frequency_penalty, presence_penalty, list(logit_bias), temperature, top_k, typical_p, top_p, min_p, seed
    )
    return Generation(_tagged(prompt), types.Options(model, tokens_max, list(stop), sampling, logprobs))


def _tagged(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return types.Prompt_Text(prompt)
    if prompt and isinstance(prompt[0], int):
        return types.Prompt_Tokens(list(prompt))
    return types.Prompt_Chat([inference.Message(message["role"], message["content"]) for message in prompt])


def generate_models() -> list[str]:
    """Names of the models that the policy grants for it and that are loaded."""
    return host.models()
