"""Builds, connects, starts and stops all parts of the monitor; the public API of a running one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from cogmeter import default_recorder
from cogmeter.alerts.alerting import Alerting
from cogmeter.alerts.leadership import Leadership
from cogmeter.alerts.out_of_band import OutOfBandAlerts
from cogmeter.alerts.thresholds.keys import OverrideKey
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnostics.attention_reader import Attention
from cogmeter.monitor.answers import Answers
from cogmeter.monitor.claim import claim, release
from cogmeter.monitor.clock_watch import ClockWatch
from cogmeter.monitor.git_revision import revision
from cogmeter.monitor.jobs import note_commands, schedule_jobs
from cogmeter.monitor.overhead import Overhead
from cogmeter.monitor.process_name import process_of
from cogmeter.monitor.pushing import Pushing
from cogmeter.monitor.scheduler import Scheduler
from cogmeter.monitor.setting_changes import SettingChanges
from cogmeter.notifiers.base import NotifierContext
from cogmeter.notifiers.table import build, build_out_of_band
from cogmeter.query.query import Query, now_us
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.markers import THRESHOLD, mark_start
from cogmeter.recording.operation import now_ns
from cogmeter.recording.waiting import RunningReader
from cogmeter.render.charts.builder import ChartBuilder
from cogmeter.render.charts.worker_client import ChartWorker
from cogmeter.render.links import alert_link
from cogmeter.startup import PREFIX, StartupGuard, open_database, open_spool
from cogmeter.watch.interactions.people import new_key, privacy_key, stored_key
from cogmeter.watch.outages import outages_of
from cogmeter.watch.watcher import Watcher
from cogmeter_storage.factory import shown_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import discord

    from cogmeter.alerts.incident_context import IncidentReader
    from cogmeter.diagnosis import Finding
    from cogmeter.monitor.clock_watch import ClockStep
    from cogmeter.monitor.heartbeat import Heartbeat
    from cogmeter.notifiers.base import Notifier
    from cogmeter.recording.budgets import Budgets
    from cogmeter.recording.recorder import Recorder
    from cogmeter.recording.waiting import Running
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry
    from cogmeter_storage.base import StorageError, Store
    from cogmeter_storage.errors import ErrorBatch, ErrorChange

ABANDON_S = 5.0  # for each part of a monitor whose event loop has ended
MEASURING = "measuring"  # the name in ``faults`` of batches that could not be measured for the alert rules
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_logger = logging.getLogger("cogmeter.runtime")


class Monitor(Answers):
    """The running monitor of one bot: ``query`` reads, ``charts`` draws, ``flusher`` writes, ``alerting`` warns."""

    flusher: Flusher
    chart_builder: ChartBuilder
    out_of_band: OutOfBandAlerts | None = None
    heartbeat: Heartbeat | None = None
    watcher: Watcher
    overhead: Overhead
    loop: asyncio.AbstractEventLoop  # the loop on which it was started
    version: str | None = None  # of the bot

    def __init__(self, bot: discord.Client, settings: Settings, *, recorder: Recorder | None = None) -> None:
        """Build the parts; ``start`` starts them. The default ``recorder`` is the package's own."""
        self.settings = settings  # after the start with the changes from chat
        self.setting_changes = SettingChanges(self)
        self.recorder = default_recorder if recorder is None else recorder
        self.charts = ChartWorker(idle_s=settings.chart_idle)
        self.faults: Counter[str] = Counter()  # of cogmeter, by part or job
        self.gauges: Mapping[str, float] = {}  # the newest sample of all surfaces
        self.began_ns = self.sampled_ns = now_ns()  # of its creation and of that sample
        self.sampled_us = 0  # the wall time of that sample
        self.reopened = self.reopened_ns = 0  # how often the database had to be opened again, and when
        self.parts = StartupGuard(self.faults)
        self.reporters: list[Callable[[], list[Finding]]] = []  # of layers above, for the doctor
        self.schedule = Scheduler(self.faults)
        self.pushing = Pushing(self)
        self.leadership = Leadership(lambda: self.store)
        self.clock_watch = ClockWatch(self._stepped, ahead_s=lambda: self.watcher.skew.ahead_s)
        self.bot = bot
        self._exit_stack = AsyncExitStack()
        self._stopping = asyncio.Lock()
        self._started = False

    @property
    def title(self) -> str:
        """Return the name of the bot and its database, without secrets."""
        return f"{self.bot.user or 'not logged in'}, database {self._database}"

    @property
    def closed(self) -> bool:
        """Return whether the bot was closed."""
        return self.bot.is_closed()

    async def start(self) -> None:
        """Open the store and start every part.

        A part that fails is logged, counted in ``faults`` and shown by the doctor, and starts empty. If the start as a
        whole fails, everything that was started is stopped again.

        Raises:
            SettingsError: the database cannot be used; the text names the setting, its value and the fix.
            RecorderInUseError: another bot's monitor uses the recorder.
        """
        self.loop = asyncio.get_running_loop()
        async with AsyncExitStack() as exit_stack:
            await claim(self.recorder, self)
            exit_stack.callback(release, self.recorder, self)
            self.parts.failed.clear()
            _set_level(exit_stack, "cogmeter", LEVELS[self.settings.log_level])
            with self.parts.guard("version", "a new version is not marked"):
                self.version = self.settings.version or await asyncio.to_thread(revision)
            process = process_of(self.bot, self.settings, self.version or "")
            self.store = await open_database(self.settings.database_url, process)
            exit_stack.push_async_callback(lambda: self.store.close())  # noqa: PLW0108 - it may be replaced
            with self.parts.guard("changed settings", "the configured ones apply"):
                await self.setting_changes.read()
            self.query = Query(self.store)
            incidents, limits = lambda: self.alerting.incidents, lambda: self.alerting.limits
            self.attention = Attention(self.query, incidents=incidents, limits=limits)
            _logger.debug("Opened the store %s", self._database)
            self.clock_watch.start((await self.store.status()).last_end_us)
            exit_stack.push_async_callback(self.clock_watch.stop)
            exit_stack.push_async_callback(self.charts.close)
            exit_stack.push_async_callback(self.leadership.end)  # after the last delivery
            await self.leadership.begin()
            await self._start_alerts(exit_stack)
            exit_stack.push_async_callback(self.pushing.end)  # after the last flush
            await self._start_flusher(exit_stack)
            await self._start_watching(exit_stack)
            await self.pushing.begin()
            self._start_jobs(exit_stack)
            # Runs first: Docker kills a container after ten seconds.
            exit_stack.callback(lambda: self.store.stop_waiting())  # noqa: PLW0108 - it may be replaced
            self._exit_stack = exit_stack.pop_all()
        self._started = True
        self.leadership.start(self.reconfigure)
        _logger.info("Monitoring; operations are stored in %s", self._database)

    async def stop(self) -> None:
        """Flush the buffer and stop every part; operations are still recorded into the buffer. Never raises."""
        async with self._stopping:  # the bot may stop it while another monitor claims the recorder
            self._started = False
            try:
                await self._exit_stack.aclose()
            except Exception:
                _logger.exception("A part of the monitor failed to stop")
            _logger.debug("Stopped")

    async def reconfigure(self) -> None:
        """Build the parts that read ``settings`` again; alerts, operations and running commands continue."""
        async with self._stopping:
            if not self._started:
                return
            self.schedule.pause()
            try:
                await self._end_out_of_band()
                await self.alerting.delivery.stop()  # a slow target must not delay the flusher
                async with self.flusher.paused():  # so that the new windows contain what is stored, and no more
                    await self.alerting.finish_check()
                    await self.alerting.stop()
                    await self.watcher.reconfigure(self.settings)
                    await self._begin_alerting()
                self._begin_out_of_band()
                await self.pushing.restart()
                schedule_jobs(self)
            finally:
                self.schedule.resume()
        if self.bot.is_ready():
            await self.ready()

    def on_stop(self, end: Callable[[], Awaitable[None]]) -> None:
        """Call ``end`` when the running monitor is stopped, before its parts are stopped."""
        self._exit_stack.push_async_callback(end)

    async def abandon(self) -> None:
        """Release the hooks, threads and database of a monitor whose event loop does not run any more. Never raises."""
        self._exit_stack.pop_all()  # most of it would wait for tasks that never run again
        parts = vars(self)
        ends: list[Callable[[], Awaitable[object]]] = []
        if "watcher" in parts:
            ends.append(self.watcher.remove)
        if self.out_of_band is not None:
            ends.append(partial(asyncio.to_thread, self.out_of_band.stop))
        if "store" in parts:
            ends.append(self.store.close)
        for end in ends:
            try:
                await asyncio.wait_for(end(), ABANDON_S)
            except Exception:
                _logger.exception("A part of a monitor whose event loop has ended could not be released")
        _logger.warning("Released a monitor whose event loop had ended without unloading it (%s)", self.title)

    async def override(self, values: Mapping[str, str | None], actor: str) -> list[AuditEntry]:
        """Change thresholds while running (None: reset): stored, audited, marked, and effective at once.

        A reset of a calibrated threshold that nobody changed learns it again. Return the real changes. Keys and values
        are those of ``Limits``.

        Raises:
            LimitError: a key or value is invalid; the text names it and the allowed range. Nothing is changed.
            StorageError: the changes cannot be stored. Nothing is changed.
        """
        checked = {key: None if value is None else Limits.check(key, value) for key, value in values.items()}
        entries = await self.store.alerting.override(checked, now_us=now_us(), actor=actor)
        await self.alerting.apply_overrides()
        unchanged = {key for key, value in checked.items() if value is None} - {entry.subject for entry in entries}
        await self.alerting.learn_again(map(OverrideKey.parse, unchanged))
        for entry in entries:
            self.recorder.markers.add(THRESHOLD, f"{entry.subject} {entry.after or 'reset'}")
        return entries

    async def running(self) -> RunningReader:
        """Find the operations that run now: interactions, listeners, loops, jobs and tracked operations."""
        return await RunningReader.read(self.recorder, self.watcher.user_waits())

    async def ready(self) -> None:
        """Check the alert targets now that the bot is connected, and not only at the first alert."""
        await self.alerting.delivery.prepare()
        if self.bot.user is not None:
            await self.pushing.named(self.bot.user.name)
        with self.parts.guard("registered commands", "they are noted later"):
            await note_commands(self)  # not only at the first run of its job: when each was first seen is shown

    @property
    def _database(self) -> str:
        return shown_url(self.settings.database_url)

    async def _start_alerts(self, exit_stack: AsyncExitStack) -> None:
        with self.parts.guard("stored series", "they count against the limit of series when they are recorded again"):
            self.recorder.restore((one.service, one.operation) for one in await self.store.series())
        self.watcher = Watcher(self.bot, self.settings, self.recorder)
        people = self.watcher.tracker.people
        people.key = new_key()
        with self.parts.guard("privacy key", "users are counted again"):
            people.key = await stored_key(self.store, people.key)
        exit_stack.push_async_callback(self._end_alerting)
        await self._begin_alerting()

    async def _begin_alerting(self) -> None:
        previous = self.alerting if self._started else None
        self.chart_builder = ChartBuilder(
            *(self.charts, self.query, self.recorder.markers, self.settings, self.faults),
            gauges=lambda: self.gauges,
            limits=lambda: self.alerting.limits,
            zone=lambda: self.settings.time_zone,
        )
        self.alerting = Alerting(
            self.settings,
            self.recorder.names,
            self.store,
            notifiers_of=self._notifiers,
            url_of=self.watcher.tracker.people.url_of,
            running=self._running_from,
            parts=self.parts,
            budgets=self._budgets(),
            learn=self.recorder.restore,
            term=self.leadership.term,
        )
        if previous is not None:
            self.alerting.evaluator.continue_samples(previous.evaluator)
        await self.alerting.start()

    def _budgets(self) -> Budgets:
        """Return the recorder's budgets with the limits of the settings."""
        budgets, settings = self.recorder.budgets, self.settings
        budgets.begin(self.watcher.tracker.people.key, guild_usd=settings.budget_guild, user_usd=settings.budget_user)
        return budgets

    async def _end_alerting(self) -> None:
        if "alerting" in vars(self):
            await self.alerting.stop()

    async def _running_from(self, least_s: float) -> list[Running]:
        return await (await self.running()).oldest(least_s)

    def _notifiers(self, incidents: IncidentReader) -> list[Notifier]:
        chart_of = self.chart_builder.breach
        context = NotifierContext(
            *(self.settings, self.bot, incidents.of, chart_of, incidents.introduces),
            link_of=lambda alert, until_us=None: alert_link(self.settings, alert, until_us),
        )
        return build(context, self.parts)

    async def _start_flusher(self, exit_stack: AsyncExitStack) -> None:
        self.recorder.buffer.begin(self.settings.max_operations_in_memory, self.settings.max_buffer_mb * 1e6)
        self.recorder.errors.enabled = True
        key = self.watcher.tracker.people.key
        if self.settings.usage and key is not None:
            self.recorder.usage.begin(key)
        else:
            self.recorder.usage.disable()
        traces = self.watcher.tracker.traces
        self.flusher = Flusher(
            self.recorder,
            self.store,
            watch=self._measure,
            replace=self._replace,
            traces=traces,
            on_errors=self._count_errors,
            spool=await open_spool(self.store, self.settings, self.parts),
        )
        self.flusher.start()
        _logger.debug("Flushing; %d series are known", len(self.recorder.names))
        exit_stack.push_async_callback(self.flusher.stop)
        self.overhead = Overhead(self.flusher, lambda: self.watcher.loop_ns)

    async def _measure(self, atoms: list[Any]) -> None:
        """Count a batch for the alert rules. If that fails, the batch is still stored."""
        try:
            await self.alerting.evaluator.watch(atoms)
        except Exception as error:
            self.faults[MEASURING] += 1
            level = logging.ERROR if self.faults[MEASURING] == 1 else logging.DEBUG
            _logger.log(level, "Operations could not be measured for alerts; they are stored", exc_info=error)

    def _count_errors(self, batches: list[ErrorBatch], changes: list[ErrorChange]) -> None:
        self.alerting.evaluator.count_errors(batches, changes)

    async def _start_watching(self, exit_stack: AsyncExitStack) -> None:
        exit_stack.push_async_callback(self.watcher.remove)
        await self.watcher.install()
        self.faults.update(PREFIX + name for name in self.watcher.failed)
        self.recorder.errors.version = self.version
        with self.parts.guard("start marker", "the start or the new version is not marked"):
            await mark_start(self.store, self.recorder.markers, self.version)
        with self.parts.guard("out-of-band alerts", "a blocked event loop is not reported by webhook"):
            exit_stack.push_async_callback(self._end_out_of_band)
            self._begin_out_of_band()

    def _begin_out_of_band(self) -> None:
        delivery = self.alerting.delivery
        self.out_of_band = OutOfBandAlerts(
            outages_of(self.bot, self.settings, self.watcher, delivery.has_active),
            build_out_of_band(self.settings),
            self.alerting.out_of_band_log,
            stopped=lambda: delivery.stopped,
        )
        self.out_of_band.start()

    async def _end_out_of_band(self) -> None:
        if self.out_of_band is not None:
            await asyncio.to_thread(self.out_of_band.stop)  # it may be in the middle of a request

    def _start_jobs(self, exit_stack: AsyncExitStack) -> None:
        with self.parts.guard("scheduler", "nothing is checked, sampled or cleaned up"):
            schedule_jobs(self)
            exit_stack.push_async_callback(asyncio.sleep, 0)  # the scheduler shuts down in the loop's next turn
            self.schedule.start()
            exit_stack.callback(self.schedule.stop)

    async def _stepped(self, step: ClockStep) -> None:
        """Adjust all parts to a step of the clock: a job that is due in a minute is still due in a minute."""
        self.schedule.stepped(step.wall_us)
        if "flusher" in vars(self):
            self.flusher.stepped(step.time_us)
        if "watcher" in vars(self):
            self.watcher.skew.clear()
        if "alerting" in vars(self) and step.time_us:
            await self.alerting.stepped(step.time_us)

    async def _replace(self, error: StorageError) -> Store:
        """Reopen the database after it became corrupt or is no longer the file at its path."""
        _logger.error("%s", error)
        store, done = await self.store.reopen()
        self.reopened, self.reopened_ns = self.reopened + 1, now_ns()
        _logger.error("%s", done)
        self.store = self.query.store = store
        people = self.watcher.tracker.people
        people.key = self.recorder.usage.key = self.recorder.budgets.key = await privacy_key(store, people.key)
        await self.alerting.move(store)
        return store


def _set_level(exit_stack: AsyncExitStack, name: str, level: int) -> None:
    """Set a logger's level until everything is undone."""
    logger = logging.getLogger(name)
    exit_stack.callback(logger.setLevel, logger.level)
    logger.setLevel(level)
