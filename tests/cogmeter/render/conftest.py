"""Timelines and charts that the tests of this folder draw and describe."""

import dataclasses
import random

import pytest

from cogmeter.query.records import Period, Timeline
from cogmeter.render.charts.chart import Chart
from cogmeter_storage import open_store

NOW_US = 1_755_454_020_000_000  # 2025-08-17 18:07 UTC


def _timeline(period=Period.DAY, title="All services", bins=None, spread=1.0):
    numbers = random.Random(4)
    span = period.range_at(NOW_US)
    edges = list(range(span.since_us, span.until_us, span.step_us))[:bins]
    p50 = [900_000 * numbers.uniform(0.8, 1.3) for _ in edges]
    return Timeline(
        title=title,
        range=span,
        step_us=span.step_us,
        edges_us=edges,
        per_minute=[numbers.uniform(5, 20) for _ in edges],
        failures_per_minute=[numbers.choice([0.0, 0.0, 1.5]) for _ in edges],
        p50_us=list(p50),
        p95_us=[value * 2.5 for value in p50],
        p99_us=[value * 4 * spread for value in p50],
        mean_us=[value * 1.3 for value in p50],
    )


@pytest.fixture
def timeline():
    """Makes a timeline: timeline(period, title, bins, spread)."""
    return _timeline


@pytest.fixture
def day_chart():
    """A day with a threshold, a breach and a marker."""
    line = _timeline()
    return Chart(
        line,
        latency_threshold_us=5e6,
        latency_statistic="average",
        throughput_threshold=25.0,
        breaches=((line.edges_us[70], line.edges_us[78]),),
        markers=((line.edges_us[66], "deployed 1.4"),),
    )


@pytest.fixture
def without_values():
    """Makes a chart of the same bins in which nothing happened."""

    def emptied(chart):
        bins = len(chart.timeline.edges_us)
        nothing = {name: [0.0] * bins for name in ("per_minute", "failures_per_minute")}
        nothing |= {name: [None] * bins for name in ("p50_us", "p95_us", "p99_us", "mean_us")}
        return dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, **nothing))

    return emptied


@pytest.fixture
async def store(tmp_path):
    """An empty database."""
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()
