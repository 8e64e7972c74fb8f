"""The page "Resources" and its JSON: use, growth, and what grew."""

import time

PAGE = "/performance/resources"
API = "/api/performance/resources"


async def grow(web):
    now_us = time.time_ns() // 1000
    for minutes in range(360, 0, -5):
        values = {"resources.memory_bytes": 100e6 - minutes * 10e6 / 60, "resources.cpu_percent": 3.0}
        await web.monitor.store.add_samples(now_us - minutes * 60_000_000, values)


async def test_an_empty_page_names_the_setting(served):
    async with served() as web:
        page = (await web.get(f"{PAGE}?since=2020-01-01&until=2020-01-02")).text
    assert "PERFORMANCE_WATCH_RESOURCES" in page
    assert "Nothing was compared yet" in page


async def test_the_growth_of_each_resource_is_in_the_table(served):
    async with served() as web:
        await grow(web)
        page = (await web.get(PAGE)).text
    assert 'data-key="growth-memory"' in page
    assert "+240 MB/day" in page
    assert ">growing<" in page.replace("</svg>", "")
    assert 'data-key="growth-cpu"' in page


async def test_the_api_has_values_by_step_and_the_growth(served):
    async with served() as web:
        await grow(web)
        answer = (await web.get(API)).json()
    by_name = {one["name"]: one for one in answer["resources"]}
    assert abs(by_name["memory"]["growthPerDay"] - 240e6) < 1e6
    assert by_name["memory"]["growing"]
    assert not by_name["cpu"]["growing"]
    assert len(by_name["cpu"]["values"]) == len(answer["timestamps"])
    assert answer["grownObjects"] is None


async def test_the_pages_about_health_and_discord_lead_to_it(served):
    async with served() as web:
        for page in ("/performance/health", "/performance/discord"):
            assert f'href="{PAGE}"' in (await web.get(page)).text
