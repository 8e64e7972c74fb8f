"""The charts in a real browser: what is painted, their texts, and how a range of time is selected in them."""

import asyncio
import itertools
import json
import time

import pytest
from large_dataset import HOSTILE, MINUTE_US
from page_driver import LIVE, SETTLED, calm, opened

from cogmeter.alerts.model import Reading, Subject
from cogmeter_storage.model import Marker, Outcome

# Keeps every word that is written on a canvas.
LISTEN = """window.written = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (words, ...place) {
  window.written.push(words);
  return write.call(this, words, ...place);
};"""
WRITTEN = "[...new Set(window.written)]"
# How many pixels of a chart's canvas have just this colour.
PIXELS = """((name, colour) => {
  const canvas = document.querySelector(`#chart-${name} canvas`);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (wanted.every((part, number) => data[at + number] === part)) found += 1;
  }
  return found;
})"""
# How much of a strip of the chart of errors, an eighth of it wide, is painted at all.
PAINTED = """((from) => {
  const canvas = document.querySelector("#chart-errors canvas");
  const [left, top, wide, high] = [canvas.width * from, 20, canvas.width / 8, canvas.height - 60].map(Math.round);
  const { data } = canvas.getContext("2d").getImageData(left, top, wide, high);
  return data.filter((part, at) => at % 4 === 3 && part > 0).length / (data.length / 4);
})"""
# How much of the width of the chart of operations has bars in it.
WIDTH = """(() => {
  const canvas = document.querySelector("#chart-throughput canvas");
  const { data } = canvas.getContext("2d").getImageData(0, canvas.height - 45, canvas.width, 1);
  const painted = [...Array(canvas.width).keys()].filter((x) => data[x * 4 + 3] > 0);
  return (painted.at(-1) - painted[0]) / canvas.width;
})()"""
LEGEND = "document.querySelector('#chart-{} .legend').innerText"
STATES = "[...document.querySelectorAll('figure[data-chart]')].map(one => one.dataset.state)"


@pytest.fixture
def listening(browser):
    """The browser, in which ``WRITTEN`` is what stands on canvases."""
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=LISTEN)
    return browser


def hurried(waited_ms, ms):
    """A script by which the page waits for less long where it would wait for this long."""
    return f"""{{
      const wait = setTimeout;
      window.setTimeout = (work, ms, ...more) => wait(work, ms === {waited_ms} ? {ms} : ms, ...more);
    }}"""


async def stored(web, *operations):
    """Store operations (minutes ago, duration in us), all of one series."""
    now_us = time.time_ns() // 1_000
    (series,) = await web.monitor.store.series_ids([("memory", "recall")])
    rows = [(series, now_us - ago * MINUTE_US, took_us, Outcome.OK, None, None) for ago, took_us in operations]
    await web.monitor.store.append([rows], now_us=now_us)


async def test_what_happened_just_now_is_seen_in_every_chart(served, browser):
    def look():
        browser.prefer(dark=True)
        for period in ("1h", "24h", "30d"):
            opened(browser, f"{web.url}/performance?period={period}")
            assert browser.evaluate(f"{PIXELS}('throughput', '#6d7683')") > 10, period
            assert browser.evaluate(f"{PIXELS}('latency', '#ffc440')") > 5, period

    async with served() as web:
        web.monitor.recorder.record("memory", "recall", duration_ms=120)
        await web.flushed()
        await asyncio.to_thread(look)


@pytest.mark.parametrize(("operations", "period", "each"), [(90, "1h", "min"), (9, "24h", "h"), (1, "30d", "day")])
async def test_throughput_has_a_unit_of_time_in_which_there_is_some(served, browser, operations, period, each):
    async with served() as web:
        old = 31 * 1440  # before the range: without it, the axis would begin with the first operation
        await stored(web, (old, 1_000), *((60 - ago % 60, 1_000) for ago in range(operations)))
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?period={period}")
        legend = await asyncio.to_thread(browser.evaluate, LEGEND.format("throughput"))
    assert legend.split("\n")[0] == f"operations/{each}"


async def test_the_previous_period_is_a_line_that_can_be_switched_off_and_is_not_printed(served, browser):
    legend, button = LEGEND.format("latency"), "document.querySelector('button.compare')"

    def look():
        opened(browser, f"{web.url}/performance?period=1h&refresh=0")
        browser.wait(f"{legend}.includes('p95 before')", "the previous hour")
        assert "operations/min before" in browser.evaluate(LEGEND.format("throughput"))
        browser.evaluate("dispatchEvent(new Event('beforeprint'))")
        browser.wait(f"!{legend}.includes('before')", "none on paper")
        browser.evaluate("dispatchEvent(new Event('afterprint'))")
        browser.wait(f"{legend}.includes('p95 before')")
        browser.evaluate(f"{button}.click()")
        browser.wait(f"!{legend}.includes('before')")
        browser.expect(f"{button}.ariaPressed", "false")
        opened(browser, f"{web.url}/performance?period=1h&refresh=1")
        assert "before" not in browser.evaluate(legend)
        calm(browser, web.url)

    async with served() as web:
        await stored(web, *((ago, 100_000 * (1 + ago % 4)) for ago in range(130, 0, -1)))
        await asyncio.to_thread(look)


# Where the horizontal axes of all charts on the page begin and end, in minutes before now.
AXES = """import('/performance/static/charts.js').then(() => [...document.querySelectorAll('figure[data-chart]')].map(
  (one) => [...new URL(one.dataset.src, location).searchParams].filter(([name]) => name === 'since')
    .map(([, at]) => (Date.now() - Date.parse(at)) / 60_000)[0]))"""


@pytest.mark.parametrize("page", ["/performance", "/performance/discord", "/performance/services/memory"])
async def test_charts_of_a_bot_that_started_ten_minutes_ago_begin_ten_minutes_ago(served, browser, page):
    async with served() as web:
        await stored(web, *((ago, 1_000) for ago in range(10, 0, -1)))
        await asyncio.to_thread(opened, browser, f"{web.url}{page}")
        begins = await asyncio.to_thread(browser.evaluate, AXES)
        painted = await asyncio.to_thread(browser.evaluate, WIDTH) if page != "/performance/discord" else 1
        await asyncio.to_thread(calm, browser, web.url)
    assert len(begins) >= 2
    assert all(10 <= one < 13 for one in begins)
    assert painted > 0.6  # of the canvas; the axis and the open minute are the rest


async def test_lines_markers_and_the_threshold_say_what_they_are(served, listening):
    async with served() as web:
        await stored(web, *((ago, 100_000 * (1 + ago % 40)) for ago in range(60, 0, -1)))
        await web.monitor.store.add_marker(Marker(time.time_ns() // 1_000 - 30 * MINUTE_US, "mark", "deployed 2.0"))
        await asyncio.to_thread(opened, listening, f"{web.url}/performance?period=1h")
        words = await asyncio.to_thread(listening.evaluate, WRITTEN)
    assert {"p50", "p95", "p99", "deployed 2.0", "alert above 5 s (average)"} <= set(words)


async def test_durations_far_apart_have_an_axis_of_times_that_people_use(served, listening):
    async with served() as web:
        await stored(web, *((ago, 30 if ago % 2 else 20_000_000_000) for ago in range(60, 0, -1)))
        await asyncio.to_thread(opened, listening, f"{web.url}/performance?period=1h")
        words = await asyncio.to_thread(listening.evaluate, WRITTEN)
        said = await asyncio.to_thread(listening.evaluate, "document.querySelector('.legend .at').innerText")
    assert {"100 µs", "1 s", "10 s", "1 min", "10 min", "1 h"} <= set(words)
    assert not {"1 min 40 s", "16 min 40 s", "2 h 46 min"} & set(words)
    assert said == "logarithmic, UTC"


@pytest.mark.parametrize("most", [0.9, 1.2, 3, 7, 12, 26, 130])
async def test_every_tick_has_the_label_of_its_value(served, listening, most):
    script = """import('/performance/static/painting.js').then(async (one) => {
      const place = document.createElement('div');
      const figure = document.createElement('figure');
      document.body.append(place);
      window.written.length = 0;
      const model = { x: [0, 600], unit: 'count', series: [{ label: 'x', values: [0, %s], colour: 'p50' }] };
      new uPlot(one.options(figure, model, place, { seen() {}, chosen() {} }), one.shown(model), place);
      await new Promise(requestAnimationFrame);
      return window.written.filter((words) => /^[0-9.]+$/.test(words)).map(Number);
    })"""

    def look():
        opened(listening, f"{web.url}/performance")
        return listening.evaluate(script % most)

    async with served() as web:
        ticks = await asyncio.to_thread(look)
    steps = {round(after - before, 6) for before, after in itertools.pairwise(ticks)}
    assert len(ticks) > 1
    assert len(steps) == 1, ticks


# The boxes of the labels that are drawn over a chart: those with an outline. A new picture begins with a clear canvas.
BOXES = """window.boxes = [];
const [clear, outline] = ["clearRect", "strokeText"].map((name) => CanvasRenderingContext2D.prototype[name]);
CanvasRenderingContext2D.prototype.clearRect = function (...place) {
  window.boxes.length = 0;
  return clear.call(this, ...place);
};
CanvasRenderingContext2D.prototype.strokeText = function (words, x, y) {
  const { actualBoundingBoxAscent: up, actualBoundingBoxDescent: down, width } = this.measureText(words);
  window.boxes.push([words, ...[x, y - up, x + width, y + down].map((one) => one / devicePixelRatio)]);
  return outline.call(this, words, x, y);
};"""
# Draws a chart with one threshold, markers and three lines of which some end before the chart does.
LABELLED = """import('/performance/static/painting.js').then(async (one) => {
  const [place, figure] = [document.createElement('div'), document.createElement('figure')];
  place.style.width = '%(width)spx';
  figure.dataset.limit = 5000;
  figure.dataset.limitText = 'alert above 5 s (average)';
  figure.dataset.marks = JSON.stringify({ marks: %(marks)s });
  document.body.append(place);
  const line = (label, most) => ({ label, values: [0, most * 0.5, most, null], colour: 'p50' });
  const series = [line('p50', %(most)s * 0.98), line('p95', %(most)s), line('p99', %(most)s)];
  const model = { x: [0, 600, %(end)s, 3600], unit: 'ms', series };
  new uPlot(one.options(figure, model, place, { seen() {} }), one.shown(model), place);
  await new Promise(requestAnimationFrame);
  return [...window.boxes];
})"""


@pytest.mark.parametrize("width", [320, 390, 900])
async def test_no_label_of_a_chart_touches_another(served, browser, width):
    def look():
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=BOXES)
        opened(browser, f"{web.url}/performance")
        found = []
        for most in (5_050, 5_400, 5_800, 6_200, 7_000, 9_000, 14_000):
            for end in (1_200, 3_590):
                for marks in ([[20, "deployed 1.4"]], [[900, "deployed 1.4"], [2_400, "knowledge-graph: 5 s to 4 s"]]):
                    values = {"width": width, "marks": json.dumps(marks), "most": most, "end": end}
                    found.append((values, browser.evaluate(LABELLED % values)))
        return found

    async with served() as web:
        found = await asyncio.to_thread(look)
    for values, boxes in found:
        assert {"alert above 5 s (average)", "p50", "p95", "p99"} <= {words for words, *_ in boxes}, values
        for one, other in itertools.combinations(boxes, 2):
            apart = one[3] < other[1] or other[3] < one[1] or one[4] < other[2] or other[4] < one[2]
            assert apart, (values, one, other)


async def test_time_is_chosen_by_the_keyboard_and_given_back(seeded, browser):
    def look():
        opened(browser, f"{web.url}/performance?period=1h")
        browser.evaluate("document.querySelector('#chart-latency .plot').focus()")
        browser.press("Home")
        browser.press("+")
        browser.wait("!!document.querySelector('.zoomed')", "the stretch")
        browser.wait(SETTLED)
        found = browser.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
        assert set(found) == {"since", "until"}
        browser.expect("document.activeElement.className", "plot")
        length_s = browser.evaluate(
            "(s => (Date.parse(s.get('until')) - Date.parse(s.get('since'))) / 1000)"
            "(new URLSearchParams(location.search))"
        )
        assert 1_700 <= length_s <= 2_000
        browser.press("End")
        for _ in range(3):
            browser.press("-")
            browser.wait(SETTLED)
            browser.wait("document.getElementById('main').ariaBusy !== 'true'")
        browser.wait("!new URLSearchParams(location.search).has('until')", "an end that goes on with the time")
        calm(browser, web.url)

    async with seeded() as web:
        await asyncio.to_thread(look)


async def test_what_is_still_being_read_says_so(seeded, browser):
    async with seeded() as web:
        gate, read = asyncio.Event(), web.monitor.query.timeline

        async def slow(*args, **kwargs):
            await gate.wait()
            return await read(*args, **kwargs)

        web.monitor.query.timeline = slow
        await asyncio.to_thread(browser.open, f"{web.url}/performance")
        await asyncio.to_thread(browser.wait, f"{STATES}.join() === 'loading,loading,loading'")
        words = await asyncio.to_thread(browser.evaluate, "document.querySelector('.chart .state').innerText")
        gate.set()
        await asyncio.to_thread(browser.wait, f"{STATES}.join() === 'drawn,drawn,drawn'")
    assert words == "Loading …"


async def test_an_empty_chart_stays_as_it_is_while_the_page_is_renewed(served, browser):
    watched = """(async () => {
      const seen = new Set();
      const figure = document.querySelector('figure[data-chart]');
      new MutationObserver(() => seen.add(figure.dataset.state)).observe(figure, { attributes: true });
      await import('/performance/static/app.js').then(one => one.refresh());
      return [figure.dataset.state, ...seen];
    })()"""

    def look():
        opened(browser, f"{web.url}/performance")
        return browser.evaluate(watched)

    async with served() as web:
        states = await asyncio.to_thread(look)
    assert set(states) == {"empty"}


async def test_an_active_breach_is_shaded_up_to_now(served, browser):
    async with served(alert_check_interval=3600) as web:
        await stored(web, *((ago, 100_000) for ago in range(60, 0, -1)))
        now_us = time.time_ns() // 1_000
        wrong = Reading(Subject("error_rate", "memory"), 0.12, 0.05, "Error rate of 12%", "critical")
        await web.monitor.alerting.engine.step([wrong], now_us - 30 * MINUTE_US)
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?period=1h")
        marks = json.loads(
            await asyncio.to_thread(browser.evaluate, "document.querySelector('[data-marks]').dataset.marks")
        )
        assert [(until, rule) for _, until, rule, _ in marks["breaches"]] == [(None, "error_rate")]
        shaded = [await asyncio.to_thread(browser.evaluate, f"{PAINTED}({at})") for at in (0.25, 0.75)]
    assert shaded[0] < 0.3
    assert shaded[1] > 0.95


async def test_a_limit_that_was_never_hit_has_no_line(crowded, listening):
    async with crowded() as web:
        await asyncio.to_thread(opened, listening, f"{web.url}/performance/discord?period=6h")
        words = await asyncio.to_thread(listening.evaluate, WRITTEN)
        legend = await asyncio.to_thread(
            listening.evaluate, "document.querySelector('#chart-limits .legend').innerText"
        )
    assert {"per bot", "shared"} <= set(words)
    assert "global" not in words
    assert "global" in legend


async def test_days_of_money_are_named_below_their_bars(crowded, listening):
    async with crowded() as web:
        await asyncio.to_thread(opened, listening, f"{web.url}/performance/cost?by=service")
        words = await asyncio.to_thread(listening.evaluate, WRITTEN)
        names = await asyncio.to_thread(listening.evaluate, "document.querySelector('.legend').innerText")
    assert not [one for one in words if ":" in one]
    today = time.strftime("%-d %b", time.gmtime())
    assert today in words
    assert HOSTILE in names


async def test_a_page_that_gets_no_answer_gives_up_and_says_so(seeded, browser):
    async def never(*_, **__):
        await asyncio.sleep(3_600)

    async with seeded() as web:
        await asyncio.to_thread(browser.call, "Page.addScriptToEvaluateOnNewDocument", source=hurried(20_000, 300))
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?refresh=0")
        web.monitor.query.overview = never
        await asyncio.to_thread(browser.evaluate, "import('/performance/static/app.js').then(one => one.refresh())")
        words = await asyncio.to_thread(browser.evaluate, "document.getElementById('trouble').innerText")
    assert words == "Could not refresh: no response within 20 s."


async def test_a_stream_that_fell_silent_is_opened_again(seeded, browser):
    def anew():
        deadline = time.perf_counter() + 60
        while not any(one.endswith("/live") for one in browser.asked):
            assert time.perf_counter() < deadline, "the silence was not noticed"
            browser.evaluate(LIVE)
            time.sleep(0.1)
        browser.wait(f"{LIVE} === 'live'", "the stream again")

    async def nothing():
        live._newest = None
        return []

    async with seeded() as web:
        await asyncio.to_thread(browser.call, "Page.addScriptToEvaluateOnNewDocument", source=hurried(15_000, 3_000))
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?refresh=0")
        live = web.servers._shared.live
        live._poll = nothing
        browser.asked.clear()
        await asyncio.to_thread(anew)
