"""Make text and metadata of the host bot safe to send: hide Discord ids, replace what JSON cannot express."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN: Final = "[id]"
CUT: Final = "(cut)"
DEEPEST: Final = 8  # levels of metadata; deeper ones are cut
WIDEST: Final = 200  # members of one level

# A snowflake has 17 to 20 digits: those of 2015 have 17 or 18, and 64 bits never have more than 20.
_ID: Final = re.compile(r"(?<![0-9])[0-9]{17,20}(?![0-9])")
_LEAST_ID: Final = 10**16
_MOST_ID: Final = 10**20


def text(value: str) -> str:
    """Hide the Discord ids (of users, guilds, channels, messages) in a text, and make it valid Unicode."""
    return _ID.sub(HIDDEN, value).encode("utf-8", "replace").decode()


def text_or_none(value: str | None) -> str | None:
    """Hide the Discord ids in a text; return None for None."""
    return None if value is None else text(value)


def metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hide ids in metadata, write infinity and NaN as text, and cut levels that are nested too deep."""
    cleaned: dict[str, Any] = _plain(values, 0)
    return cleaned


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
        return [_plain(member, depth) for member in value[:WIDEST]]
    return {text(str(key)): _plain(member, depth) for key, member in list(value.items())[:WIDEST]}
