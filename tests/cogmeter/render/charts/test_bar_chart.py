"""The charts of bars: the waterfall of a run, where the time goes, and their pictures."""

import io
import json

import pytest
from PIL import Image

from cogmeter.query.records import Range
from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
from cogmeter.query.time_parts import TimePart, first_output_us, time_share
from cogmeter.render.charts.bar_chart import KIND, MOST_ROWS, BarChart, profile_chart, waterfall_chart
from cogmeter.render.charts.bar_painter import BarPainter
from cogmeter.render.charts.fonts import Fonts
from cogmeter.render.charts.worker_client import ChartWorker
from cogmeter.render.palette import PARTS
from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

AT_US = 1_755_454_020_000_000
COMMANDS = "discord.commands"


def span(number, service, operation, start_us, duration_us, *, parent=0, outcome=Outcome.OK):
    return SpanRecord(number, parent, service, operation, start_us, duration_us, outcome)


def run(duration_us, *spans, operation="ask", left_out=0):
    trace = TraceRecord(AT_US, COMMANDS, operation, duration_us, Outcome.OK, None, left_out, spans)
    return SlowRun(trace, spans, True, time_share(duration_us, spans), first_output_us(trace), ())


FEW = (
    span(1, "discord.acknowledgement", "ask", 120_000, 95_000),
    span(2, "core", "process", 230_000, 3_600_000),
    span(3, "http.api.openai.com", "POST", 420_000, 2_300_000, parent=2),
    span(4, "discord.stalls", "services/images.py:41 thumbnail", 2_760_000, 480_000, parent=2),
    span(5, "discord.rest", "POST /channels/{channel_id}/messages", 4_200_000, 130_000, outcome=Outcome.UPSTREAM),
)
MANY = tuple(span(number, "db.postgresql", "SELECT users", number * 10_000, number * 100) for number in range(1, 101))
HOSTILE = (
    span(1, "x" * 100, "y" * 100, 0, 900),
    span(2, "日本語", "検索", 100, 50, parent=1),
    span(3, "db.😀", "SELECT \u202e evil $x$ \\frac", 200, 600),
)
HUGE = (span(1, "http.slow.example", "GET", 10**9, 3 * 10**12),)
OUTSIDE = (span(1, "db.sqlite", "SELECT", -500, 900_000, parent=7), span(2, "http.x", "GET", 900_000, 9_000_000))
RUNS = {
    "none": run(2_100_000),
    "zero": run(0),
    "one": run(3_000_000, FEW[2]),
    "few": run(4_420_000, *FEW),
    "many": run(4_300_000, *MANY, left_out=23),
    "hostile": run(1_000, *HOSTILE, operation="w" * 100),
    "huge": run(4 * 10**12, *HUGE),
    "outside": run(1_000_000, *OUTSIDE),
}


def by_part(*values):
    return dict(zip(TimePart, map(float, values), strict=True))


P50, P95 = by_part(3e5, 2e5, 6e5, 1e5, 0, 1e4), by_part(5e5, 3e5, 2.6e6, 2e5, 4e5, 3e5)
PROFILE = TimeProfile(212, 14_312, False, P95, P50, P95, P50, P95)

UNEVEN = TimeProfile(1, 1, True, P95, by_part(0, 0, 0, 0, 0, 1), by_part(0, 0, 1e13, 0, 0, 0), P50, P95)


def report(profile, operation="ask"):
    return SlowReport(Range(AT_US - 10**9, AT_US, "last 24 hours"), COMMANDS, operation, (), profile)


def test_a_waterfall_has_the_whole_run_by_part_and_then_each_part_when_it_ran():
    chart = waterfall_chart(RUNS["few"], "UTC")
    assert chart.title == "/ask: 4.4 s"
    assert chart.range_text == "17 Aug 18:07, UTC"
    assert [row.name.strip() for row in chart.rows] == [
        "whole run: 4.4 s",
        "first response: ask",
        "core process",
        "http.api.openai.com POST",
        "blocked: images.py:41 thumbnail",
        "POST /channels/*/messages",
    ]
    assert chart.rows[3].name.startswith("\N{NO-BREAK SPACE}")
    assert (chart.rows[-1].value, chart.rows[-1].failed) == ("130 ms failed", True)
    assert chart.rows[4].segments[0].colour == PARTS[TimePart.BLOCKED]
    assert chart.mark_us == 215_000
    assert sum(segment.length_us for segment in chart.rows[0].segments) == pytest.approx(4_420_000)


def test_of_many_parts_the_longest_are_shown_and_the_others_are_counted():
    chart = waterfall_chart(RUNS["many"], "UTC")
    assert len(chart.rows) == MOST_ROWS
    assert chart.note == "and 113 more parts"


def test_a_run_without_parts_says_that_it_is_not_broken_down():
    assert "not broken down" in waterfall_chart(RUNS["none"], "UTC").note


def test_bars_stay_inside_the_axis():
    for one in RUNS.values():
        chart = waterfall_chart(one, "UTC")
        for row in chart.rows:
            for segment in row.segments:
                assert segment.start_us >= 0
                assert segment.start_us + segment.length_us <= chart.whole_us * 1.000001


def test_a_profile_shows_a_typical_and_a_slow_run_and_states_the_number_of_runs():
    chart = profile_chart(report(PROFILE))
    assert [row.name for row in chart.rows] == ["typical (p50): 1.2 s", "slow (p95): 4.3 s"]
    assert chart.range_text == "last 24 hours, 212 traced runs of 14,312"
    assert chart.key[0] == ("■ other hosts 60%", PARTS[TimePart.HOST])
    assert profile_chart(report(None)).note == "No traced runs in this period."


CHARTS = {
    **{name: waterfall_chart(one, "Europe/Berlin") for name, one in RUNS.items()},
    "profile": profile_chart(report(PROFILE)),
    "empty profile": profile_chart(report(None)),
    "uneven profile": profile_chart(report(UNEVEN, "w" * 100)),
}


@pytest.mark.parametrize("name", CHARTS)
def test_the_request_is_json_and_the_alt_text_is_short_enough(name):
    chart = CHARTS[name]
    values = json.loads(chart.to_json())
    assert values["kind"] == KIND
    assert BarChart.from_json(chart.to_json()) == chart
    assert 20 < len(chart.alt_text) <= 1024
    assert chart.fingerprint() == CHARTS[name].fingerprint()


def test_every_chart_is_drawn_by_the_same_painter():
    painter = BarPainter(Fonts())
    pictures = {name: painter.draw(chart) for name, chart in CHARTS.items()}
    for name, png in pictures.items():
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (1600, 900), name
            colours = {colour for _, colour in image.convert("RGB").getcolors(1_000_000)}
        assert len(colours) > 3, name
    assert painter.draw(CHARTS["few"]) == pictures["few"]  # nothing of another picture is left


def test_the_colours_of_the_parts_are_in_the_picture():
    with Image.open(io.BytesIO(BarPainter(Fonts()).draw(CHARTS["few"]))) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1_000_000)}
    for part in (TimePart.OWN, TimePart.REST, TimePart.HOST, TimePart.BLOCKED):
        value = int(PARTS[part][1:], 16)
        assert (value >> 16, value >> 8 & 255, value & 255) in colours


async def test_the_chart_process_draws_both_kinds():
    worker = ChartWorker()
    try:
        first = await worker.draw(CHARTS["few"])
        assert first.startswith(b"\x89PNG")
        assert await worker.draw(CHARTS["profile"]) != first
    finally:
        await worker.close()
