"""The rule about processes that show no sign of life and did not end in an orderly way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import CRITICAL, Reading
from cogmeter.alerts.rules.rule import WHOLE_BOT, Rule, beyond, duration
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits
    from cogmeter_storage.process import ProcessRecord

NAMED: Final = 3  # in the message; of more, only the number
LIVE_US: Final = 60_000_000  # a process that is silent for longer is not asked any more
GONE_US: Final = DAY_US  # a process that is silent for longer is not expected any more


def process_silent(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the time since the last sign of life of each process that should run."""
    subject = PROCESS_SILENT.subject()
    limit = limits.of(subject)
    silent = [one for one in missing(snapshot.processes) if one.silent_us / 1e6 > limit.recovery]
    if not limit.threshold or not silent:
        return
    silent.sort(key=lambda one: one.silent_us, reverse=True)
    names = ", ".join(one.process.name for one in silent[:NAMED])
    more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
    longest_s = silent[0].silent_us / 1e6
    breached = longest_s > limit.threshold
    threshold = duration(limit.threshold * 1000)
    value = beyond(duration(longest_s * 1000), threshold) if breached else duration(longest_s * 1000)
    text = f"Silence of {value} ({names}{more}) {'exceeds' if breached else 'is still near'} threshold of {threshold}"
    yield Reading(subject, longest_s, limit.threshold, text, limit.severity or CRITICAL, breached)


def missing(processes: Sequence[ProcessRecord]) -> list[ProcessRecord]:
    """Return the processes that should run, with those that do: without those that ended or were replaced."""
    return [
        one
        for one in processes
        if (not one.ended or one.lost) and one.silent_us < GONE_US and not _is_replaced(one, processes)
    ]


def live(processes: Sequence[ProcessRecord]) -> list[ProcessRecord]:
    """Return the processes that run."""
    return [one for one in missing(processes) if not one.ended and one.silent_us <= LIVE_US]


def _is_replaced(one: ProcessRecord, processes: Sequence[ProcessRecord]) -> bool:
    """Return whether a process was started again under another name, which may contain its process id."""
    return any(
        other.host == one.host and other.process.shards == one.process.shards and other.started_us > one.seen_us
        for other in processes
    )


PROCESS_SILENT: Final = Rule(
    name="process_silent",
    title="Silent process",
    unit="seconds",
    setting="alert_threshold_process_silent",
    find=process_silent,
    about=WHOLE_BOT,
    next_step="Look at the process and its machine, and start it again",
    leads_to="doctor",
    page="fleet",
    chart="timeline",
    replay=None,
    min_operations=0,
    degrades=True,
)
