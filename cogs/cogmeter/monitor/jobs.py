"""The scheduled jobs of a monitor: threshold checks, samples, roll-up, baselines, clean-up and the heartbeat."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter.monitor.heartbeat import Heartbeat
from cogmeter.query.query import now_us
from cogmeter.query.usage import register_commands
from cogmeter.recording.markers import store_markers
from cogmeter.recording.operation import now_ns
from cogmeter.watch.gateway import connection_problem
from cogmeter.watch.registered_commands import command_names
from cogmeter_storage.model import Retention

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

FOLD_INTERVAL_S: Final = 60.0
KEEP_INTERVAL_S: Final = 3600.0
COSTS_INTERVAL_S: Final = 10.0
REGISTERED_INTERVAL_S: Final = 300.0
CALIBRATE_INTERVAL_S: Final = 300.0
DEPLOY_CHECK_INTERVAL_S: Final = 60.0
FOLLOW_INTERVAL_S: Final = 3.0  # what people change in one process is in effect in all others within 5 s

_logger = logging.getLogger("cogmeter.runtime")


def schedule_jobs(monitor: Monitor) -> None:
    """Add every job to the monitor's scheduler."""
    settings, schedule = monitor.settings, monitor.schedule
    schedule.every(settings.alert_check_interval, "alerts", monitor.alerting.check)
    schedule.every(settings.sample_interval, "samples", partial(sample, monitor))
    schedule.every(FOLD_INTERVAL_S, "roll-up", partial(fold, monitor))
    schedule.every(COSTS_INTERVAL_S, "costs", monitor.alerting.keep_costs)
    schedule.every(KEEP_INTERVAL_S, "baselines", monitor.alerting.keep)
    schedule.every(REGISTERED_INTERVAL_S, "registered commands", partial(note_commands, monitor))
    schedule.every(CALIBRATE_INTERVAL_S, "calibration", monitor.alerting.calibrate)  # does nothing while it is off
    schedule.every(DEPLOY_CHECK_INTERVAL_S, "deploy checks", partial(check_deploys, monitor))
    if monitor.store.shared:
        schedule.every(FOLLOW_INTERVAL_S, "other processes", partial(follow, monitor))
    schedule.every(settings.cleanup_interval_minutes * 60, "clean-up", partial(clean, monitor))
    if settings.heartbeat_url is not None:
        with monitor.parts.guard("heartbeat", "none is sent"):
            if monitor.heartbeat is None:
                url = settings.heartbeat_url.get_secret_value()
                monitor.heartbeat = Heartbeat(url, partial(_problem, monitor), lambda: monitor.bot.latency)
            schedule.every(settings.heartbeat_interval, "heartbeat", monitor.heartbeat.beat)


async def sample(monitor: Monitor) -> None:
    """Read the gauges of all surfaces, keep them in memory and store them."""
    gauges, at_us = monitor.watcher.sample(), now_us()
    monitor.gauges, monitor.sampled_us, monitor.sampled_ns = gauges, at_us, now_ns()
    monitor.alerting.evaluator.sampled(at_us, gauges, monitor.watcher.loops(), monitor.watcher.grown)
    if monitor.alerting.evaluator.memory_grows_rapidly:
        monitor.watcher.count_objects_now()  # the next regular count may be 20 minutes away
    if gauges:
        await monitor.store.add_samples(at_us, gauges)


async def fold(monitor: Monitor) -> None:
    """Fold finished minutes into hours and days."""
    await monitor.store.fold(now_us=now_us())


async def note_commands(monitor: Monitor) -> None:
    """Store the names of the bot's commands, and when each was first seen: some of them are never used."""
    if monitor.settings.usage and monitor.bot.is_ready():
        await register_commands(monitor.store, command_names(monitor.bot), now_us())


async def check_deploys(monitor: Monitor) -> None:
    """Make the check of a deploy that is due, if any; in a fleet, the leader makes it."""
    if monitor.settings.deploy_checks and monitor.leadership.leads:
        await store_markers(monitor.store, monitor.recorder.markers)
        await monitor.attention.deploys.run_due()


async def follow(monitor: Monitor) -> None:
    """Put into effect what people and the leader have changed in other processes."""
    if await monitor.alerting.follow():
        await monitor.setting_changes.follow()


async def clean(monitor: Monitor) -> None:
    """Remove what is older than the retention settings, unless the clock is in doubt; then verify the rest."""
    if doubt := monitor.clock_watch.doubt():
        _logger.warning("Nothing is removed from the database: %s", doubt)
        return
    settings = monitor.settings
    retention = Retention(
        raw_hours=settings.retention_hours,
        hour_hours=settings.retention_hourly_days * 24,
        day_hours=settings.retention_daily_days * 24,
        error_hours=settings.error_retention,
    )
    await fold(monitor)  # slots that are not folded yet are not removed
    try:
        cleaned = await monitor.store.clean(retention, now_us=now_us())
        text = "Removed %d old operations, %d old slots and %d old errors"
        _logger.debug(text, cleaned.operations, cleaned.slots, cleaned.errors)
    finally:
        await monitor.store.verify()


def _problem(monitor: Monitor) -> str:
    """Return why no heartbeat is sent; empty if the bot works. That this runs shows that the event loop does."""
    if not monitor.bot.is_ready():
        return "the bot is not connected to Discord yet"
    return connection_problem(monitor.bot) or monitor.flusher.problem()
