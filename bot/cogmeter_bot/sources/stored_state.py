"""What a database shows of the state of its bot: stored checks, services, gauges of the last samples, and alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.diagnosis import BAD, MOST_SHARDS, STALE_S, Check, ServiceHealth, ShardState, Status
from cogmeter.diagnostics.bot_state import StateFacts, background_runs
from cogmeter.diagnostics.judgement import stored_health, verdict
from cogmeter.query.query import now_us
from cogmeter.recording.recorder import OTHER
from cogmeter.watch.rest.budget import SCOPES
from cogmeter_bot.sources.diagnosis import (
    alert_window,
    components_of,
    database_findings,
    services_now,
    stored_components,
)
from cogmeter_bot.sources.freshness import max_age_s
from cogmeter_storage.alerting import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.diagnosis import Finding, Verdict
    from cogmeter.diagnostics.judgement import StoredHealth
    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures, Range
    from cogmeter.schemas.alerts import AlertAnswer

GAUGES: Final = (
    "loop.lag_p99_ms",
    "rest.invalid_share",
    "rest.rate_limit_wait_s",
    *(f"rest.rate_limited.{scope}" for scope in SCOPES),
)
LATENCY: Final = "gateway.latency_ms.shard_"
HEARTBEAT: Final = "gateway.heartbeat_age_s.shard_"


class JudgedNow(NamedTuple):
    """The judgement of the alert window that ends now."""

    window: Range
    findings: list[Finding]  # about the database and the bot that writes it
    health: StoredHealth  # what the bot stored last
    stored: list[Check]  # the checks that it stored; empty if it does not run
    services: list[Check]
    alerts: list[AlertAnswer]
    verdict: Verdict


async def judged_now(query: Query, limits: Limits, *, name: str, path: Path | None) -> JudgedNow:
    """Judge the alert window that ends now; ``name`` is that of the database, ``path`` its file if it is one.

    Raises:
        StorageError: the store cannot be read.
    """
    at_us = now_us()
    window = alert_window(limits, at_us)
    checks, alerts = await services_now(query, window, limits)
    findings = await database_findings(query.store, name, path, limits, now_us=at_us)
    oldest_us = at_us - int(max_age_s(limits.settings.sample_interval) * 1e6)
    health = await stored_health(query.store)
    stored = stored_components(health, alerts) if health.at_us >= oldest_us else []
    found = verdict(alerts, checks, components_of(findings, stored))
    return JudgedNow(window, findings, health, stored, checks, alerts, found)


async def stored_facts(
    query: Query, verdict: Verdict, components: Sequence[Check], judged: Sequence[Check], *, window: Range, age_s: float
) -> StateFacts:
    """Return the facts of ``judge_state``; samples older than ``age_s`` seconds are left out.

    Raises:
        StorageError: the store cannot be read.
    """
    view = await query.overview(window)
    loops, stalls = await background_runs(query)
    shards = [f"{kind}{number}" for number in range(MOST_SHARDS) for kind in (LATENCY, HEARTBEAT)]
    since_us = window.until_us - int(age_s * 1e6)
    samples = await query.store.samples([*GAUGES, *shards], since_us, window.until_us)
    gauges = {name: values[-1][1] for name, values in samples.items() if values}
    checks = {check.name: check for check in judged}
    figures = dict([*view.services, *view.background])
    names = sorted({*figures, *(series.service for series in await query.store.series() if series.service != OTHER)})
    return StateFacts(
        verdict=verdict,
        components=components,
        services=[_health(name, figures.get(name), checks.get(name)) for name in names],
        alerts=await query.store.alerting.alerts(ACTIVE),
        gauges=gauges,
        shards=list(_shards(gauges)),
        loops=loops,
        stalls=stalls,
    )


def _health(name: str, figures: Figures | None, check: Check | None) -> ServiceHealth:
    """Return the health of a service; background services have no check of their own."""
    if figures is None or not figures.operations:
        quiet = Check(name, Status.UNKNOWN, "no operations in the alert window")
        return ServiceHealth(check if check is not None and check.status in BAD else quiet)
    judged = check or Check(name, Status.HEALTHY, "")
    return ServiceHealth(judged, figures.operations, figures.error_rate, figures.mean_us, figures.p95_us)


def _shards(gauges: Mapping[str, float]) -> list[ShardState]:
    numbers = sorted({int(name.rpartition("_")[2]) for name in gauges if name.startswith((LATENCY, HEARTBEAT))})
    return [_shard(number, gauges.get(f"{LATENCY}{number}"), gauges.get(f"{HEARTBEAT}{number}")) for number in numbers]


def _shard(number: int, latency_ms: float | None, age_s: float | None) -> ShardState:
    stale = age_s is not None and age_s > STALE_S
    problem = f"had its last heartbeat acknowledged {age_s:.0f} s ago" if stale else ""
    return ShardState(number, problem, None if latency_ms is None else latency_ms * 1000)
