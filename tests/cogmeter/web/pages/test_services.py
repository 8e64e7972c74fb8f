"""The services of the overview: search, problems first, pages of 50, and uptime; in a real browser."""

import asyncio

from large_dataset import HOSTILE
from page_driver import calm, opened

ROWS = "[...document.querySelectorAll('[data-key=services-table] tbody tr')].filter(row => !row.hidden)"
NAMES = f"{ROWS}.map(row => row.dataset.key)"
SEARCH = "document.getElementById('search')"
FIND = "document.querySelector('[data-key=services] .pager')"


async def test_services_are_searched_ranked_by_problems_and_divided_into_pages(crowded, browser):
    def look():
        opened(browser, f"{web.url}/performance?refresh=0")
        browser.expect(f"{ROWS}.length", 50)
        browser.expect(f"{FIND}.querySelector('span').innerText", "1 to 50 of 100")
        browser.evaluate(f"{FIND}.querySelector('[data-page=\"1\"]').click()")
        browser.expect(f"{FIND}.querySelector('span').innerText", "51 to 100 of 100")
        browser.evaluate("import('/performance/static/app.js').then(one => one.refresh())")
        browser.expect(f"{FIND}.querySelector('span').innerText", "51 to 100 of 100")

        browser.press("/")
        browser.expect("document.activeElement.id", "search")
        browser.insert("SERVICE-09")
        browser.expect(NAMES, [f"service-{number:03}" for number in range(90, 94)])
        browser.expect(f"{FIND}.querySelector('span').innerText", "1 to 4 of 4 found of 100")
        browser.press("Escape")
        browser.expect(f"{ROWS}.length", 50)
        assert browser.evaluate(f"{SEARCH}.value") == ""

        browser.evaluate("document.getElementById('problems').click()")
        browser.expect("document.getElementById('problems').ariaPressed", "true")
        found = browser.evaluate(f"{ROWS}.map(row => Number(row.dataset.problem))")
        assert found == sorted(found, reverse=True)
        assert browser.evaluate(f"{ROWS}.every(row => row.querySelector('svg.uptime')?.ariaLabel.includes('alert'))")
        opened(browser, f"{web.url}/performance?refresh=0")
        browser.expect("document.getElementById('problems').ariaPressed", "true")

        browser.press("/")
        browser.insert(HOSTILE)
        browser.expect(NAMES, [HOSTILE])
        browser.press("Enter")
        browser.wait(f"document.querySelector('h1').innerText.startsWith({HOSTILE!r})", "its page")
        calm(browser, web.url)

    async with crowded() as web:
        await asyncio.to_thread(look)
