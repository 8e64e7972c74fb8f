"""The table of all surfaces; installs and removes those that the settings enable."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from discord.ui.view import BaseView

from cogmeter.diagnosis import Finding
from cogmeter.recording import tracing
from cogmeter.recording.waiting import UserWaits
from cogmeter.watch.background.jobs import Jobs
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.background.loops import BackgroundLoops
from cogmeter.watch.changes import Changes
from cogmeter.watch.client import bot_of
from cogmeter.watch.dependencies.http import HttpClients
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.gateway import Gateway
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.logged_errors import LoggedErrors
from cogmeter.watch.memory.memory import MemoryWatch
from cogmeter.watch.outcomes import cause_of
from cogmeter.watch.resources import Resources
from cogmeter.watch.rest.rest import Rest
from cogmeter.watch.surface import IN_PLACE, Surface, WatchContext, hook_findings
from cogmeter.watch.unhandled_errors import UnhandledErrors

if TYPE_CHECKING:
    import discord

    from cogmeter.alerts.model import GrownObjects, LoopState
    from cogmeter.recording.recorder import Recorder
    from cogmeter.settings import Settings
    from cogmeter_storage.model import OperationRecord

_VIEW_WAITS: Final = frozenset({BaseView.wait.__code__})

_logger = logging.getLogger("cogmeter.watch")

# Every surface, in the order of installation: a new one is a file in this package and a line here.
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
    HttpClients,
    Gateway,
    StallWatch,
    Resources,
    UnhandledErrors,
    LoggedErrors,
    MemoryWatch,
)


class Watcher:
    """The surfaces of one bot or plain client. One that fails as a whole is reported, and the others continue."""

    def __init__(self, bot: discord.Client, settings: Settings, recorder: Recorder) -> None:
        self.tracker = InteractionTracker(recorder, slow_ms=settings.trace_threshold)
        self._recorder = recorder
        self._context = context = WatchContext(bot, settings, recorder, self.tracker)
        self.skew, self.events = context.skew, context.events
        self._bot = bot
        self.surfaces: list[Surface] = []
        self.failed: dict[str, str] = {}
        self._create()

    async def install(self) -> None:
        """Install every surface."""
        self._recorder.errors.unwrap = cause_of
        for surface in self.surfaces:
            await self._install(surface)

    async def reconfigure(self, settings: Settings) -> None:
        """Watch what other settings enable. Surfaces that they do not change stay, and so do running commands."""
        before, self._context.settings = self._context.settings, settings
        for surface in reversed(self.surfaces.copy()):
            outdated = any(getattr(before, name) != getattr(settings, name) for name in surface.reads)
            if outdated or not surface.wanted(settings):
                self.surfaces.remove(surface)
                self.failed.pop(surface.name, None)
                await self._remove(surface)
        for surface in self._create():
            await self._install(surface)

    def _create(self) -> list[Surface]:
        """Create the surfaces that the settings enable and that do not exist yet; return them."""
        known = {type(surface): surface for surface in self.surfaces}
        created: list[Surface] = []
        for kind in SURFACES:
            try:
                watched = kind.wanted(self._context.settings) and not (kind.needs_bot and bot_of(self._bot) is None)
                if watched and kind not in known:
                    known[kind] = kind(self._context)
                    created.append(known[kind])
            except Exception as error:  # noqa: BLE001 - logged there; the other surfaces continue
                self._fail(kind.name, error)
        self.surfaces = [known[kind] for kind in SURFACES if kind in known]
        return created

    async def _install(self, surface: Surface) -> None:
        try:
            await surface.install()
        except Exception as error:  # noqa: BLE001 - logged there; the other surfaces continue
            self._fail(surface.name, error)
        else:
            _logger.debug("Watching %s", surface.name)

    async def _remove(self, surface: Surface) -> None:
        try:
            await surface.remove()
        except Exception:
            _logger.exception("The hooks on the bot's %s could not all be removed", surface.name)

    def _fail(self, name: str, error: Exception) -> None:
        self.failed[name] = f"{type(error).__name__}: {error}"
        _logger.error("The bot's %s cannot be watched", name, exc_info=error)

    async def remove(self) -> None:
        """Remove every surface in reverse order, and record the commands that still run as never finished."""
        for surface in reversed(self.surfaces):
            await self._remove(surface)
        try:
            scope = tracing.current()  # of the command that unloads the monitor, which may succeed
            self.tracker.give_up(but=None if scope is None else scope.trace)
        except Exception:
            _logger.exception("The commands that still run could not be recorded")

    def sample(self) -> dict[str, float]:
        """Return the present gauges of all surfaces."""
        gauges: dict[str, float] = {}
        for surface in self.surfaces:
            try:
                gauges.update(surface.sample())
            except Exception:
                _logger.exception("The bot's %s could not be sampled", surface.name)
        return gauges

    def loops(self) -> list[LoopState]:
        """Return background loops and jobs that should run and do not, the worst for each name."""
        worst: dict[str, LoopState] = {}
        for surface in self.surfaces:
            try:
                states = surface.loops()
            except Exception:
                _logger.exception("The background loops of the bot's %s could not be checked", surface.name)
                continue
            for state in states:
                known = worst.get(state.name)
                if known is None or (known.dead, known.overdue_s) < (state.dead, state.overdue_s):
                    worst[state.name] = state
        return list(worst.values())

    def user_waits(self) -> UserWaits:
        """Return how the bot's code waits for users now: for a view, or by ``bot.wait_for``."""
        listeners = getattr(self._bot, "_listeners", {})  # no public name
        futures = [id(future) for waiting in list(listeners.values()) for future, *_ in waiting]
        return UserWaits(_VIEW_WAITS, frozenset(futures))

    @property
    def grown(self) -> GrownObjects | None:
        """The live objects that grew within the last hour; None if that is not known."""
        return next((surface.grown for surface in self._memory), None)

    def count_objects_now(self) -> None:
        """Count live objects soon, to name what makes the memory grow."""
        for surface in self._memory:
            surface.take_soon()

    @property
    def loop_ns(self) -> int:
        """The time that counting live objects has taken on the event loop."""
        return sum(surface.loop_ns for surface in self._memory)

    @property
    def _memory(self) -> list[MemoryWatch]:
        return [surface for surface in self.surfaces if isinstance(surface, MemoryWatch)]

    def url_of(self, operation: OperationRecord) -> str | None:
        """Return the link to the message of a failed or slow operation, while it is remembered."""
        return self.tracker.people.url_of(operation)

    def findings(self) -> list[Finding]:
        """Return one finding for all surfaces whose hooks are in place, and the findings of the others."""
        working = [surface for surface in self.surfaces if surface.name not in self.failed]
        findings = [finding for surface in working for finding in surface.findings()]
        in_place = [finding.name for finding in findings if finding.text == IN_PLACE]
        others = [finding for finding in findings if finding.text != IN_PLACE]
        advice = "See the log; the other surfaces work"
        others += [Finding(name, well=False, text=error, advice=advice) for name, error in self.failed.items()]
        others += hook_findings("events", self.events.hooks)
        return [Finding("hooks", well=True, text=f"in place: {', '.join(in_place) or 'none'}"), *others]
