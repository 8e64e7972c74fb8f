"""What tokens cost: prices that a setting states, then those of the library genai-prices, from its packaged data.

The library is an extra: ``pip install cogmeter[cost]``. It is imported on a thread when the first operation needs it,
and never asks the network. A model that is in neither is unknown: its price is not guessed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import threading
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.times import utc
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from cogmeter.settings.prices import StatedPrice

MISSING: Final = "the library genai-prices is not installed: pip install 'cogmeter[cost]'"
MOST_MODELS: Final = 2_000  # whose lookup is remembered

_logger = logging.getLogger("cogmeter.runtime")


class TokenUse(NamedTuple):
    """The tokens of one operation, and when it ended. ``tokens_in`` includes the tokens of the cache."""

    model: str
    tokens_in: int
    tokens_out: int = 0
    cached_tokens: int = 0  # read from the cache
    cache_write_tokens: int = 0
    end_us: int = 0


def micro_usd(dollars: float | Decimal) -> int:
    """Return whole micro-dollars; a half goes to the even one."""
    exact = dollars if isinstance(dollars, Decimal) else Decimal(repr(float(dollars)))
    return int((exact * 1_000_000).to_integral_value(ROUND_HALF_EVEN))


class Prices:
    """The prices of models. Threads may use it at the same time."""

    def __init__(self, stated: Mapping[str, StatedPrice] | None = None) -> None:
        """``stated`` are the prices of the setting, which precede those of the library."""
        self.problem = ""  # why the library cannot be used; known once a price was needed
        self.source = ""  # the library, its version, and the date of its newest price
        self._stated = dict(stated or {})
        self._library: Any = None
        self._loaded = False
        self._models: dict[str, tuple[str, str | None] | None] = {}  # see ``_find``
        self._lock = threading.Lock()

    async def micro_usd(self, uses: Sequence[TokenUse]) -> list[int | None]:
        """Return the price of each use in micro-dollars; None where it is not known. Computed on a thread."""
        return await asyncio.to_thread(self.compute, uses) if uses else []

    def compute(self, uses: Sequence[TokenUse]) -> list[int | None]:
        """Return what ``micro_usd`` returns, on this thread."""
        with self._lock:
            return [self._price(use) for use in uses]

    async def ready(self) -> Prices:
        """Import the library on a thread, if it was not needed yet; ``source`` and ``problem`` are known then."""
        if not self._loaded:
            await asyncio.to_thread(self._load_once)
        return self

    def _load_once(self) -> None:
        with self._lock:
            self._load()

    def _price(self, use: TokenUse) -> int | None:
        stated = self._stated.get(use.model.lower()) or self._stated.get(use.model.lower().rpartition("/")[2])
        if stated is not None:
            fresh = max(use.tokens_in - use.cached_tokens, 0)
            cached = min(use.cached_tokens, use.tokens_in)
            money = fresh * stated.tokens_in + cached * stated.cached_tokens + use.tokens_out * stated.tokens_out
            return int(money.to_integral_value(ROUND_HALF_EVEN))
        self._load()
        if self._library is None:
            return None
        try:
            return self._of_library(use)
        except Exception as error:  # noqa: BLE001 - the library's data has gaps, such as a model without a price of input
            _logger.debug("No price for %s: %s", use.model, error)
            return None

    def _of_library(self, use: TokenUse) -> int | None:
        found = self._find(use.model)
        if found is None:
            return None
        counted = {
            "input_tokens": use.tokens_in,
            "cache_read_tokens": min(use.cached_tokens, use.tokens_in),
            "cache_write_tokens": min(use.cache_write_tokens, max(use.tokens_in - use.cached_tokens, 0)),
            "output_tokens": use.tokens_out,
        }
        usage = self._library.Usage(**{name: tokens for name, tokens in counted.items() if tokens})
        reference, provider = found
        at = utc(use.end_us or clock.now_us())
        result = self._library.calc_price(usage, reference, provider_id=provider, genai_request_timestamp=at)
        return micro_usd(result.total_price)

    def _find(self, name: str) -> tuple[str, str | None] | None:
        """Return the reference and the provider by which the library knows a model."""
        if name not in self._models:
            if len(self._models) >= MOST_MODELS:
                self._models.clear()
            self._models[name] = self._search(name)
        return self._models[name]

    def _search(self, name: str) -> tuple[str, str | None] | None:
        """Find a model by its name, or by ``provider/name`` as LiteLLM and OpenRouter write it."""
        snapshot = self._library.data_snapshot.get_snapshot()
        provider, separator, model = name.partition("/")
        attempts: list[tuple[str, str | None]] = [(name, None), *([(model, provider)] if separator else [])]
        for reference, provider_id in attempts:
            with contextlib.suppress(LookupError):
                snapshot.find_provider_model(reference, None, provider_id, None)
                return reference, provider_id
        return None

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            library = importlib.import_module("genai_prices")
            newest = _newest_price(library.data_snapshot.get_snapshot())
            dated = f", newest dated price {newest:%Y-%m-%d}" if newest is not None else ""
            self.source = f"genai-prices {library.__version__}{dated}"
            self._library = library
        except ImportError:
            self.problem = MISSING
        except Exception as error:  # noqa: BLE001 - a library that fails must not fail the bot
            self.problem = f"the library genai-prices cannot be used: {type(error).__name__}: {error}"
            _logger.warning("No prices of models: %s", self.problem)


def _newest_price(snapshot: Any) -> date | None:
    """Return the latest date in the past from which a price of the data holds."""
    starts = [
        start
        for provider in snapshot.providers
        for model in provider.models
        if isinstance(model.prices, list)
        for price in model.prices
        if (start := getattr(price.constraint, "start_date", None)) is not None and start <= utc(clock.now_us()).date()
    ]
    return max(starts, default=None)
