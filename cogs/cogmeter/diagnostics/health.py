"""All health checks of one monitor, each run at most once a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cogmeter.diagnosis import STALE_S
from cogmeter.diagnostics import bot_checks, monitor_checks
from cogmeter.diagnostics.bot_state import StateFacts, background_runs, judge_state
from cogmeter.diagnostics.judgement import LOOP, store_health, verdict
from cogmeter.diagnostics.service_health import ServiceHealthChecks, judge_operations
from cogmeter.query.query import now_us
from cogmeter.recording.operation import now_ns
from cogmeter.recording.service_names import in_background
from cogmeter.watch.gateway import heard_s, shard_states
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from cogmeter.diagnosis import BotState, Check, ServiceHealth, Verdict
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert

FRESH_NS: Final = 10**9
DROPPING_NS: Final = 300 * 10**9  # how long the buffer counts as dropping after a drop

T = TypeVar("T")


class _Fresh(Generic[T]):
    """The result of a function, cached for a second, or until the active alerts change."""

    def __init__(self, monitor: Monitor, compute: Callable[[], Awaitable[T]]) -> None:
        self._monitor, self._compute = monitor, compute
        self._lock = asyncio.Lock()
        self._cached: tuple[int, object, T] | None = None

    async def __call__(self) -> T:
        async with self._lock:
            alerts = [(alert.uid, alert.state, alert.severity) for alert in self._monitor.alerting.engine.active]
            known = self._cached
            if known is None or now_ns() - known[0] >= FRESH_NS or known[1] != alerts:
                self._cached = known = now_ns(), alerts, await self._compute()
            return known[2]


class Health:
    """The health checks of a monitor. They run on the loop, each for a fraction of a millisecond."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._services = ServiceHealthChecks()
        self._lost_ns: int | None = None  # when a check first found every shard unhealthy
        self._dropped = 0
        self._dropped_ns: int | None = None  # when a check last found new drops
        self.vital: _Fresh[list[Check]] = _Fresh(monitor, self._vital)
        self.own: _Fresh[list[Check]] = _Fresh(monitor, self._own)
        self.services: _Fresh[dict[str, ServiceHealth]] = _Fresh(monitor, lambda: self._services.judge(monitor))

    @property
    def up_s(self) -> float:
        """Return how many seconds the monitor has been running."""
        return (now_ns() - self._monitor.began_ns) / 1e9

    async def verdict(self, active: Sequence[Alert] | None = None) -> Verdict:
        """Return the state of the bot now, which every surface shows; by these alerts, or by those active now."""
        alerts = self._monitor.alerting.engine.active if active is None else active
        return verdict(alerts, await self.foreground(), await self.components())

    async def foreground(self) -> list[Check]:
        """Return the checks of the services now, without the background ones; empty if the store cannot be read."""
        try:
            services = await self.services()
        except StorageError:  # the check of the database shows it
            return []
        return [service.check for name, service in services.items() if not in_background(name)]

    async def operations(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], ServiceHealth]:
        """Return the health now of these pairs of service and operation; of a service as a whole, see ``services``."""
        return await judge_operations(self._monitor, wanted)

    async def of(self, service: str, operation: str | None) -> ServiceHealth | None:
        """Return the health now of a service or of one of its operations; None if the service is not judged."""
        if operation is None:
            return (await self.services()).get(service)
        return (await self.operations({(service, operation)}))[service, operation]

    async def state(self) -> BotState:
        """Return the state of every part of the bot now.

        Raises:
            StorageError: the store cannot be read.
        """
        monitor = self._monitor
        loops, stalls = await background_runs(monitor.query)
        alerts = monitor.alerting.engine.active
        facts = StateFacts(
            verdict=await self.verdict(alerts),
            components=await self.components(),
            services=(await self.services()).values(),
            alerts=alerts,
            gauges=monitor.gauges,
            shards=shard_states(monitor.bot),
            loops=loops,
            failing_loops=monitor.watcher.loops(),
            stalls=stalls,
        )
        return judge_state(facts, at_us=now_us())

    async def components(self) -> list[Check]:
        """Return the checks of bot and monitor, each once; of a check of both, that of the bot."""
        return list({check.name: check for check in (*await self.own(), *await self.vital())}.values())

    async def keep(self) -> None:
        """Store the checks of the components, and the settings of the verdict; see ``store_health``.

        The event loop is stored without its alerts: a reader of the database adds those that are active then.

        Raises:
            StorageError: they cannot be stored now.
        """
        monitor = self._monitor
        checks = [bot_checks.lag(monitor) if check.name == LOOP else check for check in await self.components()]
        await store_health(monitor.store, checks, monitor.settings, now_us=now_us())

    async def _vital(self) -> list[Check]:
        """Check what the bot needs to serve its users."""
        monitor = self._monitor
        return [
            bot_checks.gateway(monitor, self._lost_s()),
            bot_checks.loop(monitor),
            bot_checks.flusher(monitor),
            await bot_checks.database(monitor),
            bot_checks.jobs(monitor),
        ]

    async def _own(self) -> list[Check]:
        """Check the monitor itself."""
        monitor = self._monitor
        shared = {check.name: check for check in await self.vital()}
        return [
            shared["flusher"],
            monitor_checks.buffer(monitor, dropping=self._dropping()),
            shared["database"],
            monitor_checks.jobs(monitor, shared["jobs"]),
            monitor_checks.alerts(monitor),
            *monitor_checks.pushes(monitor),
            monitor_checks.hooks(monitor),
            await monitor_checks.overhead(monitor),
            *monitor_checks.commands(monitor),
        ]

    def _lost_s(self) -> float:
        if not bot_checks.all_lost(self._monitor):
            self._lost_ns = None
            return 0.0
        self._lost_ns = self._lost_ns or now_ns()
        # A first check finds it by the last heartbeat: there is more than one within STALE_S.
        silent_s = (heard_s(self._monitor.bot) or 0.0) - STALE_S
        return max((now_ns() - self._lost_ns) / 1e9, silent_s)

    def _dropping(self) -> bool:
        dropped = self._monitor.recorder.buffer.dropped
        if dropped > self._dropped:
            self._dropped_ns = now_ns()
        self._dropped = dropped
        return self._dropped_ns is not None and now_ns() - self._dropped_ns < DROPPING_NS
