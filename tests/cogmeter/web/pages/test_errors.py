"""The errors page: groups with place and state, one group with its stacks, and its two buttons."""

import asyncio
import html
import time

import pytest
from factories import make_errors
from large_dataset import HOSTILE, LONG, SECRET

from cogmeter.render.error_text import INNER_TITLE
from cogmeter.web.pages.errors import ROWS
from cogmeter_storage.errors import ErrorKind

PAGE = "/performance/errors"
HTML = {"headers": {"Accept": "text/html"}}
TOASTS = "document.getElementById('toasts').innerText"
PLACE = "cogs/graph.py:42 in Graph.a"


async def text_of(web, path):
    answer = await web.get(path, **HTML)
    assert answer.status == 200, answer.text
    return html.unescape(answer.text)


@pytest.fixture
def failing(seeded):
    """Opens a served monitor with one error group of knowledge-graph."""

    class Opened:
        async def __aenter__(self):
            self._web = seeded(alert_check_interval=3600, sample_interval=3600)
            web = await self._web.__aenter__()
            await web.monitor.store.errors.add([make_errors("a", time.time_ns() // 1_000, count=1_234)])
            return web

        async def __aexit__(self, *error):
            await self._web.__aexit__(*error)

    return Opened


@pytest.mark.parametrize("path", [PAGE, "/performance", "/performance/services/knowledge-graph"])
async def test_a_group_is_shown_with_type_place_count_and_people(failing, path):
    async with failing() as web:
        page = await text_of(web, path)
    for text in ("ValueError", PLACE, "1,234", "2 users, 1 server", "no node a", f"{PAGE}?group=1"):
        assert text in page, text


async def test_other_services_and_operations_do_not_show_it(failing):
    async with failing() as web:
        assert PLACE not in await text_of(web, "/performance/services/context-memory")
        assert PLACE not in await text_of(web, f"{PAGE}?service=context-memory")
        assert PLACE in await text_of(web, "/performance/services/knowledge-graph?operation=query")
        web.monitor.recorder.record("knowledge-graph", "search", duration_ms=1)
        await web.flushed()
        assert PLACE not in await text_of(web, "/performance/services/knowledge-graph?operation=search")
        assert PLACE not in await text_of(web, f"{PAGE}?service=knowledge-graph&operation=search")
        page = await text_of(web, f"{PAGE}?service=knowledge-graph&operation=query")
        assert PLACE in page
        assert "<h1>Errors of knowledge-graph / query</h1>" in page


async def test_an_error_that_passed_through_an_outer_operation_is_listed_there_with_its_origin(failing):
    async with failing() as web:
        outer, inner = ("discord.commands", "ask"), ("web-crawling", "fetch")
        operation = web.monitor.recorder.operation
        with pytest.raises(LookupError), operation(*outer), operation(*inner):
            raise LookupError("no host")
        await web.flushed()
        command, crawling = "/performance/services/discord.commands?operation=ask", "/performance/services/web-crawling"
        for path in (command, f"{PAGE}?service=discord.commands"):
            page = await text_of(web, path)
            assert INNER_TITLE in page
            assert f"{PAGE}?group=2" in page
            assert f"{crawling}?operation=fetch" in page
        for path in (crawling, f"{PAGE}?service=web-crawling"):
            page = await text_of(web, path)
            assert f"{PAGE}?group=2" in page
            assert INNER_TITLE not in page
        url = "/api/performance/error-groups?services="
        found = (await web.get(f"{url}discord.commands")).json()
        assert found["groups"] == []
        (failures,) = found["raisedInside"]
        assert (failures["groupId"], failures["operation"], failures["count"]) == (2, "ask", 1)
        assert failures["raisedIn"] == {"service": "web-crawling", "operation": "fetch", "count": 1}
        found = (await web.get(f"{url}web-crawling")).json()
        assert ([group["count"] for group in found["groups"]], found["raisedInside"]) == ([1], [])


async def test_a_group_is_shown_with_its_stack_and_own_frames_are_marked(failing):
    async with failing() as web:
        page = await text_of(web, f"{PAGE}?group=1")
        unknown = await web.get(f"{PAGE}?group=9", **HTML)
    assert f'<li class="own"><code>{PLACE}</code>' in page
    assert "<li><code>discord/app_commands/commands.py:858 in Command._do_call</code>" in page
    assert '<span class="hint">Cause:</span> <strong>KeyError</strong>' in page
    assert unknown.status == 404
    assert "There is no error 9" in unknown.text


async def test_kind_and_state_narrow_the_list(failing):
    async with failing() as web:
        now_us = time.time_ns() // 1_000
        await web.monitor.store.errors.add([make_errors("logged", now_us, kind=ErrorKind.LOGGED)])
        await web.monitor.store.errors.resolve(1, actor="Ada", now_us=now_us)
        assert PLACE not in await text_of(web, PAGE)
        assert PLACE in await text_of(web, f"{PAGE}?state=resolved")
        both = await text_of(web, f"{PAGE}?state=all")
        only = await text_of(web, f"{PAGE}?kind=logged&state=all")
        assert "No open errors in this period." in await text_of(web, f"{PAGE}?kind=unhandled")
    assert PLACE in both
    assert PLACE not in only
    assert "Graph.logged" in only


async def test_a_hundred_groups_have_two_pages_and_hostile_names_are_text(crowded):
    async with crowded() as web:
        first = (await web.get(f"{PAGE}?state=all", **HTML)).text
        second = (await web.get(f"{PAGE}?state=all&page=2", **HTML)).text
        details = [(await web.get(f"{PAGE}?group={number}", **HTML)).text for number in (99, 100)]
    assert first.count('data-key="errors-table-') == second.count('data-key="errors-table-') == ROWS
    assert "page=2" in first
    assert 'rel="prev"' in second
    assert 'rel="next"' not in second
    assert f"{LONG}.LongError" in details[0]
    for page in (first, second, *details):
        assert HOSTILE not in page
        assert SECRET not in page


async def test_the_operation_is_chosen_and_another_service_begins_with_all_of_its_own(failing, browser):
    def choose(name, value):
        chosen = f"document.querySelector('#controls [name={name}]')"
        browser.wait(f"!!{chosen} && [...{chosen}.options].some(one => one.value === '{value}')", f"{name} {value}")
        browser.evaluate(f"{chosen}.value = '{value}'; {chosen}.dispatchEvent(new Event('change', {{bubbles: true}}))")

    def heading(text):
        browser.wait(f"document.querySelector('h1').innerText === '{text}'", text)

    def look():
        browser.open(web.url + PAGE)
        browser.wait("document.readyState === 'complete'", "the page")
        choose("service", "knowledge-graph")
        heading("Errors of knowledge-graph")
        choose("operation", "query")
        heading("Errors of knowledge-graph / query")
        choose("service", "context-memory")
        heading("Errors of context-memory")
        assert "operation=" not in browser.evaluate("location.search")
        assert browser.errors == []

    async with failing() as web:
        await asyncio.to_thread(look)


async def test_a_group_is_resolved_and_muted_by_the_keyboard(failing, browser):
    def press(button):
        browser.wait(f"!!{button}", button)
        browser.evaluate(f"{button}.focus()")
        browser.press("Enter")

    def look():
        browser.open(f"{web.url}{PAGE}?group=1")
        browser.wait("document.readyState === 'complete' && !!document.querySelector('#mute-form')", "the page")
        press("document.querySelector('#mute-form button')")
        browser.wait(f"{TOASTS}.includes('Muted for 1 day.')", "the toast of the mute")
        press("document.querySelector('[data-do=unmute]')")
        browser.wait(f"{TOASTS}.includes('Mute ended.')", "the toast of its end")
        press("document.querySelector('[data-do=resolve]')")
        browser.wait(f"{TOASTS}.includes('Error 1 resolved by dashboard.')", "the toast")
        browser.wait("!document.querySelector('[data-do=resolve]')", "no button any more")
        browser.wait("document.querySelector('[data-key=state]').innerText.includes('by dashboard')", "who did it")
        browser.wait("document.activeElement.id === 'state-title'", "the focus")
        assert browser.errors == []

    async with failing() as web:
        await asyncio.to_thread(look)
        group, _ = await web.monitor.store.errors.group(1)
        audit = await web.monitor.store.alerting.audit()
    assert (group.resolved_us is not None, group.resolved_by, group.muted_until_us) == (True, "dashboard", None)
    assert [entry.action for entry in audit] == ["resolve error", "unmute error", "mute error"]
