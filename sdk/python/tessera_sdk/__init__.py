"""Write an AI service for Tessera in Python.

What a plugin has not in `capabilities` of its component.toml can't be imported from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .error import CapabilityError, HttpError
from .service import Request, Response, json, response, service, sse

if TYPE_CHECKING:
    from .config import config
    from .embed import Embeddings, embed, embed_models
    from .generate import Generation, generate, generate_models
    from .guard import Allow, Block, Context, Redact, Span, guard, redact
    from .http import send
    from .log import log
    from .rerank import Scores, rerank, rerank_models
    from .secret import secret
    from .tokenize import count_tokens, detokenize, tokenize

# What is in which module. A module is there for what the component imports only.
_HOMES = {
    "config": ["config"],
    "embed": ["Embeddings", "embed", "embed_models"],
    "generate": ["Generation", "generate", "generate_models"],
    "guard": ["Allow", "Block", "Context", "Redact", "Span", "guard", "redact"],
    "http": ["send"],
    "log": ["log"],
    "rerank": ["Scores", "rerank", "rerank_models"],
    "secret": ["secret"],
    "tokenize": ["count_tokens", "detokenize", "tokenize"],
}


def __getattr__(name: str):
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"tessera_sdk has no {name}")
    try:
        module = import_module(f"{__name__}.{home}")
    except ImportError as error:
        wanted = "[guard]" if home == "guard" else f'"{home}" to capabilities'
        raise ImportError(f"{name}: add {wanted} in component.toml and build again ({error})") from error
    # The module of the same name must not stand in the way of the function.
    globals().update({other: getattr(module, other) for other in _HOMES[home]})
    return globals()[name]
