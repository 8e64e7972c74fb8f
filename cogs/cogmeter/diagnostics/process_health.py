"""Judges each process of the fleet by its sign of life, its event-loop lag, and its operations in the alert window."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import BAD, Check, Finding, Status, worst
from cogmeter.diagnostics.judgement import judge, lag_status
from cogmeter.query.fleet import FleetProcess, ProcessState, fleet
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


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """A process and its check."""

    process: FleetProcess
    check: Check

    @property
    def sign_of_life(self) -> str:
        """Its state in words: ``alive``, ``silent for 2 min``, ``ended 5 min ago``."""
        age = formatting.duration(self.process.silent_us)
        return {
            ProcessState.ALIVE: "alive",
            ProcessState.SILENT: f"silent for {age}",
            ProcessState.ENDED: f"ended {age} ago",
        }[self.process.state]


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """The judged processes of the database: silent and unhealthy ones first, ended ones last."""

    range: Range
    processes: tuple[ProcessHealth, ...]
    versions: dict[str, int]  # live processes by version of the bot

    @property
    def status(self) -> Status:
        """The worst status of a process, of those that have operations; healthy if none has, unknown without any."""
        present = [one.check.status for one in self.processes if one.process.state is not ProcessState.ENDED]
        known = [status for status in present if status is not Status.UNKNOWN]
        return worst(known or [Status.HEALTHY for _ in present])

    @property
    def alive(self) -> int:
        """The number of live processes."""
        return sum(one.process.alive for one in self.processes)

    @property
    def expected(self) -> int:
        """The number of processes that have not ended in an orderly way."""
        return sum(one.process.state is not ProcessState.ENDED for one in self.processes)

    @property
    def text(self) -> str:
        """One line: ``3 of 4 processes alive; silent: shards 4-7 (2 min); versions: 1.4 (2), 1.5 (1)``."""
        noun = "process" if self.expected == 1 else "processes"
        silent = [one for one in self.processes if one.process.state is ProcessState.SILENT]
        bad = [one for one in self.processes if one.process.alive and one.check.status in BAD]
        parts = [f"{self.alive} of {self.expected} {noun} alive"]
        if silent:
            parts.append(
                "silent: " + _listed([f"{_name(one)} ({formatting.duration(one.process.silent_us)})" for one in silent])
            )
        if bad:
            parts.append("not healthy: " + _listed([_name(one) for one in bad]))
        if len(self.versions) > 1:
            counts = [f"{formatting.cut(name, 40)} ({count})" for name, count in self.versions.items()]
            parts.append("versions differ: " + _listed(counts))
        return "; ".join(parts)


async def fleet_health(query: Query, limits: Limits) -> FleetHealth:
    """Return the processes that share the database, judged over the alerts' window that ends now.

    There are none where only one process can write. The thresholds are those of all services together.

    Raises:
        StorageError: the store cannot be read.
    """
    at_us = query.now_us()
    window_us = int(limits.settings.alert_window * 1e6)
    found = await fleet(query, Range(at_us - window_us, at_us, f"last {formatting.duration(window_us)}"))
    judged = [ProcessHealth(one, _check(one, found, limits)) for one in found.processes]
    return FleetHealth(found.range, tuple(sorted(judged, key=_place)), found.versions)


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
