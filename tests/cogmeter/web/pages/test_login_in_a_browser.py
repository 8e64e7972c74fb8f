"""The link of `/perf dashboard` and the public status page in a real browser, wide and narrow, dark and light."""

import asyncio
import itertools
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from page_driver import CUT, OVERFLOW, calm, opened_plain, violations, violations_everywhere

from cogmeter.web.server import login_codes

TOKEN = "a-token-of-more-than-32-characters-for-tests"
HEADING = "document.querySelector('h1').innerText"
DAY_S = 86_400


def here(web, url):
    """The link at the address of the test's server: a browser keeps cookies of localhost and 127.0.0.1 apart."""
    return url.replace("localhost", urlsplit(web.url).hostname)


def fits(page, url):
    for dark, width in itertools.product((True, False), (1280, 420)):
        page.prefer(dark=dark)
        opened_plain(page, url, width=width)
        assert page.evaluate(OVERFLOW) <= 0, (url, width)
        assert page.evaluate(CUT) == [], (url, width)


async def test_a_link_is_opened_with_one_press_and_then_used_up(served, browser):
    def look():
        fits(browser, url)
        opened_plain(browser, url, width=420)
        browser.expect(HEADING, "Open the dashboard")
        browser.expect("document.activeElement.innerText", "Open the dashboard")
        browser.press("Enter")
        browser.wait("location.pathname === '/performance' && !!document.querySelector('footer')", "the dashboard")
        browser.expect(HEADING, "Overview")
        browser.evaluate("document.cookie = 'x=1'")
        browser.expect("document.cookie", "x=1")  # no script can read the session
        calm(browser, web.url)
        opened_plain(browser, url, width=420)
        browser.expect(HEADING, "This link does not work")
        fits(browser, url)
        browser.open(f"{web.url}/performance", width=420)
        browser.wait(f"{HEADING} === 'Overview'", "the session that is still open")

    async with served(http_token=TOKEN) as web:
        url = here(web, web.servers.dashboard_link(1, "alice").url)
        await asyncio.to_thread(look)


async def test_a_page_that_is_opened_in_advance_leaves_the_link_valid(served, browser):
    def look():
        browser.open(f"{web.url}/performance/login")
        browser.wait("document.readyState === 'complete'")
        browser.evaluate(f"fetch({url!r}).then(answer => answer.text())")
        opened_plain(browser, url, width=420)
        browser.expect(HEADING, "Open the dashboard")
        browser.press("Enter")
        browser.wait(f"{HEADING} === 'Overview'", "the dashboard")

    async with served(http_token=TOKEN) as web:
        url = here(web, web.servers.dashboard_link(1, "alice").url)
        await asyncio.to_thread(look)


async def stored_days(web, days):
    """Store the uptime of so many days, today not included; some of them degraded or down."""
    today = int(time.time()) // DAY_S
    sums = {
        today - back: (DAY_S * 10**6, 7_200 * 10**6 if back % 30 == 7 else 120 * 10**6 if back % 17 == 3 else 0, 0)
        for back in range(1, days + 1)
    }
    from cogmeter.diagnosis import DayUptime
    from cogmeter.diagnostics.uptime import KEY, UptimeRecord

    known = {day: DayUptime(day, *values) for day, values in sums.items()}
    record = UptimeRecord(today * DAY_S * 10**6, up=True, days=known)
    await web.monitor.store.set_value(KEY, record.dump())


@pytest.mark.parametrize("days", [0, 1, 90])
async def test_the_status_page_fits_every_width_in_dark_and_light(served, browser, days):
    def look():
        fits(browser, f"{web.url}/status")
        browser.expect("document.querySelectorAll('.days rect').length", 90)
        browser.expect("getComputedStyle(document.querySelector('.days')).height", "34px")
        calm(browser, web.url)

    async with served(status_page=True, http_token=TOKEN) as web:
        await stored_days(web, days)
        await asyncio.to_thread(look)


@pytest.mark.parametrize("path", ["/status", "a link", "/performance/open?code=x"])
async def test_axe_finds_nothing_serious_on_public_pages(served, browser, axe, path):
    async with served(status_page=True, http_token=TOKEN) as web:
        await stored_days(web, 90)
        url = here(web, web.servers.dashboard_link(1, "alice").url) if path == "a link" else web.url + path
        found = await asyncio.to_thread(violations_everywhere, browser, axe, url, open_it=opened_plain)
    assert found == []


async def test_the_badge_is_an_image_in_a_page(served, browser):
    size = (
        "new Promise(done => { const image = new Image(); image.onload = () => done([image.naturalWidth,"
        " image.naturalHeight]); image.onerror = () => done('failed'); image.src = '/status/badge.svg'; })"
    )

    def look():
        opened_plain(browser, f"{web.url}/status")
        browser.expect(size, [94, 20])
        calm(browser, web.url)

    async with served(status_page=True) as web:
        await asyncio.to_thread(look)


def useless(page, axe, url):
    """The page of a link without effect says what to do, fits a phone, and is for everybody."""
    page.expect(HEADING, "This link does not work")
    assert "/perf dashboard" in page.evaluate("document.body.innerText")
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CUT) == []
    assert violations(page, axe) == []
    page.open(f"{url}/performance", width=420)  # nobody is signed in by it
    page.wait(f"{HEADING} === 'Sign in'", "the form of the token")
    assert page.evaluate(OVERFLOW) <= 0


def seen(page, url):
    opened_plain(page, url, width=420)
    page.expect(HEADING, "Open the dashboard")


async def test_a_link_that_expires_while_its_page_is_open_has_no_effect(served, browser, axe, monkeypatch):
    now_s = [1_000.0]
    monkeypatch.setattr(login_codes, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))

    def press():
        browser.press("Enter")
        browser.wait(f"{HEADING} !== 'Open the dashboard'", "the answer")
        useless(browser, axe, web.url)

    async with served(http_token=TOKEN) as web:
        url = here(web, web.servers.dashboard_link(1, "alice").url)
        await asyncio.to_thread(seen, browser, url)
        now_s[0] += login_codes.VALID_S + 1
        await asyncio.to_thread(press)


async def test_a_restart_makes_an_open_link_useless_and_keeps_who_is_signed_in(served, browser, axe):
    def sign_in(url):
        seen(browser, url)
        browser.press("Enter")
        browser.wait(f"{HEADING} === 'Overview'", "the dashboard")

    def press():
        browser.press("Enter")
        browser.wait(f"{HEADING} !== 'Open the dashboard'", "the answer")
        assert "/perf dashboard" in browser.evaluate("document.body.innerText")
        assert browser.evaluate(HEADING) == "This link does not work"
        browser.open(f"{web.url}/performance", width=420)
        browser.wait(f"{HEADING} === 'Overview'", "the session of before the restart")
        assert browser.evaluate(OVERFLOW) <= 0
        browser.call("Network.clearBrowserCookies")
        opened_plain(browser, old, width=420)
        useless(browser, axe, web.url)
        sign_in(here(web, web.servers.dashboard_link(1, "alice").url))

    async with served(http_token=TOKEN) as web:
        await asyncio.to_thread(sign_in, here(web, web.servers.dashboard_link(1, "alice").url))
        old = here(web, web.servers.dashboard_link(1, "alice").url)
        await asyncio.to_thread(seen, browser, old)
        port = urlsplit(web.url).port
    async with served(http_token=TOKEN, http_port=port, dashboard_port=port) as web:
        await asyncio.to_thread(press)
