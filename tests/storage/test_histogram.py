"""The histogram: buckets within one percent, and quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter_storage.histogram import BUCKETS, RATIO, bucket_of, quantiles, value_of

DURATIONS = st.integers(0, 180 * 86_400_000_000)


@given(DURATIONS)
def test_a_bucket_answers_within_one_percent_of_what_fell_into_it(duration_us):
    answer = float(value_of(bucket_of(duration_us)))
    assert answer == pytest.approx(duration_us, rel=0.01)


@given(DURATIONS, DURATIONS)
def test_a_longer_duration_never_falls_into_an_earlier_bucket(one, other):
    low, high = sorted((one, other))
    assert bucket_of(low) <= bucket_of(high)


@given(st.integers(1, BUCKETS - 2))
def test_a_power_of_the_ratio_closes_its_bucket(index):
    assert bucket_of(RATIO ** (index - 1)) == index


def test_zero_and_less_have_a_bucket_of_their_own():
    assert bucket_of([0, -5]).tolist() == [0, 0]
    assert value_of(0) == 0.0


def test_what_is_longer_than_the_last_bucket_begins_falls_into_it():
    assert bucket_of(2**62) == BUCKETS - 1


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.sampled_from([0.0, 0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent_of_the_nearest_rank(durations, probability):
    buckets = np.bincount(bucket_of(durations), minlength=BUCKETS)
    exact = sorted(durations)[max(math.ceil(round(probability * len(durations), 9)) - 1, 0)]
    assert quantiles(buckets, [probability])[0] == pytest.approx(exact, rel=0.01)


@given(st.lists(DURATIONS, min_size=1, max_size=200))
def test_with_a_known_maximum_no_quantile_exceeds_it_and_the_last_rank_is_exact(durations):
    buckets = np.bincount(bucket_of(durations), minlength=BUCKETS)
    found = quantiles(buckets, [0.5, 0.95, 0.99], max_us=max(durations))
    assert (np.diff(found) >= 0).all()
    assert found[-1] <= max(durations)
    if len(durations) < 100:
        assert found[2] == max(durations)
    if len(durations) < 20:
        assert found[1] == max(durations)
    if len(durations) == 1:
        assert found.tolist() == [durations[0]] * 3


def test_without_operations_there_is_no_quantile():
    assert np.isnan(quantiles(np.zeros((2, BUCKETS), dtype=np.int64), [0.5])).all()
    assert np.isnan(quantiles(np.zeros((2, BUCKETS), dtype=np.int64), [0.5], max_us=[0, 0])).all()


def test_the_quantiles_of_rows_are_those_of_each_row_alone():
    numbers = np.random.default_rng(1)
    rows = np.zeros((50, BUCKETS), dtype=np.int64)
    for row in rows[1:]:
        np.add.at(row, numbers.integers(0, BUCKETS, 40), numbers.integers(1, 10**9, 40))
    probabilities = [0.0, 0.01, 0.5, 0.95, 0.99, 1.0]
    expected = [[np.nan] * len(probabilities)]
    for row in rows[1:]:
        ranks = [max(math.ceil(probability * int(row.sum()) - 1e-9), 1) for probability in probabilities]
        expected.append([float(value_of(np.argmax(row.cumsum() >= rank))) for rank in ranks])
    np.testing.assert_allclose(quantiles(rows, probabilities), expected, rtol=1e-14)
    np.testing.assert_array_equal(
        quantiles(rows.reshape(5, 10, -1), probabilities).reshape(50, -1)[7], quantiles(rows, probabilities)[7]
    )
