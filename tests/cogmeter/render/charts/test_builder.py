"""The picture of an alert is of what the alert is about."""

import dataclasses
import time
from collections import Counter

import pytest
from factories import make_alert

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.query import Query
from cogmeter.query.records import Period
from cogmeter.recording.markers import MarkerRecorder
from cogmeter.recording.service_names import BOT
from cogmeter.render.charts.builder import ChartBuilder
from cogmeter.render.charts.worker_client import ChartWorker
from cogmeter.settings import Settings


@pytest.fixture
def overrides():
    """The thresholds that were changed while the bot ran."""
    return {}


@pytest.fixture
async def artist(store, overrides):
    worker, settings = ChartWorker(), Settings(time_zone="Europe/Berlin", alert_threshold_response_time=1_000)
    yield ChartBuilder(
        *(worker, Query(store), MarkerRecorder(), settings, Counter()),
        gauges=lambda: ["loop.lag_max_ms"],
        limits=lambda: Limits(settings, overrides),
        zone=lambda: settings.time_zone,
    )
    await worker.close()


@pytest.fixture
async def alert(store):
    """An alert on one operation of a service, whose operations are stored."""
    now_us = time.time_ns() // 1000
    names = [("graph", "query"), ("graph", "write"), ("other", "work")]
    ids = await store.series_ids(names)
    rows = [
        (number, now_us - 3_000_000 + at, 2_000, int(number == ids[0]), None, None) for at, number in enumerate(ids)
    ]
    await store.append([rows], now_us=now_us)
    return make_alert(now_us, service="graph", operation="query", started_us=now_us - 60_000_000)


async def test_an_alert_on_one_operation_shows_that_operation_alone(artist, alert):
    picture = await artist.breach(alert)
    assert picture.drawn
    assert picture.chart.timeline.title == "graph / query"
    assert max(one or 0 for one in picture.chart.curve.values) == 1.0


async def test_an_alert_on_the_whole_bot_shows_its_gauge_above_all_interactions(artist, alert, store):
    await store.add_samples(alert.seen_us - 1_000_000, {"loop.lag_max_ms": 3_000.0})
    picture = await artist.breach(
        dataclasses.replace(alert, rule="stall", service=BOT, operation="", threshold=2_000.0)
    )
    assert picture.drawn
    assert (picture.chart.curve.name, picture.chart.curve.threshold) == ("longest block of the loop", 2_000_000)
    assert sum(picture.chart.timeline.per_minute) > 0


async def test_an_alert_on_what_was_never_recorded_has_no_picture(artist, alert):
    assert await artist.breach(dataclasses.replace(alert, operation="Feed.poll")) is None


async def test_switched_off_no_process_starts_and_no_picture_has_an_excuse(artist, alert):
    artist._settings = Settings(charts=False)
    assert await artist.breach(alert) is None
    timeline = await artist._query.timeline("graph", None, Period.HOUR)
    picture = await artist.timeline(timeline)
    assert (picture.drawn, picture.problem) == (False, "")
    assert artist._worker.state == "not running, 0 charts drawn"
    assert not artist._faults


async def test_a_chart_draws_the_statistic_that_the_rule_judges_with_its_threshold_in_the_zone_of_the_settings(
    artist, alert, overrides
):
    timeline = await artist._query.timeline("graph", "query", Period.HOUR)
    chart = (await artist.timeline(timeline)).chart
    assert (chart.latency_threshold_us, chart.judged, chart.zone) == (1e6, "average", "Europe/Berlin")
    assert chart.response_times["average"] == timeline.mean_us
    assert 2_000 in timeline.mean_us
    overrides["response_time@graph/query.statistic"] = "p99"
    overrides["response_time@graph/query"] = "500ms"
    chart = (await artist.timeline(timeline)).chart
    assert (chart.latency_threshold_us, chart.judged) == (5e5, "p99")
    assert list(chart.response_times) == ["p50", "p95", "p99"]
    alert = dataclasses.replace(alert, rule="response_time", threshold=500.0)
    assert (await artist.breach(alert)).chart.judged == "p99"
    other = (await artist.timeline(await artist._query.timeline("graph", "write", Period.HOUR))).chart
    assert (other.latency_threshold_us, other.judged) == (1e6, "average")
