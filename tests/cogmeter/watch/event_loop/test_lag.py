"""Loop lag is answered from a log histogram, within its resolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.watch.event_loop.lag import FOLD_AT, Lag


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=200))
def test_quantiles_are_within_a_percent_of_the_true_ones(late_ns):
    lag = Lag()
    for one in late_ns:
        lag.add(one)
    gauges = lag.take()
    for name, share in (("loop.lag_p50_ms", 0.5), ("loop.lag_p99_ms", 0.99)):
        true_ms = float(np.quantile(late_ns, share, method="inverted_cdf")) / 1e6
        assert gauges[name] == pytest.approx(true_ms, rel=0.0100, abs=0.001)
    assert gauges["loop.lag_max_ms"] == max(late_ns) / 1e6


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=50))
def test_no_percentile_exceeds_the_maximum(late_ns):
    lag = Lag()
    for one in late_ns:
        lag.add(one)
    sample = lag.take()
    assert 0 <= sample["loop.lag_p50_ms"] <= sample["loop.lag_p99_ms"] <= sample["loop.lag_max_ms"]


@pytest.mark.parametrize("late_ns", [109_718, 3, 1_234_567])
def test_of_one_value_all_three_are_equal(late_ns):
    lag = Lag()
    lag.add(late_ns)
    assert len(set(lag.take().values())) == 1


def test_each_sample_restarts_and_the_histogram_continues():
    lag = Lag()
    for _ in range(2 * FOLD_AT + 5):
        lag.add(1_000_000)
    assert lag.take()["loop.lag_max_ms"] == 1
    assert lag.take() == {}
    lag.add(2_000_000)
    assert lag.take()["loop.lag_p50_ms"] == pytest.approx(2, rel=0.01)
    assert lag.buckets.sum() == 2 * FOLD_AT + 6


def test_a_loop_that_waits_for_events_has_no_lag():
    lag = Lag()
    lag.add(5_000_000)
    lag.add_none(99)
    assert lag.take() == {"loop.lag_p50_ms": 0, "loop.lag_p99_ms": 0, "loop.lag_max_ms": 5}
    lag.add_none(3)
    assert lag.take()["loop.lag_max_ms"] == 0
