"""Uptime bars of services: for each of the last days, the time without a critical alert, as SVG paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import DOWN_DAY_US, PublicState
from cogmeter.diagnostics.uptime import service_days
from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter.diagnosis import DayUptime
    from cogmeter_storage.base import Store

DAYS: Final = 30
STEP, HEIGHT = 4, 20  # of a bar
HEIGHTS: Final = {PublicState.UP: 20, PublicState.DEGRADED: 14, PublicState.DOWN: 8, None: 3}


@dataclass(frozen=True, slots=True)
class UptimeBar:
    """The bar of one service in a box of ``width`` x ``height``."""

    text: str
    paths: Mapping[str, str]  # by state
    width: int = DAYS * STEP
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class UptimeBars:
    """The bars of all services."""

    _bars: Mapping[str, UptimeBar]

    def of(self, service: str) -> UptimeBar:
        """Return the bar of one service."""
        return self._bars.get(service) or self._bars[""]


async def uptime_bars(store: Store, now_us: int) -> UptimeBars:
    """Return the bars of all services.

    Raises:
        StorageError: the store cannot be read.
    """
    days = await service_days(store, now_us, DAYS)
    return UptimeBars({service: _bar(known) for service, known in days.items()})


def _bar(days: Sequence[DayUptime]) -> UptimeBar:
    paths: dict[str, str] = {}
    for place, day in enumerate(days):
        state = _state(day)
        path = f"M{place * STEP + STEP // 2} {HEIGHT}v-{HEIGHTS[state]}"
        name = "none" if state is None else state.value
        paths[name] = paths.get(name, "") + path
    observed_us, alerted_us = sum(day.observed_us for day in days), sum(day.degraded_us for day in days)
    if not observed_us:
        return UptimeBar("no data yet", paths)
    known = formatting.counted(sum(day.observed_us > 0 for day in days), "day")
    share = formatting.percent(1 - alerted_us / observed_us)
    alerted = f": critical alerts for {formatting.duration(alerted_us)}" if alerted_us else ""
    return UptimeBar(f"{share} of the recorded time on {known} without a critical alert{alerted}", paths)


def _state(day: DayUptime) -> PublicState | None:
    if not day.observed_us:
        return None
    if day.degraded_us >= DOWN_DAY_US:
        return PublicState.DOWN
    return PublicState.DEGRADED if day.degraded_us else PublicState.UP
