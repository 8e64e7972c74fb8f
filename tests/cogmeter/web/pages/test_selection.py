"""From a spike to its cause: what is selected in a chart, in the address, and what the page shows about it."""

import asyncio
import json
import re
import time
from html import unescape

import pytest
from large_dataset import MINUTE_US
from page_driver import SETTLED, calm, opened

from cogmeter.alerts.model import Reading, Subject
from cogmeter.schemas.times import iso
from cogmeter.web.pages.table import PAGES
from cogmeter_storage.model import Marker, Outcome, SpanRecord, TraceRecord

HTML = {"headers": {"Accept": "text/html"}}
PANEL = "document.querySelector('#selection')?.innerText ?? ''"
PATHS = [page.path.replace("{service}", "shop") for page in PAGES]


async def incident(web):
    """An hour of fast operations; from 40 to 30 minutes ago they fail slowly, an alert fires, and there is a marker."""
    now_us = time.time_ns() // 1_000 // MINUTE_US * MINUTE_US
    (series,) = await web.monitor.store.series_ids([("shop", "buy")])
    rows = []
    for ago in range(60, 0, -1):
        bad = 30 <= ago < 40
        outcome, error = (Outcome.ERROR, f"Timeout: till {ago} is closed") if bad else (Outcome.OK, None)
        rows.append((series, now_us - ago * MINUTE_US, 4_000_000 + ago if bad else 20_000, outcome, error, None))
    await web.monitor.store.append([rows], now_us=now_us)
    await web.monitor.store.add_marker(Marker(now_us - 41 * MINUTE_US, "version", "version 2.0"))
    engine = web.monitor.alerting.engine
    wrong = Reading(Subject("error_rate", "shop"), 0.5, 0.05, "Error rate of 50%", "critical")
    await engine.step([wrong], now_us - 40 * MINUTE_US)
    await engine.step([], now_us - 30 * MINUTE_US)
    await engine.step([], now_us - 10 * MINUTE_US)
    return now_us


def stretch(now_us, begin, end):
    """The parameters of a range that is given in minutes before now."""
    return f"from={iso(now_us - begin * MINUTE_US)}&to={iso(now_us - end * MINUTE_US)}"


def panel_of(page):
    found = re.search(r'<section class="card selection".*?</section>', page, re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", " ", found[0])) if found else ""


@pytest.mark.parametrize("path", ["/performance", "/performance/services/shop"])
async def test_a_selection_shows_the_alerts_operations_errors_and_markers_of_its_time_and_no_others(served, path):
    async with served(alert_check_interval=3600) as web:
        now_us = await incident(web)
        bad = panel_of((await web.get(f"{path}?{stretch(now_us, 45, 28)}", **HTML)).text)
        good = panel_of((await web.get(f"{path}?{stretch(now_us, 9, 1)}", **HTML)).text)
        without = (await web.get(path, **HTML)).text
    assert "17 operations, 58.8% failed" in re.sub(r"\s+", " ", bad)
    assert re.search(r"Timeout: till \d+ is closed", bad)
    assert "version 2.0" in bad
    assert "Alert 1 on the page Alerts" in bad
    assert "4 s" in bad
    for words in ("No alert fired.", "No operation failed.", "No deploy, restart or other marker."):
        assert words in good
    assert panel_of(without) == ""


@pytest.mark.parametrize("path", PATHS)
async def test_every_page_accepts_a_selection_and_its_links_keep_it(served, path):
    async with served(alert_check_interval=3600) as web:
        now_us = await incident(web)
        query = stretch(now_us, 40, 30)
        found = await web.get(f"{path}?{query}", **HTML)
    menu = re.search(r'<nav aria-label="Pages".*?</nav>', found.text, re.DOTALL)[0]
    links = [unescape(one) for one in re.findall(r'href="([^"]+)"', menu)]
    assert found.status == 200
    assert len(links) == sum(page.menu is not None for page in PAGES)
    assert all(f"from={iso(now_us - 40 * MINUTE_US).replace(':', '%3A')}" in one and "&to=" in one for one in links)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=2026-02-01&to=2025-02-01", "from=2026-02-01T00:00:00Z is not before to=2025-02-01T23:59:59Z"),
        ("from=2999-01-01", "from=2999-01-01T00:00:00Z is in the future"),
        ("to=soon", "to=soon is not a valid time"),
    ],
)
async def test_a_selection_that_is_not_valid_is_422_and_named(served, path, query, words):
    async with served() as web:
        await incident(web)
        found = await web.get(f"{path}?{query}", **HTML)
    if path == "/performance/running" and "2999" in query:
        return  # it shows what runs now, whatever is selected elsewhere
    assert found.status == 422
    assert words in unescape(found.text)


async def test_a_selection_outside_of_the_period_is_shown_with_the_time_around_it(served):
    async with served() as web:
        await incident(web)
        page = (await web.get("/performance?from=2024-02-03T10:00:00Z&to=2024-02-03T10:20:00Z", **HTML)).text
        wide = (await web.get("/performance?from=2024-02-03T10:00:00Z&to=2024-02-03T13:00:00Z", **HTML)).text
    assert "3 Feb 2024 09:30 to 10:50 UTC" in page
    assert "3 Feb 2024 07:00 to 16:00 UTC" in wide


async def test_the_history_of_alerts_is_that_of_the_selection(served):
    async with served(alert_check_interval=3600) as web:
        now_us = await incident(web)
        during = (await web.get(f"/performance/alerts?{stretch(now_us, 45, 35)}", **HTML)).text
        after = (await web.get(f"/performance/alerts?{stretch(now_us, 5, 1)}", **HTML)).text
    assert 'id="past-' in during
    assert 'id="past-' not in after


def box_of(browser, chart):
    return browser.evaluate(
        f"(one => {{ one.scrollIntoView({{block: 'center'}}); return JSON.parse(JSON.stringify("
        f"one.querySelector('.u-over').getBoundingClientRect())); }})(document.getElementById('chart-{chart}'))"
    )


def places(browser, chart, now_us, *minutes_ago):
    """Where these times are in a chart, in the window's pixels."""
    box = box_of(browser, chart)
    since, until = browser.evaluate(
        "(q => [q.get('since'), q.get('until')])"
        f"(new URL(document.getElementById('chart-{chart}').dataset.src, location).searchParams)"
    )
    assert until is None
    begin_s = time.mktime(time.strptime(since[:19] + "UTC", "%Y-%m-%dT%H:%M:%S%Z")) - time.timezone
    end_s = time.time()
    shares = [(now_us / 1e6 - ago * 60 - begin_s) / (end_s - begin_s) for ago in minutes_ago]
    return [(box["left"] + box["width"] * share, box["top"] + box["height"] / 2) for share in shares]


def selected_minutes(browser, now_us):
    """The selection in the address, in minutes before now."""
    found = browser.evaluate(
        "(q => [q.get('from'), q.get('to')].map(Date.parse))(new URLSearchParams(location.search))"
    )
    return [round((now_us / 1e3 - at) / 60_000) for at in found]


def cause_is_shown(browser):
    browser.wait(f"/Timeout: till \\d+ is closed/.test({PANEL})", "the cause")
    browser.wait(SETTLED)


async def test_a_spike_leads_to_its_cause_by_mouse_and_the_address_keeps_it(served, browser):
    def look():
        opened(browser, f"{web.url}/performance?period=1h&refresh=0")
        browser.drag(*places(browser, "latency", now_us, 42, 28))
        cause_is_shown(browser)
        begin, end = selected_minutes(browser, now_us)
        assert abs(begin - 42) <= 2
        assert abs(end - 28) <= 2
        address = browser.evaluate("location.href")
        opened(browser, address)
        browser.expect("location.href", address)
        cause_is_shown(browser)
        browser.press("Escape")
        browser.wait("!document.querySelector('#selection')", "no selection")
        browser.expect("location.search", "?period=1h&refresh=0")
        browser.wait(SETTLED)
        # A click on the shaded time of a breach selects it and opens its alert.
        (place,) = places(browser, "errors", now_us, 35)
        browser.drag(place, place)
        browser.wait("document.querySelector('#selection details')?.open === true", "the alert")
        browser.expect("document.activeElement.localName", "summary")
        assert selected_minutes(browser, now_us)[0] == 40
        browser.evaluate("document.querySelector('#selection details a').click()")
        browser.wait("location.pathname.endsWith('/alerts') && !!document.querySelector('[id^=past-]')", "its page")
        calm(browser, web.url)

    async with served(alert_check_interval=3600) as web:
        now_us = await incident(web)
        await asyncio.to_thread(look)


async def test_a_spike_leads_to_its_cause_by_finger_on_a_narrow_screen(served, browser):
    def look():
        opened(browser, f"{web.url}/performance/services/shop?period=1h&refresh=0", width=420)
        browser.touch(*places(browser, "latency", now_us, 44, 26))
        cause_is_shown(browser)
        browser.evaluate("document.querySelector('#selection [data-key=clear]').click()")
        browser.wait("!document.querySelector('#selection')", "no selection")
        browser.wait(SETTLED)
        (place,) = places(browser, "throughput", now_us, 35)
        browser.touch(place, place)
        cause_is_shown(browser)
        begin, end = selected_minutes(browser, now_us)
        assert 1 <= begin - end <= 4
        calm(browser, web.url)

    async with served(alert_check_interval=3600) as web:
        now_us = await incident(web)
        await asyncio.to_thread(look)


async def test_a_spike_leads_to_its_cause_by_keyboard(served, browser):
    plot = "document.querySelector('#chart-throughput .plot')"
    place = f"Number({plot}.ariaValueNow)"

    def look():
        opened(browser, f"{web.url}/performance?period=1h&refresh=0")
        last = browser.evaluate(f"Number({plot}.ariaValueMax)")
        browser.evaluate(f"{plot}.focus()")
        browser.press("Home")
        browser.expect(place, 1)
        for number in range(15):
            browser.press("ArrowRight")
            browser.expect(place, 2 + number)
        for _ in range(20):
            browser.press("ArrowRight", shift=True)
        browser.press("Enter")
        cause_is_shown(browser)
        begin, end = selected_minutes(browser, now_us)
        assert 18 <= begin - end <= 26
        assert last >= 55
        browser.expect("document.activeElement.className", "plot")
        browser.press("Escape")
        browser.wait("!document.querySelector('#selection')", "no selection")
        calm(browser, web.url)

    async with served(alert_check_interval=3600) as web:
        now_us = await incident(web)
        await asyncio.to_thread(look)


async def test_the_marks_of_a_chart_name_the_alert_of_each_breach(served):
    async with served(alert_check_interval=3600) as web:
        await incident(web)
        page = (await web.get("/performance", **HTML)).text
        (alert,) = await web.monitor.store.alerting.alerts(["resolved"])
    (marks,) = re.findall(r'data-marks="([^"]*)"', page)
    assert [breach[2:] for breach in json.loads(unescape(marks))["breaches"]] == [["error_rate", alert.uid]]


@pytest.mark.parametrize("path", ["/performance", "/performance/services/discord.commands?operation=ask"])
async def test_a_selection_says_why_its_slow_runs_are_slow_and_those_of_another_time_not(served, path):
    span = SpanRecord(1, 0, "http.api.example.com", "POST", 100_000, 3_000_000, Outcome.OK)
    async with served() as web:
        now_us = time.time_ns() // 1_000 // MINUTE_US * MINUTE_US
        (series,) = await web.monitor.store.series_ids([("discord.commands", "ask")])
        rows = [(series, now_us - ago * MINUTE_US, 3_500_000, Outcome.OK, None, None) for ago in range(60, 0, -1)]
        await web.monitor.store.append([rows], now_us=now_us)
        at_us = now_us - 35 * MINUTE_US
        trace = TraceRecord(at_us, "discord.commands", "ask", 3_500_000, Outcome.OK, None, 0, (span,))
        await web.monitor.store.add_traces([trace])
        join = "&" if "?" in path else "?"
        then = panel_of((await web.get(f"{path}{join}{stretch(now_us, 45, 28)}", **HTML)).text)
        later = panel_of((await web.get(f"{path}{join}{stretch(now_us, 9, 1)}", **HTML)).text)
    assert "POST api.example.com took 3 s. Set a timeout" in then
    assert "POST api.example.com" not in later
