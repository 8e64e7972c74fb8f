"""The page "Health" and its JSON: the same state as ``/perf health``."""

import time

PAGE = "/performance/health"
API = "/api/performance/state"


async def filled(web, services):
    store, now_us = web.monitor.store, time.time_ns() // 1000
    ids = await store.series_ids([(service, "x") for service in services])
    await store.append([[(number, now_us, 1_000, 0, None, None) for number in ids]], now_us=now_us)


async def test_every_service_is_on_the_page_with_a_link(served):
    async with served() as web:
        await filled(web, ["knowledge <b>", "http.api.example.com"])
        page = (await web.get(PAGE)).text
    assert "knowledge &lt;b&gt;" in page
    assert '<a href="/performance/services/knowledge%20%3Cb%3E">' in page
    assert '<h2 id="dependencies-title">Dependencies</h2>' in page
    assert '<h2 id="components-title">Components</h2>' in page


async def test_a_hundred_services_are_on_the_page(served):
    async with served() as web:
        await filled(web, [f"service-{number}" for number in range(100)])
        page = (await web.get(PAGE)).text
    assert page.count('data-key="services-service-') == 100
    assert "100 unknown" in page


async def test_the_overview_leads_to_the_page(served):
    async with served() as web:
        assert f'href="{PAGE}' in (await web.get("/performance")).text


async def test_the_api_answers_what_the_page_shows(served):
    async with served() as web:
        await filled(web, ["alpha"])
        answer = (await web.get(API)).json()
    areas = {area["name"]: area["items"] for area in answer["areas"]}
    assert [item["name"] for item in areas["Services"]] == ["alpha"]
    assert {item["name"] for item in areas["Components"]} >= {"gateway", "database", "flusher"}
    assert answer["verdict"]["status"] in {"healthy", "degraded", "unhealthy", "unknown"}
