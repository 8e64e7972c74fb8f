from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter_storage.histogram import bucket_of
from cogmeter_storage.slot import SlotFormatError, decode, encode, merge, summarise

OPERATIONS = st.lists(
    st.tuples(
        st.integers(1, 2000),
        st.one_of(st.integers(0, 300), st.integers(0, 10**13)),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=60,
)


def slot_of(operations):
    return summarise(*(np.array(column, dtype=np.int64) for column in zip(*operations, strict=True)))


def plain(slot):
    return [column.tolist() for column in slot]


@given(OPERATIONS)
def test_a_slot_counts_each_series_exactly(operations):
    slot = slot_of(operations)
    assert slot.series.tolist() == sorted({series for series, _, _ in operations})
    bucket = 0
    for row, series in enumerate(slot.series.tolist()):
        own = [(duration, outcome) for one, duration, outcome in operations if one == series]
        assert [int(column[row]) for column in slot.outcomes] == [sum(o == n for _, o in own) for n in range(5)]
        assert slot.sum_us[row] == sum(duration for duration, _ in own)
        assert slot.max_us[row] == max(duration for duration, _ in own)
        filled, counts = np.unique(bucket_of([duration for duration, _ in own]), return_counts=True)
        end = bucket + int(slot.sizes[row])
        assert slot.buckets[bucket:end].tolist() == filled.tolist()
        assert slot.counts[bucket:end].tolist() == counts.tolist()
        bucket = end
    assert bucket == slot.buckets.size == slot.counts.size


@given(OPERATIONS)
def test_the_bytes_of_a_slot_give_the_same_slot_back(operations):
    slot = slot_of(operations)
    assert plain(decode(encode(slot))) == plain(slot)


@given(st.lists(OPERATIONS, min_size=1, max_size=5))
def test_merging_slots_is_the_slot_of_all_their_operations(parts):
    stored = [decode(encode(slot_of(part))) for part in parts]
    assert plain(merge(stored)) == plain(slot_of([one for part in parts for one in part]))


@given(OPERATIONS, st.data())
def test_cut_or_grown_bytes_are_refused(operations, data):
    stored = encode(slot_of(operations))
    cut = data.draw(st.integers(0, len(stored) - 1))
    for damaged in (stored[:cut], stored + b"\0"):
        with pytest.raises(SlotFormatError):
            decode(damaged)


def test_a_slot_of_a_later_version_is_refused():
    stored = encode(slot_of([(1, 5, 0)]))
    with pytest.raises(SlotFormatError, match="later version"):
        decode(b"\x02" + stored[1:])


def test_a_minute_of_ten_operations_a_series_takes_near_fifty_bytes_a_series():
    random = np.random.default_rng(1)
    series = np.repeat(np.arange(1, 101), 10)
    durations = random.lognormal(11, 0.6, series.size).astype(np.int64)
    slot = summarise(series, durations, np.where(random.random(series.size) < 0.05, 1, 0))
    assert len(encode(slot)) / 100 < 50
