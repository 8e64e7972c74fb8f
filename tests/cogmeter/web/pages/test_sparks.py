"""The small charts in the table of services."""

import re
import time

from cogmeter.query.records import Period
from cogmeter.web.pages.sparks import BINS, HEIGHT, MOST, STEP, spark, sparks
from cogmeter_storage import open_store
from cogmeter_storage.model import HOUR_US, MINUTE_US, Outcome


def bars(path):
    return [(int(x), int(high)) for x, high in re.findall(r"M(\d+) \d+v-(\d+)", path)]


def test_the_highest_bar_is_as_high_as_the_box_and_failures_have_the_same_scale():
    drawn = spark([10, 0, 20, 5], [0, 0, 10, 0])
    half = STEP // 2
    assert drawn.width == 4 * STEP
    assert bars(drawn.all) == [(half, HEIGHT // 2), (2 * STEP + half, HEIGHT), (3 * STEP + half, 6)]
    assert bars(drawn.bad) == [(2 * STEP + half, HEIGHT // 2)]


def test_one_operation_next_to_a_thousand_can_still_be_seen_and_nothing_is_no_bar():
    assert bars(spark([1000, 1], [0, 0]).all)[1][1] == 1
    assert spark([0, 0], [0, 0]).all == ""
    assert spark([], []).all == ""


async def test_each_service_has_its_own_and_of_very_many_the_first_ones(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'x.db'}")
    try:
        now_us = time.time_ns() // 1_000
        ids = await store.series_ids([(f"s{number}", "run") for number in range(MOST + 5)])
        rows = [(one, now_us - 2 * HOUR_US, 1, Outcome.ERROR, None, None) for one in ids[:3]]
        await store.append([rows], now_us=now_us)
        span = Period.DAY.range_at(now_us)
        found = await sparks(store, {f"s{number}": [one] for number, one in enumerate(ids)}, span)
    finally:
        await store.close()
    assert list(found) == [f"s{number}" for number in range(MOST)]
    assert [bool(one.bad) for one in found.values()] == [True] * 3 + [False] * (MOST - 3)


def test_every_period_has_as_many_bars_as_there_is_room_for():
    from cogmeter.web.pages.sparks import _step_us

    for period in Period:
        span = period.range_at(1_800_000_000_000_000)
        step_us = _step_us(span)
        assert step_us % MINUTE_US == 0
        assert BINS / 2 <= (span.until_us - span.since_us) / step_us <= BINS
