"""The uptime by day: from samples, gaps between them and critical alerts, stored beyond the samples' retention."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.model import CRITICAL, WARNING
from cogmeter.alerts.rules import RULES
from cogmeter.diagnosis import Check, DayUptime, PublicState, Status
from cogmeter.diagnostics import uptime
from cogmeter.diagnostics.uptime import DAYS, KEY, Uptime, UptimeRecord, advance
from cogmeter.settings import Settings
from cogmeter_storage import open_store
from cogmeter_storage.alerting import Alert, AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

SECOND_US = 1_000_000
DAY = 20_000
MIDNIGHT_US = DAY * DAY_US
INTERVAL_US = 15 * SECOND_US


def every(start_us, end_us, interval_us=INTERVAL_US):
    return list(range(start_us, end_us + 1, interval_us))


def advanced(record, seen_us, now_us, **options):
    return advance(record, seen_us, now_us, interval_us=INTERVAL_US, **options)


def test_a_day_of_samples_is_a_day_of_uptime():
    record = advanced(UptimeRecord(), every(MIDNIGHT_US, MIDNIGHT_US + DAY_US), MIDNIGHT_US + DAY_US)
    assert record.days == {DAY: DayUptime(DAY, DAY_US)}
    assert record.days[DAY].share == 1
    assert record.days[DAY].state is PublicState.UP


def test_without_samples_nothing_is_known():
    assert advanced(UptimeRecord(), [], MIDNIGHT_US) == UptimeRecord()
    assert DayUptime(DAY).share is None
    assert DayUptime(DAY).state is None


def test_a_gap_is_downtime_from_one_interval_after_the_last_sample():
    noon_us = MIDNIGHT_US + 12 * HOUR_US
    seen_us = [*every(noon_us, noon_us + HOUR_US), *every(noon_us + 3 * HOUR_US, noon_us + 4 * HOUR_US)]
    record = advanced(UptimeRecord(), seen_us, noon_us + 4 * HOUR_US)
    assert record.days == {DAY: DayUptime(DAY, 4 * HOUR_US, 2 * HOUR_US - INTERVAL_US)}
    assert record.days[DAY].state is PublicState.DOWN


@pytest.mark.parametrize(("gap_s", "down_s"), [(30, 0), (75, 0), (76, 61), (300, 285)])
def test_a_restart_of_a_minute_is_no_downtime(gap_s, down_s):
    seen_us = [MIDNIGHT_US, MIDNIGHT_US + gap_s * SECOND_US]
    record = advanced(UptimeRecord(), seen_us, seen_us[-1])
    assert record.days == {DAY: DayUptime(DAY, gap_s * SECOND_US, down_s * SECOND_US)}


def test_a_day_with_a_little_downtime_is_degraded():
    assert DayUptime(DAY, DAY_US, 61 * SECOND_US).state is PublicState.DEGRADED
    assert DayUptime(DAY, DAY_US, HOUR_US).state is PublicState.DOWN
    assert DayUptime(DAY, DAY_US, 0, 4 * MINUTE_US).state is PublicState.UP
    assert DayUptime(DAY, DAY_US, 0, 5 * MINUTE_US).state is PublicState.DEGRADED


def test_downtime_belongs_to_the_days_in_which_it_was():
    before_us = MIDNIGHT_US - HOUR_US
    seen_us = [before_us - INTERVAL_US, MIDNIGHT_US + DAY_US + 2 * HOUR_US]
    record = advanced(UptimeRecord(), seen_us, seen_us[-1])
    assert [(day.day, day.down_us) for day in record.days.values()] == [
        (DAY - 1, HOUR_US),
        (DAY, DAY_US),
        (DAY + 1, 2 * HOUR_US),
    ]


def test_a_bot_that_is_down_now_is_counted_until_now_and_not_twice():
    record = advanced(UptimeRecord(), every(MIDNIGHT_US, MIDNIGHT_US + HOUR_US), MIDNIGHT_US + 2 * HOUR_US)
    assert (record.up, record.until_us) == (False, MIDNIGHT_US + 2 * HOUR_US)
    record = advanced(record, [MIDNIGHT_US + 3 * HOUR_US], MIDNIGHT_US + 3 * HOUR_US)
    assert record.days == {DAY: DayUptime(DAY, 3 * HOUR_US, 2 * HOUR_US - INTERVAL_US)}


def test_critical_alerts_are_degraded_time_once_and_only_while_the_bot_was_up():
    noon_us = MIDNIGHT_US + 12 * HOUR_US
    seen_us = [*every(noon_us, noon_us + 2 * HOUR_US), *every(noon_us + 4 * HOUR_US, noon_us + 5 * HOUR_US)]
    alerts = [
        (noon_us + HOUR_US, noon_us + 3 * HOUR_US),
        (noon_us + 90 * MINUTE_US, noon_us + 100 * MINUTE_US),
        (0, noon_us - HOUR_US),
    ]
    record = advanced(UptimeRecord(), seen_us, noon_us + 5 * HOUR_US, degraded=alerts)
    assert record.days[DAY].degraded_us == HOUR_US + INTERVAL_US
    assert record.days[DAY].down_us == 2 * HOUR_US - INTERVAL_US


def test_only_the_last_days_are_kept():
    seen_us = every(MIDNIGHT_US, MIDNIGHT_US + 200 * DAY_US, MINUTE_US * 60)
    record = advance(UptimeRecord(), seen_us, seen_us[-1], interval_us=HOUR_US)
    assert sorted(record.days) == list(range(DAY + 200 - DAYS + 1, DAY + 200))


def test_after_a_clock_that_was_ahead_the_record_continues_at_the_present():
    ahead = advanced(UptimeRecord(), every(MIDNIGHT_US, MIDNIGHT_US + HOUR_US), MIDNIGHT_US + HOUR_US)
    ahead = UptimeRecord(
        ahead.until_us + 5 * DAY_US, up=True, days={**ahead.days, DAY + 5: DayUptime(DAY + 5, HOUR_US)}
    )
    now_us = MIDNIGHT_US + 2 * HOUR_US
    record = advanced(ahead, [], now_us)
    assert record.until_us == now_us
    assert set(record.days) == {DAY}


def test_a_clock_that_is_set_back_a_little_counts_no_time_twice():
    ahead = advanced(UptimeRecord(), every(MIDNIGHT_US, MIDNIGHT_US + 2 * HOUR_US), MIDNIGHT_US + 2 * HOUR_US)
    assert advanced(ahead, [], MIDNIGHT_US + HOUR_US) == ahead
    seen_us = every(MIDNIGHT_US + 2 * HOUR_US + INTERVAL_US, MIDNIGHT_US + 3 * HOUR_US)
    record = advanced(ahead, seen_us, MIDNIGHT_US + 3 * HOUR_US)
    assert record.days == {DAY: DayUptime(DAY, 3 * HOUR_US)}


@given(st.lists(st.integers(0, 3 * 24 * 60), unique=True, min_size=1), st.integers(0, 20))
def test_in_pieces_it_is_the_same_as_at_once(minutes, cuts):
    seen_us = [MIDNIGHT_US + minute * MINUTE_US for minute in sorted(minutes)]
    end_us = seen_us[-1] + HOUR_US
    whole = advanced(UptimeRecord(), seen_us, end_us)
    record, since_us = UptimeRecord(), MIDNIGHT_US
    for cut in range(1, cuts + 2):
        until_us = MIDNIGHT_US + (end_us - MIDNIGHT_US) * cut // (cuts + 1)
        part = [at_us for at_us in seen_us if since_us <= at_us < until_us]
        record = UptimeRecord.load(advanced(record, part, until_us).dump())
        since_us = until_us
    assert record == whole


@pytest.mark.parametrize(
    "stored", [None, b"", b"x", b"[]", b'{"days": 3}', b'{"days": {"a": [1]}}', b'{"days": {"1": 2}}']
)
def test_a_damaged_record_is_an_empty_one(stored):
    assert UptimeRecord.load(stored) == UptimeRecord()


def test_people_outside_notice_only_alerts_of_rules_that_degrade_the_bot():
    noticed = {rule.name for rule in RULES.values() if rule.degrades}
    assert noticed == {
        *("error_rate", "response_time", "burn_rate", "dependency", "acknowledgement", "stall", "gateway_latency"),
        *("disconnects", "dead_loops", "hung", "rate_limits", "process_silent"),
    }


# In a store ---------------------------------------------------------------------------------------------------


def alert(rule="error_rate", severity=CRITICAL, state=AlertState.FIRING, **more):
    values = {
        "uid": f"{rule}-{severity}-{state}",
        "rule": rule,
        "service": "a",
        "operation": "",
        "state": state,
        "severity": severity,
        "message": "text",
        "threshold": 1.0,
        "current": 2.0,
        "worst": 2.0,
        "started_us": MIDNIGHT_US,
        "seen_us": MIDNIGHT_US,
        "changed_us": MIDNIGHT_US,
        "fired_us": MIDNIGHT_US,
    }
    return Alert(**(values | more))


class FakeHealth:
    """A check of the gateway."""

    def __init__(self):
        self.status = Status.HEALTHY

    async def vital(self):
        return [Check("gateway", self.status, "")]


@pytest.fixture
async def monitor(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'a.db'}")
    engine = SimpleNamespace(active=[])
    yield SimpleNamespace(store=store, settings=Settings(), alerting=SimpleNamespace(engine=engine))
    await store.close()


@pytest.fixture
def at(monkeypatch):
    """Sets the present time."""

    def set_now(now_us):
        monkeypatch.setattr(uptime, "now_us", lambda: now_us)

    return set_now


async def sampled(store, start_us, end_us, *, connected=1.0, interval_us=MINUTE_US):
    for at_us in every(start_us, end_us, interval_us):
        await store.add_samples(at_us, {"gateway.shards_connected": connected, "resources.memory_bytes": 1.0})


async def test_stored_samples_are_uptime_and_survive_their_removal(monitor, at):
    now_us = MIDNIGHT_US + 6 * HOUR_US
    at(now_us)
    await sampled(monitor.store, MIDNIGHT_US, now_us - 2 * HOUR_US)
    await sampled(monitor.store, now_us - 2 * HOUR_US, now_us - HOUR_US, connected=0.0)
    await sampled(monitor.store, now_us - HOUR_US, now_us)
    found = Uptime(monitor, FakeHealth())
    days = await found.days()
    assert len(days) == DAYS
    assert days[0] == DayUptime(DAY - DAYS + 1)
    assert days[-1].observed_us == pytest.approx(6 * HOUR_US, abs=MINUTE_US)
    assert days[-1].down_us == pytest.approx(HOUR_US, abs=MINUTE_US)
    await found.keep()
    assert json.loads(await monitor.store.get_value(KEY))["up"]
    monitor.store.samples = nothing
    assert await Uptime(monitor, FakeHealth()).days() == days


async def test_a_clock_that_was_days_ahead_does_not_stop_the_record(monitor, at):
    await sampled(monitor.store, MIDNIGHT_US, MIDNIGHT_US + 2 * HOUR_US)
    ahead = UptimeRecord(MIDNIGHT_US + 400 * DAY_US, up=True, days={DAY: DayUptime(DAY, HOUR_US)})
    await monitor.store.set_value(KEY, ahead.dump())
    found = Uptime(monitor, FakeHealth())
    at(MIDNIGHT_US + HOUR_US)  # the clock is right again
    assert (await found.days())[-1] == DayUptime(DAY, HOUR_US)
    at(MIDNIGHT_US + 2 * HOUR_US)
    assert (await found.days())[-1].observed_us == pytest.approx(2 * HOUR_US, abs=MINUTE_US)


async def test_a_record_of_long_ago_is_continued_with_few_queries(monitor, at):
    await monitor.store.set_value(KEY, UptimeRecord(DAY_US, up=True).dump())
    queries = []

    async def samples(names, *times):
        queries.append(times)
        return await nothing(names)

    monitor.store.samples = samples
    at(MIDNIGHT_US)
    assert (await Uptime(monitor, FakeHealth()).days())[-2] == DayUptime(DAY - 1, DAY_US, DAY_US)
    assert len(queries) <= DAYS


async def nothing(names, *_):
    return {name: [] for name in names}


async def test_without_samples_of_the_gateway_any_sample_counts(monitor, at):
    at(MIDNIGHT_US + HOUR_US)
    for at_us in every(MIDNIGHT_US, MIDNIGHT_US + HOUR_US, MINUTE_US):
        await monitor.store.add_samples(at_us, {"resources.memory_bytes": 1.0})
    day = (await Uptime(monitor, FakeHealth()).days())[-1]
    assert (day.share, day.observed_us > 58 * MINUTE_US) == (1.0, True)


async def test_stored_alerts_are_degraded_time(monitor, at):
    now_us = MIDNIGHT_US + 6 * HOUR_US
    at(now_us)
    await sampled(monitor.store, MIDNIGHT_US, now_us)
    ended = {
        "state": AlertState.RESOLVED,
        "changed_us": MIDNIGHT_US + 2 * HOUR_US,
        "resolved_us": MIDNIGHT_US + 2 * HOUR_US,
    }
    ended["fired_us"] = MIDNIGHT_US + HOUR_US
    steps = [alert(**ended), alert(fired_us=now_us - HOUR_US), alert("cost"), alert(severity=WARNING)]
    await monitor.store.alerting.save([Step(one) for one in steps])
    day = (await Uptime(monitor, FakeHealth()).days())[-1]
    assert day.degraded_us == pytest.approx(2 * HOUR_US, abs=2 * MINUTE_US)
    assert day.state is PublicState.DEGRADED


@pytest.mark.parametrize(
    ("status", "alerts", "state"),
    [
        (Status.HEALTHY, [], PublicState.UP),
        (Status.HEALTHY, [alert()], PublicState.DEGRADED),
        (Status.HEALTHY, [alert(state=AlertState.ACKNOWLEDGED)], PublicState.DEGRADED),
        (Status.HEALTHY, [alert(state=AlertState.MUTED)], PublicState.UP),
        (Status.HEALTHY, [alert("cost"), alert(severity=WARNING), alert("gone")], PublicState.UP),
        (Status.DEGRADED, [], PublicState.DEGRADED),
        (Status.UNKNOWN, [], PublicState.DOWN),
        (Status.UNHEALTHY, [alert()], PublicState.DOWN),
    ],
)
async def test_the_present_state_follows_the_gateway_and_critical_alerts(monitor, status, alerts, state):
    health = FakeHealth()
    health.status, monitor.alerting.engine.active = status, alerts
    assert await Uptime(monitor, health).state() is state
