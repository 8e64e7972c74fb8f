"""Settings that are changed while the bot runs: in effect at once, stored, audited, and nothing else is lost."""

import asyncio

import discord
import pytest
from discord.ext import commands

from cogmeter.alerts.alerting import Alerting
from cogmeter.alerts.measurement.gauges import MEMORY
from cogmeter.alerts.model import Subject
from cogmeter.alerts.review.threshold_changes import effective_limits
from cogmeter.diagnostics.doctor import examine
from cogmeter.monitor.monitor import Monitor
from cogmeter.query.query import now_us
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, SettingsError
from cogmeter_storage import StorageError
from cogmeter_storage.alerting import Mute


@pytest.fixture
async def opened(tmp_path, monkeypatch):
    """Starts a monitor on the test's database; the last one is stopped."""
    monkeypatch.chdir(tmp_path)
    running = []

    async def start(**settings):
        for monitor in running:
            await monitor.stop()
        running[:] = [
            Monitor(commands.Bot("!", intents=discord.Intents.default()), Settings(**settings), recorder=Recorder())
        ]
        await running[0].start()
        return running[0]

    yield start
    for monitor in running:
        await monitor.stop()


def surfaces(monitor):
    return {surface.name for surface in monitor.watcher.surfaces}


async def test_a_change_is_in_effect_at_once_and_after_the_next_start(opened):
    monitor = await opened()
    await monitor.setting_changes.change({"alert_window": "60", "alert_channel_id": "5"}, "ada")
    assert (monitor.settings.alert_window, monitor.settings.alert_channel_id) == (60, 5)
    assert monitor.alerting.delivery.names == ["log", "channel"]
    assert monitor.alerting.limits.settings is monitor.settings
    monitor = await opened(alert_window=900)
    assert (monitor.settings.alert_window, monitor.settings.alert_channel_id) == (60, 5)
    assert monitor.alerting.delivery.names == ["log", "channel"]
    await monitor.setting_changes.change({"alert_window": None, "alert_channel_id": None}, "ada")
    assert (monitor.settings.alert_window, monitor.settings.alert_channel_id) == (900, None)
    assert monitor.alerting.delivery.names == ["log"]
    assert monitor.setting_changes.changed == {}


async def test_every_change_is_audited_as_a_setting(opened):
    monitor = await opened()
    change = monitor.setting_changes.change
    await change({"alert_window": "60"}, "ada")
    assert await change({"alert_window": "60.0"}, "bob") == []
    await change({"alert_window": None}, "bob")
    entries = await monitor.store.alerting.audit()
    assert [(entry.actor, entry.action, entry.subject, entry.before, entry.after) for entry in entries] == [
        ("bob", "setting reset", "setting:alert_window", "60", ""),
        ("ada", "setting set", "setting:alert_window", "", "60"),
    ]


async def test_thresholds_are_left_alone_and_their_origin_is_known(opened):
    monitor = await opened()
    await monitor.override({"error_rate": "0.2"}, "ada")
    await monitor.setting_changes.change({"alert_min_operations": "7"}, "bob")
    assert monitor.alerting.limits.left_out == {}
    assert monitor.alerting.limits.of(Subject("error_rate", "web")).threshold == 0.2
    assert monitor.alerting.limits.of(Subject("error_rate", "web")).min_operations == 7
    limits = await effective_limits(monitor.store, monitor.settings)
    limit = limits.of(Subject("error_rate", ""), "min_operations")
    assert (limit.value, limit.origin, limit.changed_by) == (7, "changed", "bob")
    assert [other.key for other in await limits.others(None)] == []


async def test_what_is_not_valid_changes_nothing(opened):
    monitor = await opened()
    with pytest.raises(SettingsError, match="PERFORMANCE_ALERT_WINDOW='1'"):
        await monitor.setting_changes.change({"alert_channel_id": "5", "alert_window": "1"}, "ada")
    assert await monitor.store.alerting.overrides() == {}
    assert monitor.settings.alert_channel_id is None


async def test_stored_changes_that_are_not_valid_any_more_are_counted_and_can_be_reset(opened):
    monitor = await opened()
    stored = {"setting:of_tomorrow": "1", "setting:alert_window": "1", "setting:alert_cooldown": "7"}
    await monitor.store.alerting.override(stored, now_us=now_us(), actor="ada")
    monitor = await opened()
    assert monitor.settings.alert_cooldown == 7
    assert monitor.settings.alert_window == 300
    (finding,) = [finding for finding in await examine(monitor) if finding.name == "settings"]
    assert not finding.well
    assert finding.text.startswith("1 changed in chat: PERFORMANCE_ALERT_COOLDOWN=7; 2 without effect: ")
    assert "of_tomorrow" in finding.text
    await monitor.setting_changes.change({"of_tomorrow": None, "alert_window": None}, "ada")
    (finding,) = [finding for finding in await examine(monitor) if finding.name == "settings"]
    assert finding.well
    assert await monitor.store.alerting.overrides() == {"setting:alert_cooldown": "7"}


async def test_alerts_mutes_and_operations_survive_a_change(opened):
    monitor = await opened()
    record = monitor.recorder.record
    for number in range(100):
        record("graph", "query", duration_ms=20, error="boom" if number < 50 else None)
    await monitor.flusher.flush()
    await monitor.alerting.check()
    await monitor.alerting.engine.mute(Mute("other", "", now_us(), now_us() + 10**9, "ada"), now_us())
    (before,) = [alert for alert in monitor.alerting.engine.active if alert.rule == "error_rate"]
    record("graph", "query", duration_ms=20)  # not flushed yet
    await monitor.setting_changes.change({"alert_cooldown": "30"}, "ada")
    await monitor.alerting.check()
    (after,) = [alert for alert in monitor.alerting.engine.active if alert.rule == "error_rate"]
    assert (after.uid, after.fired_us) == (before.uid, before.fired_us)
    assert len(await monitor.alerts("history")) == 1
    await monitor.flusher.flush()
    assert (await monitor.service("graph")).total_operations == 101


async def test_surfaces_whose_settings_stay_the_same_are_kept(opened):
    monitor = await opened()
    kept = {surface.name: surface for surface in monitor.watcher.surfaces}
    tracker, flusher, store = monitor.watcher.tracker, monitor.flusher, monitor.store
    await monitor.setting_changes.change({"watch_tasks": "false", "stall_threshold": "400"}, "ada")
    assert surfaces(monitor) == kept.keys() - {"tasks", "scheduled jobs"}
    now = {surface.name: surface for surface in monitor.watcher.surfaces}
    new = {name for name, surface in kept.items() if surface is not now.get(name)}
    assert new == {"tasks", "scheduled jobs", "stalls"}
    assert (monitor.watcher.tracker, monitor.flusher, monitor.store) == (tracker, flusher, store)
    await monitor.setting_changes.change({"watch_tasks": None}, "ada")
    assert surfaces(monitor) == kept.keys()
    assert [type(surface) for surface in monitor.watcher.surfaces] == [type(surface) for surface in kept.values()]


async def test_a_changed_memory_limit_is_measured_against_at_once(opened):
    monitor = await opened()
    await monitor.setting_changes.change({"memory_limit_mb": "512"}, "ada")
    (resources,) = (surface for surface in monitor.watcher.surfaces if surface.name == "resources")
    assert resources.sample()["resources.memory_limit_bytes"] == 512e6


async def test_what_is_read_at_its_use_rebuilds_nothing(opened):
    monitor = await opened()
    alerting = monitor.alerting
    digest = {"digest": "daily", "digest_time": "08:00", "time_zone": "Europe/Berlin", "alert_weekly_report": "true"}
    web = {"dashboard_url": "https://perf.example.com"}
    await monitor.setting_changes.change({"ops_role_ids": "2,1", **digest, **web}, "ada")
    assert monitor.settings.ops_role_ids == {1, 2}
    assert monitor.settings.digest == "daily"
    assert monitor.alerting is alerting


async def test_commands_that_are_no_longer_recorded_are_still_no_replies(opened):
    monitor = await opened()
    await monitor.setting_changes.change({"watch_commands": "false"}, "ada")
    (listeners,) = [surface for surface in monitor.watcher.surfaces if surface.name == "listeners"]
    assert [event for event, _ in listeners.listeners] == ["on_command"]


async def test_every_job_belongs_to_the_alerting_in_effect(opened, monkeypatch):
    """A job that kept the one before would write into a store that the monitor has replaced since."""
    monitor, ran = await opened(), []
    monkeypatch.setattr(Alerting, "calibrate", lambda self: ran.append(self) or asyncio.sleep(0))
    await monitor.setting_changes.change({"alert_calibrate": "false"}, "ada")
    await asyncio.sleep(0)
    ran.clear()  # it has run at the start of each
    (job,) = [job for job in monitor.schedule.jobs if job.id == "calibration"]
    await job.func()
    assert ran == [monitor.alerting]


async def test_a_change_forgets_no_sample(opened):
    """Memory growth is found within six hours: an alert about it must not resolve because of a setting."""
    monitor = await opened()
    hour_us, began_us = 3_600_000_000, now_us() - 3 * 3_600_000_000
    for at_us in range(began_us, began_us + 3 * hour_us, 60_000_000):
        monitor.alerting.evaluator.sampled(at_us, {MEMORY: 1e6 * (at_us - began_us) / hour_us})

    async def growth():
        readings = await monitor.alerting.evaluator.evaluate(now_us())
        return [reading for reading in readings if reading.subject.rule == "memory_growth"]

    before = await growth()
    assert before
    await monitor.setting_changes.change({"alert_cooldown": "30"}, "ada")
    assert await growth() == before


async def test_listeners_learn_which_fields_changed(opened):
    monitor = await opened(alert_window=60)
    heard = []

    async def listener(fields):
        heard.append(set(fields))

    monitor.setting_changes.listeners.append(listener)
    await monitor.setting_changes.change({"alert_window": "60", "analytics_dashboard": "true"}, "ada")
    assert heard == [{"analytics_dashboard"}]


async def test_a_change_that_cannot_be_put_into_effect_is_undone(opened, monkeypatch):
    monitor = await opened()
    begin, calls = Monitor._begin_alerting, []

    async def fails_once(self):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("no")
        await begin(self)

    monkeypatch.setattr(Monitor, "_begin_alerting", fails_once)
    with pytest.raises(SettingsError, match="PERFORMANCE_ALERT_WINDOW: the change could not be put into effect"):
        await monitor.setting_changes.change({"alert_window": "60"}, "ada")
    assert monitor.settings.alert_window == 300
    assert await monitor.store.alerting.overrides() == {}
    assert len(calls) == 2
    await monitor.alerting.check()


async def test_a_store_that_fails_at_the_start_leaves_the_configured_settings(opened, monkeypatch):
    monitor = await opened()
    await monitor.setting_changes.change({"alert_window": "60"}, "ada")

    async def fails(*_):
        raise StorageError("the disk is busy", permanent=False)

    monkeypatch.setattr(type(monitor.store.alerting), "overrides", fails)
    monitor = await opened()
    assert monitor.settings.alert_window == 300
    assert "changed settings" in monitor.parts.failed


async def test_jobs_follow_changed_intervals_and_keep_their_times_otherwise(opened):
    monitor = await opened()

    def due():
        return {job.id: (job.next_run_time, job.trigger.interval.total_seconds()) for job in monitor.schedule.jobs}

    before = due()
    await monitor.setting_changes.change({"sample_interval": "7"}, "ada")
    after = due()
    assert {name for name in before if before[name] != after[name]} == {"samples"}
    assert after["samples"][1] == 7


async def test_many_changes_at_once_are_all_in_effect(opened):
    monitor = await opened()
    change = monitor.setting_changes.change
    await asyncio.gather(*(change({field: "60"}, "ada") for field in ("alert_window", "alert_cooldown", "alert_for")))
    settings = monitor.settings
    assert (settings.alert_window, settings.alert_cooldown, settings.alert_for) == (60, 60, 60)
    await monitor.stop()
    await monitor.reconfigure()  # too late: nothing happens
