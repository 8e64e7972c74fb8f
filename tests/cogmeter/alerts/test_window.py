"""The running totals equal what a computation over all operations in the window gives."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.window import SLICES, Window
from cogmeter_storage.model import FAILURES, Outcome

NAMES = [("(other)", "(other)"), ("a", "x"), ("a", "y"), ("b", "x")]
LENGTH_S = 60.0

operations = st.tuples(
    st.integers(0, len(NAMES) - 1), st.integers(0, 10**11), st.sampled_from([*map(int, Outcome), None])
)
batches = st.lists(st.tuples(st.floats(0, 40), st.lists(operations, max_size=20)), max_size=12)


def atoms_of(batch):
    """Atoms as the recorder leaves them: what has no outcome came from record(), in milliseconds."""
    flat = []
    for series, duration_ns, outcome in batch:
        flat += [series, 1, duration_ns if outcome is not None else duration_ns / 1e6, outcome, None]
    return flat


@given(batches, st.sampled_from([None, 0.5, 0.95]))
def test_totals_equal_a_computation_over_the_operations_in_the_window(given_batches, quantile):
    window = Window(NAMES, length_s=LENGTH_S, quantile=quantile)
    now_s, kept, slice_start = 0.0, [], -math.inf
    for gap, batch in given_batches:
        now_s += gap
        asyncio.run(window.add(atoms_of(batch), now_s))
        if now_s - slice_start >= LENGTH_S / SLICES:
            slice_start = now_s
        kept += [(slice_start, *one) for one in batch]
    totals = window.totals(now_s)
    for place, service in enumerate(totals.services):
        durations = [
            duration_ns // 1000
            for start, series, duration_ns, _ in kept
            if now_s - start < LENGTH_S and NAMES[series][0] == service
        ]
        failures = [
            1
            for start, series, _, outcome in kept
            if now_s - start < LENGTH_S and NAMES[series][0] == service and outcome in FAILURES
        ]
        assert totals.operations[place] == len(durations)
        assert totals.failures[place] == len(failures)
        if not durations:
            assert math.isnan(totals.response_us[place])
        elif quantile is None:
            assert totals.response_us[place] == pytest.approx(np.mean(durations), rel=1e-6, abs=1)
        else:
            exact = np.percentile(durations, quantile * 100, method="inverted_cdf")
            assert totals.response_us[place] == pytest.approx(exact, rel=0.01, abs=1.01)


async def test_series_that_come_later_are_counted_from_then_on():
    names = [("(other)", "(other)")]
    window = Window(names, length_s=60)
    await window.add([0, 1, 1000, 0, None], 0)
    names.append(("late", "x"))
    await window.add([1, 1, 1000, 1, None], 1)
    totals = window.totals(2)
    assert dict(zip(totals.services, totals.failures.tolist(), strict=True)) == {"(other)": 0, "late": 1}


async def test_the_span_grows_to_the_windows_length():
    window = Window(NAMES, length_s=60)
    assert window.totals(100).span_s == 0
    await window.add([], 100)
    assert window.totals(130).span_s == 30
    assert window.totals(500).span_s == 60
