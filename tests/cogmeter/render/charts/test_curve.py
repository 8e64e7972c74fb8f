"""What an alert measured is drawn with its threshold, whatever the rule compares."""

import dataclasses

import pytest
from factories import make_alert

from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.rule import GaugeCurve
from cogmeter.query.query import Query
from cogmeter.query.records import Period
from cogmeter.recording.service_names import BOT
from cogmeter.render.charts.builder import breach_chart
from cogmeter.render.charts.chart import Chart, describe
from cogmeter.render.charts.curve import Curve, curve_of
from cogmeter_storage.model import MINUTE_US

GAUGED = [name for name, rule in RULES.items() if isinstance(rule.chart, GaugeCurve)]
NOW_US = 1_800_000_000_000_000 + 17 * MINUTE_US + 3_000_000
ALERT = make_alert(NOW_US, service="graph", started_us=NOW_US - 2 * MINUTE_US)
GAUGES = ("loop.lag_max_ms", "gateway.latency_ms.shard_0", "gateway.latency_ms.shard_1", "resources.memory_bytes",
          "rest.rate_limited.user", "rest.rate_limited.global", "rest.invalid_share", "gateway.guilds")  # fmt: skip


async def measured(store, alert):
    """The curve of an alert over the hour before now."""
    service = None if alert.service == BOT else alert.service
    line = await Query(store, clock=lambda: NOW_US).timeline(service, period=Period.HOUR)
    return line, await curve_of(alert, line, store, GAUGES)


async def test_a_rate_of_errors_is_drawn_as_a_rate_with_gaps_where_nothing_ran(store):
    (number,) = await store.series_ids([("graph", "query")])
    ends = [NOW_US - 10 * MINUTE_US, *(NOW_US - MINUTE_US + at for at in range(4))]
    rows = [(number, end, 1_000, int(end > NOW_US - MINUTE_US + 1), None, None) for end in ends]
    await store.append([rows], now_us=NOW_US)
    line, curve = await measured(store, ALERT)
    assert (curve.name, curve.threshold) == ("error rate", 0.05)
    assert [one for one in curve.values if one is not None] == [0.0, 0.5]
    assert len(curve.values) == len(line.edges_us)


async def test_a_burning_budget_is_a_rate_without_a_threshold_of_its_own(store):
    (number,) = await store.series_ids([("graph", "query")])
    await store.append([[(number, NOW_US - 5, 1_000, 1, None, None)]], now_us=NOW_US)
    _, curve = await measured(store, dataclasses.replace(ALERT, rule="burn_rate", threshold=14.4))
    assert (max(one for one in curve.values if one is not None), curve.threshold) == (1.0, None)


@pytest.mark.parametrize(
    ("rule", "threshold", "value", "limit", "words"),
    [
        ("stall", 2_000, 3_000_000, 2_000_000, "alert above 2 s"),
        ("gateway_latency", 1_000, 4_000_000, 1_000_000, "alert above 1 s"),
        ("memory_limit", 1.0, 6, None, ""),
        ("memory_growth", 0.5, 6, None, ""),
        ("rate_limits", 50, 15, 50, "alert above 50"),
        ("invalid_requests", 0.3, 9, 0.3, "alert above 30%"),
    ],
)
async def test_a_rule_on_the_whole_bot_draws_the_worst_of_its_gauges(store, rule, threshold, value, limit, words):
    samples = dict(zip(GAUGES, (3_000.0, 2_000.0, 4_000.0, 6.0, 7.0, 8.0, 9.0, 10.0), strict=True))
    await store.add_samples(NOW_US - 3 * MINUTE_US, samples)
    await store.add_samples(NOW_US - 3 * MINUTE_US + 1, {name: one / 2 for name, one in samples.items()})
    alert = dataclasses.replace(ALERT, rule=rule, service=BOT, threshold=threshold)
    line, curve = await measured(store, alert)
    assert [one for one in curve.values if one is not None] == [value]
    assert line.edges_us[next(at for at, one in enumerate(curve.values) if one)] <= NOW_US - 3 * MINUTE_US
    assert curve.threshold == limit
    chart = breach_chart(alert, line, window_us=0, curve=curve)
    assert words in describe(chart)
    assert f"{curve.name.capitalize()}: up to" in describe(chart)


@pytest.mark.parametrize("rule", [*GAUGED, "response_time", "disconnects", "cost"])
async def test_without_samples_or_with_another_rule_the_response_times_are_drawn(store, rule):
    _, curve = await measured(store, dataclasses.replace(ALERT, rule=rule, service=BOT))
    assert curve is None


def test_a_chart_with_a_curve_comes_out_of_the_pipe_as_it_went_in(timeline):
    line = timeline(Period.HOUR)
    values = tuple(None if at % 7 == 0 else at / 60 for at in range(len(line.edges_us)))
    chart = Chart(line, Curve("error rate", "share", values, 0.05))
    assert Chart.from_json(chart.to_json()) == chart
    other = dataclasses.replace(chart, curve=dataclasses.replace(chart.curve, threshold=0.06))
    assert other.fingerprint() != chart.fingerprint()
