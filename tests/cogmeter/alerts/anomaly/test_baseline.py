"""Series of known kinds with a fixed seed: usual values raise nothing, others a score in proportion."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogmeter.alerts.anomaly.baseline import ALERT_FROM, Baseline
from cogmeter.alerts.anomaly.rarity import RarityScorer
from cogmeter.alerts.anomaly.seasonality import SeasonalProfile

MONDAY = 1_700_438_400.0  # 2023-11-20 00:00 UTC
HOUR, DAY = 3600.0, 86_400.0
WORTH_A_LOOK = 0.9

Values = Callable[[float], float]


def fed(values: Values, *, days: float, since: float = 0.0, into: Baseline | None = None) -> Baseline:
    """A baseline that has seen ``values`` of the seconds since Monday, every five minutes."""
    baseline = Baseline() if into is None else into
    scores_of(baseline, values, days=days, since=since)
    return baseline


def scores_of(
    baseline: Baseline, values: Values, *, days: float, step: float = 300.0, since: float = 0.0
) -> list[float]:
    places = (since + number * step for number in range(round(days * DAY / step)))
    return [baseline.update(MONDAY + at, values(at)) for at in places]


def copy(baseline: Baseline) -> Baseline:
    return Baseline.from_state(baseline.state())


def noise(seed: int, level: float = 50.0, spread: float = 3.0) -> Values:
    dice = random.Random(seed)
    return lambda _: dice.gauss(level, spread)


def daily(seed: int, *, level: float = 50.0, swing: float = 30.0, spread: float = 2.0) -> Values:
    """Lowest at midnight, highest at noon."""
    dice = random.Random(seed)
    return lambda at: level - swing * math.cos(2 * math.pi * at / DAY) + dice.gauss(0, spread)


def office(seed: int) -> Values:
    """Busy from 8 to 18 on weekdays."""
    dice = random.Random(seed)

    def value(at: float) -> float:
        busy = at % (7 * DAY) < 5 * DAY and 8 * HOUR <= at % DAY < 18 * HOUR
        return max(round(dice.gauss(60, 7) if busy else dice.gauss(8, 2.5)), 0)

    return value


def share_from(score: float, scores: Iterable[float]) -> float:
    scores = list(scores)
    return sum(one >= score for one in scores) / len(scores)


def rare_count(seed: int) -> Values:
    dice = random.Random(seed)
    return lambda _: float(dice.random() < 0.05)


def durations(seed: int) -> Values:
    dice = random.Random(seed)
    return lambda _: dice.lognormvariate(5, 0.4)


def nightly(seed: int) -> Values:
    """A job that takes twenty minutes each night."""
    dice = random.Random(seed)
    return lambda at: dice.gauss(10, 1) + 60 * (at % DAY < 1200)


QUIET = (noise, daily, office, rare_count, durations, nightly)


@pytest.mark.parametrize("kind", QUIET)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_usual_stays_low(kind, seed):
    baseline = Baseline()
    values = kind(seed)

    first_weeks = scores_of(baseline, values, days=14)
    next_weeks = scores_of(baseline, values, days=14, since=14 * DAY)

    assert share_from(ALERT_FROM, first_weeks) <= 4 / 4032
    assert share_from(WORTH_A_LOOK, next_weeks) <= 2 / 4032
    assert share_from(ALERT_FROM, next_weeks) <= 1 / 4032
    assert sum(next_weeks) / len(next_weeks) < 0.12


@pytest.mark.parametrize("values", [lambda at: 42.0, lambda at: 0.0, lambda at: -1e-9, lambda at: 1e30])
def test_what_never_changes_is_never_odd(values):
    assert max(scores_of(Baseline(), values, days=3)) < 0.01


def test_nothing_is_odd_while_little_is_known():
    baseline = Baseline()

    scores = [baseline.update(MONDAY + 60 * number, value) for number, value in enumerate([1.0] * 25 + [1e6] * 5)]

    assert set(scores) == {0.0}


@pytest.mark.parametrize("values", [noise(1), lambda at: 50.0], ids=["noisy", "constant"])
@pytest.mark.parametrize("step", [60.0, 300.0, 1800.0])
def test_a_jump_scores_after_a_few_hundred_values(values, step):
    baseline = Baseline()
    scores_of(baseline, values, days=350 * step / DAY, step=step)

    assert max(scores_of(baseline, lambda at: 100.0, days=3 * step / DAY, step=step, since=350 * step)) >= ALERT_FROM


def test_a_first_failure_after_zeros_is_no_alert_and_many_are():
    baseline = fed(lambda at: 0.0, days=2)

    assert copy(baseline).update(MONDAY + 2 * DAY, 1.0) < WORTH_A_LOOK
    assert copy(baseline).update(MONDAY + 2 * DAY, 0.02) < ALERT_FROM
    assert max(scores_of(baseline, lambda at: 40.0, days=600 / DAY, since=2 * DAY)) >= WORTH_A_LOOK


@pytest.mark.parametrize("seed", range(4))
def test_a_zero_is_as_usual_where_nearly_all_values_are_zero(seed):
    dice = random.Random(seed)
    failures = [0.0 if dice.random() < 0.97 else round(dice.uniform(0.02, 0.05), 3) for _ in range(6_000)]
    for start in (3_000, 4_000, 5_000):
        failures[start : start + 4] = [0.03, 0.06, 0.2, 0.04]
    baseline = Baseline()

    scores = [baseline.update(MONDAY + 60 * place, value) for place, value in enumerate(failures)]

    assert max(score for score, value in zip(scores, failures, strict=True) if not value) < WORTH_A_LOOK
    assert all(max(scores[start : start + 4]) >= WORTH_A_LOOK for start in (3_000, 4_000, 5_000))


@pytest.mark.parametrize("values", [noise(2), daily(2), office(2)], ids=["noise", "daily", "office hours"])
def test_a_bigger_surprise_scores_higher_and_none_is_certain(values):
    baseline = fed(values, days=21)

    scores = [copy(baseline).update(MONDAY + 21 * DAY, value) for value in (100.0, 150.0, 300.0, 1e3, 1e4, 1e6)]

    assert scores == sorted(set(scores))
    assert scores[-1] < 1.0


def test_a_value_is_odd_at_the_wrong_hour_of_the_day():
    baseline = fed(daily(3), days=10)

    assert copy(baseline).update(MONDAY + 10 * DAY, 20.0) < 0.5
    at_night = fed(daily(4), days=0.1, since=10 * DAY, into=copy(baseline))
    assert max(scores_of(at_night, lambda at: 80.0, days=1 / 24, since=10.1 * DAY)) >= ALERT_FROM
    at_noon = fed(daily(4), days=0.45, since=10 * DAY, into=copy(baseline))
    assert max(scores_of(at_noon, noise(4, level=80.0, spread=2.0), days=1 / 24, since=10.45 * DAY)) < 0.5


@pytest.mark.parametrize(("hour", "usual"), [(12, 80.0), (18, 50.0)])
def test_the_usual_value_is_the_one_that_predicts_best(hour, usual):
    baseline = fed(daily(31), days=10 + hour / 24)

    baseline.update(MONDAY + 10 * DAY + hour * HOUR, 500.0)

    assert baseline.usual == pytest.approx(usual, abs=3)
    assert Baseline().usual == 0.0


def test_a_usual_rise_that_does_not_come_is_odd():
    baseline = fed(office(5), days=23.3)  # a Wednesday at 7

    quiet = scores_of(baseline, lambda at: 8.0, days=4 / 24, since=23.3 * DAY)

    assert max(quiet) >= WORTH_A_LOOK


def test_a_weekend_is_known_after_some_weeks_and_a_busy_saturday_is_odd():
    baseline = fed(office(6), days=26)  # a Saturday at 0

    assert max(scores_of(copy(baseline), office(7), days=1, since=26 * DAY)) < ALERT_FROM
    busy = fed(office(7), days=10 / 24, since=26 * DAY, into=baseline)
    assert max(scores_of(busy, lambda at: 60.0, days=2 / 24, since=26 * DAY + 10 * HOUR)) >= WORTH_A_LOOK


def test_a_rhythm_has_to_be_earned():
    """What happened within this hour must not look as if the hour had foretold it."""
    rhythm = SeasonalProfile(24, keep=4.0)
    for number in range(4 * 288):
        at = MONDAY + number * 300
        rhythm.look(at)
        rhythm.learn(random.Random(number // 12).uniform(0, 100), 300 / DAY, 1.0, 0.01)

    assert rhythm.error > 20  # as far off as chance; the last value alone would have been right in 11 of 12


def test_a_level_shift_is_odd_for_hours_and_usual_after_days():
    baseline = fed(noise(8), days=7)
    shifted = noise(9, level=90.0)

    first_hours = scores_of(baseline, shifted, days=0.125, since=7 * DAY)
    fed(shifted, days=6.125, since=7.125 * DAY, into=baseline)
    later = scores_of(baseline, shifted, days=2, since=13.25 * DAY)

    assert share_from(WORTH_A_LOOK, first_hours) > 0.9
    assert share_from(WORTH_A_LOOK, later) == 0
    assert max(scores_of(baseline, lambda at: 140.0, days=600 / DAY, since=15.25 * DAY)) >= ALERT_FROM


def test_an_incident_is_as_odd_when_it_comes_again():
    values = noise(10)
    baseline = fed(values, days=7)

    def incident(day: float) -> float:
        scores = scores_of(baseline, noise(11, level=80.0), days=1 / 24, since=day * DAY)
        fed(values, days=1, since=(day + 1 / 24) * DAY, into=baseline)
        return max(scores)

    first, again = incident(7), incident(9)

    assert first >= ALERT_FROM
    assert again >= WORTH_A_LOOK
    assert share_from(WORTH_A_LOOK, scores_of(baseline, values, days=1, since=11 * DAY)) == 0


def test_what_is_over_is_over():
    values = noise(12)
    baseline = fed(values, days=7)
    fed(lambda at: 95.0, days=2 / 24, since=7 * DAY, into=baseline)

    after = scores_of(baseline, values, days=1, since=7 * DAY + 2 * HOUR)

    assert share_from(WORTH_A_LOOK, after[6:]) == 0


ODD: dict[str, tuple[Values, Values]] = {
    "silence": (daily(13), lambda at: 0.0),
    "stuck": (noise(14), lambda at: 50.0),
    "growing noise": (noise(15), noise(16, spread=12.0)),
    "a slow creep": (noise(17), lambda at: 50.0 + (at - 10 * DAY) / HOUR * 2.5),
    "a small step": (noise(18), noise(19, level=56.0)),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_unusual_value_has_a_high_score_within_hours(kind):
    usual, odd = ODD[kind]
    baseline = fed(usual, days=10)

    assert max(scores_of(baseline, odd, days=0.5, since=10 * DAY)) >= WORTH_A_LOOK


def test_a_slow_trend_is_usual():
    dice = random.Random(20)

    scores = scores_of(Baseline(), lambda at: 100 + at / HOUR * 0.3 + dice.gauss(0, 2), days=14)

    assert share_from(WORTH_A_LOOK, scores) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_scores_nothing_and_teaches_nothing(value):
    baseline = fed(noise(21), days=2)
    before = baseline.state()

    assert baseline.update(MONDAY + 2 * DAY, value) == 0.0
    assert baseline.state() == before


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_scores_nothing_and_teaches_nothing(time):
    baseline = fed(noise(21), days=2)
    before = baseline.state()

    assert baseline.update(time, 1e6) == 0.0
    assert baseline.state() == before
    assert Baseline().update(time, 1e6) == 0.0


@pytest.mark.parametrize("ahead", [3 * DAY, 400 * DAY, 1e15])
def test_a_clock_that_was_ahead_for_a_moment_costs_no_rhythm(ahead):
    baseline = fed(daily(29), days=10)
    baseline.update(MONDAY + 10 * DAY + ahead, 20.0)

    after = scores_of(baseline, daily(30), days=1.5, since=10 * DAY + 300)

    assert max(after) < ALERT_FROM
    assert max(scores_of(baseline, lambda at: 20.0, days=1 / 24, since=11.5 * DAY + 300)) >= ALERT_FROM


def test_a_gap_is_no_news():
    baseline = fed(daily(22), days=9)

    after = scores_of(baseline, daily(23), days=1, since=11.4 * DAY)

    assert max(after) < WORTH_A_LOOK


def test_values_may_come_at_any_time():
    dice = random.Random(24)
    baseline, at = Baseline(), MONDAY
    for _ in range(3000):
        at += dice.expovariate(1 / 300)
        baseline.update(at - dice.random() * 5, dice.gauss(50, 3))

    assert baseline.update(at, 51.0) < 0.5
    assert baseline.update(at - DAY, 52.0) < 0.5  # a clock that was set back
    assert baseline.update(at + 300, 120.0) >= ALERT_FROM


def test_times_may_be_datetimes_and_are_utc_without_a_zone():
    by_seconds, by_datetime, elsewhere = Baseline(), Baseline(), Baseline()
    zone = timezone(timedelta(hours=5, minutes=30))
    for number in range(500):
        at, value = MONDAY + 600 * number, float(number * 7919 % 101)
        score = by_seconds.update(int(at), value)
        moment = datetime.fromtimestamp(at, UTC)
        assert by_datetime.update(moment.replace(tzinfo=None), value) == score
        assert elsewhere.update(moment.astimezone(zone), value) == score


@pytest.mark.parametrize("known", [0, 1, 25, 33, 700, 5000])
def test_a_restart_changes_no_score(known):
    dice = random.Random(25)
    values = [dice.lognormvariate(3, 0.5) * (8 if number % 997 == 0 else 1) for number in range(known + 1500)]
    straight, broken = Baseline(), Baseline()
    for number, value in enumerate(values):
        if number >= known and (number - known) % 500 == 0:
            broken = copy(broken)
        at = MONDAY + number * 307.3
        assert straight.update(at, value) == broken.update(at, value)
    assert straight.state() == broken.state()


def test_what_it_keeps_does_not_grow():
    young, old = fed(noise(26), days=1), fed(daily(27), days=60)

    assert len(list(old._numbers())) == len(list(young._numbers())) < 1200
    assert len(old.state()) < 10_000


STATES = {
    "none": b"",
    "newer": b"\x02",
    "cut": Baseline().state()[:-9],
    "text": b"\x01abc",
    "zeros": b"\x01" + bytes(50),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(ValueError, match="state of a baseline"):
        Baseline.from_state(state)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e4, 1e7), st.one_of(st.floats(), st.sampled_from([0.0, 1.0, -1.7e308, 1.7e308, 5e-324]))),
        max_size=120,
    )
)
def test_any_values_at_any_times_score_from_0_to_1(steps):
    baseline, at = Baseline(), MONDAY
    for step, value in steps:
        at += step
        assert 0.0 <= baseline.update(at, value) <= 1.0
    assert copy(baseline).state() == baseline.state()


def test_rarity_is_counted_where_there_are_counts_and_follows_a_power_law_beyond():
    oddness = RarityScorer(1)
    dice = random.Random(28)
    for _ in range(20_000):
        oddness.surprises([dice.paretovariate(3)])
        oddness.count(1.0, 1.0)

    # P(x) = x^-3, with the histogram's steps of a fifth
    for figure in (2.0, 5.0, 10.0, 50.0):
        (found,) = oddness.surprises([figure])
        assert found == pytest.approx(3 * math.log10(figure), rel=0.15, abs=0.15)
    (far,), (farther,) = oddness.surprises([1e9]), oddness.surprises([1e12])
    assert math.log10(20_000) + 2 < far < farther < math.log10(20_000) + 5  # five more than one in all: no claim
    assert oddness.surprises([0.3]) == [0.0]
