"""What can be said from outside about how a bot is: by its database, or by what its API says of itself."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.diagnostics.damage import damage_finding
from cogmeter.diagnostics.judgement import Judgement, judge
from cogmeter.monitor.clock_watch import clock_finding, impossible_finding
from cogmeter.render import formatting
from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter_bot.sources.freshness import CONNECTED, limit_s
from cogmeter_storage.clock import AHEAD_US
from cogmeter_storage.model import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sized
    from pathlib import Path

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.schemas.dashboard import Dashboard, OverallStats
    from cogmeter.schemas.figures import Stats
    from cogmeter.schemas.health import CheckAnswer
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import StoreStatus

LATE_US: Final = 5 * MINUTE_US  # a delivery that waits for longer is in trouble
LEAST_FREE_BYTES: Final = 200_000_000
_WELL: Final = ("healthy", "unknown")  # as /health says it; what is starting is not ill


class FindingAnswer(Schema):
    """One line of the doctor."""

    name: str
    well: bool
    text: str
    advice: str

    @classmethod
    def of(cls, one: Finding) -> FindingAnswer:
        """That of a finding; advice only where there is something to do."""
        return cls(name=one.name, well=one.well, text=safe.text(one.text), advice="" if one.well else one.advice)


class Diagnosis(Schema):
    """All findings, what is not well first."""

    source: str
    healthy: bool
    findings: list[FindingAnswer]

    @classmethod
    def of(cls, source: str, findings: Iterable[Finding]) -> Diagnosis:
        """That of these findings."""
        found = sorted(findings, key=lambda one: one.well)
        made = [FindingAnswer.of(one) for one in found]
        return cls(source=source, healthy=all(one.well for one in found), findings=made)


async def of_database(
    store: Store, path: Path, view: Dashboard, settings: Settings, limits: Limits, *, now_us: int
) -> list[Finding]:
    """What the database tells of its bot."""
    await store.verify()
    status = await store.status()
    since_us = now_us - int(limit_s(settings.sample_interval) * 1e6)
    samples = (await store.samples([CONNECTED], since_us, now_us + 1))[CONNECTED]
    return [
        _size(status, path),
        damage_finding(status.damage),
        *_clock(status),
        _retention(status, settings),
        _fresh(status, samples, since_us, now_us),
        *_gateway(samples),
        *_room(status, path),
        await _deliveries(store, now_us),
        *of_view(view, limits),
    ]


def of_view(view: Dashboard, limits: Limits) -> Iterator[Finding]:
    """Return the findings about active alerts and about each service above its error-rate threshold."""
    messages = [one.message for one in view.alerts]
    text = f"{len(messages)} active: {formatting.cut(messages[0], 100)}" if messages else "no active alerts"
    yield Finding("alerts", not messages, text, "See `cogmeter alerts`")
    for name, stats in view.service_stats.items():
        if judged(stats, limits, name).failing:
            share = formatting.percent(stats.failed_operations / stats.total_operations)
            said = f"{share} of {formatting.exact(stats.total_operations)} operations failed"
            yield Finding(f"service {name}", well=False, text=said, advice=f"See `cogmeter errors --services {name}`")


@dataclass(frozen=True, slots=True)
class _AnswerFigures:
    """The key figures of a JSON answer; see ``judgement.Measured``."""

    stats: Stats | OverallStats

    @property
    def operations(self) -> int:
        return self.stats.total_operations

    @property
    def failures(self) -> int:
        return self.stats.failed_operations

    def response_us(self, statistic: str) -> float | None:
        value_ms: float | None = getattr(self.stats, f"{statistic}_response_time", None)
        return None if value_ms is None else value_ms * 1000


def judged(stats: Stats | OverallStats, limits: Limits, service: str = "", operation: str = "") -> Judgement:
    """Compare the statistics of a service or operation with the thresholds in effect; see ``judge``."""
    return judge(_AnswerFigures(stats), limits, service, operation)


def of_checks(checks: dict[str, CheckAnswer], prefix: str = "") -> Iterator[Finding]:
    """What a /health of the bot says of each component."""
    for name, check in checks.items():
        advice = "`/perf doctor` in Discord says more"
        yield Finding(f"{prefix}{name}", check.status in _WELL, f"{check.status}: {check.reason}", advice)


def named(findings: Iterable[Finding], services: Collection[str] | None) -> list[Finding]:
    """Without the findings on services that were not asked for."""
    prefix = "service "
    wanted = None if services is None else {f"{prefix}{one}" for one in services}
    return [one for one in findings if wanted is None or not one.name.startswith(prefix) or one.name in wanted]


def _counted(some: Sized, one: str, many: str) -> str:
    return f"{len(some)} {one if len(some) == 1 else many}"


def _size(status: StoreStatus, path: Path) -> Finding:
    size = f"{formatting.short(status.size_bytes / 1e6)} MB, {formatting.exact(status.operations)} operations"
    said = f"{path}: {size}, {status.series} series, schema {status.schema_version}"
    return Finding("database", status.series > 0, said, "Nothing has been recorded yet: start the bot")


def _clock(status: StoreStatus) -> Iterator[Finding]:
    stored, impossible = clock_finding(status.clock), impossible_finding()
    if not stored.well:
        yield stored
    if impossible is not None:
        yield impossible


def _retention(status: StoreStatus, settings: Settings) -> Finding:
    """Whether clean-up keeps up: a bot that is off leaves old data, so ages count from the newest operation."""
    first_us, last_us = status.first_end_us, status.last_end_us
    kept_us = 0 if first_us is None or last_us is None else last_us - first_us
    due_us = int(settings.retention_hours * HOUR_US) + HOUR_US + 2 * int(settings.cleanup_interval_minutes * MINUTE_US)
    said = (
        f"operations of {formatting.duration(kept_us)} are stored,"
        f" PERFORMANCE_RETENTION_HOURS={settings.retention_hours:g}"
    )
    return Finding("clean-up", kept_us <= due_us, said, "Old data is not removed: see the bot's log, or `/perf doctor`")


def _fresh(status: StoreStatus, samples: list[tuple[int, float]], since_us: int, now_us: int) -> Finding:
    newest_us = max(status.last_end_us or 0, samples[-1][0] if samples else 0)
    if not newest_us:
        return Finding("freshness", well=False, text="nothing has been written yet", advice="Start the bot")
    if newest_us > now_us + AHEAD_US:
        said = (
            f"the last record lies {formatting.duration(newest_us - now_us)} in the future: the clock is or was wrong"
        )
        advice = "Set this machine's clock. If it is right, restart the bot: it sets such records apart"
        return Finding("freshness", well=False, text=said, advice=advice)
    said = f"the last record is {formatting.duration(max(now_us - newest_us, 0))} old"
    return Finding("freshness", newest_us >= since_us, said, "The bot hangs, or does not run: see its log")


def _gateway(samples: list[tuple[int, float]]) -> Iterator[Finding]:
    if samples:
        connected = samples[-1][1] > 0
        shards = "1 shard" if samples[-1][1] == 1 else f"{samples[-1][1]:g} shards"
        said = f"{shards} connected" if connected else "not connected to Discord"
        yield Finding("gateway", connected, said, "Check the network and https://discordstatus.com")


def _room(status: StoreStatus, path: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return
    said = f"{formatting.short(free / 1e6)} MB free on the database's disk"
    enough = free >= max(LEAST_FREE_BYTES, status.size_bytes // 10)
    yield Finding("disk", enough, said, "Free some space, or lower PERFORMANCE_RETENTION_HOURS and `cogmeter vacuum`")


async def _deliveries(store: Store, now_us: int) -> Finding:
    due = await store.alerting.due(now_us)
    late = [one for one in due if one.due_us < now_us - LATE_US]
    targets = ", ".join(sorted({one.target for one in late}))
    waiting = _counted(due, "waits to be sent", "wait to be sent") if due else "none waits to be sent"
    said = waiting + (f", {len(late)} for over 5 minutes: {targets}" if late else "")
    return Finding("deliveries", not late, said, "See the bot's log, or `/perf doctor`")
