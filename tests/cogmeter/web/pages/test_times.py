"""Times in the reader's time zone, in a real browser: on both days on which daylight saving changes in Berlin."""

import asyncio
import json

import pytest
from large_dataset import MINUTE_US
from page_driver import SETTLED, calm, opened

from cogmeter.times import parse_iso
from cogmeter_storage.model import Outcome

ZONE = "document.getElementById('zone')"
TIMES = "[...document.querySelectorAll('[data-key=recent-table] time')].map(one => one.innerText).reverse()"
CELLS = "[...document.querySelectorAll('#chart-latency details tbody tr')].map(one => one.cells[0].innerText)"
NOTES = "[...new Set([...document.querySelectorAll('[data-zone]')].map(one => one.textContent))]"
AT = "document.querySelector('#chart-latency .legend .at').innerText"


async def stored(web, begin):
    """Store an operation every half hour for three hours."""
    at_us = parse_iso(begin)
    (series,) = await web.monitor.store.series_ids([("memory", "recall")])
    rows = [(series, at_us + half * 30 * MINUTE_US, 100_000, Outcome.OK, None, None) for half in range(6)]
    await web.monitor.store.append([rows], now_us=at_us + 180 * MINUTE_US)


def in_zone(browser, name):
    browser.call("Emulation.setTimezoneOverride", timezoneId=name)


@pytest.mark.parametrize(
    ("begin", "end", "clocks", "hours", "range_text"),
    [
        (  # the clock goes from 2 to 3
            "2026-03-29T00:00:00Z",
            "2026-03-29T03:00:00Z",
            ["01:00", "01:30", "03:00", "03:30", "04:00", "04:30"],
            ["01:00 UTC+1", "03:00 UTC+2"],
            "29 Mar 01:00 UTC+1 to 05:00 UTC+2",
        ),
        (  # the clock goes from 3 back to 2
            "2026-10-25T00:00:00Z",
            "2026-10-25T03:00:00Z",
            ["02:00", "02:30", "02:00", "02:30", "03:00", "03:30"],
            ["02:00 UTC+2", "02:00 UTC+1", "02:30 UTC+1"],
            "25 Oct 02:00 UTC+2 to 04:00 UTC+1",
        ),
    ],
)
async def test_times_are_those_of_the_reader_on_the_days_on_which_daylight_saving_changes(
    served, browser, begin, end, clocks, hours, range_text
):
    def look():
        in_zone(browser, "Europe/Berlin")
        opened(browser, f"{web.url}/performance/services/memory?since={begin}&until={end}&refresh=0")
        browser.expect(f"{ZONE}.innerText", "Times: Europe/Berlin")
        found = browser.evaluate(TIMES)
        assert [one[-8:-3] for one in found] == clocks
        browser.expect("document.querySelector('#controls [name=period]').selectedOptions[0].innerText", range_text)
        browser.expect(NOTES, ["Europe/Berlin"])
        assert "Europe/Berlin" in browser.evaluate(AT)
        browser.evaluate("document.querySelector('#chart-latency details').open = true")
        browser.wait(f"{CELLS}.length > 2")
        cells = " | ".join(browser.evaluate(CELLS))
        assert all(f"{hour.split(':')[0]}:" in cells and hour[-5:] in cells for hour in hours), cells
        ticks = browser.evaluate(
            "import('/performance/static/times.js').then(one => one.roundTimes("
            f"Date.parse('{begin}') / 1000, Date.parse('{end}') / 1000, 3600).map(at => one.dayClock(at, false)))"
        )
        assert len(ticks) == 4
        assert [tick[7:] for tick in ticks][: len(hours)][0] == hours[0]
        assert hours[1] in {tick[7:] for tick in ticks}
        browser.evaluate(f"{ZONE}.click()")
        browser.expect(f"{ZONE}.innerText", "Times: UTC")
        browser.expect(NOTES, ["UTC"])
        assert [one[-8:-3] for one in browser.evaluate(TIMES)] == [
            f"{half // 2:02}:{30 * (half % 2):02}" for half in range(6)
        ]
        browser.wait(f"{AT}.endsWith('UTC')")
        browser.call("Page.reload")
        browser.wait(f"document.readyState === 'complete' && {ZONE}.innerText === 'Times: UTC'", "the choice is kept")
        browser.wait(SETTLED)
        calm(browser, web.url)

    async with served() as web:
        await stored(web, begin)
        await asyncio.to_thread(look)


async def test_without_script_times_are_utc_and_say_so(served):
    async with served() as web:
        await stored(web, "2026-03-29T00:00:00Z")
        query = "since=2026-03-29T00:00:00Z&until=2026-03-29T03:00:00Z"
        page = (await web.get(f"/performance/services/memory?{query}", headers={"Accept": "text/html"})).text
    assert '<time datetime="2026-03-29T00:30:00Z" data-time="moment">29 Mar 00:30:00</time>' in page
    assert "times in <span data-zone>UTC</span>" in page


async def test_ticks_are_round_times_of_the_clock_across_the_change(served, browser):
    script = """import('/performance/static/times.js').then(one => JSON.stringify(%s.map(([from, to, step]) =>
      one.roundTimes(Date.parse(from) / 1000, Date.parse(to) / 1000, step).map(at => one.clock(at)))))"""
    ranges = [
        ["2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", 21_600],
        ["2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 10_800],
        ["2026-10-23T12:00:00Z", "2026-10-27T12:00:00Z", 86_400],
    ]

    def look():
        in_zone(browser, "Europe/Berlin")
        browser.open(f"{web.url}/performance")
        browser.wait("document.readyState === 'complete'")
        return json.loads(browser.evaluate(script % json.dumps(ranges)))

    async with served() as web:
        found = await asyncio.to_thread(look)
    assert found == [
        ["18:00", "00:00", "06:00", "12:00"],
        ["15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00", "12:00"],
        ["00:00"] * 4,
    ]
