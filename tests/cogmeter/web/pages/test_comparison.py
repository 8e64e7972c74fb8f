"""The page "Compare" and its JSON: the same verdict and figures; choices, refusals and links."""

import re

import pytest
from deployed_bot import deploy

from cogmeter.query.query import now_us
from cogmeter.web.pages.comparison import HEIGHT, _outline

PAGE = "/performance/compare"
API = "/api/performance/compare"


async def test_page_and_json_have_the_same_verdict(served):
    async with served() as web:
        await web.monitor.flusher.flush()  # stores the marker of the start, which both answers leave out
        await deploy(web.monitor.store, now_us(), slower=1.5, name="ask <b>")
        page = (await web.get(f"{PAGE}?service=discord.commands&operation=ask%20%3Cb%3E")).text
        found = (await web.get(f"{API}?service=discord.commands&operation=ask%20%3Cb%3E")).json()
    assert found["verdict"] == "worse"
    assert 0.35 < found["latency"]["change"] < 0.65
    assert found["marker"]["name"] == "version 1.4"
    assert len(found["edges"]) == len(found["after"]["shares"]) + 1
    assert sum(found["before"]["shares"]) == pytest.approx(1, abs=0.01)
    assert "<h1>Compare /ask &lt;b&gt;</h1>" in page
    assert "% slower (p" in page
    assert f"{found['after']['operations']} operations" in page
    assert '<path class="before"' in page


async def test_fewer_operations_are_shown_but_are_not_worse(served):
    async with served() as web:
        await deploy(web.monitor.store, now_us(), fewer=0.6)
        page = (await web.get(f"{PAGE}?service=discord.commands")).text
        found = (await web.get(f"{API}?service=discord.commands")).json()
    assert (found["verdict"], found["throughput"]["verdict"]) == ("unchanged", "worse")
    assert re.search(r"Throughput: confident: \d+% fewer operations", page)
    assert '<span class="badge critical">worse</span>' not in page


async def test_an_empty_database_has_a_page_too(served):
    async with served() as web:
        page = (await web.get(PAGE)).text
        found = (await web.get(API)).json()
    assert found["verdict"] == "too_few"
    assert "Not enough data: 0 of 60 operations before" in page
    assert "No operations in these periods." in page


async def test_the_chosen_marker_stays_chosen(served):
    async with served() as web:
        marker = await deploy(web.monitor.store, now_us(), marker="deployed <i>")
        page = (await web.get(f"{PAGE}?before=marker%3A{marker.id}")).text
    assert f'<option value="marker:{marker.id}" selected>' in page
    assert "deployed &lt;i&gt;" in page
    assert "deployed <i>" not in page


@pytest.mark.parametrize("path", [PAGE, API])
async def test_what_is_no_period_or_unknown_is_a_problem(served, path):
    async with served() as web:
        await deploy(web.monitor.store, now_us())
        assert (await web.get(f"{path}?before=yesterdayish")).status == 404
        assert (await web.get(f"{path}?before=2025-08-17&after=2025-08-16")).status == 409
        assert (await web.get(f"{path}?service=nobody")).status == 404


async def test_an_operation_needs_a_service(served):
    async with served() as web:
        assert (await web.get(f"{API}?operation=ask")).status == 422


async def test_overview_and_service_lead_to_the_page(served):
    async with served() as web:
        await deploy(web.monitor.store, now_us())
        overview = (await web.get("/performance")).text
        service = (await web.get("/performance/services/discord.commands?operation=ask")).text
    assert 'href="/performance/compare"' in overview
    assert 'href="/performance/compare?service=discord.commands&amp;operation=ask"' in service


def test_an_outline_begins_and_ends_at_the_axis():
    path = _outline((0.25, 0.75), 0.75)
    assert path == f"M0 {HEIGHT}V{HEIGHT * 2 / 3:.1f}H480.0V0.0H960.0V{HEIGHT}"
