"""Records what blocks the event loop, named by the line that blocks, and the event-loop lag."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.recording.operation import now_ns
from cogmeter.recording.service_names import STALLS
from cogmeter.recording.stall_places import names_code, stall_advice
from cogmeter.render import formatting
from cogmeter.watch.event_loop.lag import Lag
from cogmeter.watch.event_loop.watchdog import BlockedLoop, Watchdog
from cogmeter.watch.names import fitted
from cogmeter.watch.surface import Surface
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from cogmeter.watch.surface import WatchContext

MOST_PLACES: Final = 200
OTHER_PLACES: Final = "(other places)"
HOUR_NS: Final = 3_600 * 10**9
REMEMBERED: Final = 1_000


class StallWatch(Surface):
    """One operation of ``discord.stalls`` for each stall, named by the innermost line of the host's code."""

    name = "stalls"
    setting = "watch_stalls"
    reads = ("stall_threshold",)

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self.lag = Lag()
        self.watchdog = Watchdog(
            context.settings.stall_threshold, stalled=self._stalled, late=self.lag.add, pauses=context.pauses
        )
        self._quiet = 0  # the watchdog's quiet checks that the lag includes already
        self._places: set[str] = set()
        self._recent: deque[BlockedLoop] = deque(maxlen=REMEMBERED)

    def prepare(self) -> None:
        """Do nothing: no hook is needed."""

    async def install(self) -> None:
        """Start the watchdog on the running loop."""
        await super().install()
        self.context.pauses.begin(self.name)
        self.watchdog.start(asyncio.get_running_loop())

    async def remove(self) -> None:
        """Stop the watchdog's thread."""
        self.watchdog.stop()
        self.context.pauses.end(self.name)
        await super().remove()

    def sample(self) -> dict[str, float]:
        """Return the lag since the last sample: ``loop.lag_p50_ms``, ``loop.lag_p99_ms``, ``loop.lag_max_ms``."""
        quiet = self.watchdog.quiet
        self.lag.add_none(quiet - self._quiet)
        self._quiet = quiet
        return self.lag.take()

    def findings(self) -> list[Finding]:
        """Return the number of stalls in the last hour, and the cause of the longest.

        Stalls are past: ``diagnostics`` judges whether the event loop works now.
        """
        if not self.watchdog.alive:
            advice = "Load cogmeter again; if it ends again, report it with the log"
            return [Finding(self.name, well=False, text="The watchdog's thread has ended", advice=advice)]
        recent, worst = self._last_hour()
        if worst is None:
            return [Finding(self.name, well=True, text="The loop was not blocked in the last hour")]
        took = formatting.duration((worst.end_ns - worst.start_ns) / 1000)
        during = f" during {worst.during}" if worst.during else ""
        place = f" at {worst.place}" if names_code(worst.place) else f", {worst.place[1:-1]}"
        text = f"{recent} in the last hour, the longest {took}{place}{during}"
        return [Finding(self.name, well=True, text=text, advice=stall_advice(worst.place), listed=True)]

    @property
    def names_cause(self) -> bool:
        """True if the finding names the line of code of a block."""
        _, worst = self._last_hour()
        return worst is not None and names_code(worst.place)

    def _last_hour(self) -> tuple[int, BlockedLoop | None]:
        """Return the number of stalls in the last hour, and the longest."""
        since_ns = now_ns() - HOUR_NS
        recent = [stall for stall in self._recent if stall.end_ns >= since_ns]
        return len(recent), max(recent, key=lambda stall: stall.end_ns - stall.start_ns, default=None)

    def _stalled(self, stall: BlockedLoop) -> None:
        self._recent.append(dataclasses.replace(stall, scope=None, stack=()))  # a scope would keep its whole trace
        place = stall.place
        if place not in self._places:
            if len(self._places) >= MOST_PLACES:
                place = OTHER_PLACES
            self._places.add(place)
        recorder = self.context.recorder
        recorder.add_timed(
            recorder.series(STALLS, fitted(place)),
            stall.start_ns,
            stall.end_ns,
            Outcome.OK,
            metadata={"stack": list(stall.stack), "during": stall.during},
            scope=stall.scope,
        )
