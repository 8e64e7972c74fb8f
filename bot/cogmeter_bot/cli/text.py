"""Text for the terminal: the number formats of the guide's layout, and output that cannot control the terminal.

Numbers that the guide does not show are formatted by ``cogmeter.render.formatting``.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import click

from cogmeter_bot.zones import shown_at, zone_label, zone_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

# Characters that reorder or hide the text around them.
DIRECTIONS: Final = "\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_DIRECTION = re.compile(f"[{DIRECTIONS}]")
# And control characters, without line ends and tabs. U+2028 ends a line, too.
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{DIRECTIONS}]")
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f\u2028\u2029\ud800-\udfff{DIRECTIONS}]")
_SLUG: Final = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def ms(value: float | None) -> str:
    """Format milliseconds as in the guide: ``1,234ms``, ``4.2ms``."""
    from cogmeter.render import formatting

    if value is None:
        return formatting.NOTHING
    return f"{value:,.0f}ms" if value >= 9.95 else f"{formatting.short(value)}ms"


def duration(milliseconds: float | None) -> str:
    """Format milliseconds as everywhere but in the guide's layout: ``145 ms``, ``1.2 s``, ``2 min 5 s``."""
    from cogmeter.render import formatting

    return formatting.duration(None if milliseconds is None else milliseconds * 1000)


def share(part: float, whole: float) -> str:
    """Return a part of a whole: ``97.2%``; a dash if the whole is zero."""
    from cogmeter.render import formatting

    return formatting.percent(part / whole) if whole else formatting.NOTHING


def timestamp(at: datetime) -> str:
    """Return a time in the zone in use, as in the guide: ``2025-08-17 10:23:45``."""
    return f"{shown_at(at):%Y-%m-%d %H:%M:%S}"


def zoned(at: datetime) -> str:
    """Return a time with its zone: ``2025-08-17 10:23:45 CEST``."""
    return f"{timestamp(at)} {zone_name(at)}"


def zoned_title(title: str) -> str:
    """Return the title of a list of times with their zone. UTC is not named: the guide's layout does not."""
    return title if zone_label() == "UTC" else f"{title} ({zone_label()})"


def of_services(services: Sequence[str] | None) -> str:
    """Return the part of a title that names the chosen services: `` of core-intelligence``; empty for all."""
    return "" if services is None else f" of {', '.join(map(one_line, services))}"


def short_timestamp(at: datetime) -> str:
    """Return a time without its year, for a narrow column: ``08-17 10:23:45``."""
    return f"{shown_at(at):%m-%d %H:%M:%S}"


def one_line(text: str | None, limit: int | None = None) -> str:
    """Return a recorded text as one printable line, cut to ``limit`` characters if one is given."""
    from cogmeter.render import formatting

    cleaned = formatting.clean(_DIRECTION.sub("", text or ""))
    return cleaned if limit is None else formatting.cut(cleaned, limit)


def service_title(service: str) -> str:
    """Return a service's name as in the guide's headings: ``sentiment-analysis`` becomes Sentiment Analysis."""
    return re.sub("[-_]", " ", service).title() if _SLUG.fullmatch(service) else one_line(service)


def range_title(label: str) -> str:
    """Return a range's label as in the guide's headings: ``last 24 hours`` becomes Last 24 Hours."""
    return re.sub(r"\b[a-z](?=[a-z]{2})", lambda match: match[0].upper(), label).replace(" To ", " to ")


def safe(text: str) -> str:
    r"""Return the text with control and direction characters as readable escapes such as ``\x1b``."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def safe_json(document: str) -> str:
    r"""Return an equal JSON document with such characters as escapes (``\u009b``), except line ends."""
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def echo(text: str, *, err: bool = False) -> None:
    """Print a text and a line end."""
    click.echo(safe(text), err=err)


class TerminalOutput:
    """A binary file for UTF-8 text on a terminal that escapes control characters."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decode: Callable[..., str] = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def write(self, data: Any) -> int:
        """Write bytes; a character may be split between two writes."""
        self._file.write(safe(self._decode(bytes(data))).encode())
        return len(data)

    def flush(self) -> None:
        """Implement io.IOBase.flush."""
        self._file.flush()


def escape_on_terminal(file: BinaryIO) -> BinaryIO:
    """Return the file, wrapped in ``TerminalOutput`` if it is a terminal."""
    return cast("BinaryIO", TerminalOutput(file)) if file.isatty() else file
