"""Installs and removes every surface that the settings switch on; the table of all surfaces."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.watch.background.jobs import Jobs
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.background.loops import BackgroundLoops
from cogmeter.watch.changes import Changes
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.gateway import Gateway
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.resources import Resources
from cogmeter.watch.rest.rest import Rest
from cogmeter.watch.surface import IN_PLACE, Surface, WatchContext

if TYPE_CHECKING:
    from discord.ext import commands

    from cogmeter.alerts.model import LoopState
    from cogmeter.recording.recorder import Recorder
    from cogmeter.settings import Settings
    from cogmeter_storage.model import OperationRecord

_logger = logging.getLogger("cogmeter.watch")

# Every surface, in the order of installation; a new one is a file beside this, and a line here.
SURFACES: Final[tuple[type[Surface], ...]] = (
    Arrivals,
    SlashCommands,
    PrefixCommands,
    Components,
    Acknowledgement,
    Listeners,
    BackgroundLoops,
    Jobs,
    Changes,
    Rest,
    Gateway,
    StallWatch,
    Resources,
)


class Watcher:
    """Watches one bot. A surface that fails as a whole is said, and the others go on."""

    def __init__(self, bot: commands.Bot, settings: Settings, recorder: Recorder) -> None:
        self.receipts = InteractionTracker(recorder, slow_ms=settings.trace_threshold)
        ground = WatchContext(bot, settings, recorder, self.receipts)
        self.skew = ground.skew
        self.surfaces: list[Surface] = []
        self.failed: dict[str, str] = {}
        for surface in SURFACES:
            try:
                if surface.wanted(settings):
                    self.surfaces.append(surface(ground))
            except Exception as error:  # noqa: BLE001 - logged there; the other surfaces go on
                self._fail(surface.name, error)

    async def install(self) -> None:
        """Put every hook in place."""
        for surface in self.surfaces:
            try:
                await surface.install()
            except Exception as error:  # noqa: BLE001 - logged there; the other surfaces go on
                self._fail(surface.name, error)
            else:
                _logger.debug("Watching %s", surface.name)

    def _fail(self, name: str, error: Exception) -> None:
        self.failed[name] = f"{type(error).__name__}: {error}"
        _logger.error("The bot's %s cannot be watched", name, exc_info=error)

    async def remove(self) -> None:
        """Take every hook out again, in the opposite order."""
        for surface in reversed(self.surfaces):
            try:
                await surface.remove()
            except Exception:
                _logger.exception("The hooks on the bot's %s could not all be removed", surface.name)

    def sample(self) -> dict[str, float]:
        """The gauges of all surfaces at this moment."""
        gauges: dict[str, float] = {}
        for surface in self.surfaces:
            try:
                gauges.update(surface.sample())
            except Exception:
                _logger.exception("The bot's %s could not be sampled", surface.name)
        return gauges

    def loops(self) -> list[LoopState]:
        """Background loops and jobs that should run and do not: one for each name, the worst."""
        worst: dict[str, LoopState] = {}
        for surface in self.surfaces:
            try:
                states = surface.loops()
            except Exception:
                _logger.exception("The bot's %s could not be asked for their loops", surface.name)
                continue
            for one in states:
                known = worst.get(one.name)
                if known is None or (known.dead, known.overdue_s) < (one.dead, one.overdue_s):
                    worst[one.name] = one
        return list(worst.values())

    def url_of(self, operation: OperationRecord) -> str | None:
        """Leads to where in Discord an operation that failed or was slow happened, while that is remembered."""
        return self.receipts.people.url_of(operation)

    def findings(self) -> list[Finding]:
        """One line for all surfaces whose hooks are in place, and one or more for each that has more to tell."""
        found = [one for surface in self.surfaces if surface.name not in self.failed for one in surface.findings()]
        in_place = [one.name for one in found if one.text == IN_PLACE]
        told = [one for one in found if one.text != IN_PLACE]
        advice = "See the log; the other surfaces go on"
        told += [Finding(name, well=False, text=why, advice=advice) for name, why in self.failed.items()]
        return [Finding("hooks", well=True, text=f"in place: {', '.join(in_place) or 'none'}"), *told]
