"""The pages for people with a keyboard, a screen reader, little contrast or no wish for motion; in a real browser."""

import asyncio

import pytest
from page_driver import EMPTY, opened, opened_plain, violations_everywhere

CROWDED = ["", "/errors", "/errors?group=99", "/usage", "/cost"]
SELECTED = "/performance?to=2999-01-01"  # the last hour, with alerts, errors and markers


@pytest.mark.parametrize("path", [*(f"/performance{path}" for path in CROWDED), SELECTED])
async def test_axe_finds_nothing_serious(crowded, browser, axe, path):
    async with crowded() as web:
        assert await asyncio.to_thread(violations_everywhere, browser, axe, web.url + path) == []


@pytest.mark.parametrize("path", EMPTY)
async def test_axe_finds_nothing_serious_where_there_is_nothing_yet(served, browser, axe, path):
    async with served() as web:
        assert await asyncio.to_thread(violations_everywhere, browser, axe, web.url + path) == []


@pytest.mark.parametrize("path", ["/performance/services/nobody", "/api", "/performance"])
async def test_axe_finds_nothing_serious_on_plain_pages(served, browser, axe, path):
    token = {"http_token": "a-token-of-more-than-32-characters-for-tests"} if path == "/performance" else {}
    async with served(**token) as web:  # with a token, the page is that to sign in
        found = await asyncio.to_thread(violations_everywhere, browser, axe, web.url + path, open_it=opened_plain)
    assert found == []


async def test_who_wants_no_motion_sees_none(seeded, browser):
    moving = (
        "(main => { main.ariaBusy = 'true'; const style = getComputedStyle(main, '::before');"
        " return [style.animationName, style.opacity, document.getAnimations().length]; })"
        "(document.getElementById('main'))"
    )

    def look():
        opened(browser, f"{web.url}/performance?refresh=0")
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        moves = browser.evaluate(moving)
        browser.call("Emulation.setEmulatedMedia", features=[still])
        return moves, browser.evaluate(moving)

    async with seeded() as web:
        moves, still = await asyncio.to_thread(look)
    assert moves[0] == "late, busy"
    assert still == ["none", "1", 0]


async def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(seeded, browser):
    steps = (
        "({tag: document.activeElement.tagName, text: (document.activeElement.innerText || '').slice(0, 40),"
        " outline: getComputedStyle(document.activeElement).outlineStyle, role: document.activeElement.role})"
    )
    reachable = (
        "[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex=\"0\"]')]"
        ".filter(one => one.checkVisibility() && one.type !== 'hidden').length"
    )

    def look():
        opened(browser, f"{web.url}/performance")
        wanted = browser.evaluate(reachable)
        seen = []
        for _ in range(wanted):
            browser.press("Tab")
            seen.append(browser.evaluate(steps))
        assert seen[0]["text"] == "Skip to the content"
        assert all(one["outline"] != "none" for one in seen), [one for one in seen if one["outline"] == "none"]
        assert {"A", "BUTTON", "SELECT", "SUMMARY", "DIV"} <= {one["tag"] for one in seen}
        assert "BODY" not in {one["tag"] for one in seen}
        assert sum(one["role"] == "slider" for one in seen) == 3

    async with seeded() as web:
        await asyncio.to_thread(look)


async def test_a_chart_is_read_point_by_point_with_the_arrow_keys_and_as_a_table(seeded, browser):
    plot = "document.querySelector('#chart-latency .plot')"

    def look():
        opened(browser, f"{web.url}/performance?period=1h")
        browser.evaluate(f"{plot}.focus()")
        browser.press("Home")
        browser.expect(f"{plot}.ariaValueNow", "1")
        first = browser.evaluate(f"{plot}.ariaValueText")
        browser.press("ArrowRight")
        browser.expect(f"{plot}.ariaValueNow", "2")
        assert browser.evaluate(f"{plot}.ariaValueText") != first
        assert "p95" in first
        browser.evaluate("document.querySelector('#chart-latency details').open = true")
        row = "document.querySelector('#chart-latency details tbody tr')"
        browser.wait(f"!!{row}")
        cells = browser.evaluate(f"[...{row}.cells].map(one => one.innerText)")
        head = "document.querySelectorAll('#chart-latency details th')"
        heads = browser.evaluate(f"[...{head}].map(one => one.innerText)")
        assert heads[1:5] == ["p50", "p95", "p99", "average"]
        named = [f"{head} {cell}" for head, cell in zip(heads[1:], cells[1:], strict=True)]
        assert first == f"{cells[0]}: {', '.join(named)}"

    async with seeded() as web:
        await asyncio.to_thread(look)
