"""The page of alerts: what it shows, and what is done there by people with a keyboard."""

import asyncio
import html
import json
import re
import time

import pytest
from factories import read_newer_each_time
from large_dataset import HOSTILE, LONG, MINUTE_US, reading

from cogmeter.render import formatting
from cogmeter.web.pages.alerts import scope, targets
from cogmeter_storage.alerting import AlertState, Mute

PAGE = "/performance/alerts"
HTML = {"headers": {"Accept": "text/html"}}
TOASTS = "document.getElementById('toasts').innerText"
SAID = "document.getElementById('threshold-result').innerText"
FORM = "document.getElementById('threshold-form').elements"
SAVE = "document.querySelector('[data-do=save]')"


@pytest.mark.parametrize("path", ["/performance", "/api/performance/dashboard"])
async def test_all_parts_of_an_answer_show_one_reading_of_the_alerts(served, monkeypatch, path):
    async with served(alert_check_interval=3600, sample_interval=3600) as web:
        web.monitor.recorder.record("service-0", "query", duration_ms=10)
        await web.flushed()
        with monkeypatch.context() as patched:
            read_newer_each_time(patched, services=5)
            answer = await web.get(path)
    counts = re.findall(r"(\d+) of 22 failed", answer.text)
    if path.startswith("/api"):
        counts += [str(alert["failedOperations"]) for alert in answer.json()["alerts"]]
    assert len(counts) > 5  # what needs attention, and the list of all
    assert len(set(counts)) == 1


@pytest.fixture
def standing(served):
    """Opens a served monitor at which one alert stands and nothing happens by itself; gives it and the alert."""

    class Opened:
        async def __aenter__(self):
            self._web = served(alert_check_interval=3600, sample_interval=3600)
            web = await self._web.__aenter__()
            web.monitor.recorder.record("knowledge-graph", "query", duration_ms=10)
            await web.flushed()
            now_us = time.time_ns() // 1_000
            wrong = reading("knowledge-graph", "critical", "Error rate of 12% exceeds threshold of 5%")
            await web.monitor.alerting.engine.step([wrong], now_us - 10 * MINUTE_US)
            (alert,) = web.monitor.alerting.engine.active
            return web, alert

        async def __aexit__(self, *error):
            await self._web.__aexit__(*error)

    return Opened


def opened(page, url):
    page.open(url)
    page.wait("document.readyState === 'complete' && !!document.querySelector('#threshold-form')", "the page")


def pressed(page, button):
    """Focus a button as Tab would, and press Enter."""
    page.wait(f"!!{button}", button)
    page.evaluate(f"{button}.focus()")
    page.press("Enter")


def button(do, **data):
    wanted = "".join(f"[data-{name}={value}]" for name, value in data.items())
    return f"document.querySelector('button[data-do={do}]{wanted}')"


async def test_an_alert_is_acknowledged_by_the_keyboard_reported_and_audited(standing, browser):
    def look():
        opened(browser, web.url + PAGE)
        pressed(browser, button("acknowledge"))
        browser.wait(f"{TOASTS}.includes('Alert 1 acknowledged by dashboard')", "the toast")
        browser.wait(f"!{button('acknowledge')}", "no button any more")
        browser.wait(f"document.activeElement.id === 'alert-{alert.uid}'", "the focus on the alert")
        browser.wait("document.activeElement.innerText.includes('acknowledged by dashboard')")
        browser.wait(f"document.activeElement.querySelector('.badge + .hint').textContent === '{alert.severity}'")
        browser.wait("document.querySelector('[data-key=audit-table]').innerText.includes('acknowledge')")
        assert browser.errors == []

    async with standing() as (web, alert):
        await asyncio.to_thread(look)
        (now,) = web.monitor.alerting.engine.active
    assert (now.state, now.acknowledged_by) == (AlertState.ACKNOWLEDGED, "dashboard")


async def test_an_alert_that_has_resolved_cannot_be_acknowledged_and_the_page_shows_why(standing, browser):
    async with standing() as (web, alert):
        await asyncio.to_thread(opened, browser, f"{web.url}{PAGE}?refresh=0")
        now_us = time.time_ns() // 1_000
        await web.monitor.alerting.engine.step([], now_us - 5 * MINUTE_US)
        await web.monitor.alerting.engine.step([], now_us)
        await asyncio.to_thread(pressed, browser, button("acknowledge"))
        await asyncio.to_thread(browser.wait, f"{TOASTS}.includes('resolved')", "the refusal")
        bad = await asyncio.to_thread(browser.evaluate, "!!document.querySelector('.toast.bad')")
    assert bad
    assert alert.uid


async def test_a_service_is_muted_from_its_alert_and_heard_again(standing, browser):
    def look():
        opened(browser, web.url + PAGE)
        pressed(browser, button("mute"))
        form = "document.getElementById('mute-form').elements"
        browser.expect(f"[{form}.service.value, {form}.rule.value]", ["knowledge-graph", "error_rate"])
        browser.expect("document.activeElement.name", "seconds")
        browser.evaluate(f"{form}.reason.focus()")
        browser.insert(HOSTILE)
        browser.press("Enter")
        browser.wait(f"{TOASTS}.includes('Muted for 4 hours')", "the toast")
        browser.wait(f"!!{button('unmute')}", "the mute")
        listed = browser.evaluate("document.querySelector('[data-key=mutes]').innerText")
        assert "Error rate of knowledge-graph" in listed
        assert HOSTILE in listed
        browser.wait("document.querySelector('[data-key=active]').innerText.includes('muted until')")
        pressed(browser, button("unmute"))
        browser.wait("document.querySelector('[data-key=mutes]').innerText.includes('No mutes')")
        assert browser.errors == []

    async with standing() as (web, _):
        await asyncio.to_thread(look)
        assert await web.monitor.store.alerting.mutes(time.time_ns() // 1_000) == []
        audit = await web.monitor.store.alerting.audit()
    assert [(one.action, one.actor) for one in audit] == [("unmute", "dashboard"), ("mute", "dashboard")]


async def test_every_alert_is_muted_only_when_every_service_is_chosen(standing, browser):
    form = "document.getElementById('mute-form')"

    def look():
        opened(browser, web.url + PAGE)
        assert not browser.evaluate(f"{form}.checkValidity()")
        browser.evaluate(f"{form}.elements.service.value = '*'")
        pressed(browser, f"{form}.querySelector('button')")
        browser.wait(f"!!{button('unmute')}", "the mute")

    async with standing() as (web, _):
        await asyncio.to_thread(look)
        (mute,) = await web.monitor.store.alerting.mutes(time.time_ns() // 1_000)
    assert (mute.service, mute.rule) == ("", "")


async def test_a_threshold_is_tried_before_it_is_saved_and_reset_again(seeded, browser):
    edit = button("edit", rule="error_rate")
    limit = "document.querySelector('[data-key=\"threshold-error_rate\"]').innerText"

    def change():
        opened(browser, web.url + PAGE)
        pressed(browser, edit)
        browser.wait("document.getElementById('threshold').open")
        browser.expect("document.activeElement.name", "value")
        browser.wait(f"{SAVE}.disabled")
        browser.insert("8%")
        browser.press("Enter")
        browser.wait(f"{SAID}.includes('this would have fired')", "the preview")
        assert browser.evaluate(SAID).startswith("5% \u2192 8%.")
        browser.insert("0")  # another value: what was tried does not hold for it
        browser.wait(f"{SAVE}.disabled")
        browser.expect(SAID, "")
        browser.evaluate(f"{FORM}.value.value = '7%'; {FORM}.value.focus()")
        browser.press("Enter")
        browser.wait(f"!{SAVE}.disabled", "the preview")
        pressed(browser, SAVE)
        browser.wait("!document.getElementById('threshold').open", "the dialog to close")
        browser.wait(f"{TOASTS}.includes('error_rate: 7%')", "the toast")
        browser.wait(f"{limit}.includes('7%') && {limit}.includes('by dashboard')", "the new limit")

    def reset():
        pressed(browser, "document.querySelector('[data-key=\"reset-error_rate\"]')")
        browser.wait(f"{limit}.includes('5%') && {limit}.includes('default')", "the old limit")
        assert browser.errors == []

    async with seeded() as web:
        await asyncio.to_thread(change)
        assert await web.monitor.store.alerting.overrides() == {"error_rate": "0.07"}
        await asyncio.to_thread(reset)
        assert await web.monitor.store.alerting.overrides() == {}
        audit = await web.monitor.store.alerting.audit()
    assert [(one.action, one.actor) for one in audit] == [
        ("threshold reset", "dashboard"),
        ("threshold set", "dashboard"),
    ]


async def test_a_threshold_of_one_service_or_another_field_is_changed_alone(seeded, browser):
    def look():
        opened(browser, web.url + PAGE)
        pressed(browser, button("edit", rule="response_time"))
        browser.wait(f"{FORM}.operation.disabled")
        browser.evaluate(f"{FORM}.service.value = 'knowledge-graph'; {FORM}.field.value = 'for'")
        browser.evaluate(f"{FORM}.field.dispatchEvent(new Event('input', {{bubbles: true}}))")
        browser.wait("document.getElementById('threshold-hint').innerText.includes('5 m or 300 s')")
        browser.insert("2m")
        browser.press("Enter")
        browser.wait(f"!{SAVE}.disabled", "the preview")
        pressed(browser, SAVE)
        row = "document.querySelector('[data-key=\"threshold-response_time@knowledge-graph.for\"]')"
        browser.wait(f"!!{row}", "the new limit")
        browser.wait(f"{row}.innerText.includes('fires after 2 min')")
        pressed(browser, f"{row}.querySelector('[data-do=edit]')")
        browser.expect(f"[{FORM}.service.value, {FORM}.field.value]", ["knowledge-graph", "for"])

    async with seeded() as web:
        await asyncio.to_thread(look)
        assert await web.monitor.store.alerting.overrides() == {"response_time@knowledge-graph.for": "120"}


async def test_a_value_that_cannot_be_is_refused_in_the_dialog(seeded, browser):
    def look():
        opened(browser, web.url + PAGE)
        pressed(browser, button("edit", rule="error_rate"))
        browser.insert("seven")
        browser.press("Enter")
        browser.wait(f"{SAID}.includes('is not valid. Use a share from 0 to 1')", "the refusal")
        browser.wait(f"{SAVE}.disabled")
        browser.press("Escape")
        browser.wait("!document.getElementById('threshold').open", "the dialog to close")

    async with seeded() as web:
        await asyncio.to_thread(look)
        assert await web.monitor.store.alerting.overrides() == {}


async def test_an_open_dialog_outlives_the_renewal_of_the_page(seeded, browser):
    def look():
        opened(browser, f"{web.url}{PAGE}?refresh=3600")
        pressed(browser, button("edit", rule="error_rate"))
        browser.insert("9%")
        browser.evaluate("import('/performance/static/app.js').then(one => one.refresh())")
        browser.wait("document.getElementById('threshold').open")
        browser.expect(f"{FORM}.value.value", "9%")

    async with seeded() as web:
        await asyncio.to_thread(look)


@pytest.mark.parametrize("dark", [True, False])
async def test_axe_finds_nothing_serious_in_the_dialog_and_the_open_details(crowded, browser, axe, dark):
    def look():
        browser.prefer(dark=dark)
        opened(browser, web.url + PAGE)
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        pressed(browser, button("edit", rule="error_rate"))
        browser.insert("7%")
        browser.press("Enter")
        browser.wait(f"!{SAVE}.disabled", "the preview")
        browser.evaluate(axe.read_text())
        run = "axe.run({resultTypes: ['violations']})"  # what passes is not described
        return json.loads(browser.evaluate(f"{run}.then(one => JSON.stringify(one.violations))"))

    async with crowded() as web:
        found = await asyncio.to_thread(look)
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []


async def test_targets_are_tested_and_each_result_is_shown(served, browser):
    def look():
        opened(browser, web.url + PAGE)
        pressed(browser, button("test"))
        browser.wait("document.getElementById('test-result').innerText.includes('delivered')", "the answer")
        return browser.evaluate("document.getElementById('test-result').innerText")

    async with served() as web:
        said = await asyncio.to_thread(look)
        page = html.unescape((await web.get(PAGE, **HTML)).text)
        found = {one.name: one.on for one in targets(web.monitor)}
    assert said.strip() == "log: delivered"
    assert "Set PERFORMANCE_ALERT_CHANNEL_ID to enable it." in page
    assert found == {"log": True, "channel": False, "discord_webhook": False, "webhook": False}


async def test_one_target_is_tried_alone(served, browser):
    def look():
        opened(browser, web.url + PAGE)
        assert not browser.evaluate(f"!!{button('test', target='channel')}")
        pressed(browser, button("test", target="log"))
        browser.wait("document.getElementById('test-result').innerText.includes('delivered')", "the answer")
        browser.expect("document.activeElement.dataset.target", "log")
        return browser.evaluate("document.getElementById('test-result').innerText")

    async with served(alert_webhook_url="http://127.0.0.1:9/") as web:
        said = await asyncio.to_thread(look)
    assert said.strip() == "log: delivered"


async def test_a_target_in_trouble_is_shown_with_its_trouble(served):
    nowhere = "http://127.0.0.1:9/hook"
    async with served(alert_webhook_url=nowhere, alert_check_interval=3600) as web:
        wrong = reading("knowledge-graph", "critical", "Error rate of 12%")
        await web.monitor.alerting.engine.step([wrong], time.time_ns() // 1_000)
        deadline = time.perf_counter() + 30
        while (hook := next(one for one in targets(web.monitor) if one.name == "webhook")).well:
            assert time.perf_counter() < deadline, "still well"
            await asyncio.sleep(0.05)
        page = (await web.get(PAGE, **HTML)).text
    assert (hook.on, hook.well) == (True, False)
    assert page.count('<span class="badge critical">failing</span>') == 1
    assert nowhere not in page


async def test_a_change_without_the_pages_token_is_refused_with_a_message(standing, browser):
    def look():
        opened(browser, web.url + PAGE)
        browser.evaluate("document.querySelector('meta[name=csrf]').content = 'forged'")
        pressed(browser, button("acknowledge"))
        browser.wait(f"{TOASTS}.includes('Reload the page')", "the refusal")

    async with standing() as (web, _):
        await asyncio.to_thread(look)
        (now,) = web.monitor.alerting.engine.active
    assert now.state is AlertState.FIRING


async def test_the_history_is_paged_and_filtered(served):
    async with served(alert_check_interval=3600) as web:
        engine, now_us = web.monitor.alerting.engine, time.time_ns() // 1_000
        for number in range(20):
            at_us = now_us - (30 - number) * 10 * MINUTE_US
            web.monitor.recorder.record(f"service-{number:02}", "run", duration_ms=1)
            await engine.step([reading(f"service-{number:02}", "warning", "Error rate")], at_us)
            await engine.step([], at_us + MINUTE_US)
            await engine.step([], at_us + 5 * MINUTE_US)
        await web.flushed()
        first, second = [(await web.get(f"{PAGE}?page={page}", **HTML)).text for page in (1, 2)]
        one = (await web.get(f"{PAGE}?service=service-03", **HTML)).text
        firing = (await web.get(f"{PAGE}?state=firing", **HTML)).text
        wrong = await web.get(f"{PAGE}?state=everything", **HTML)
    assert past(first) == [f"service-{number:02}" for number in range(19, 4, -1)]
    assert past(second) == [f"service-{number:02}" for number in range(4, -1, -1)]
    assert past(one) == ["service-03"]
    assert past(firing) == []
    assert 'href="/performance/alerts?page=2" data-go rel="next"' in first
    assert 'href="/performance/alerts" data-go rel="prev"' in second
    assert wrong.status == 422


def past(page):
    table = re.search(r'data-key="history-table".*?</table>', page, re.DOTALL)
    return re.findall(r"<th scope=\"row\".*?>(service-\d+)</a>", table[0], re.DOTALL) if table else []


async def test_changes_are_listed_with_their_old_and_new_values(standing):
    async with standing() as (web, alert):
        now_us = time.time_ns() // 1_000
        await web.monitor.override({"error_rate": "0.1"}, actor="owner")
        await web.monitor.override({"error_rate": None}, actor="owner")
        await web.monitor.alerting.engine.mute(Mute("", "stall", now_us, now_us + MINUTE_US, actor="owner"), now_us)
        await web.monitor.alerting.engine.acknowledge(alert.uid, "owner", now_us)
        page = (await web.get(PAGE, **HTML)).text
    table = re.search(r'data-key="audit-table".*?</table>', page, re.DOTALL)[0]
    cells = [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
        for row in re.findall(r"<tr data-key.*?</tr>", table, re.DOTALL)
    ]
    found = [[" ".join(re.sub("<[^>]*>", "", one).split()) for one in row[2:]] for row in cells]
    assert found[0] == ["acknowledge", f"error_rate@knowledge-graph alert {alert.id}", "firing", "acknowledged"]
    assert found[1][:3] == ["mute", "stall", formatting.NOTHING]
    assert found[2] == ["threshold reset", "error_rate", "10%", "configured value"]
    assert found[3] == ["threshold set", "error_rate", "configured value", "10%"]


async def test_hostile_names_are_text_and_ids_are_hidden(crowded):
    async with crowded() as web:
        page = (await web.get(PAGE, **HTML)).text
    assert "<script>alert" not in page
    assert HOSTILE in html.unescape(page)
    assert LONG in page


@pytest.mark.parametrize(
    ("service", "rule", "words"),
    [
        ("", "", "Everything"),
        ("memory", "", "Every rule of memory"),
        ("", "cost", "Cost of every service"),
        ("memory", "error_rate", "Error rate of memory"),
    ],
)
def test_what_a_mute_covers_in_words(service, rule, words):
    assert scope(Mute(service, rule, 0, 1, "owner")) == words
