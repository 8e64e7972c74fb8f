"""Totals: slots added up by bin and group."""

from __future__ import annotations

import numpy as np
import pytest

from cogmeter_storage.model import HOUR_US, MINUTE_US
from cogmeter_storage.slot import SlotFormatError, summarise
from cogmeter_storage.totals import Accumulator, Lookup, check_step


def slot_of(*operations):
    return summarise(*(np.array(column, dtype=np.int64) for column in zip(*operations, strict=True)))


def test_slots_are_added_to_the_bin_and_the_group_that_they_belong_to():
    sums = Accumulator(0, HOUR_US, groups={1: 0, 2: 1, 3: 1}, step_us=30 * MINUTE_US)
    sums.add([0, 45 * MINUTE_US], [slot_of((1, 10, 0), (9, 99, 0)), slot_of((2, 20, 1), (3, 30, 0), (3, 5, 0))])
    totals = sums.totals()
    assert totals.edges_us.tolist() == [0, 30 * MINUTE_US]
    assert totals.counts.tolist() == [[1, 0], [0, 3]]
    assert totals.failures.tolist() == [[0, 0], [0, 1]]
    assert totals.sum_us.tolist() == [[10, 0], [0, 55]]
    assert totals.max_us.tolist() == [[10, 0], [0, 30]]
    assert totals.buckets.sum(axis=2).tolist() == [[1, 0], [0, 3]]


def test_no_groups_and_no_time_give_empty_totals():
    assert Accumulator(0, MINUTE_US, groups={}, step_us=None).totals().counts.shape == (1, 0)
    assert Accumulator(0, 0, groups={1: 0}, step_us=MINUTE_US).totals().counts.shape == (0, 1)
    assert Accumulator(0, 0, groups={1: 0}, step_us=None).totals().counts.tolist() == [[0]]


def test_a_slot_whose_columns_do_not_fit_each_other_is_refused():
    slot = slot_of((1, 10, 0))
    with pytest.raises(SlotFormatError):
        Accumulator(0, MINUTE_US, groups={1: 0}, step_us=None).add([0], [slot._replace(sizes=np.array([2]))])


def test_a_series_beyond_the_known_ones_has_no_number():
    assert Lookup({3: 7})(np.array([1, 3, 4, 5000], dtype=np.uint16)).tolist() == [-1, 7, -1, -1]
    assert Lookup({})(np.array([0, 1])).tolist() == [-1, -1]


@pytest.mark.parametrize("width", [np.uint8, np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("last_id", [1, 254, 255, 256, 65_534, 65_536, 70_000])
def test_small_ids_in_a_narrow_column_are_found_with_any_number_of_series(width, last_id):
    numbers = {series: series * 2 for series in range(1, last_id + 1)}
    assert Lookup(numbers)(np.array([0, 1, 255], dtype=width)).tolist() == [-1, 2, 510 if last_id >= 255 else -1]


@pytest.mark.parametrize("step_us", [0, -MINUTE_US, 1, MINUTE_US + 1])
def test_a_step_that_is_no_multiple_of_a_minute_is_refused(step_us):
    with pytest.raises(ValueError, match="multiple of a minute"):
        check_step(step_us)
