"""The time zone in which the command line and the dashboard show times, and read times without an offset."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import tzinfo

LOCAL: Final = "local"
_zone: ContextVar[tzinfo | None] = ContextVar("cogmeter_zone", default=None)  # None: the terminal's own


def use_zone(name: str) -> None:
    """Show times from now on in a zone: ``local``, ``UTC``, or an IANA name.

    Raises:
        ValueError: there is no such zone on this machine.
    """
    from cogmeter.times import zone_of

    _zone.set(None if name.lower() == LOCAL else zone_of(name))


def shown_at(at: datetime) -> datetime:
    """Return a time in the zone in use."""
    return at.astimezone(_zone.get())


def moment_us(wall: datetime) -> int:
    """Return the microseconds since 1970 of a time of day in the zone in use; of one with an offset, its own."""
    from cogmeter.times import us_of

    if wall.tzinfo is not None:
        return us_of(wall)
    zone = _zone.get()
    # Without a zone, astimezone() reads a datetime as the machine's own time.
    return us_of(wall.astimezone(UTC) if zone is None else wall.replace(tzinfo=zone))


def zone_label() -> str:
    """Return the name of the zone in use: ``UTC``, or with summer time ``CET/CEST``."""
    year = datetime.now(UTC).year
    return "/".join(dict.fromkeys(zone_name(datetime(year, month, 15, tzinfo=UTC)) for month in (1, 7)))


def zone_name(at: datetime) -> str:
    """Return the name of the zone in use at a time: ``CEST``, or ``UTC-03`` if it has only an offset."""
    name = shown_at(at).tzname() or ""
    return f"UTC{name}" if name[:1] in {"+", "-"} else name
