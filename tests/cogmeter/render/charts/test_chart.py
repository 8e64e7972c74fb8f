"""A chart request: how it travels, when two are the same, and its words."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.query.records import Range, Timeline
from cogmeter.render.charts.chart import Chart, describe
from cogmeter.render.charts.curve import UNITS, Curve

words = st.text(max_size=400)
values = st.lists(st.none() | st.floats(0, 1e12), min_size=3, max_size=3)
rates = st.lists(st.floats(0, 1e9), min_size=3, max_size=3)
charts = st.builds(
    Chart,
    st.builds(
        Timeline,
        title=words,
        range=st.builds(Range, st.just(0), st.just(180_000_000), words),
        step_us=st.just(60_000_000),
        edges_us=st.just([0, 60_000_000, 120_000_000]),
        per_minute=rates,
        failures_per_minute=rates,
        p50_us=values,
        p95_us=values,
        p99_us=values,
    ),
    latency_threshold_us=st.none() | st.floats(1, 1e12),
    throughput_threshold=st.none() | st.floats(1, 1e9),
    curve=st.none()
    | st.builds(Curve, words, st.sampled_from(list(UNITS)), values.map(tuple), st.none() | st.floats(0, 1e12)),
    breaches=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=40).map(tuple),
    markers=st.lists(st.tuples(st.integers(0, 10**9), words), max_size=40).map(tuple),
)


@given(charts)
def test_a_request_comes_out_of_the_pipe_as_it_went_in(chart):
    assert Chart.from_json(chart.to_json()) == chart


@given(charts)
def test_the_description_is_one_line_that_discord_takes(chart):
    said = describe(chart)
    assert 0 < len(said) <= 1024
    assert len(said.splitlines()) == 1


def test_the_description_says_the_main_numbers_and_what_to_look_at(day_chart):
    said = describe(day_chart)
    assert "All services, last 24 hours, UTC" in said
    for part in ("the median is between", "p99 reaches", "alert above 5 s (average)", "deployed 1.4 at 10:37"):
        assert part in said
    assert "Above the threshold: 11:37 to 13:37." in said


def test_the_description_of_nothing_says_so(day_chart, without_values):
    assert describe(without_values(day_chart)).endswith("No operations in this period.")


@pytest.mark.parametrize(
    ("minutes", "text"), [(10, "last 24 hours, data since 17:57"), (2_000, "last 24 hours, data since 16 Aug")]
)
def test_a_chart_that_begins_after_its_range_says_when(timeline, minutes, text):
    line = timeline()
    edges = [line.range.until_us - minutes * 60_000_000]
    span = dataclasses.replace(line.range, since_us=0)
    chart = Chart(dataclasses.replace(line, range=span, edges_us=edges))
    assert (chart.since_us, chart.range_text) == (edges[0], text)
    assert text in describe(chart)
    assert Chart(line).range_text == "last 24 hours"


def _at(chart, index, value):
    rates = list(chart.timeline.per_minute)
    rates[index] = value
    return dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, per_minute=rates))


def test_requests_that_differ_only_in_the_bin_that_is_filling_are_the_same(day_chart):
    assert _at(day_chart, -1, 99.0).fingerprint() == day_chart.fingerprint()
    assert _at(day_chart, -2, 99.0).fingerprint() != day_chart.fingerprint()


def test_requests_with_another_threshold_are_not_the_same(day_chart):
    assert dataclasses.replace(day_chart, latency_threshold_us=4e6).fingerprint() != day_chart.fingerprint()
