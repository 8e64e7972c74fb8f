"""What made-up operations note: tokens and their price, how an interaction was answered, stacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from numpy.random import Generator

# From random numbers and the operation's milliseconds to its metadata.
Note: TypeAlias = Callable[["Generator", float], dict[str, Any]]

NEAR_MISS_MS: Final = 2_000.0
# Dollars for a million tokens read, and for a million written; the models are made up like everything here.
PRICES: Final = {"gpt-4o": (2.5, 10.0), "gpt-4o-mini": (0.15, 0.6), "text-embedding-3-small": (0.02, 0.0)}


def cost_usd(model: str, tokens_in: int, tokens_out: int) -> float:
    """What so many tokens cost."""
    read, written = PRICES[model]
    return round((read * tokens_in + written * tokens_out) / 1e6, 8)


def spent(model: str) -> Note:
    """The tokens of one question to a model, and what they cost."""

    def note(rng: Generator, _took_ms: float) -> dict[str, Any]:
        asked, given = int(rng.integers(80, 1400)), int(rng.integers(20, 400)) if PRICES[model][1] else 0
        return {"model": model, "tokens_in": asked, "tokens_out": given, "cost_usd": cost_usd(model, asked, given)}

    return note


def acknowledged(rng: Generator, took_ms: float) -> dict[str, Any]:
    """How much of an acknowledgement was HTTP, and whether it was nearly too late."""
    near = {"near_miss": True} if took_ms > NEAR_MISS_MS else {}
    return {"http_ms": round(min(took_ms, 90.0 * float(rng.lognormal(0.0, 0.3))), 1), **near}


def blocked(*stack: str, during: str) -> Note:
    """Where the event loop was blocked, innermost first, and what it was doing."""
    return lambda _rng, _took_ms: {"stack": list(stack), "during": during}
