"""Texts and metadata of the host as they may leave: no Discord id, nothing that JSON has no word for."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN: Final = "[id]"
CUT: Final = "(cut)"
DEEPEST: Final = 8  # levels of metadata; what is nested deeper is cut
WIDEST: Final = 200  # members of one level

# A snowflake has 17 to 20 digits: those of 2015 have 17 or 18, and 64 bits never have more than 20.
_ID: Final = re.compile(r"(?<![0-9])[0-9]{17,20}(?![0-9])")
_LEAST_ID: Final = 10**16
_MOST_ID: Final = 10**20


def text(value: str) -> str:
    """The text with Discord's ids (of users, guilds, channels, messages) hidden, in valid Unicode."""
    return _ID.sub(HIDDEN, value).encode("utf-8", "replace").decode()


def text_or_none(value: str | None) -> str | None:
    """The same where there may be none."""
    return None if value is None else text(value)


def metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata that JSON can say: ids hidden, what is no finite number as its name, what is nested too deep cut."""
    made: dict[str, Any] = _plain(values, 0)
    return made


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list):
        return CUT if depth >= DEEPEST else _level(value, depth + 1)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return HIDDEN if _LEAST_ID <= abs(value) < _MOST_ID else value
    return text(str(value))


def _level(value: dict[str, Any] | list[Any], depth: int) -> Any:
    if isinstance(value, list):
        return [_plain(one, depth) for one in value[:WIDEST]]
    return {text(str(key)): _plain(one, depth) for key, one in list(value.items())[:WIDEST]}
