"""The clock skew: its bounds contain the truth, narrow over many answers, and follow a clock that is set."""

from __future__ import annotations

import math
import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.watch.rest.clock_skew import ClockSkew


def answer(skew: ClockSkew, at_s: float, *, ahead_s: float, there_s: float = 0.03, back_s: float = 0.05) -> None:
    """One answer of Discord at ``at_s`` of its own clock, ours being ``ahead_s`` ahead of it."""
    date = formatdate(math.floor(at_s), usegmt=True)
    skew.note(date, at_s + ahead_s - there_s, at_s + ahead_s + back_s)


def test_nothing_is_known_before_the_first_answer():
    assert ClockSkew().seconds is None
    assert ClockSkew().uncertainty_s == math.inf


@given(
    ahead_s=st.floats(-7200, 7200),
    times=st.lists(st.floats(1.7e9, 1.7e9 + 600), min_size=1, max_size=40),
    there_s=st.floats(0, 2),
    back_s=st.floats(0, 2),
)
def test_the_truth_lies_within_the_uncertainty(ahead_s, times, there_s, back_s):
    skew = ClockSkew()
    for at_s in sorted(times):
        answer(skew, at_s, ahead_s=ahead_s, there_s=there_s, back_s=back_s)
    assert abs(skew.seconds - ahead_s) <= skew.uncertainty_s + 1e-5


def test_many_answers_are_more_precise_than_the_headers_one_second():
    skew, dice = ClockSkew(), random.Random(7)
    for number in range(200):
        answer(skew, 1.7e9 + number * 1.3 + dice.random(), ahead_s=2.4)
    assert skew.uncertainty_s < 0.06
    assert skew.seconds == pytest.approx(2.4, abs=0.06)


def test_answers_in_one_second_are_distinguished_by_our_clock():
    skew = ClockSkew()
    for part in (0.05, 0.5, 0.95):
        answer(skew, 1.7e9 + part, ahead_s=0.0)
    assert skew.uncertainty_s < 0.12


def test_a_clock_that_is_set_restarts_the_estimate():
    skew = ClockSkew()
    for number in range(50):
        answer(skew, 1.7e9 + number * 1.1, ahead_s=0.0)
    answer(skew, 1.7e9 + 60.5, ahead_s=30.0)
    assert skew.seconds == pytest.approx(30.0, abs=0.55)
    assert skew.uncertainty_s > 0.4


def test_a_slow_drift_is_followed_without_a_new_beginning():
    skew, dice = ClockSkew(), random.Random(7)
    for number in range(4000):
        at_s = number * 10 + dice.random()
        answer(skew, 1.7e9 + at_s, ahead_s=20e-6 * at_s)
        if number > 100:
            assert skew.uncertainty_s < 0.3
    assert skew.seconds == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("header", ["", "soon", "Wed, 99 Zzz 2015 07:28:00 GMT", "Wed, 21 Oct 99999999 07:28:00 GMT"])
def test_a_header_that_is_no_date_is_left_out(header):
    skew = ClockSkew()
    skew.note(header, 1.7e9, 1.7e9 + 0.1)
    assert skew.seconds is None


def test_a_clock_set_back_while_the_answer_was_awaited_is_left_out():
    skew = ClockSkew()
    skew.note(formatdate(1.7e9, usegmt=True), 1.7e9 + 5, 1.7e9)
    assert skew.seconds is None
