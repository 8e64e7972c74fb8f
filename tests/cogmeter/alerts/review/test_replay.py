"""Alerts that rules would have raised of stored minutes, compared with a simulation and with cases by hand."""

import asyncio
import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.lifecycle import transitions
from cogmeter.alerts.lifecycle.subject_state import DUE, EvaluationContext, Policy, SubjectState
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter.alerts.review import minutes as minutes_module
from cogmeter.alerts.review.minutes import joined, minutes_of, read_minutes
from cogmeter.alerts.review.replay import Episode, NotReplayableError, RuleHistory, episodes, history_of, replay
from cogmeter.alerts.review.what_if import ReplayedAlert, Replayer, _united_alerts
from cogmeter.alerts.thresholds.keys import LimitError
from cogmeter.settings import Settings
from cogmeter_storage import Outcome, open_store
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import DAY_US, MINUTE_US, Retention, Totals

LIMIT = Limit(threshold=0.05, recovery=0.04, for_s=0, recovery_s=120, min_operations=20)
START_US = 20_000 * DAY_US


def totals(minutes):
    """Totals of one group; each minute is (operations, failures, duration in milliseconds of each)."""
    outcomes = np.zeros((len(minutes), 1, len(Outcome)), dtype=np.int64)
    buckets = np.zeros((len(minutes), 1, BUCKETS), dtype=np.int64)
    sums, highest = np.zeros((2, len(minutes), 1), dtype=np.int64)
    for place, (operations, failures, duration_ms) in enumerate(minutes):
        outcomes[place, 0, Outcome.OK] = operations - failures
        outcomes[place, 0, Outcome.ERROR] = failures
        buckets[place, 0, bucket_of(duration_ms * 1000)] = operations
        sums[place, 0] = operations * duration_ms * 1000
        highest[place, 0] = duration_ms * 1000
    edges = START_US + np.arange(len(minutes), dtype=np.int64) * MINUTE_US
    return Totals(START_US, START_US + len(minutes) * MINUTE_US, edges, outcomes, sums, highest, buckets)


def minute(at_us):
    return (at_us - START_US) // MINUTE_US


def spans(found):
    return [(minute(one.fired_us), minute(one.ended_us)) for one in found]


def test_a_burst_of_errors_fires_while_it_is_in_the_window_and_resolves_after_its_recovery_delay():
    minutes = [(10, 0, 5)] * 20 + [(10, 9, 5)] * 3 + [(10, 0, 5)] * 20
    found = replay(totals(minutes), 0, "error_rate", LIMIT, window_s=300)
    # Above at the end of the minute 20; the last failures leave the window of 5 minutes at the end of minute 27.
    assert spans(found) == [(21, 29)]
    assert found[0].worst == 27 / 50
    assert found[0].length_us == 8 * MINUTE_US


def test_two_failures_of_twenty_report_nothing_as_in_the_live_rule():
    quiet, loud = totals([(20, 2, 1)] * 30), totals([(20, 3, 1)] * 30)
    assert replay(quiet, 0, "error_rate", LIMIT, window_s=60) == []
    assert len(replay(loud, 0, "error_rate", LIMIT, window_s=60)) == 1


def test_an_operation_that_usually_fails_reports_nothing_as_in_the_live_rule():
    usual = [(20, int(number % 5 == 0), 5) for number in range(600)]  # 1%
    chance, trouble = [(20, 2, 5)] * 3, [(20, 2, 5)] * 20
    assert replay(totals(usual + chance + usual), 0, "error_rate", LIMIT, window_s=300) == []
    (one,) = replay(totals(usual + trouble + usual), 0, "error_rate", LIMIT, window_s=300)
    assert 603 < minute(one.fired_us) < 620


def test_half_of_the_operations_that_raise_an_alert_keep_it_as_in_the_live_rule():
    minutes = [(5, 0, 5)] * 10 + [(5, 2, 5)] * 6 + [(3, 1, 5)] * 10 + [(5, 2, 5)] * 6 + [(5, 0, 5)] * 20
    assert len(replay(totals(minutes), 0, "error_rate", LIMIT, window_s=300)) == 1


def test_too_few_operations_report_nothing():
    minutes = [(1, 1, 5)] * 40
    assert replay(totals(minutes), 0, "error_rate", LIMIT, window_s=300) == []
    fewer = dataclasses.replace(LIMIT, min_operations=5)
    assert len(replay(totals(minutes), 0, "error_rate", fewer, window_s=300)) == 1


def test_a_breach_shorter_than_for_never_fires_and_a_longer_one_fires_that_much_later():
    minutes = [(100, 0, 5)] * 10 + [(100, 100, 5)] + [(100, 0, 5)] * 10 + [(100, 100, 5)] * 6 + [(100, 0, 5)] * 20
    lasting = dataclasses.replace(LIMIT, for_s=420)
    assert spans(replay(totals(minutes), 0, "error_rate", LIMIT, window_s=300)) == [(11, 17), (22, 33)]
    assert spans(replay(totals(minutes), 0, "error_rate", lasting, window_s=300)) == [(29, 33)]


def test_between_recovery_and_threshold_an_alert_continues_and_none_starts():
    minutes = [(100, 4, 5)] * 10 + [(100, 9, 5)] * 6 + [(100, 4, 5)] * 10
    near = dataclasses.replace(LIMIT, recovery=0.03)
    (one,) = replay(totals(minutes), 0, "error_rate", near, window_s=60)
    assert (minute(one.fired_us), minute(one.ended_us)) == (11, 26)  # until the end of what is stored


def test_a_rule_that_is_off_reports_nothing():
    off = dataclasses.replace(LIMIT, threshold=0.0, recovery=0.0)
    assert replay(totals([(100, 100, 5)] * 10), 0, "error_rate", off, window_s=300) == []


@pytest.mark.parametrize(
    ("rule", "statistic", "expected"),
    [
        ("error_rate", "average", 0.25),
        ("response_time", "average", 40.0),
        ("response_time", "p95", 40.0),
        ("throughput", "average", 8.0),
        ("stall", "average", 40.0),
        ("acknowledgement", "average", 0.25),
    ],
)
def test_the_value_is_that_of_the_live_rule(rule, statistic, expected):
    history = history_of(minutes_of(totals([(8, 2, 40)] * 10), 0), rule, window_s=300, statistic=statistic)
    assert history.values[-1] == pytest.approx(expected, rel=0.01)
    assert history.operations[-1] == 40


def test_a_rule_that_looks_at_more_than_counts_says_that_it_cannot_be_replayed():
    with pytest.raises(NotReplayableError, match="memory_growth cannot be replayed"):
        replay(totals([(1, 0, 1)]), 0, "memory_growth", LIMIT, window_s=300)


def test_minutes_in_parts_are_the_same_as_in_one():
    random.seed(4)
    minutes = [(random.randint(0, 30), 0, random.randint(1, 500)) for _ in range(700)]
    whole = minutes_of(totals(minutes), 0)
    first, second = totals(minutes[:300]), totals(minutes[300:])
    parts = joined([minutes_of(first, 0), minutes_of(second, 0)])
    for statistic in ("average", "p95"):
        one, other = (history_of(each, "response_time", window_s=300, statistic=statistic) for each in (whole, parts))
        assert (one.values == other.values).all()


def lived(history, limit, policy):
    """The same by the life of an alert itself, one check a minute."""
    subject, track, found = Subject("error_rate", "a"), SubjectState(), []
    for at_us, value, operations in zip(
        history.at_us.tolist(), history.values.tolist(), history.operations.tolist(), strict=True
    ):
        reading = None
        if operations >= limit.min_operations and value > limit.recovery:
            breached = value > limit.threshold
            reading = Reading(subject, value, limit.threshold, "m", "warning", breached)
        at = EvaluationContext(at_us, limit, policy, new_uid=lambda: "uid")
        move = transitions.advance(track, reading, at)
        move = transitions.fire(move.after, at) if move.kind == DUE else move
        track = move.after
        if track.alert is not None and track.alert.state is AlertState.RESOLVED:
            found.append((track.alert.fired_us, at_us))
            track = dataclasses.replace(track, alert=None)
    if track.alert is not None and track.alert.fired_us is not None:
        found.append((track.alert.fired_us, int(history.at_us[-1])))
    return found


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4]), st.sampled_from([0, 30, 30])), min_size=1, max_size=120),
    st.sampled_from([0, 60, 90, 180]),
    st.sampled_from([0, 60, 120, 240]),
    st.sampled_from([0, 120, 300]),
)
def test_episodes_are_those_of_the_life_of_an_alert(values, for_s, recovery_s, cooldown_s):
    at_us = START_US + (np.arange(len(values), dtype=np.int64) + 1) * MINUTE_US
    history = RuleHistory(
        at_us, np.array([one for one, _ in values], dtype=float), np.array([many for _, many in values])
    )
    limit = Limit(threshold=2, recovery=1, for_s=for_s, recovery_s=recovery_s, min_operations=20)
    policy = Policy(cooldown_s=cooldown_s)
    found = [(one.fired_us, one.ended_us) for one in episodes(history, limit, policy)]
    assert found == lived(history, limit, policy)


def test_stretches_that_overlap_are_one():
    spans = [("query", 5, 9), ("", 1, 3), ("query", 2, 4), ("", 9, 12)]
    alerts = [
        ReplayedAlert(
            Subject("error_rate", "graph", operation),
            Limit(0.05, 0.04, 0, 0, 1),
            "average",
            Episode(since, since, until, 1),
        )
        for operation, since, until in spans
    ]
    merged = _united_alerts(alerts)
    assert [(one.episode.fired_us, one.episode.ended_us) for one in merged] == [(1, 4), (5, 12)]
    assert [one.subject.operation for one in merged] == ["", ""]


# The store below holds two hours of two services; one of them fails in ten of the minutes.
NOW_US = START_US + 120 * MINUTE_US


@pytest.fixture
async def store(tmp_path):
    opened = await open_store(f"sqlite:///{tmp_path}/performance.db")
    calm, bad, good = await opened.series_ids([("calm", "x"), ("busy", "bad"), ("busy", "good")])
    rows = []
    for number in range(120):
        at_us = START_US + number * MINUTE_US
        failing = Outcome.ERROR if 60 <= number < 70 else Outcome.OK
        rows += [(calm, at_us + one, 5_000, Outcome.OK, None, None) for one in range(10)]
        rows += [(bad, at_us + 100 + one, 5_000, failing, None, None) for one in range(10)]
        rows += [(good, at_us + 200 + one, 5_000, Outcome.OK, None, None) for one in range(10)]
    await opened.append([rows], now_us=NOW_US)
    yield opened
    await opened.close()


async def test_minutes_are_read_by_group_and_a_series_may_be_in_several(store):
    ids = {(one.service, one.operation): one.id for one in await store.series()}
    bad, good = ids["busy", "bad"], ids["busy", "good"]
    both, one = await read_minutes(store, [[bad, good], [bad]], START_US, NOW_US)
    assert both.operations.tolist() == [20] * 120
    assert one.operations.tolist() == [10] * 120
    assert one.failures.sum() == both.failures.sum() == 100
    assert (both.since_us, both.until_us) == (START_US, NOW_US)


async def test_minutes_keep_their_place_where_the_store_widens_a_piece_to_whole_hours(store, monkeypatch):
    monkeypatch.setattr(minutes_module, "PIECE", 2 * 68)  # no divisor of an hour
    await store.fold(now_us=NOW_US)
    await store.clean(Retention(raw_hours=1.0, hour_hours=48.0), now_us=NOW_US)
    ids = {(one.service, one.operation): one.id for one in await store.series()}
    since_us = START_US - 360 * MINUTE_US
    calm, bad = await read_minutes(store, [[ids["calm", "x"]], [ids["busy", "bad"]]], since_us, NOW_US)
    for found in (calm, bad):
        assert (found.since_us, found.until_us) == (since_us, NOW_US)
        assert found.operations.sum() == 1_200
        assert (found.operations[:360].sum(), found.operations[360]) == (0, 600)  # an hour counts in its first minute
    assert found.rows.min() == 360


async def test_the_preview_of_a_threshold_has_the_number_and_length_of_alerts(store):
    replayer = Replayer(store, Settings(), now_us=NOW_US)
    found = await replayer.what_if("error_rate@busy", "20%")
    # The bad operation and its service are in breach together, which is one alert: 10 min, the window and the recovery.
    assert (found.times, found.now_times) == (1, 1)
    assert 10 * MINUTE_US < found.length_us <= 16 * MINUTE_US
    assert found.since_us == START_US
    assert (await replayer.what_if("error_rate@calm", "0.001")).times == 0
    assert (await replayer.what_if("error_rate", "1")).times == 0
    assert (await replayer.what_if("error_rate@busy/bad", "0")).now_times == 1
    assert (await replayer.what_if("throughput", "15")).times == 1
    assert (await replayer.what_if("throughput", "15")).subjects == 2
    off = await replayer.what_if("error_rate", "0")
    assert (off.times, off.now_times) == (0, 1)


async def test_the_outlook_of_other_fields_and_of_what_cannot_be_replayed(store):
    replayer = Replayer(store, Settings(), now_us=NOW_US)
    assert (await replayer.what_if("error_rate@busy.for", "30m")).times == 0
    assert (await replayer.what_if("error_rate@busy.min_operations", "1000")).times == 0
    with pytest.raises(LimitError, match="0 to 1"):
        await replayer.what_if("error_rate@busy", "7")


async def test_an_empty_store_reports_nothing(tmp_path):
    opened = await open_store(f"sqlite:///{tmp_path}/empty.db")
    try:
        found = await Replayer(opened, Settings(), now_us=NOW_US).what_if("error_rate", "0.1")
        assert (found.times, found.subjects) == (0, 0)
    finally:
        await opened.close()


async def test_a_replay_leaves_the_loop_free(store):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await Replayer(store, Settings(), now_us=NOW_US).what_if("response_time", "1")
    counting.cancel()
    assert turns > 10
