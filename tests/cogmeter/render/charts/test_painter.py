"""Every picture is a PNG of the right size that shows what was asked, however odd the data."""

import dataclasses
import io
import itertools
import random
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cogmeter.query.records import Period
from cogmeter.render import palette
from cogmeter.render.charts.chart import Chart
from cogmeter.render.charts.curve import UNITS, Curve
from cogmeter.render.charts.painter import Painter, TimeFormatter, TimeLocator, set_scale
from cogmeter.render.charts.ticks import count_scale, duration_scale, time_ticks
from cogmeter_storage.model import DAY_US, MINUTE_US

NOW_US = 1_755_454_020_000_000  # 2025-08-17 18:07 UTC


@pytest.fixture(scope="module")
def painter():
    return Painter()


def pixels(png):
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (1600, 900))
    return np.asarray(picture).astype(int)


def amount(picture, colour):
    """How many pixels have exactly this colour."""
    return int((picture == [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2).sum())


def with_values(chart, **values):
    return dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, **values))


def test_a_day_shows_each_line_the_bars_and_the_failures(painter, day_chart):
    picture = pixels(painter.draw(day_chart))
    for colour in (palette.P50, palette.P95, palette.P99, palette.BARS, palette.FAILED, palette.TEXT):
        assert amount(picture, colour) > 300


@pytest.mark.parametrize("period", list(Period))
def test_every_period_is_drawn(painter, timeline, period):
    pixels(painter.draw(Chart(timeline(period))))


def test_the_figure_is_used_again_without_a_trace_of_the_picture_before(painter, day_chart, timeline):
    alone = painter.draw(Chart(timeline(title="knowledge-graph")))
    painter.draw(day_chart)
    assert painter.draw(Chart(timeline(title="knowledge-graph"))) == alone


def test_an_empty_period_has_a_message_and_shows_no_line(painter, day_chart, without_values):
    empty = Chart(without_values(day_chart).timeline)
    picture = pixels(painter.draw(empty))
    assert amount(picture[250:500], palette.TEXT) > 300
    assert amount(picture[250:, 200:], palette.P99) == 0
    pixels(painter.draw(with_values(empty, edges_us=[], per_minute=[], failures_per_minute=[], p50_us=[])))


def test_a_chart_of_the_last_ten_minutes_fills_the_axes(painter, timeline):
    line = timeline(Period.HOUR)
    last = {
        name: getattr(line, name)[-10:]
        for name in ("edges_us", "per_minute", "failures_per_minute", "p50_us", "p95_us", "p99_us")
    }
    picture = pixels(painter.draw(with_values(Chart(line), **last)))
    for left in range(172, 1540, 137):
        assert amount(picture[640:810, left : left + 137], palette.BARS) > 1000
    for left in range(309, 1400, 137):
        assert amount(picture[164:540, left : left + 137], palette.P50) > 100


def curve(unit, top, threshold, bins=96):
    return Curve("a curve", unit, tuple(top * (0.3 + 0.7 * number / bins) for number in range(bins)), threshold)


CURVES = {
    "latencies": lambda limit: {"latency_threshold_us": limit * 5e6, "latency_statistic": "average"},
    "error rate": lambda limit: {"curve": curve("share", 0.6, limit * 0.6)},
    "memory": lambda limit: {"curve": curve("bytes", 3e8, limit * 3e8)},
}
MARKERS = {
    "none": [],
    "at both ends": [(0, "started"), (95, "deployed 1.4")],
    "12 across": [(8 * number, f"deployed release {number}") for number in range(12)],
    "12 together": [(40 + number, "knowledge-graph: response_time 5 s -> 4 s") for number in range(12)],
    "wide": [(30, "W" * 60), (60, "W" * 60)],
}


def overlaps(boxes):
    return [box for number, box in enumerate(boxes) if box.count_overlaps(boxes[number + 1 :])]


@pytest.mark.parametrize("curves", CURVES)
@pytest.mark.parametrize("markers", MARKERS)
@pytest.mark.parametrize("limit", [0.02, 0.6, 0.97, 1e6])
def test_no_text_covers_another_or_leaves_the_axes(painter, timeline, without_values, curves, markers, limit):
    line = timeline()
    chart = Chart(
        line,
        **CURVES[curves](limit),
        throughput_threshold=20 * limit,
        breaches=((line.edges_us[70], line.edges_us[80]),),
        markers=tuple((line.edges_us[at], name) for at, name in MARKERS[markers]),
    )
    for drawn in (chart, without_values(chart)) if chart.curve is None else (chart,):
        painter.draw(drawn)
        upper = [text.get_window_extent() for text in painter._upper.texts]
        lower = [text.get_window_extent() for text in painter._lower.texts]
        heading = [painter._title.get_window_extent(), painter._range.get_window_extent()]
        assert not overlaps(upper + lower + heading)
        assert all(painter._upper.bbox.x0 - 1 <= box.x0 <= box.x1 <= painter._upper.bbox.x1 + 1 for box in upper)


HOSTILE = ["d", "deployed 1.4", "W" * 60, "日本語の名前 🎉", "knowledge-graph: response_time 5 s -> 4 s", "i" * 200]


def test_labels_never_collide_whatever_is_drawn(painter, timeline, without_values):
    numbers = random.Random(11)
    for case in range(60):
        line = timeline(
            numbers.choice(list(Period)),
            title=numbers.choice([*HOSTILE, "All services"]),
            bins=numbers.choice([1, 2, 10, None]),
            spread=numbers.choice([1.0, 1.0, 40.0, 1e4]),
        )
        first, last, bins = line.edges_us[0], line.range.until_us, len(line.edges_us)
        together = numbers.randrange(first, last)
        moments = [first, last, *(together + numbers.randrange(90_000_000) for _ in range(numbers.choice([0, 3, 20])))]
        moments += [numbers.randrange(first, last) for _ in range(numbers.choice([0, 2, 100]))]
        limit_us = max(line.p99_us) * numbers.choice([1e-4, 0.1, 0.3, 0.97, 1.0, 1.02, 3.9, 100])
        chart = Chart(
            line,
            curve=numbers.choice([None, None, curve("share", 0.6, 0.58, bins), curve("bytes", 3e8, 3e8, bins)]),
            latency_threshold_us=limit_us,
            latency_statistic=numbers.choice(["average", "p95"]),
            throughput_threshold=numbers.choice([None, 1.0, 19.9, 20.0, 1e6]),
            breaches=numbers.choice([(), ((together, last),)]),
            markers=tuple((at_us, numbers.choice(HOSTILE)) for at_us in moments[numbers.choice([0, len(moments)]) :]),
            zone=numbers.choice(["UTC", "America/Argentina/Buenos_Aires"]),
        )
        painter.draw(without_values(chart) if case % 10 == 0 else chart)
        boxes = [text.get_window_extent() for axes in (painter._upper, painter._lower) for text in axes.texts]
        boxes += [painter._title.get_window_extent(), painter._range.get_window_extent()]
        assert not overlaps(boxes), case
        assert all(box.x0 >= 0 and box.x1 <= 1600 and box.y0 >= 0 and box.y1 <= 900 for box in boxes), case


def test_values_stay_below_the_names_of_markers(painter, timeline):
    for spread in (1.0, 40.0):
        line = timeline(spread=spread)
        markers = tuple((at_us, f"deployed {number}") for number, at_us in enumerate(line.edges_us[10::12]))
        painter.draw(Chart(line, latency_threshold_us=max(line.p99_us), markers=markers))
        names = [text.get_window_extent() for text in painter._upper.texts if text.get_text().startswith("deployed")]
        highest = painter._upper.transData.transform((0, max(line.p99_us)))[1]
        assert len(names) == len(markers)
        assert min(box.y0 for box in names) > highest


def test_markers_at_almost_one_moment_have_one_name_with_their_number(painter, timeline):
    line = timeline()
    markers = tuple((line.edges_us[40] + number * 1_000_000, f"change {number}") for number in range(12))
    painter.draw(Chart(line, markers=markers))
    assert [text.get_text() for text in painter._upper.texts if "change" in text.get_text()] == ["change 0 +11"]


def test_every_text_can_be_read_at_400_pixels(painter, day_chart):
    painter.draw(day_chart)
    texts = [*painter._upper.texts, *painter._lower.texts, painter._title, painter._range]
    texts += [label for axes in (painter._upper, painter._lower) for label in axes.get_yticklabels()]
    for text in [*texts, *painter._lower.get_xticklabels()]:
        assert text.get_fontsize() / 0.72 * 400 / 1600 >= 8.5


def test_a_chart_with_a_threshold_of_the_average_draws_the_average(painter, day_chart):
    assert day_chart.latency_statistic == "average"
    averaged = painter.draw(day_chart)
    assert amount(pixels(averaged)[164:540], palette.MEAN) > 300
    assert "━━ average" in [text.get_text() for text in painter._upper.texts]
    (line,) = [line for line in painter._upper.lines if line.get_color() == palette.MEAN and not line.is_dashed()]
    assert list(line.get_ydata()) == pytest.approx(day_chart.timeline.mean_us)
    judged_by_p95 = painter.draw(dataclasses.replace(day_chart, latency_statistic="p95"))
    assert amount(pixels(judged_by_p95)[164:540], palette.MEAN) == 0


def test_the_last_bin_is_dashed_and_faint_while_it_is_filling(painter, timeline):
    line = timeline()
    whole = Chart(line)
    assert not line.partial
    painter.draw(whole)
    assert not [drawn for drawn in painter._upper.lines if drawn.is_dashed()]
    until_us = line.range.until_us - line.step_us // 3
    filling = with_values(whole, range=dataclasses.replace(line.range, until_us=until_us))
    assert filling.timeline.partial
    painter.draw(filling)
    dashed = [drawn for drawn in painter._upper.lines if drawn.is_dashed()]
    assert [list(drawn.get_ydata()) for drawn in dashed] == [
        row[-2:] for row in (line.p50_us, line.p95_us, line.p99_us)
    ]
    solid = [drawn for drawn in painter._upper.lines if not drawn.is_dashed()]
    assert {len(drawn.get_ydata()) for drawn in solid} == {95}
    (bars, *_) = painter._lower.collections
    assert bars.get_facecolors()[:, 3].tolist() == [1.0] * 95 + [0.5]


def test_a_missed_first_response_is_a_mark_and_no_duration(painter, timeline):
    line = timeline(Period.HOUR)
    late = {
        name: [4e6 if at in {10, 11, 30} else value / 9 for at, value in enumerate(getattr(line, name))]
        for name in ("p50_us", "p95_us", "p99_us")
    }
    chart = with_values(Chart(line), service="discord.acknowledgement", **late)
    painter.draw(chart)
    assert painter._upper.get_ylim()[1] < 3e6
    assert "✕ missed" in [text.get_text() for text in painter._upper.texts]
    (marks,) = [drawn for drawn in painter._upper.lines if drawn.get_marker() == "X"]
    assert len(marks.get_xdata()) == 3
    assert all(chart.response_times[name][10] is None for name in ("p50", "p95", "p99"))
    painter.draw(with_values(Chart(line), service="other", **late))
    assert painter._upper.get_ylim()[1] >= 4e6


def test_times_are_those_of_the_zone_that_the_heading_names(painter, timeline):
    painter.draw(Chart(timeline(), zone="Europe/Berlin"))
    assert painter._range.get_text() == "last 24 hours, times in Europe/Berlin"
    times = [label.get_text() for label in painter._lower.get_xticklabels()]
    assert times == ["17 Aug", "04:00", "08:00", "12:00", "16:00", "20:00"]
    painter.draw(Chart(timeline()))
    assert painter._range.get_text() == "last 24 hours, UTC"


def test_most_of_twelve_marker_names_are_shown(painter, timeline):
    line = timeline()
    markers = tuple((at_us, f"deployed release {number}") for number, at_us in enumerate(line.edges_us[::8]))
    painter.draw(Chart(line, latency_threshold_us=5e6, markers=markers))
    assert len([text for text in painter._upper.texts if text.get_text().startswith("deployed")]) >= 7


def test_a_marker_name_leaves_the_threshold_line_visible_where_there_is_room(painter, timeline):
    line = timeline()
    low = with_values(Chart(line), p95_us=[1e6] * 96, p99_us=[2.6e6] * 96)
    chart = dataclasses.replace(low, latency_threshold_us=4e6, markers=((line.edges_us[60], "deployed 1.4"),))
    painter.draw(chart)
    (name,) = [text for text in painter._upper.texts if text.get_text() == "deployed 1.4"]
    height = painter._upper.transData.transform((0, 4e6))[1]
    box = name.get_window_extent()
    assert not box.y0 <= height <= box.y1


def test_the_text_of_a_threshold_leaves_a_breach_visible(painter, timeline):
    line = timeline()
    chart = Chart(line, latency_threshold_us=2e6)
    for first, last, side in ((0, 20, "right"), (75, 95, "left")):
        breach = ((line.edges_us[first], line.edges_us[last]),)
        painter.draw(dataclasses.replace(chart, breaches=breach))
        (label,) = [text for text in painter._upper.texts if "alert above" in text.get_text()]
        assert label.get_horizontalalignment() == side


def test_one_bin_and_single_points_are_visible_as_marks(painter, timeline):
    assert amount(pixels(painter.draw(Chart(timeline(bins=1))))[170:], palette.P99) > 150
    line = timeline()
    holes = {
        name: [value if at % 9 == 4 else None for at, value in enumerate(getattr(line, name))]
        for name in ("p50_us", "p95_us", "p99_us")
    }
    assert amount(pixels(painter.draw(with_values(Chart(line), **holes)))[170:], palette.P99) > 1500


def test_a_line_has_a_gap_where_nothing_happened(painter, timeline):
    line = timeline()
    full = pixels(painter.draw(Chart(line)))
    hole = {
        name: [None if 30 <= at < 60 else value for at, value in enumerate(getattr(line, name))]
        for name in ("p50_us", "p95_us", "p99_us")
    }
    holed = pixels(painter.draw(with_values(Chart(line), **hole)))
    inside = (slice(170, 540), slice(172 + 1396 * 32 // 96, 172 + 1396 * 58 // 96))
    assert amount(full[inside], palette.P50) > 1000
    assert amount(holed[inside], palette.P50) == 0


def test_a_failure_among_thousands_is_still_visible(painter, timeline):
    line = timeline()
    rates = {"per_minute": [14_000.0] * 96, "failures_per_minute": [0.0] * 95 + [0.01]}
    assert amount(pixels(painter.draw(with_values(Chart(line), **rates)))[600:], palette.FAILED) > 20


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e300])
def test_values_that_no_axis_expects_are_drawn_or_left_out(painter, timeline, value):
    line = timeline()
    names = ("p50_us", "p95_us", "p99_us", "per_minute", "failures_per_minute")
    pixels(painter.draw(with_values(Chart(line), **{name: [value] * 96 for name in names})))
    pixels(painter.draw(with_values(Chart(line), **{name: [value, *getattr(line, name)[1:]] for name in names})))


@pytest.mark.parametrize("unit", list(UNITS))
@pytest.mark.parametrize("size", [0.0, 0.02, 0.9, 60.0, 3e8])
def test_a_curve_of_any_unit_is_drawn_with_its_threshold_in_place_of_the_latencies(painter, timeline, unit, size):
    line = timeline()
    values = tuple(None if 20 < at < 30 else size * at / 95 for at in range(96))
    picture = pixels(painter.draw(Chart(line, Curve("what it is", unit, values, size / 2))))
    assert amount(picture, palette.P99) == 0
    assert amount(picture[164:540], palette.FAILED if unit == "share" else palette.P50) > 1000
    assert amount(picture, palette.FAILED) > 300


def test_a_curve_over_a_time_without_operations_is_drawn(painter, day_chart, without_values):
    quiet = dataclasses.replace(without_values(day_chart), curve=Curve("memory", "bytes", (3e8,) * 96))
    assert amount(pixels(painter.draw(quiet))[164:540], palette.P50) > 1000


def test_a_wide_spread_is_drawn_on_a_logarithmic_axis(painter, timeline):
    pixels(painter.draw(Chart(timeline(spread=40), latency_threshold_us=5e6)))


@pytest.mark.parametrize("threshold", [1.0, 5e5, 2e6, 4.9e6, 1e12])
def test_thresholds_anywhere_are_drawn_or_written(painter, timeline, threshold):
    chart = Chart(timeline(), latency_threshold_us=threshold, throughput_threshold=threshold / 1e5)
    assert amount(pixels(painter.draw(chart)), palette.FAILED) > 300


def test_names_are_drawn_as_they_are_whatever_they_contain(painter, timeline):
    title = "A $very$ long \\frac{title}{ } \n\t\x00 日本 🎉 " * 9
    chart = Chart(timeline(title=title))
    markers = tuple((chart.since_us + number * 3_600_000_000, title) for number in range(-3, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels(painter.draw(dataclasses.replace(chart, markers=markers)))


def test_a_bin_a_minute_over_a_day_is_drawn(painter, timeline):
    line = timeline()
    many = {
        name: getattr(line, name) * 15 for name in ("per_minute", "failures_per_minute", "p50_us", "p95_us", "p99_us")
    }
    edges = [line.edges_us[0] + number * 60_000_000 for number in range(96 * 15)]
    pixels(painter.draw(with_values(Chart(line), edges_us=edges, step_us=60_000_000, **many)))


def test_breaches_outside_the_range_are_left_out_and_short_ones_are_seen(painter, timeline):
    chart = Chart(timeline())
    outside = ((0, 1), (chart.until_us + 1, chart.until_us + 2))
    plain = dataclasses.replace(chart, breaches=())
    assert painter.draw(dataclasses.replace(chart, breaches=outside)) == painter.draw(plain)
    short = dataclasses.replace(chart, breaches=((chart.until_us - 2, chart.until_us - 1),))
    assert amount(pixels(painter.draw(short)), palette.FAILED) > amount(pixels(painter.draw(plain)), palette.FAILED)


def test_the_style_file_has_the_colours_of_the_palette(painter):
    style = painter._style
    assert {f"#{style[name].lstrip('#')}" for name in ("figure.facecolor", "axes.facecolor")} == {palette.BACKGROUND}
    assert {f"#{style[name].lstrip('#')}" for name in ("grid.color", "axes.edgecolor")} == {palette.GRID}
    assert {f"#{style[name].lstrip('#')}" for name in ("xtick.labelcolor", "ytick.labelcolor")} == {palette.MUTED}
    assert f"#{style['text.color'].lstrip('#')}" == palette.TEXT


def test_settings_of_matplotlib_outside_the_style_file_stay_as_they_are(painter, day_chart):
    before = dict(mpl.rcParams)
    painter.draw(day_chart)
    assert dict(mpl.rcParams) == before


# Axes and their ticks ----------------------------------------------------------------------------------------------


@pytest.fixture
def axes():
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_a_time_axis_has_the_round_times_of_its_view(axes):
    axes.xaxis.set_major_locator(TimeLocator())
    axes.xaxis.set_major_formatter(TimeFormatter())
    for length_us in (DAY_US, 10 * MINUTE_US):
        axes.set_xlim(NOW_US - length_us, NOW_US)
        ticks = time_ticks(NOW_US - length_us, NOW_US)
        assert list(axes.get_xticks()) == [tick.value for tick in ticks]
        assert labels(axes.xaxis) == [tick.label for tick in ticks]
    assert axes.xaxis.get_major_formatter()(ticks[0].value) == ticks[0].label


def test_an_axis_changes_between_linear_and_logarithmic_and_keeps_its_labels(axes):
    for values, kind in (([1e6], "linear"), ([1e3, 1e7], "log"), ([5.0], "linear")):
        scale = duration_scale(values) if max(values) > 10 else count_scale(values)
        set_scale(axes, scale)
        assert (axes.get_yscale(), axes.get_ylim()) == (kind, (scale.low, scale.high))
        assert labels(axes.yaxis) == [tick.label for tick in scale.ticks]
        assert list(axes.yaxis.get_minorticklocs()) == []


def test_no_time_label_overlaps_another_or_leaves_the_picture(painter):
    numbers = random.Random(3)
    for _ in range(60):
        length_us = int(10 ** numbers.uniform(8.5, 13))
        until_us = NOW_US + numbers.randrange(400 * DAY_US)
        painter._upper.set_xlim(until_us - length_us, until_us)
        boxes = [label.get_window_extent() for label in painter._lower.get_xticklabels()]
        assert all(left.x1 + 10 < right.x0 for left, right in itertools.pairwise(boxes)), length_us
        assert not boxes or (boxes[0].x0 >= 0 and boxes[-1].x1 <= 1600)
