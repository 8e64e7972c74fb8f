"""Figures of a range that begins or ends inside a minute are those of its operations, and of no others."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter.query.query import Query
from cogmeter.query.records import Period, Range
from cogmeter.query.selection import select
from cogmeter_storage import Retention, open_store
from cogmeter_storage.model import HOUR_US, MINUTE_US

NOW_US = 1_800_025_230_000_000  # 2027-01-15 15:00:30 UTC
FIRST_US = NOW_US - 12 * MINUTE_US
ASK, LINK = ("discord.commands", "ask"), ("graph", "link")


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    rng = np.random.default_rng(5)
    ids = await store.series_ids([ASK, LINK])
    ends = sorted(rng.integers(FIRST_US, NOW_US, 600).tolist())
    store.rows = [
        (ids[int(rng.integers(2))], end_us, int(rng.integers(1_000, 90_000)), int(rng.random() < 0.2), None, None)
        for end_us in ends
    ]
    await store.append([store.rows], now_us=NOW_US)
    yield store
    await store.close()


def query(store):
    return Query(store, clock=lambda: NOW_US)


MOMENTS = st.integers(FIRST_US - 2 * MINUTE_US, NOW_US)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOMENTS, MOMENTS)
async def test_the_sums_of_any_range_are_those_of_its_operations(store, one, other):
    since_us, until_us = sorted((one, other))
    span = Range(since_us, until_us + 1, "it")
    inside = [row for row in store.rows if span.since_us <= row[1] < span.until_us]
    total = (await query(store).overview(span)).total
    assert (total.operations, total.failures) == (len(inside), sum(row[3] for row in inside))
    assert total.max_us == max((row[2] for row in inside), default=None)
    asked = [row for row in inside if row[0] == store.rows[0][0]]
    series = {one.id: (one.service, one.operation) for one in await store.series()}
    stats = await query(store).stats(*series[store.rows[0][0]], span)
    assert (stats.total.operations, stats.total.failures) == (len(asked), sum(row[3] for row in asked))
    if asked:
        assert stats.total.mean_us == pytest.approx(sum(row[2] for row in asked) / len(asked))


async def test_a_selection_and_the_range_before_it_share_no_operation(store):
    span = Range(FIRST_US + 4 * MINUTE_US + 17_000_000, FIRST_US + 5 * MINUTE_US + 62_000_000, "it")
    found = await select(query(store), span, markers=())
    whole = await query(store).overview(Range(span.before.since_us, span.until_us, "both"))
    assert found.figures.operations + found.before.operations == whole.total.operations
    assert found.figures.failures + found.before.failures == whole.total.failures
    assert found.figures.failures == sum(group.count for group in found.failures)


async def test_a_minute_whose_operations_are_cleaned_up_counts_as_a_whole(store):
    later_us = NOW_US + 30 * HOUR_US
    (series,) = await store.series_ids([ASK])
    await store.append([[(series, later_us, 5, 0, None, None)]], now_us=later_us)
    await store.fold(now_us=later_us)
    await store.clean(Retention(raw_hours=24), now_us=later_us)
    span = Range(FIRST_US + 3 * MINUTE_US + 1, FIRST_US + 4 * MINUTE_US, "it")
    total = (await Query(store, clock=lambda: later_us).overview(span)).total
    assert total.operations == sum(row[1] < NOW_US // HOUR_US * HOUR_US for row in store.rows)  # only the hour is left


async def test_a_period_that_ends_now_is_read_from_the_sums_alone(store, monkeypatch):
    monkeypatch.setattr(type(store), "stream", lambda *_: pytest.fail("operations are read"))
    assert (await query(store).overview(Period.HOUR)).total.operations == 600
