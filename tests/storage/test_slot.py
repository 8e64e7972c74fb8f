"""A slot: its counts, its bytes, and merging."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cogmeter_storage.histogram import bucket_of
from cogmeter_storage.slot import SlotFormatError, decode, encode, has_checksum, merge, summarise

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
        decode(b"\x03" + stored[1:])


@given(OPERATIONS, st.binary(max_size=80), st.data())
def test_flipped_bits_are_always_found(operations, noise, data):
    row = (0, 60_000_000, 5, 9)
    stored = encode(slot_of(operations), row)
    damaged = bytearray(stored)
    for bit in data.draw(st.sets(st.integers(0, 8 * len(stored) - 1), min_size=1, max_size=4)):
        damaged[bit // 8] ^= 1 << bit % 8
    assert plain(decode(stored, row)) == plain(slot_of(operations))
    # A flipped version byte makes it a slot without checksum, whose columns do not fit then.
    for wrong in (bytes(damaged), noise, stored[: len(stored) // 2] + noise):
        with pytest.raises(SlotFormatError):
            decode(wrong, row)


@given(OPERATIONS, st.integers(0, 3), st.integers(-(2**62), 2**62))
def test_a_slot_in_another_row_than_it_was_written_to_is_found(operations, column, value):
    row = [1, 3_600_000_000, 5, 9]
    stored = encode(slot_of(operations), row)
    assume(row[column] != value)
    row[column] = value
    with pytest.raises(SlotFormatError, match="checksum"):
        decode(stored, row)


@pytest.mark.parametrize("data", [None, 5, 1.5, "text", b"", b"\x00", b"\x01", b"\x02", b"\x02\x00\x00\x00\x00"])
def test_what_is_no_slot_is_refused(data):
    with pytest.raises(SlotFormatError):
        decode(data)


def test_a_row_with_a_key_that_is_no_number_is_refused():
    with pytest.raises(SlotFormatError, match="is not a number"):
        decode(encode(slot_of([(1, 5, 0)])), (0, "yesterday", 1, 1))


def without_checksum(slot):
    """The bytes as schema versions 1 to 3 wrote them."""
    return b"\x01" + encode(slot)[5:]


@given(OPERATIONS)
def test_a_slot_without_checksum_is_still_read(operations):
    slot = slot_of(operations)
    assert plain(decode(without_checksum(slot))) == plain(slot)
    assert not has_checksum(without_checksum(slot))
    assert has_checksum(encode(slot))


@given(OPERATIONS, st.binary(max_size=80), st.data())
def test_a_damaged_slot_without_checksum_is_refused_or_at_least_agrees_with_itself(operations, noise, data):
    stored = without_checksum(slot_of(operations))
    damaged = bytearray(stored)
    for bit in data.draw(st.sets(st.integers(8, 8 * len(stored) - 1), min_size=1, max_size=4)):
        damaged[bit // 8] ^= 1 << bit % 8
    for wrong in (bytes(damaged), stored[:1] + noise, stored[: len(stored) // 2] + noise):
        try:
            slot = decode(wrong)
        except SlotFormatError:
            continue
        assert sum(map(sum, slot.outcomes)) == sum(slot.counts.tolist())
        assert slot.sizes.sum() == slot.buckets.size == slot.counts.size


COLUMNS_OF_ONE = ("series", "ok", "error", "max_us", "sizes", "buckets", "counts")


@pytest.mark.parametrize("name", COLUMNS_OF_ONE)
def test_a_slot_without_checksum_whose_columns_contradict_each_other_is_refused(name):
    slot = slot_of([(1, 5_000, 0), (1, 9_000, 1), (2, 7_000, 0)])
    column = getattr(slot, name).copy()
    column[0] = 0 if name in {"series", "sizes", "counts"} else column[0] + 1_000
    with pytest.raises(SlotFormatError):
        decode(without_checksum(slot._replace(**{name: column})))


@pytest.mark.parametrize("sum_us", [0, 4_000, 15_000, 2**62])
def test_a_sum_that_the_buckets_do_not_allow_is_refused(sum_us):
    slot = slot_of([(1, 5_000, 0), (1, 9_000, 1)])
    with pytest.raises(SlotFormatError):
        decode(without_checksum(slot._replace(sum_us=np.array([sum_us]))))


def test_a_minute_of_ten_operations_a_series_takes_near_fifty_bytes_a_series():
    random = np.random.default_rng(1)
    series = np.repeat(np.arange(1, 101), 10)
    durations = random.lognormal(11, 0.6, series.size).astype(np.int64)
    slot = summarise(series, durations, np.where(random.random(series.size) < 0.05, 1, 0))
    assert len(encode(slot)) / 100 < 50
