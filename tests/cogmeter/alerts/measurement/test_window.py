"""The running totals equal what a computation over all operations in the window gives."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.measurement.values import STATISTICS, averages_ms, quantiles_ms
from cogmeter.alerts.measurement.window import FOLD_AT, SLICES, Window
from cogmeter_storage.histogram import BUCKETS, bucket_of
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


@given(batches)
def test_totals_equal_a_computation_over_the_operations_in_the_window(given_batches):
    window = Window(NAMES, length_s=LENGTH_S)
    now_s, kept, slice_start = 0.0, [], -math.inf
    for gap, batch in given_batches:
        now_s += gap
        asyncio.run(window.add(atoms_of(batch), now_s))
        if now_s - slice_start >= LENGTH_S / SLICES:
            slice_start = now_s
        kept += [(slice_start, *one) for one in batch]
    window.move(now_s)
    window.learn()
    newest = {NAMES[series][0]: slice_s for slice_s, series, *_ in kept}
    assert dict(zip(window.services, window.began_s().tolist(), strict=True)) == pytest.approx(
        {service: newest.get(service, math.nan) for service in window.services}, nan_ok=True
    )
    kept = [one for one in kept if now_s - one[0] < LENGTH_S]
    by_service, by_series = window.by_service, window.by_series
    for place, service in enumerate(window.services):
        agree(by_service, window.buckets[place], place, [one for one in kept if NAMES[one[1]][0] == service])
    for series in range(len(window.series)):
        agree(by_series, window.buckets_of(series), series, [one for one in kept if one[1] == series])


def agree(counts, buckets, place, kept):
    durations = [duration_ns // 1000 for _, _, duration_ns, _ in kept]
    assert counts.operations[place] == len(durations)
    assert counts.failures[place] == sum(outcome in FAILURES for *_, outcome in kept)
    assert counts.sum_us[place] == sum(durations)
    assert buckets.tolist() == np.bincount(bucket_of(durations), minlength=BUCKETS).tolist()
    if durations:
        assert averages_ms(counts.operations, counts.sum_us)[place] == pytest.approx(np.mean(durations) / 1000)
        for quantile in filter(None, (quantile for quantile, _ in STATISTICS.values())):
            exact = np.percentile(durations, quantile * 100, method="inverted_cdf") / 1000
            assert float(quantiles_ms(buckets, quantile)) == pytest.approx(exact, rel=0.01, abs=0.002)


async def test_a_slice_with_many_operations_puts_equal_ones_together():
    window = Window(NAMES, length_s=LENGTH_S)
    random = np.random.default_rng(9)
    durations_ns = (random.lognormal(16, 2, 3 * FOLD_AT)).astype(int).tolist()
    for place in range(3):
        part = durations_ns[place * FOLD_AT : (place + 1) * FOLD_AT]
        await window.add(atoms_of([(number % 3, duration, 0) for number, duration in enumerate(part)]), place / 10)
    mine = [duration // 1000 for number, duration in enumerate(durations_ns) if number % FOLD_AT % 3 == 1]
    assert window.buckets_of(1).tolist() == np.bincount(bucket_of(mine), minlength=BUCKETS).tolist()
    (part,) = window._slices
    assert sum(len(keys) for keys, _ in part.pairs()) < FOLD_AT  # and not three times as many
    window.move(LENGTH_S + 1)
    assert not window.buckets.any()
    assert not window.buckets_of(1).any()
    assert window.by_service.operations.tolist() == [0, 0, 0]


async def test_series_that_come_later_are_counted_from_then_on():
    names = [("(other)", "(other)")]
    window = Window(names, length_s=60)
    await window.add([0, 1, 1000, 0, None], 0)
    names.append(("late", "x"))
    await window.add([1, 1, 1000, 1, None], 1)
    window.move(2)
    assert dict(zip(window.services, window.by_service.failures.tolist(), strict=True)) == {"(other)": 0, "late": 1}


async def test_the_span_grows_to_the_windows_length():
    window = Window(NAMES, length_s=60)
    assert window.span_s(100) == 0
    await window.add([], 100)
    assert window.span_s(130) == 30
    assert window.span_s(500) == 60


async def test_the_longest_stall_is_known_by_its_place_as_long_as_it_is_in_the_window():
    names = [*NAMES, ("discord.stalls", "cog.py:7"), ("discord.stalls", "cog.py:9")]
    window = Window(names, length_s=60)
    await window.add([4, 1, 3 * 10**9, 0, None, 1, 1, 9 * 10**9, 0, None], 0)
    await window.add([5, 1, 2 * 10**9, 0, None], 30)
    assert window.longest_stall() == (3_000.0, "cog.py:7")
    window.move(61)
    assert window.longest_stall() == (2_000.0, "cog.py:9")
    window.move(91)
    assert window.longest_stall() is None


async def test_many_operations_leave_the_loop_a_turn_between_pieces():
    window = Window(NAMES, length_s=60)
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await window.add(atoms_of([(1, 1, 0)] * 10_000), 0)
    task.cancel()
    assert turns >= 9
    assert window.by_service.operations.tolist() == [0, 10_000, 0]
