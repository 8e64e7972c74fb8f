"""The traffic that each service usually has at this time; while one is silent, what was usual before stays so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.history import History

MOST: Final = 2_000  # silent services that are remembered


class Usual:
    """Worked out once a minute. Without memory, an hour of silence would be what is usual, and its alert would end."""

    def __init__(self) -> None:
        self.kept: dict[str, float] = {}  # operations a minute, of services that are silent now
        self._rates = np.zeros(0)
        self._recent = np.zeros(0)
        self._minute = -1

    def per_minute(self, history: History, services: Sequence[str], now_us: int) -> NDArray[np.float64]:
        """Operations a minute by service."""
        minute = now_us // MINUTE_US
        if minute != self._minute or len(self._rates) != len(services):
            self._minute = minute
            self._recent = history.recent_per_minute()
            for place, service in enumerate(services) if self.kept else ():
                if service in self.kept:
                    self._recent[place] = max(self.kept[service], self._recent[place])
            days = history.days_per_minute()
            self._rates = self._recent if days is None else np.minimum(self._recent, days)
        return self._rates

    def note(self, silent: Collection[str], place: Mapping[str, int]) -> None:
        """Remember what is usual for the services whose traffic is low now, and forget the others."""
        self.kept = {
            service: self.kept.get(service, float(self._recent[place[service]])) for service in list(silent)[:MOST]
        }
