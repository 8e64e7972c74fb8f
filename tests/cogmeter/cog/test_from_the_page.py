"""A change on the dashboard is shown in Discord, and a change in Discord is shown on the dashboard."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager

import pytest

import cogmeter

# Nothing happens by itself; the rule that is tried is the error rate.
QUIET = {
    "PERFORMANCE_ALERT_CHECK_INTERVAL": 3600,
    "PERFORMANCE_SAMPLE_INTERVAL": 3600,
    "PERFORMANCE_ALERT_THRESHOLD_DEVIATION": 0,
    "ENABLE_ANALYTICS_DASHBOARD": "true",
}
ALERTS = "/performance/alerts"


@pytest.fixture
def at_home(move_in):
    """A home with an alert channel, whose dashboard is served; gives it and the dashboard's address."""

    @asynccontextmanager
    async def opened():
        async def prepare(home, monkeypatch):
            monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        async with move_in(prepare=prepare, PERFORMANCE_DASHBOARD_PORT=port, **QUIET) as home:
            yield home, f"http://127.0.0.1:{port}"

    return opened


async def breach(home):
    """An alert that stands, and the message that tells of it."""
    for _ in range(40):
        cogmeter.record("knowledge-graph", "query", duration_ms=5, error="Rate limit exceeded")
    await home.flushed()
    await home.monitor.alerting.check()
    return await until(lambda: message_of(home), "the alert's message")


def message_of(home):
    return next((one for one in home.channel.history() if one.embeds and one.components), None)


async def until(found, what):
    deadline = time.perf_counter() + 30
    while not (value := found()):
        assert time.perf_counter() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.05)
    return value


def words(message):
    embed = message.embeds[0]
    return " ".join([embed.title or "", embed.description or "", *(f"{one.name} {one.value}" for one in embed.fields)])


def press(page, button):
    page.wait(f"!!document.querySelector('{button}')", button)
    page.evaluate(f"document.querySelector('{button}').focus()")
    page.press("Enter")


def loaded(page, url):
    page.open(url)
    page.wait("document.readyState === 'complete' && !!document.getElementById('threshold-form')")


async def test_an_alert_acknowledged_on_the_page_is_so_in_its_message(at_home, browser):
    def acknowledge():
        loaded(browser, url + ALERTS)
        press(browser, "[data-do=acknowledge]")
        browser.wait("document.getElementById('toasts').innerText.includes('acknowledged by')", "the toast")

    async with at_home() as (home, url):
        message = await breach(home)
        assert "cknowledged by" not in words(message)
        await asyncio.to_thread(acknowledge)
        edited = await until(
            lambda: "cknowledged by dashboard" in words(message_of(home)) and message_of(home), "the edit"
        )
    assert edited.id == message.id


async def test_an_alert_acknowledged_in_discord_is_so_on_the_page_at_once(at_home, browser):
    async with at_home() as (home, url):
        message = await breach(home)
        await asyncio.to_thread(loaded, browser, f"{url}{ALERTS}?refresh=3600")
        await asyncio.to_thread(browser.wait, "document.getElementById('live').dataset.state === 'live'", "Live")
        await home.owner.click(message, label="Acknowledge")
        shown = "document.querySelector('[data-key=active]').innerText.includes('acknowledged by owner')"
        await asyncio.to_thread(browser.wait, shown, "the acknowledgement on the page")


async def test_a_threshold_changed_on_the_page_is_in_effect_in_discord(at_home, browser):
    def change():
        loaded(browser, url + ALERTS)
        press(browser, "[data-do=edit][data-rule=error_rate]")
        browser.insert("9%")
        browser.press("Enter")
        browser.wait("!document.querySelector('[data-do=save]').disabled", "the preview")
        press(browser, "[data-do=save]")
        browser.wait("document.getElementById('toasts').innerText.includes('error_rate: 9%')", "the toast")

    async with at_home() as (home, url):
        await asyncio.to_thread(change)
        answer = await home.owner.slash(home.channel, "perf thresholds view")
        audit = await home.owner.slash(home.channel, "perf thresholds audit")
    assert "**9%** (changed by dashboard" in answer.response.embeds[0].description
    assert "dashboard" in audit.response.embeds[0].description
