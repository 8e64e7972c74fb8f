"""Proposed thresholds: never below the guide, monotone, and no incident becomes normal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.thresholds.calibration import PeriodCollector, Periods, guide_threshold, propose
from cogmeter.query.records import WhatIf
from cogmeter.render.rule_text import proposal_text
from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import HOUR_US, Outcome, Totals

START_US = 20_000 * 24 * HOUR_US
RULES = ("response_time", "throughput")
STATISTICS = ("average", "p50", "p95", "p99")


def periods(average_ms=(), p95_ms=None, *, per_minute=None, failing=None):
    """Periods of one hour each; without other words, 600 operations, none of which fails."""
    average = np.array(average_ms if per_minute is None or len(average_ms) else [100.0] * len(per_minute))
    p95 = 2 * average if p95_ms is None else np.array(p95_ms, dtype=np.float64)
    rate = np.full(average.size, 10.0) if per_minute is None else np.array(per_minute, dtype=np.float64)
    operations = np.round(60 * rate).astype(np.int64)
    failures = (operations * np.array([0.0] * average.size if failing is None else failing)).astype(np.int64)
    times_ms = {"average": average, "p50": 0.7 * average, "p95": p95, "p99": 1.5 * p95}
    until_us = START_US + average.size * HOUR_US
    return Periods(START_US, until_us, operations, failures, np.ones(average.size), times_ms)


@pytest.mark.parametrize(
    ("statistic", "average_ms", "p95_ms", "value"),
    [
        ("average", 5_500, 15_000, 17_000),  # 1.1 times the 95th percentile, rounded up
        ("average", 5_500, 7_000, 11_000),  # at least twice the usual average
        ("average", 5_500, 40_000, 17_000),  # at most three times
        ("p50", 8_000, 13_000, 15_000),
        ("p95", 5_500, 15_000, 45_000),
        ("p99", 5_500, 15_000, 68_000),
        ("average", 100, 400, 5_000),  # the guide's
        ("average", 0, 0, 5_000),
    ],
)
def test_a_response_time_is_two_to_three_times_the_usual_one(statistic, average_ms, p95_ms, value):
    proposal = propose("response_time", periods([average_ms] * 9, [p95_ms] * 9), statistic)
    assert proposal.value == value
    assert proposal.raised is (value > 5_000)
    assert (proposal.rule, proposal.statistic, proposal.p95_ms, proposal.operations) == (
        "response_time",
        statistic,
        p95_ms,
        9 * 600,
    )


@pytest.mark.parametrize(
    ("per_minute", "value"),
    [([400.0] * 20, 1_200), ([40.0] * 17 + [400.0] * 3, 120), ([40.0] * 16 + [400.0] * 4, 1_200), ([3.0] * 9, 100)],
)
def test_a_throughput_is_three_times_that_of_busy_hours(per_minute, value):
    assert propose("throughput", periods(per_minute=per_minute)).value == value


def test_two_hours_of_which_one_is_slow_propose_what_the_quick_one_does():
    assert propose("response_time", periods([5_000, 50_000])).value == 11_000


@pytest.mark.parametrize("rule", RULES)
def test_a_period_in_which_many_fail_teaches_nothing(rule):
    down = periods([60_000] * 5, per_minute=[900] * 5, failing=[0.3] * 5)
    assert propose(rule, down) is None
    mixed = periods([60_000] * 5 + [4_000], per_minute=[900] * 5 + [50], failing=[0.3] * 5 + [0.1])
    assert propose(rule, mixed).value == {"response_time": 8_800, "throughput": 150}[rule]


@pytest.mark.parametrize("rule", RULES)
def test_a_period_beyond_the_threshold_in_effect_teaches_nothing(rule):
    slow = periods([20_000] * 5, per_minute=[900] * 5)
    assert propose(rule, slow, most={"response_time": 19_999, "throughput": 899}[rule]) is None
    assert propose(rule, slow, most=20_000) is not None


@pytest.mark.parametrize("rule", RULES)
def test_without_a_history_nothing_is_proposed(rule):
    assert propose(rule, periods([])) is None


durations = st.lists(st.floats(0, 1e7), min_size=1, max_size=80)
statistics = st.sampled_from(STATISTICS)


@given(durations, statistics, st.sampled_from(RULES))
def test_no_proposal_is_below_the_guide(values, statistic, rule):
    rates = [value / 1_000 for value in values]
    proposal = propose(rule, periods(values, per_minute=rates), statistic)
    assert proposal.value >= guide_threshold(rule)


@given(st.lists(st.tuples(st.floats(1, 1e7), st.floats(1, 20), st.floats(1, 50)), min_size=1, max_size=80), statistics)
def test_what_is_slower_in_each_period_is_allowed_to_be_slower(rows, statistic):
    average, spread, slower = (np.array(column) for column in zip(*rows, strict=True))
    before = propose("response_time", periods(average, average * spread), statistic)
    after = propose("response_time", periods(average * slower, average * spread * slower), statistic)
    assert after.value >= before.value


@given(st.lists(st.floats(0.8, 1.25), min_size=10, max_size=80), st.floats(10, 1e6), st.floats(1e-3, 1e3), statistics)
def test_a_tenth_of_the_periods_moves_a_proposal_by_no_more_than_the_others_vary(varying, usual, times, statistic):
    values = np.array(varying) * usual
    wrong = values.copy()
    wrong[: len(values) // 10] *= times
    before, after = (propose("response_time", periods(one), statistic).value for one in (values, wrong))
    assert before / 1.8 <= after <= before * 1.8  # 1.25 / 0.8, and two significant digits


@given(st.lists(st.floats(0.8, 1.25), min_size=24, max_size=80), st.floats(1, 1e4), st.floats(1e-3, 1e3))
def test_a_tenth_of_the_hours_moves_a_throughput_by_no_more_than_the_others_vary(varying, usual, times):
    rates = np.array(varying) * usual
    wrong = rates.copy()
    wrong[: len(rates) // 10] *= times
    before, after = (propose("throughput", periods(per_minute=one)).value for one in (rates, wrong))
    assert before / 1.8 <= after <= before * 1.8


def totals(hours, *, length_us=HOUR_US):
    """Totals of two groups by hour; each hour is (operations, failures, milliseconds) for both groups."""
    outcomes = np.zeros((len(hours), 2, len(Outcome)), dtype=np.int64)
    buckets = np.zeros((len(hours), 2, BUCKETS), dtype=np.int64)
    sums = np.zeros((len(hours), 2), dtype=np.int64)
    for place, groups in enumerate(hours):
        for group, (operations, failures, duration_ms) in enumerate(groups):
            outcomes[place, group, Outcome.OK] = operations - failures
            outcomes[place, group, Outcome.ERROR] = failures
            buckets[place, group, bucket_of(duration_ms * 1000)] = operations
            sums[place, group] = operations * duration_ms * 1000
    edges = START_US + np.arange(len(hours), dtype=np.int64) * HOUR_US
    until_us = START_US + (len(hours) - 1) * HOUR_US + length_us
    return Totals(START_US, until_us, edges, outcomes, sums, np.zeros_like(sums), buckets)


def collected(*parts):
    collector = PeriodCollector([START_US, START_US])
    for part in parts:
        collector.add(part)
    return collector.periods()


def test_a_busy_hour_is_a_period_and_quiet_ones_are_joined():
    idle = (0, 0, 0)
    hours = [(idle, idle), ((60, 6, 10), (8, 0, 100)), ((90, 0, 20), idle), (idle, (16, 4, 300)), (idle, (19, 0, 1))]
    busy, quiet = collected(totals(hours))
    assert busy.operations.tolist() == [60, 90]
    assert busy.failures.tolist() == [6, 0]
    assert busy.hours.tolist() == [1.0, 1.0]
    assert busy.times_ms["average"].tolist() == [10, 20]
    assert busy.times_ms["p95"] == pytest.approx([10, 20], rel=0.01)
    assert (busy.since_us, busy.until_us) == (START_US + HOUR_US, START_US + 5 * HOUR_US)
    assert quiet.operations.tolist() == [24]
    assert quiet.hours.tolist() == [3.0]
    assert quiet.times_ms["average"] == pytest.approx([(8 * 100 + 16 * 300) / 24])


def test_the_open_hour_is_a_period_from_its_half_on():
    hour = [((60, 0, 10), (0, 0, 0))] * 2
    early, late = (collected(totals(hour, length_us=minutes * HOUR_US // 60))[0] for minutes in (29, 30))
    assert early.hours.tolist() == [1.0]
    assert late.hours.tolist() == [1.0, 0.5]


def test_a_subject_without_operations_has_no_periods():
    _, silent = collected(totals([((60, 0, 10), (0, 0, 0))]))
    assert silent.operations.size == 0
    assert silent.since_us == silent.until_us == START_US + HOUR_US


@pytest.mark.parametrize(
    ("rule", "average_ms", "operation", "text"),
    [
        ("response_time", 5_500, "ask", "95% of /ask take under 15 s; an alert above 17 s (average)"),
        ("response_time", 5_500, "", "95% of discord.commands take under 15 s; an alert above 17 s (average)"),
        ("throughput", 5_500, "ask", "/ask: 10/min in busy hours; an alert above 100/min"),
    ],
)
def test_a_proposal_is_one_sentence_with_how_often_it_would_have_fired(rule, average_ms, operation, text):
    proposal = propose(rule, periods([average_ms] * 9, [15_000] * 9))
    said = proposal_text(proposal, "discord.commands", operation)
    assert said == text
    words = {0: "not have fired", 1: "have fired once", 2: "have fired twice", 1_200: "have fired 1,200 times"}
    for times, fired in words.items():
        what_if = WhatIf(0, 72 * HOUR_US, times, 0, 0, 0, subjects=1)
        said = proposal_text(proposal, "discord.commands", operation, what_if)
        assert said == f"{text} would {fired} in the last 3 d"
    assert proposal_text(proposal, "discord.commands", operation, WhatIf(0, 1, 0, 0, 0, 0, subjects=0)) == text
