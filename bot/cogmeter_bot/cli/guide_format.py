"""Figures in the words of the guide's command line, which differ a little from those in Discord."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cogmeter.render import formatting
from cogmeter_bot.cli.terminal_text import DIRECTIONS

if TYPE_CHECKING:
    from datetime import datetime

_DIRECTIONS = re.compile(f"[{DIRECTIONS}]")  # control characters go with text.clean
_PLAIN: Final = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def ms(value: float | None) -> str:
    """Milliseconds: ``1,234ms``, ``4.2ms``."""
    if value is None:
        return formatting.NOTHING
    return f"{value:,.0f}ms" if value >= 9.95 else f"{formatting.short(value)}ms"


def share(part: float, whole: float) -> str:
    """A part of a whole: ``97.2%``."""
    return formatting.percent(part / whole) if whole else formatting.NOTHING


def when(at: datetime) -> str:
    """A time in UTC: ``2025-08-17 10:23:45``."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def line(said: str | None, limit: int | None = None) -> str:
    """A text of the host as one line that a terminal shows as it is; cut if a limit is given."""
    shown = formatting.clean(_DIRECTIONS.sub("", said or ""))
    return shown if limit is None else formatting.cut(shown, limit)


def title(service: str) -> str:
    """A service as the guide's headings have it: ``sentiment-analysis`` is Sentiment Analysis."""
    return re.sub("[-_]", " ", service).title() if _PLAIN.fullmatch(service) else line(service)


def heading(label: str) -> str:
    """A range's label as a heading has it: ``Last 24 Hours``."""
    return re.sub(r"\b[a-z](?=[a-z]{2})", lambda found: found[0].upper(), label).replace(" To ", " to ")
