"""The page "Fleet", and a process that is chosen on the dashboard."""

from __future__ import annotations

import asyncio
import re

import pytest
from fleet_store import FOUR, LONG_NAME, MANY, Member
from page_driver import CUT, OVERFLOW, opened, violations_everywhere

from cogmeter.query.fleet import ONE_PROCESS

PAGE = "/performance/fleet"
LINK = r'<a class="button quiet" href="/performance/fleet[^"]*"'
CHOSEN = "shards 8-11"
PAGES = ["", "/services/alpha", "/compare", "/errors", "/running", "/usage", "/discord", "/cost", "/alerts", "/health"]


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_an_sqlite_file_has_no_link_and_one_sentence(served):
    async with served() as web:
        page, overview = (await web.get(PAGE)).text, (await web.get("/performance")).text
    assert ONE_PROCESS in page
    assert not re.search(LINK, overview)
    assert '<select name="process">' not in overview


async def test_one_process_alone_has_no_link(fleet_served):
    async with fleet_served([]) as web:
        assert not re.search(LINK, (await web.get("/performance")).text)
        assert "1 of 1" in text_of((await web.get(PAGE)).text)


async def test_the_processes_are_listed_with_links_to_their_operations(fleet_served):
    async with fleet_served() as web:
        html = (await web.get(PAGE)).text
        rows = re.findall(r'<tr data-key="process-([^"]+)"', html)
        assert rows[:3] == ["shards 4-7", "shards 8-11", "shards 12-15"]
        assert re.search(LINK, (await web.get("/performance")).text)
        text = text_of(html)
        assert "silent for 2 min" in text
        assert "40 of 100 operations failed" in text
        link = re.search(r'href="(/performance\?process=shards%208-11)"', html)[1]
        overview = text_of((await web.get(link)).text)
    assert f"Only the process {CHOSEN}" in overview
    assert "40 failed" in overview


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_keeps_the_chosen_process(fleet_served, path):
    async with fleet_served(FOUR[2:]) as web:
        answer = await web.get(f"/performance{path}", params={"process": CHOSEN})
        assert answer.status == 200, answer.text
    links = set(re.findall(r'href="(/performance[^"#]*)"', answer.text))
    kept = {link for link in links if "process=shards%208-11" in link}
    assert kept >= {f"/performance{name}?process=shards%208-11" for name in ("", "/errors", "/discord", "/cost")}
    without = {link for link in links - kept if not link.startswith(("/performance/static", "/performance/api"))}
    assert all(link.partition("?")[0] == f"/performance{path}" for link in without), without  # "All processes"
    sources = re.findall(r'data-src="([^"]+)"', answer.text)
    assert all("process=shards%208-11" in source for source in sources) or path == "/compare"


async def test_an_unknown_process_is_refused(fleet_served):
    async with fleet_served() as web:
        answer = await web.get("/performance", params={"process": "nobody"}, headers={"Accept": "text/html"})
    assert answer.status == 404


HOSTILE = Member("<script>alert(1)</script> @everyone \u202e" + "x" * 90)


@pytest.mark.slow
@pytest.mark.parametrize("members", [[], FOUR, MANY, [Member(LONG_NAME), HOSTILE]], ids=["one", "four", "many", "long"])
async def test_the_page_fits_a_phone_and_a_screen(fleet_served, browser, axe, members):
    def look():
        assert violations_everywhere(browser, axe, web.url + PAGE) == []
        sizes = {}
        for width in (1280, 420):
            opened(browser, web.url + PAGE, width=width)
            sizes[width] = [max(browser.evaluate(OVERFLOW), 0), browser.evaluate(CUT)]
        return sizes

    async with fleet_served(members) as web:
        assert await asyncio.to_thread(look) == {1280: [0, []], 420: [0, []]}
