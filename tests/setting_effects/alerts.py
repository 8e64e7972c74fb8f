"""What the rules find and when alerts fire, on clocks that the test moves; and where alerts are sent."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from factories import QUIET_GAUGES, make_errors, make_process

import cogmeter
from cogmeter.alerts.alerting import Alerting
from cogmeter.alerts.model import LoopState, Reading, Subject
from cogmeter.recording.budgets import Budgets
from cogmeter.recording.waiting import Running
from cogmeter_storage.clock import Clock
from cogmeter_storage.errors import ErrorKind
from setting_effects.place import Place, flushed

BEGIN_US = 1_755_426_000_000_000  # a Sunday, 10:20 UTC
HOUR = 3_600
API = "http.api.example.com"
HEALTHY = QUIET_GAUGES | {"resources.memory_bytes": 1e8, "resources.memory_limit_bytes": 512e6}
Feed = Callable[["Alarm"], Awaitable[object]]


class Alarm:
    """The alerting that the settings build, on clocks that the test moves."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.settings = place.settings()
        self.names = [("(other)", "(other)")]
        self.running: list[Running] = []
        self.now_s = 0.0

    @property
    def now_us(self) -> int:
        return BEGIN_US + int(self.now_s * 1e6)

    async def open(self) -> Alarm:
        self._place.monkeypatch.setattr(Clock, "now_ns", lambda _: self.now_us * 1000)
        self.store = await self._place.store()
        self.alerting = Alerting(
            self.settings,
            self.names,
            self.store,
            notifiers_of=lambda _: [],
            url_of=lambda _: None,
            running=self._running_from,
            budgets=Budgets(),
        )
        self.evaluator = self.alerting.evaluator
        self.evaluator._clock_s, self.evaluator._began_s = (lambda: self.now_s), 0.0
        await self.alerting.start()
        self._place.stack.push_async_callback(self.alerting.stop)
        return self

    def after(self, seconds: float) -> Alarm:
        """Let time pass."""
        self.now_s += seconds
        return self

    async def see(
        self, service: str, *, count: int, failures: int = 0, duration_ms: float = 1.0, metadata: Any = None
    ) -> Alarm:
        """Operations that end now."""
        if (service, "query") not in self.names:
            self.names.append((service, "query"))
        series, extra = self.names.index((service, "query")), (None, metadata) if metadata else None
        flat: list[Any] = []
        for number in range(count):
            flat += [series, int(self.now_s * 1e9), int(duration_ms * 1e6), int(number < failures), extra]
        await self.evaluator.watch(flat)
        return self

    def sampled(self, seconds: float = 15, **changed: float) -> Alarm:
        """Let time pass with a sample of gauges every 15 s; ``__`` in their names means a dot."""
        gauges = HEALTHY | {name.replace("__", "."): value for name, value in changed.items()}
        for _ in range(int(seconds // 15)):
            self.after(15).evaluator.sampled(self.now_us, gauges)
        return self

    async def fail(self, kind: ErrorKind, count: int) -> None:
        """Errors of one group that end now."""
        batch = make_errors("ask", self.now_us, count=count, kind=kind)
        self.evaluator.count_errors([batch], await self.store.errors.add([batch]))

    async def readings(self, rule: str) -> list[Reading]:
        found = await self.evaluator.evaluate(self.now_us)
        return [one for one in found if one.subject.rule == rule and one.breached]

    async def _running_from(self, least_s: float) -> Sequence[Running]:
        return [one for one in self.running if one.age_s >= least_s]


def finds(rule: str, feed: Feed) -> Callable[[Place], Awaitable[object]]:
    """Return what shows the services and operations of which a rule finds a breach after ``feed``."""

    async def observe(place: Place) -> object:
        alarm = await Alarm(place).open()
        await feed(alarm)
        return [
            "/".join(filter(None, (one.subject.service, one.subject.operation))) for one in await alarm.readings(rule)
        ]

    return observe


async def a_third_fails(alarm: Alarm) -> None:
    await alarm.see("graph", count=100, failures=30)


async def a_third_fails_two_minutes_ago(alarm: Alarm) -> None:
    await a_third_fails(alarm)
    alarm.after(120)


async def slow(alarm: Alarm) -> None:
    await alarm.see("graph", count=60, duration_ms=9_000)


async def some_are_slow(alarm: Alarm) -> None:
    await alarm.see("graph", count=90, duration_ms=10)
    await alarm.see("graph", count=10, duration_ms=9_000)


async def busy(alarm: Alarm) -> None:
    for _ in range(10):
        await alarm.after(30).see("graph", count=100)


async def severity_of_slow(place: Place) -> object:
    """The severity of slow operations in the first minutes of a bot, with a threshold that is not set."""
    alarm = await Alarm(place).open()
    await slow(alarm)
    return [one.severity for one in await alarm.readings("response_time") if not one.subject.operation]


async def dependency_fails(alarm: Alarm) -> None:
    await alarm.see(API, count=40, failures=20)


async def logs_errors(alarm: Alarm) -> None:
    await alarm.see("graph", count=33)
    await alarm.see("graph", count=17, metadata={"logged_errors": 2})


async def unhandled(alarm: Alarm) -> None:
    await alarm.after(86_400).fail(ErrorKind.UNHANDLED, 3)


async def new_errors(alarm: Alarm) -> None:
    await alarm.after(86_400).fail(ErrorKind.FAILED, 5)


async def falls_silent(alarm: Alarm) -> None:
    for _ in range(7 * 60):
        await alarm.after(60).see("graph", count=40)
    for _ in range(10):
        await alarm.after(60).evaluator.watch([])


async def burns_its_budget(alarm: Alarm) -> None:
    for _ in range(60):
        await alarm.after(60).see("graph", count=20, failures=6)


async def answers_late(alarm: Alarm) -> None:
    await alarm.see("discord.acknowledgement", count=80, duration_ms=300)
    await alarm.see("discord.acknowledgement", count=20, duration_ms=2_900)


async def loop_is_blocked(alarm: Alarm) -> None:
    await alarm.see("discord.stalls", count=1, duration_ms=2_500)


async def gateway_is_slow(alarm: Alarm) -> None:
    alarm.sampled(gateway__latency_ms__shard_0=2_100.0)


async def connection_is_lost(alarm: Alarm) -> None:
    alarm.sampled()
    for lost in range(1, 7):
        alarm.sampled(60, gateway__disconnects=float(lost))


async def connection_stays_away(alarm: Alarm) -> None:
    alarm.sampled(60).sampled(150, gateway__shards_connected=0.0)


async def loop_dies(alarm: Alarm) -> None:
    alarm.evaluator.sampled(alarm.now_us, {}, [LoopState("Feed.poll", dead=True, overdue_s=0, text="KeyError")])


async def hangs(alarm: Alarm) -> None:
    alarm.running.append(Running("discord.commands", "ask", 75, line="bot.py:42 in ask"))


async def process_dies(alarm: Alarm) -> None:
    alarm.evaluator._processes = [make_process("one"), make_process("two", silent_s=75)]


async def upgrade_stops(alarm: Alarm) -> None:
    alarm.evaluator._processes = [make_process("one", up_s=2 * HOUR), make_process("two", version="1.5", up_s=2 * HOUR)]


async def is_rate_limited(alarm: Alarm) -> None:
    alarm.sampled(rest__rate_limited__user=60.0)


async def sends_invalid_requests(alarm: Alarm) -> None:
    alarm.sampled(rest__invalid_share=0.4)


async def memory_runs_out(alarm: Alarm) -> None:
    alarm.sampled(600)
    for megabytes in (100, 110, 120, 130, 140):
        alarm.sampled(resources__memory_bytes=megabytes * 1e6)


async def memory_grows(alarm: Alarm) -> None:
    for number in range(6 * 12):
        alarm.sampled(300, resources__memory_bytes=2e8 * (1 + number / 60))


async def costs_money(alarm: Alarm) -> None:
    await alarm.see("graph", count=4, metadata={"cost_usd": 2.0})


async def costs_rise(alarm: Alarm) -> None:
    for dollars in (0.2, 0.4, 2.4):
        await alarm.after(HOUR).see("graph", count=1, metadata={"cost_usd": dollars})


async def differs_from_usual(alarm: Alarm) -> None:
    random = np.random.default_rng(1)
    for _ in range(26 * 30):
        for _ in range(3):
            await alarm.see("graph", count=7, duration_ms=float(random.lognormal(2, 0.05)))
        await alarm.after(120).evaluator.evaluate(alarm.now_us)
    for _ in range(5):
        await alarm.after(60).see("graph", count=30, duration_ms=200)
        await alarm.evaluator.evaluate(alarm.now_us)


async def dollars_of_tokens(place: Place) -> object:
    """The costs of an operation that says its model and tokens, and no money."""
    alarm = await Alarm(place).open()
    await alarm.see("graph", count=1, metadata={"model": "my-model", "tokens_in": 1_000_000, "tokens_out": 100_000})
    return alarm.evaluator.costs.day().get("graph", 0.0)


def history(script: str) -> Callable[[Place], Awaitable[object]]:
    """Return what shows the changes of alerts, by kind and seconds: a check every 30 s, ``!`` of them in breach."""

    async def observe(place: Place) -> object:
        alarm = await changed_alarm(place, script)
        changes = (await alarm.store.alerting.changes())[::-1]
        return [(one.kind, (one.at_us - BEGIN_US) // 1_000_000) for one in changes]

    return observe


async def changed_alarm(place: Place, script: str, services: Sequence[str] = ("graph",)) -> Alarm:
    """An alarm after a check every 30 s; at ``!`` the services are in breach."""
    alarm = await Alarm(place).open()
    for check in script:
        found = [
            Reading(Subject("error_rate", service), 0.5, 0.05, "Error rate of 50%", "critical")
            for service in services
            if check == "!"
        ]
        await alarm.alerting.engine.step(found, alarm.now_us)
        alarm.after(30)
    return alarm


async def groups(place: Place) -> object:
    """How many alerts are about several services that fail at the same time."""
    alarm = await changed_alarm(place, "!", ("a", "b", "c"))
    return sum(bool(alert.group) for alert in await alarm.store.alerting.alerts())


PERSON = 123456789012345678


async def budget_is_used_up(place: Place, **person: int) -> tuple[bool, object]:
    """Whether the budget of a guild or user is used up after $1.50, and what the rule about budgets finds."""
    monitor = await place.monitor()
    cogmeter.record("graph", "query", duration_ms=5, metadata={"cost_usd": 1.5, **person})
    await flushed(monitor)
    found = await monitor.alerting.evaluator.evaluate(time.time_ns() // 1_000)
    shares = [one.message.split(" has ")[0] for one in found if one.subject.rule == "cost_share" and one.breached]
    return bool(cogmeter.budget(**person)), shares


async def guild_budget(place: Place) -> object:
    return (await budget_is_used_up(place, guild=PERSON))[0]


async def user_budget(place: Place) -> object:
    return (await budget_is_used_up(place, user=PERSON))[0]


async def share_of_a_budget(place: Place) -> object:
    return (await budget_is_used_up(place, user=PERSON))[1]
