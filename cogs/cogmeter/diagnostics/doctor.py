"""The doctor: checks every part of the running monitor, with a line of advice for each check that fails."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.rules.process import MEMORY_GROWTH
from cogmeter.alerts.thresholds.calibration import CALIBRATED_RULES, guide_threshold
from cogmeter.alerts.thresholds.keys import key_of
from cogmeter.diagnosis import BAD, Finding
from cogmeter.diagnostics.bot_checks import loop
from cogmeter.diagnostics.damage import damage_finding
from cogmeter.diagnostics.process_health import fleet_findings, fleet_health
from cogmeter.recording.recorder import MAX_SERIES
from cogmeter.render import formatting
from cogmeter.render.charts.scripts import packages_for
from cogmeter.render.charts.worker_process import ADVICE
from cogmeter.render.rule_text import measured
from cogmeter.settings import buffer_setting
from cogmeter.startup import PREFIX
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.model import GrownObjects
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.model import StoreStatus

MOST_CALIBRATED: Final = 3  # thresholds that are named
BUSY_PERCENT: Final = 5.0  # percent of a core that cogmeter itself may use


async def examine(monitor: Monitor) -> list[Finding]:
    """Return every finding, failed checks first."""
    findings = [
        *monitor.parts.findings(),
        *monitor.setting_changes.findings(),
        *_recording(monitor),
        *_flushing(monitor),
        *await _database(monitor),
        *await _fleet(monitor),
        *_charts(monitor),
        *_jobs(monitor),
        *_rules(monitor),
        *_calibration(monitor),
        *await _delivery(monitor),
        *monitor.pushing.findings(),
        *_overhead(monitor),
        *_watching(monitor),
        *(finding for report in monitor.reporters for finding in report()),
    ]
    return sorted(findings, key=lambda finding: finding.well)


def _watching(monitor: Monitor) -> Iterator[Finding]:
    """Yield the findings of the watched surfaces; stalls fail while the check of the event loop does."""
    for finding in monitor.watcher.findings():
        if finding.name == StallWatch.name and finding.well:
            check = loop(monitor)
            well = check.status not in BAD
            text = finding.text if well else f"{finding.text}; the event loop is {check.status} now"
            yield replace(finding, well=well, text=text)
        else:
            yield finding


def _recording(monitor: Monitor) -> Iterator[Finding]:
    recorder = monitor.recorder
    buffer = recorder.buffer
    text = f"{buffer.level()}, {formatting.exact(buffer.dropped)} dropped"
    yield Finding("buffer", not buffer.dropped, text, f"Raise {buffer_setting(by_memory=buffer.by_memory)}")
    refused = f"{formatting.counted(recorder.refused, 'operation')} refused for a bad name, duration or outcome"
    yield Finding("recording", not recorder.refused, refused, "Names are 1 to 100 printable characters")
    errors = recorder.errors
    waiting = f"{formatting.waiting(len(errors), 'group')}, {formatting.counted(errors.dropped, 'error')} not counted"
    yield Finding("errors", not errors.dropped, waiting, "Too many different errors at once; the log shows them")
    overflowed = formatting.counted(recorder.overflowed, "operation")
    series = f"{formatting.exact(len(recorder.names))} series, {overflowed} in (other)"
    advice = f"At most {MAX_SERIES} series: take ids and user input out of operation names"
    yield Finding("series", not recorder.overflowed, series, advice)


def _flushing(monitor: Monitor) -> Iterator[Finding]:
    flusher = monitor.flusher
    if flusher.last_error is not None:
        outage = (
            f"{formatting.counted(flusher.failures, 'attempt')} failed in {formatting.duration(flusher.away_s * 1e6)}"
        )
        text = f"{outage}, {_waiting(monitor)}: {flusher.last_error}"
        yield Finding("flusher", well=False, text=text, advice="Retried automatically; fix the cause named here")
        return
    age_s = flusher.age_s
    if flusher.lost_users:
        lost = f"the users and servers of {formatting.counted(flusher.lost_users, 'operation')} were not counted"
        yield Finding("usage", well=False, text=lost, advice="The log has the reason; the operations are stored")
    text = "has not flushed yet" if age_s is None else f"flushed {formatting.duration(age_s * 1e6)} ago"
    text += f", {formatting.counted(flusher.written, 'operation')} stored"
    if flusher.backlog.spooled:
        text += f"; {_waiting(monitor)}"
    if flusher.backlog.lost:
        text += f"; {formatting.exact(flusher.backlog.lost)} in a spool that cannot be read"
    well = not flusher.problem() and not flusher.backlog.lost
    yield Finding("flusher", well=well, text=text, advice="See the log")


def _waiting(monitor: Monitor) -> str:
    """Return how many operations wait for the store, in memory and in the spool, and how many were dropped."""
    flusher, spool = monitor.flusher, monitor.flusher.backlog.spool
    text = f"{formatting.waiting(flusher.pending + len(monitor.recorder.buffer), 'operation')} in memory"
    if spool is not None:
        size = f"{formatting.size(spool.size_bytes)} of {formatting.size(spool.max_bytes)}"
        text += f", {formatting.exact(spool.operations)} in the spool ({'full, ' if spool.full else ''}{size})"
    return f"{text}, {formatting.exact(flusher.dropped)} dropped during the outage"


async def _database(monitor: Monitor) -> list[Finding]:
    try:
        status = await monitor.store.status()
    except StorageError as error:
        return [Finding("database", well=False, text=str(error), advice="Operations are recorded into the buffer")]
    size = Finding("database", well=True, text=_size(status))
    return [size, damage_finding(status.damage), _file(monitor), *monitor.clock_watch.findings(status.clock)]


async def _fleet(monitor: Monitor) -> list[Finding]:
    try:
        return fleet_findings(await fleet_health(monitor.query, monitor.alerting.limits))
    except StorageError:
        return []  # the finding about the database says it


def _file(monitor: Monitor) -> Finding:
    times = monitor.reopened
    again = f"opened again {formatting.counted(times, 'time')} since the start"
    text = f"{again}: it was damaged, deleted, replaced, or lost its log"
    advice = "The log shows what happened and what was saved. Stop the bot before you move or restore its database"
    return Finding("database file", not times, text if times else "in place", advice)


def _size(status: StoreStatus) -> str:
    written = "nothing written yet" if status.last_write_us is None else f"last write {_ago(status.last_write_us)}"
    size = f"{formatting.size(status.size_bytes)}, {formatting.counted(status.operations, 'operation')}"
    return f"{size}, {formatting.exact(status.series)} series, {written}"


def _charts(monitor: Monitor) -> Iterator[Finding]:
    if not monitor.settings.charts:
        yield Finding("charts", well=True, text="off: PERFORMANCE_CHARTS=false")
        return
    if reason := monitor.charts.unavailable_reason:
        yield Finding("charts", well=False, text=reason, advice=ADVICE)
        return
    if missing := monitor.charts.missing_glyphs:
        text = f"no font of this machine has {formatting.cut(' '.join(missing), 60)}: charts replace such names"
        advice = f"Install fonts, on Debian or Ubuntu: apt-get install {packages_for(missing)}"
        yield Finding("fonts", well=False, text=text, advice=advice)
    faults = monitor.faults["charts"]
    yield Finding("charts", not faults, f"{monitor.charts.state}, {faults} failed", "See the log; answers come without")


def _jobs(monitor: Monitor) -> Iterator[Finding]:
    failed = {name: count for name, count in monitor.faults.items() if name != "charts" and not name.startswith(PREFIX)}
    text = ", ".join(
        f"{name} failed {formatting.counted(count, 'time')}{_last_runs(monitor, name)}"
        for name, count in failed.items()
    )
    # A job has no next_run_time before the scheduler has started.
    times = {job.id: getattr(job, "next_run_time", None) for job in monitor.schedule.jobs}
    due = ", ".join(f"{name} {_until(at.timestamp())}" for name, at in times.items() if at)
    yield Finding("jobs", not failed, text or f"next: {due}", "See the log; each job runs again at its next time")


def _last_runs(monitor: Monitor, name: str) -> str:
    """Return the error of a failing job and the number of failed runs; empty for a job that works."""
    failing = monitor.schedule.failing.get(name)
    return (
        f" (the last {formatting.counted(failing.runs, 'run')}: {formatting.cut(failing.error, 200)})"
        if failing is not None
        else ""
    )


def _rules(monitor: Monitor) -> Iterator[Finding]:
    faults, engine = monitor.alerting.evaluator.faults, monitor.alerting.engine
    failed = ", ".join(f"{rule} failed {formatting.counted(count, 'time')}" for rule, count in faults.items())
    checks = (
        formatting.counted(engine.checks, "check") if monitor.leadership.leads else "checked by the process that leads"
    )
    text = failed or f"{checks}, {formatting.counted(len(engine.active), 'active alert')}"
    unknown = {*engine.unknown_rules, *monitor.alerting.limits.left_out}
    if unknown:
        names = formatting.cut(", ".join(sorted(unknown)), 200)
        text += f"; alerts and thresholds that this version does not know are kept and have no effect: {names}"
    yield Finding("rules", not failed, text, "A fault of cogmeter; the rule raises no alerts. See the log")
    if any(alert.rule == MEMORY_GROWTH.name for alert in engine.active):
        yield _memory_suspects(monitor.watcher.grown)


def _calibration(monitor: Monitor) -> Iterator[Finding]:
    """Return which learned thresholds are in effect, as every list of thresholds shows them, and how many are not.

    The highest factors above the guide come first.
    """
    limits = monitor.alerting.limits
    if limits.calibration is None or not any(map(limits.calibrates, CALIBRATED_RULES)):
        return
    learned = [subject for subject in limits.calibration if limits.calibrated(subject) is not None]
    raised = [subject for subject in learned if limits.raised(subject) is not None]
    raised.sort(key=lambda subject: -limits.of(subject).threshold / guide_threshold(subject.rule))
    named = [f"{key_of(subject)} {measured(subject.rule, limits.of(subject).threshold)}" for subject in raised]
    more = f" and {len(named) - MOST_CALIBRATED} more" if len(named) > MOST_CALIBRATED else ""
    provisional = sum(not known.settled for known in map(limits.raised, raised) if known is not None)
    text = f"{formatting.exact(len(learned))} learned: {formatting.exact(len(raised))} in effect"
    text += f" ({', '.join(named[:MOST_CALIBRATED])}{more})" if named else ""
    text += f", {formatting.exact(provisional)} of them provisional" if provisional else ""
    if within := len(learned) - len(raised):
        text += f"; {formatting.exact(within)} within the defaults, which apply instead"
    yield Finding("thresholds", well=True, text=text)


def _memory_suspects(grown: GrownObjects | None) -> Finding:
    """Return what grew, while the alert about growing memory is active."""
    if grown is None:
        advice = "Compared after 15 min; needs PERFORMANCE_WATCH_MEMORY"
        return Finding("memory growth", well=False, text="live objects are not compared yet", advice=advice)
    text = grown.text(len(grown.names))
    if text:
        advice = "Remove what is not needed any more, or give caches a maximum size"
        return Finding("memory growth", well=False, text=text, advice=advice)
    advice = "Look at memory outside of Python objects: images, arrays, C libraries"
    return Finding("memory growth", well=False, text="no group of live objects grew by 1 MB or more", advice=advice)


async def _delivery(monitor: Monitor) -> list[Finding]:
    delivery, dropped = monitor.alerting.delivery, monitor.recorder.markers.dropped
    await delivery.prepare()  # channels and permissions may have changed since the start
    return [
        *delivery.findings(),
        *(monitor.out_of_band.findings() if monitor.out_of_band else ()),
        *(monitor.heartbeat.findings() if monitor.heartbeat else ()),
        Finding("markers", not dropped, f"{dropped} dropped", "Add fewer markers: deploys, releases, switches"),
    ]


def _overhead(monitor: Monitor) -> Iterator[Finding]:
    percent = monitor.overhead.percent()
    text = f"about {formatting.percent(percent / 100)} of a core for cogmeter itself"
    yield Finding("overhead", percent < BUSY_PERCENT, text, "Switch off a PERFORMANCE_WATCH_* surface you do not need")


def _ago(at_us: int) -> str:
    return f"{formatting.duration(max(clock.now_us() - at_us, 0))} ago"


def _until(at_s: float) -> str:
    return f"in {formatting.duration(max(at_s - time.time(), 0.0) * 1e6)}"
