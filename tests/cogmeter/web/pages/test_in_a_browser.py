"""The pages in a real browser: their look at every width, their texts, and their controls."""

import asyncio
import itertools
import json
import re
import time
from urllib.parse import quote

import pytest
from large_dataset import CJK, HOSTILE, LONG, RTL, SLOW
from page_driver import CUT, EMPTY, FULL, LIVE, OVERFLOW, SETTLED, calm, opened

from cogmeter.render import formatting
from cogmeter.render.cost_text import money

# Elements that only a name could have brought in.
MARKUP = "[...document.querySelectorAll('main script, main img, main iframe')].map(one => one.outerHTML)"
CHARTS = "document.querySelectorAll('.chart[data-state=drawn]').length"
PERIOD = "document.querySelector('#controls [name=period]')"


def looked_at(page, url, paths, *, name=""):
    for path, width, dark in itertools.product(paths, (1280, 420), (True, False)):
        page.prefer(dark=dark)
        opened(page, url + path, width=width)
        assert page.evaluate("innerWidth") == width
        assert page.evaluate(OVERFLOW) <= 0, (path, width)
        assert page.evaluate(CUT) == [], (path, width)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(30, 31, 34)" if dark else "rgb(239, 241, 244)"
        )
        assert page.evaluate(MARKUP) == [], path
        assert page.evaluate("document.querySelector('main').textContent.includes('\u202e')") is False, path
        # Resources, processes and usage have no filter by service.
        if path not in {"/performance/resources", "/performance/fleet", "/performance/usage"}:
            assert page.evaluate(f"document.querySelector('main').textContent.includes({json.dumps(name)})"), path
    calm(page, url)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_full_pages_fit_every_width_in_dark_and_light_and_show_names_as_text(crowded, browser):
    async with crowded() as web:
        begun = web.monitor.recorder.operation
        with begun(HOSTILE, HOSTILE), begun(LONG, "y" * 100), begun(CJK, CJK), begun(RTL, RTL):
            await asyncio.to_thread(looked_at, browser, web.url, FULL, name=HOSTILE)
        assert await asyncio.to_thread(browser.evaluate, CHARTS) == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_empty_pages_fit_every_width_in_dark_and_light(served, browser):
    async with served() as web:
        await asyncio.to_thread(looked_at, browser, web.url, EMPTY)
        words = await asyncio.to_thread(browser.evaluate, "document.querySelector('.chart .state').innerText")
    assert words == "No operations in this period."


async def test_a_table_is_sorted_by_a_press_on_its_head_and_stays_so_when_it_is_renewed(crowded, browser):
    names = "[...document.querySelectorAll('[data-key=services-table] tbody th')].map(one => one.innerText)"
    heads = "[...document.querySelectorAll('[data-key=services-table] th')]"
    sorted_by = f"{heads}.filter(one => one.ariaSort).map(one => one.innerText.trim() + ' ' + one.ariaSort)"

    def look():
        opened(browser, f"{web.url}/performance")
        browser.evaluate(f"{heads}.find(one => one.innerText.startsWith('p99')).querySelector('button').focus()")
        browser.press("Enter")
        browser.expect(f"{names}[0]", SLOW)
        browser.expect(sorted_by, ["p99 descending"])
        browser.press("Enter")
        browser.expect(f"{names}.at(-1)", SLOW)
        browser.evaluate("import('/performance/static/app.js').then(one => one.refresh())")
        browser.expect(sorted_by, ["p99 ascending"])
        browser.expect(f"{names}.at(-1)", SLOW)
        browser.expect("document.activeElement.innerText", "p99")
        browser.evaluate(f"{heads}[0].querySelector('button').click()")
        browser.expect(f"{names}.slice(0, 2)", [HOSTILE, LONG])
        calm(browser, web.url)

    async with crowded() as web:
        await asyncio.to_thread(look)


async def test_the_address_contains_what_is_shown_and_the_way_back_leads_back(crowded, browser):
    choose = (
        (
            "(name, value) => {{ const one = document.querySelector(`#controls [name=${{name}}]`); one.value = value;"
            " one.dispatchEvent(new Event('change', {{bubbles: true}})); }}"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )

    def look():
        opened(browser, f"{web.url}/performance")
        browser.evaluate(f"({choose})('period', '1h')")
        browser.wait("document.querySelector('.heading .hint').innerText.startsWith('Last hour')")
        browser.evaluate(f"({choose})('service', {json.dumps(HOSTILE)})")
        browser.wait(f"document.querySelector('h1').innerText === {json.dumps(HOSTILE)}")
        browser.expect("location.search", f"?period=1h&service={quote(HOSTILE, safe='')}")
        browser.evaluate("document.querySelector('#controls [name=service]').focus()")
        browser.evaluate("history.back()")
        browser.wait("document.querySelector('h1').innerText === 'Overview'")
        browser.expect("location.search", "?period=1h")
        browser.expect("document.querySelector('#controls [name=service]').value", "")
        opened(browser, f"{web.url}/performance?period=1h&refresh=60")
        browser.expect("document.body.dataset.refresh", "60")
        browser.expect("document.querySelector('#controls [name=refresh]').value", "60")
        calm(browser, web.url)

    async with crowded() as web:
        await asyncio.to_thread(look)


async def test_a_stretch_that_is_dragged_out_in_a_chart_is_looked_at_and_shared(crowded, browser):
    box = "JSON.parse(JSON.stringify(document.querySelector('#chart-latency .u-over').getBoundingClientRect()))"

    def look():
        opened(browser, f"{web.url}/performance?period=6h")
        browser.evaluate("document.querySelector('#chart-latency').scrollIntoView({block: 'center'})")
        one = browser.evaluate(box)
        middle = one["top"] + one["height"] / 2
        browser.drag((one["left"] + one["width"] * 0.6, middle), (one["left"] + one["width"] * 0.9, middle))
        browser.wait("location.search.includes('from=')", "the stretch in the address")
        browser.wait("!!document.querySelector('#selection')", "what happened in it")
        browser.evaluate("document.querySelector('#selection [data-key=zoom]').click()")
        browser.wait("location.search.includes('since=')", "the stretch alone")
        browser.wait("!!document.querySelector('.zoomed')", "the stretch on the page")
        found = browser.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
        assert set(found) == {"since", "until"}
        browser.wait(SETTLED)
        browser.evaluate("document.querySelector('.zoomed a').click()")
        browser.wait("!document.querySelector('.zoomed')")
        browser.expect("location.search", "")
        browser.evaluate("history.back()")
        browser.wait("!!document.querySelector('.zoomed')")
        browser.wait(f"{PERIOD}.selectedOptions[0].innerText.endsWith(' UTC')")
        browser.evaluate(f"{PERIOD}.value = '7d'; {PERIOD}.dispatchEvent(new Event('change', {{bubbles: true}}))")
        browser.wait("!document.querySelector('.zoomed')")
        browser.expect("location.search", "?period=7d")
        calm(browser, web.url)

    async with crowded() as web:
        await asyncio.to_thread(look)


async def test_what_happens_is_seen_at_once(seeded, browser):
    async with seeded() as web:
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?refresh=3600")
        web.monitor.recorder.record("newcomer", "run", duration_ms=5)
        web.monitor.recorder.markers.mark("deployed 2.0")
        await web.flushed()
        await asyncio.to_thread(
            browser.wait, "document.querySelector('.pulse .all').getAttribute('d') !== ''", "the pulse"
        )
        await asyncio.to_thread(
            browser.wait,
            "document.querySelector('[data-key=services-table]').innerText.includes('newcomer')",
            "the new service",
        )
        await asyncio.to_thread(
            browser.wait, "document.getElementById('feed').innerText.includes('deployed 2.0')", "the marker"
        )


async def test_a_page_renews_itself_and_keeps_what_is_open_and_where_one_is(seeded, browser):
    def prepare():
        opened(browser, f"{web.url}/performance?refresh=1")
        browser.evaluate("document.querySelector('details.numbers').open = true")
        browser.evaluate(
            "[...document.querySelectorAll('main a')].find(one => one.innerText === 'context-memory').focus()"
        )

    def look():
        browser.wait("document.querySelector('main').innerText.includes('newcomer')", "the renewed page")
        browser.wait("document.querySelector('details.numbers').open")
        browser.wait("document.querySelectorAll('details.numbers tbody tr').length > 10")
        browser.expect("document.activeElement.innerText", "context-memory")
        calm(browser, web.url)

    async with seeded() as web:
        await asyncio.to_thread(prepare)
        for number in range(400):
            web.monitor.recorder.record("newcomer", f"run-{number % 3}", duration_ms=5)
        await web.flushed()
        await asyncio.to_thread(look)


async def test_a_server_that_is_gone_is_reported_and_its_return_too(seeded, browser):
    trouble = "document.getElementById('trouble')"
    words = "Could not refresh: cannot reach the bot."

    stale = "document.getElementById('stale')"

    def said():
        browser.wait(f"{LIVE} === 'reconnecting'", "Reconnecting")
        browser.wait(f"!{trouble}.hidden && {trouble}.innerText.includes({json.dumps(words)})", "the trouble")
        browser.wait(f"!{stale}.hidden && {stale}.innerText.startsWith('The bot does not answer.')", "stale")
        browser.expect("/^Stale, last data [0-9:]{8} UTC$/.test(document.getElementById('live-text').innerText)", True)

    def well_again():
        browser.wait(f"{LIVE} === 'live'", "Live")
        browser.wait(f"{trouble}.hidden && {stale}.hidden", "no trouble")

    async with seeded() as web:
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?refresh=1")
        await web.servers.stop()
        await asyncio.to_thread(said)
        await web.servers.start()
        await asyncio.to_thread(well_again)


async def test_a_bot_that_falls_silent_is_stale_after_three_seconds_with_the_time_of_its_last_data(seeded, browser):
    banner = "document.getElementById('stale')"

    async def nothing():
        live._newest = None
        return []

    def silent():
        browser.wait(f"!{banner}.hidden", "stale")
        at, words = browser.evaluate(f"[Date.now() / 1000, {banner}.innerText]")
        clock = re.search(r"The last data came at (\d\d:\d\d:\d\d) UTC; what you see is as of then", words)[1]
        hours, minutes, seconds = map(int, clock.split(":"))
        assert (at - (hours * 3600 + minutes * 60 + seconds)) % 86_400 >= 3
        assert browser.evaluate("document.getElementById('live').hasAttribute('data-stale')")
        browser.resize(420, 900)
        cut = (
            "[...document.querySelectorAll('.tools > *')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
        )
        assert browser.evaluate(cut) == 0  # nothing of the header is cut off
        assert browser.evaluate("document.documentElement.scrollWidth") <= 420

    async with seeded() as web:
        await asyncio.to_thread(opened, browser, f"{web.url}/performance?refresh=0")
        live = web.servers._shared.live
        poll, live._poll = live._poll, nothing
        await asyncio.to_thread(silent)
        live._poll = poll
        await asyncio.to_thread(browser.wait, f"{banner}.hidden", "data again")


async def test_the_first_visit_loads_at_most_130_kb(crowded, browser):
    sent = (
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".reduce((sum, one) => sum + one.transferSize, 0)"
    )

    def look():
        browser.call("Network.setCacheDisabled", cacheDisabled=True)
        opened(browser, f"{web.url}/performance?refresh=0")
        return browser.evaluate(sent)

    async with crowded() as web:
        assert 50_000 < await asyncio.to_thread(look) <= 130_000


async def test_errors_ids_and_links_are_copied(crowded, browser):
    copied = "window.copied"

    def look():
        opened(browser, f"{web.url}/performance/errors?group=99&refresh=0")
        browser.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
        for button, words in (
            ("Copy ID", "error 99"),
            ("Copy link", "/performance/errors?group=99"),
            ("Copy stack", "LongError"),
        ):
            browser.evaluate(
                f"[...document.querySelectorAll('button.copy')].find(one => one.innerText === '{button}').click()"
            )
            browser.wait(f"({copied} ?? '').includes('{words}')", words)
        browser.wait("document.getElementById('toasts').innerText.includes('Copied.')")
        calm(browser, web.url)

    async with crowded() as web:
        await asyncio.to_thread(look)


async def test_a_chart_that_cannot_be_drawn_says_why(seeded, browser):
    async with seeded() as web:
        await asyncio.to_thread(opened, browser, f"{web.url}/performance")
        web.monitor.query.timeline = broken
        await asyncio.to_thread(browser.evaluate, "import('/performance/static/charts.js').then(one => one.draw())")
        words = await asyncio.to_thread(browser.evaluate, "document.querySelector('.chart .state').innerText")
    assert "Cannot draw this chart: Internal error" in words


async def broken(*_, **__):
    raise RuntimeError("on purpose")


async def test_dark_or_light_is_chosen_and_remembered(served, browser):
    def look():
        browser.prefer(dark=True)
        opened(browser, f"{web.url}/performance")
        button = "document.getElementById('theme')"
        browser.expect(f"{button}.innerText", "Theme: system")
        browser.evaluate(f"{button}.click(); {button}.click()")
        browser.expect(f"{button}.innerText", "Theme: light")
        browser.call("Page.reload")
        time.sleep(0.2)
        browser.wait("document.readyState === 'complete' && document.documentElement.dataset.theme === 'light'")
        browser.expect("getComputedStyle(document.body).backgroundColor", "rgb(239, 241, 244)")
        browser.open(f"{web.url}/api")  # and on the plain pages, too
        browser.wait("document.readyState === 'complete' && document.body.className === 'plain'")
        browser.expect("getComputedStyle(document.body).backgroundColor", "rgb(239, 241, 244)")
        calm(browser, web.url)

    async with served() as web:
        await asyncio.to_thread(look)


async def test_numbers_read_the_same_as_in_discord(served, browser):
    durations_ms = [
        0,
        0.0004,
        0.5,
        1,
        9.94,
        9.96,
        145,
        999.4,
        999.6,
        1234,
        59_499,
        59_501,
        125_000,
        11_520_000,
        187_200_000,
    ]
    counts = [0, 0.004, 0.05, 0.3, 1, 7.26, 12.6, 945, 999.6, 1000, 12_400, 999_960, 1_234_567, 3.1e9]
    spent = [0, 0.000015, 0.0042, 0.1, 18.4, 999.99, 1_204, 70_000, 1_234_567.8]
    script = """import('/performance/static/format.js').then(one => JSON.stringify([
      %s.map(one.duration), %s.map(one.count), %s.map(one.dollars)]))"""

    def look():
        browser.open(f"{web.url}/performance")
        browser.wait("document.readyState === 'complete'")
        return json.loads(browser.evaluate(script % (durations_ms, counts, spent)))

    async with served() as web:
        durations, amounts, sums = await asyncio.to_thread(look)
    assert durations == [formatting.duration(one * 1000) for one in durations_ms]
    assert amounts == [formatting.count(one) for one in counts]
    assert sums == [money(round(one * 1e6)) for one in spent]


async def test_without_script_the_page_says_what_it_has_to_say(crowded, browser):
    def look():
        browser.call("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(f"{web.url}/performance")
        deadline = time.perf_counter() + 30
        while not (found := browser.call("DOM.getDocument", depth=-1)["root"]["childNodeCount"] > 1):
            assert time.perf_counter() < deadline
            time.sleep(0.1)
        node = browser.call("DOM.getDocument")["root"]["nodeId"]
        return found, browser.call("DOM.getOuterHTML", nodeId=node)["outerHTML"]

    async with crowded() as web:
        _, html = await asyncio.to_thread(look)
    assert "service-050" in html
    assert "/performance/chart.png?" in html


async def test_without_the_chart_library_charts_are_pictures(crowded, browser, monkeypatch, tmp_path):
    monkeypatch.setattr("cogmeter.web.pages.frame.VENDOR", tmp_path)
    picture = "document.querySelector('.charts img')"

    def look():
        for path in ("/performance?period=1h", f"/performance/services/{SLOW}"):
            browser.open(web.url + path)
            browser.wait(f"!!{picture} && {picture}.complete", "the picture")
            browser.expect(f"{picture}.naturalWidth", 1600)
            browser.wait(f"{LIVE} === 'live'", "the live stream")
            assert browser.evaluate(OVERFLOW) <= 0
        assert not [one for one in browser.asked if "/vendor/" in one or "/api/performance/series" in one]
        calm(browser, web.url)

    async with crowded() as web:
        await asyncio.to_thread(look)
