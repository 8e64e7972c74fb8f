"""Prices of models that a setting states: ``my-model=2.50/10, other=0.15/0.60/0.075``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.redaction import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_USD: Final = 1_000_000  # per million tokens
MOST_MODELS: Final = 200


class StatedPrice(NamedTuple):
    """The price of a model in US dollars per million tokens, which is also micro-dollars per token."""

    tokens_in: Decimal
    tokens_out: Decimal
    cached_tokens: Decimal  # of input that was read from a cache


def parse_prices(text: str | None) -> Mapping[str, StatedPrice]:
    """Return the stated prices by the model's name in lower case.

    Raises:
        ValueError: the text is not a list of prices; the message says which part is wrong, and how to write it.
    """
    prices: dict[str, StatedPrice] = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        model, separator, amounts = part.rpartition("=")
        if not separator or not model.strip():
            raise ValueError(f"has the part {quoted(part, strict=True)}, which is not model=input/output")
        if model.strip().lower() in prices:
            raise ValueError(f"has two prices of {quoted(model.strip(), strict=True)}")
        prices[model.strip().lower()] = _price(model.strip(), amounts)
    if len(prices) > MOST_MODELS:
        raise ValueError(f"has {len(prices)} models, more than {MOST_MODELS}")
    return prices


def _price(model: str, amounts: str) -> StatedPrice:
    try:
        numbers = [Decimal(amount.strip()) for amount in amounts.split("/")]
        if not 2 <= len(numbers) <= 3 or not all(0 <= number <= MOST_USD for number in numbers):
            raise ValueError
    except (InvalidOperation, ValueError):
        raise ValueError(
            f"has the price {quoted(amounts, strict=True)} of {quoted(model, strict=True)};"
            " write dollars per million tokens of input and"
            " output, and of cached input if that is cheaper, as in 2.50/10/1.25"
        ) from None
    return StatedPrice(numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else numbers[0])
