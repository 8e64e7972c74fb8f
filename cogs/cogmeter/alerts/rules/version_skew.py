"""The rule about processes that run different versions of the bot for long."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import WARNING, Reading
from cogmeter.alerts.rules.process_silent import live
from cogmeter.alerts.rules.rule import WHOLE_BOT, Rule, beyond, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits

NAMED: Final = 3  # versions in the message


def version_skew(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the time for which live processes have run at least two versions."""
    subject = VERSION_SKEW.subject()
    limit = limits.of(subject)
    running = [one for one in live(snapshot.processes) if one.process.version]
    starts_us: dict[str, list[int]] = defaultdict(list)
    for one in running:
        starts_us[one.process.version].append(one.started_us)
    if not limit.threshold or len(starts_us) < 2:
        return
    first_us = sorted(min(starts) for starts in starts_us.values())
    hours = (running[0].now_us - first_us[1]) / 3_600_000_000
    if not VERSION_SKEW.beyond_recovery(hours, limit):
        return
    counts = sorted(starts_us, key=lambda version: len(starts_us[version]), reverse=True)
    versions = ", ".join(f"{version} ({len(starts_us[version])})" for version in counts[:NAMED])
    more = f" and {len(counts) - NAMED} more" if len(counts) > NAMED else ""
    breached = hours > limit.threshold
    threshold = f"{number(limit.threshold)} h"
    value = beyond(f"{number(hours)} h", threshold) if breached else f"{number(hours)} h"
    text = f"{len(counts)} versions for {value}: {versions}{more}; {'exceeds' if breached else 'near'} {threshold}"
    yield Reading(subject, hours, limit.threshold, text, limit.severity or WARNING, breached)


VERSION_SKEW: Final = Rule(
    name="version_skew",
    title="Different versions",
    unit="hours",
    setting="alert_threshold_version_skew",
    find=version_skew,
    about=WHOLE_BOT,
    next_step="Restart the processes that run the old version",
    leads_to="doctor",
    page="fleet",
    chart="timeline",
    replay=None,
    min_operations=0,
)
