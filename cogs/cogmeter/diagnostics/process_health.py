"""Judges each process of the fleet by its sign of life, its event-loop lag, and its operations in the alert window."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import BAD, Check, Finding, Status, worst
from cogmeter.diagnostics.judgement import judge, lag_status
from cogmeter.query.fleet import FleetHealth, FleetProcess, ProcessHealth, ProcessState, fleet
from cogmeter.query.records import Range
from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.fleet import Fleet
    from cogmeter.query.query import Query

NAMED: Final = 5  # processes and versions in a text
_ORDER: Final = (Status.UNHEALTHY, Status.DEGRADED, Status.UNKNOWN, Status.HEALTHY)
_NUMBERS: Final = re.compile(r"(\d+)")


async def fleet_health(query: Query, limits: Limits) -> FleetHealth:
    """Return the processes that share the database, judged over the alerts' window that ends now.

    There are none where only one process can write. The thresholds are those of all services together.

    Raises:
        StorageError: the store cannot be read.
    """
    at_us = query.now_us()
    window_us = int(limits.settings.alert_window * 1e6)
    found = await fleet(query, Range(at_us - window_us, at_us, f"last {formatting.duration(window_us)}"))
    judged = [ProcessHealth(one, _check(one, found, limits), _sign_of_life(one)) for one in found.processes]
    processes = tuple(sorted(judged, key=_place))
    health = FleetHealth(found.range, processes, found.versions, "")
    return replace(health, text=_text(health))


def _sign_of_life(process: FleetProcess) -> str:
    age = formatting.duration(process.silent_us)
    return {
        ProcessState.ALIVE: "alive",
        ProcessState.SILENT: f"silent for {age}",
        ProcessState.ENDED: f"ended {age} ago",
    }[process.state]


def _text(health: FleetHealth) -> str:
    """Return the line about the whole fleet."""
    noun = "process" if health.expected == 1 else "processes"
    silent = [one for one in health.processes if one.process.state is ProcessState.SILENT]
    bad = [one for one in health.processes if one.process.alive and one.check.status in BAD]
    parts = [f"{health.alive} of {health.expected} {noun} alive"]
    if silent:
        ages = [f"{_name(one)} ({formatting.duration(one.process.silent_us)})" for one in silent]
        parts.append(f"silent: {_listed(ages)}")
    if bad:
        parts.append(f"not healthy: {_listed([_name(one) for one in bad])}")
    if len(health.versions) > 1:
        counts = [f"{formatting.cut(name, 40)} ({count})" for name, count in health.versions.items()]
        parts.append(f"versions differ: {_listed(counts)}")
    return "; ".join(parts)


def fleet_findings(health: FleetHealth) -> list[Finding]:
    """Return the doctor's finding about the fleet; none unless the database has several processes."""
    return fleet_finding(health.text, len(health.processes), well=health.alive == health.expected)


def fleet_finding(text: str, processes: int, *, well: bool) -> list[Finding]:
    """Return the finding of ``fleet_findings`` by the text of ``FleetHealth`` and the number of processes."""
    advice = "See the log and the host of the silent processes; /perf fleet lists all"
    return [Finding("fleet", well, text, advice, listed=True)] if processes > 1 else []


def _check(process: FleetProcess, found: Fleet, limits: Limits) -> Check:
    age_s = process.silent_us / 1e6
    if process.state is ProcessState.ENDED:
        return Check(process.name, Status.UNKNOWN, "it ended in an orderly way", age_s)
    if process.state is ProcessState.SILENT:
        return Check(process.name, Status.UNHEALTHY, "no sign of life, and no orderly end", age_s)
    lag = Status.HEALTHY if process.lag_us is None else lag_status(process.lag_us / 1000)
    if process.figures is None:
        quiet = f"no operations in the {found.range.label}"
        status = lag if lag in BAD else Status.UNKNOWN
        return Check(process.name, status, "; ".join([*_late(process, lag), quiet]), age_s)
    judgement = judge(process.figures, limits)
    reason = "; ".join([*_late(process, lag), judgement.reason])
    return Check(process.name, worst((judgement.status, lag)), reason, age_s)


def _late(process: FleetProcess, status: Status) -> list[str]:
    return [f"p99 event-loop lag of {formatting.duration(process.lag_us)}"] if status in BAD else []


def _place(one: ProcessHealth) -> tuple[object, ...]:
    """Return the sort key: numbers in names by their value, so that shard 10 comes after shard 9."""
    words = [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in _NUMBERS.split(one.process.name)]
    return (
        one.process.state is ProcessState.ENDED,
        one.process.state is not ProcessState.SILENT,
        _ORDER.index(one.check.status),
        words,
    )


def _name(one: ProcessHealth) -> str:
    return formatting.cut(formatting.clean(one.process.name), 60)


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more
