"""Rolling up: rows to minutes, minutes to hours, none lost or counted twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter_storage.model import HOUR_US, MINUTE_US, Tier
from cogmeter_storage.rollup import OpenMinute, PendingAppend, WritePosition, fold
from cogmeter_storage.slot import summarise

ROWS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.one_of(st.integers(0, 90_000_000), st.integers(0, 2 * HOUR_US)),  # gap to the row before
        st.integers(0, 10**9),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=80,
)


def in_order(steps):
    """Rows for the store from (series, gap, duration, outcome)."""
    ends = np.cumsum([gap for _, gap, _, _ in steps]).tolist()
    return [(one[0], end, one[2], one[3], None, None) for one, end in zip(steps, ends, strict=True)]


def brute(rows):
    columns = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 2, 3))
    return [column.tolist() for column in summarise(*columns)]


def plain(slot):
    return [column.tolist() for column in slot]


@given(ROWS, st.integers(1, 20))
def test_every_row_is_in_exactly_one_minute_however_it_is_sliced(steps, size):
    rows = in_order(steps)
    draft, sealed = PendingAppend(WritePosition()), []
    for start in range(0, len(rows), size):
        draft.add(rows[start : start + size])
        sealed += draft.aggregate()
    sealed += draft.advance_to(rows[-1][1] + MINUTE_US)
    assert draft.position.open_minute is None
    assert [one.start_us for one in sealed] == sorted({row[1] // MINUTE_US * MINUTE_US for row in rows})
    for one in sealed:
        own = [row for row in rows if one.start_us <= row[1] < one.end_us]
        assert plain(one.slot) == brute(own)
        assert one.last_id - one.first_id + 1 == len(own)


@given(ROWS)
def test_folding_minutes_gives_the_hour_that_its_rows_would_give(steps):
    rows = in_order([(series, gap % 40_000_000, duration, outcome) for series, gap, duration, outcome in steps])
    draft = PendingAppend(WritePosition())
    draft.add(rows)
    minutes = draft.advance_to(rows[-1][1] + MINUTE_US)
    hour = fold([one for one in minutes if one.end_us <= HOUR_US], Tier.HOUR)
    assert (hour.start_us, hour.first_id) == (0, 1)
    assert plain(hour.slot) == brute([row for row in rows if row[1] < HOUR_US])


def test_a_busy_minute_folds_its_rows_now_and_then_and_stays_exact():
    draft = PendingAppend(WritePosition())
    rows = [(i % 7 + 1, i, i * 3, i % 5, None, None) for i in range(30_000)]
    for start in range(0, len(rows), 250):
        draft.add(rows[start : start + 250])
        assert draft.aggregate() == []
    minute = draft.position.open_minute
    assert isinstance(minute, OpenMinute)
    assert sum(part.id.size for part in minute.pending) < 10_000
    assert plain(minute.slot()) == brute(rows)


def test_a_row_that_ends_before_the_last_one_is_clamped_and_counted():
    draft = PendingAppend(WritePosition())
    draft.add([(1, 100, 1, 0, None, None), (1, 90, 1, 0, "why", "{}"), (1, 110, 1, 0, None, None)])
    written = draft.add([(2, 50, 1, 0, None, None)])
    assert written == [(2, 110, 1, 0, None, None)]
    draft.aggregate()
    assert draft.position.clamped == 2
    assert draft.position.last_end_us == 110


def test_a_row_that_ends_before_a_sealed_minute_is_moved_behind_it():
    draft = PendingAppend(WritePosition())
    draft.add([(1, 100, 1, 0, None, None)])
    assert [one.start_us for one in draft.advance_to(MINUTE_US)] == [0]
    assert PendingAppend(draft.position).add([(1, 200, 1, 0, None, None)])[0][1] == MINUTE_US


def test_a_draft_leaves_the_head_that_it_began_with_as_it_was():
    position = WritePosition()
    draft = PendingAppend(position)
    draft.add([(1, 100, 1, 0, None, None)])
    draft.aggregate()
    assert position == WritePosition()
    assert draft.position != position


@pytest.mark.parametrize("row", [(1, 1, 1, 5, None, None), (1, 1, 1, -1, None, None), (0, 1, 1, 0, None, None)])
def test_what_cannot_be_counted_is_refused(row):
    draft = PendingAppend(WritePosition())
    draft.add([row])
    with pytest.raises(ValueError, match=r"outcome|series id"):
        draft.aggregate()
