"""Key figures are computed once: the query and the exports agree."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.exporters.base import Export
from cogmeter.exporters.table import exporter
from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter.query.statistics import figures_of_rows
from cogmeter.schemas.base import ms_or_none
from cogmeter_storage import open_store
from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import HOUR_US, MINUTE_US

START_US = 1_800_000_000_000_000 // HOUR_US * HOUR_US


@pytest.fixture
async def store(tmp_path):
    """Three hours of two services: durations of all sizes, each outcome, and an hour without operations."""
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    ids = await store.series_ids([("knowledge-graph", "query"), ("web-crawling", "fetch")])
    ends_us = [START_US + hour * HOUR_US + minute * MINUTE_US for hour in (0, 2) for minute in range(1, 50)]
    rows = [(ids[place % 2], end_us, 17 * place**3, place % 5, None, None) for place, end_us in enumerate(ends_us)]
    await store.append([rows], now_us=ends_us[-1])
    yield store
    await store.close()


async def test_the_query_and_the_json_export_have_the_same_figures(store):
    span = Range(START_US, START_US + 3 * HOUR_US, "three hours")
    request = Export(span.since_us, span.until_us, span.until_us)
    pieces = [piece async for piece in exporter("json").write(store, request)]
    metrics = json.loads(b"".join(pieces))["metrics"]
    query = Query(store)
    services = dict((await query.overview(span)).services)
    assert set(metrics["services"]) == set(services)
    for name, service in metrics["services"].items():
        assert service["stats"] == exported(services[name])
    hours = [Range(START_US + hour * HOUR_US, START_US + (hour + 1) * HOUR_US, "hour") for hour in (0, 2)]
    for hour, entry in zip(hours, metrics["timeline"], strict=True):
        assert {key: value for key, value in entry.items() if key != "timestamp"} == exported(
            (await query.overview(hour)).total
        )


def exported(figures):
    return {
        "totalOperations": figures.operations,
        "successfulOperations": figures.operations - figures.failures,
        "failedOperations": figures.failures,
        "averageResponseTime": ms_or_none(figures.mean_us),
        "errorRate": round(figures.error_rate, 6),
        "p50ResponseTime": ms_or_none(figures.p50_us),
        "p95ResponseTime": ms_or_none(figures.p95_us),
        "p99ResponseTime": ms_or_none(figures.p99_us),
        "maxResponseTime": ms_or_none(figures.max_us),
    }


@given(st.integers(1, 10**9), st.integers(1, 500))
def test_of_equal_durations_no_percentile_is_below_the_mean(duration_us, count):
    buckets = np.zeros((1, BUCKETS), np.int64)
    buckets[0, bucket_of(duration_us)] = count
    outcomes = np.array([[count, 0, 0, 0, 0]])
    rows = (outcomes, np.array([duration_us * count]), np.array([duration_us]), buckets)
    (found,) = figures_of_rows(*rows, span_us=60_000_000)
    assert (found.p50_us, found.p95_us, found.p99_us, found.mean_us) == (pytest.approx(duration_us),) * 4
