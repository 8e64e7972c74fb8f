"""Texts that would break out of HTML, SSE, CSV, Prometheus' lines or a header: every answer and export escapes them."""

import asyncio
import csv
import io
import json
from urllib.parse import quote

import pytest
from factories import make_errors
from prometheus_client.parser import text_string_to_metric_families as prometheus
from yarl import URL

from cogmeter.exporters.csv_table import unguarded
from cogmeter.query.query import now_us
from cogmeter.web.server.app import ROUTES
from cogmeter.web.server.security import is_public
from cogmeter_storage.errors import ErrorExample, ErrorLink, Frame

NAME = "=1+1</script><img src=x onerror=alert(1)>\"'\\{}%0d%0a"
ERROR = f'{NAME}\r\n\r\nevent: alert\ndata: {{}}\n\u2028\u2029\u202e,";\x00\x1b[31m'
METADATA = {NAME: ERROR, "model": NAME, "cost_usd": 0.5, "tokens_in": 10}
# What cannot be asked for in one go, or is no data.
APART = {"/api/performance/live", "/openapi.json"}


@pytest.fixture
def hostile(served, stored):
    """Opens a served monitor in which every text is hostile that a host or a person may choose."""

    async def fill(web):
        await stored(web, *((NAME, NAME, 2, 7, int(number % 2), ERROR, METADATA) for number in range(60)))
        for _ in range(60):
            web.monitor.recorder.record(NAME, NAME, duration_ms=9, error=ERROR, metadata=METADATA)
        await web.flushed()
        link = ErrorLink(NAME, ERROR, (Frame(NAME, NAME, 1, own=True),))
        example = ErrorExample(now_us(), NAME, NAME, None, NAME, (link,))
        errors = make_errors("x", now_us(), where=(NAME, NAME), type=NAME, message=ERROR, examples=(example,))
        await web.monitor.store.errors.add([errors])
        await web.monitor.alerting.check()
        (alert, *_) = await web.monitor.alerts()
        await web.send("POST", "/api/performance/mutes", json={"service": NAME, "seconds": 600, "reason": ERROR})
        await web.send("POST", "/api/performance/markers", json={"name": NAME})
        return alert.id

    return fill


def address(route, alert):
    query = "?since=1970-01-01" if "since" in (route.query.model_fields if route.query else {}) else ""
    number = "1" if "error-groups" in route.path else alert  # the first group, or the alert
    return route.path.replace("{service}", quote(NAME, safe="")).replace("{id}", number) + query


async def test_every_answer_is_json_that_contains_them_whole_and_no_header_does(served, hostile):
    held = set()
    async with served() as web:
        alert = await hostile(web)
        for route in ROUTES:
            if route.method != "GET" or route.response is None or route.path in APART:
                continue
            url = URL(web.url + address(route, alert), encoded=True)
            async with web.session.get(url) as answer:
                assert answer.status in {200, 503} if is_public(route.path) else answer.status == 200, route.path
                assert answer.headers["Content-Type"] == "application/json"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert not [value for value in answer.headers.values() if "script" in value and "'self'" not in value]
                text = await answer.text()
            json.loads(text)
            if json.dumps(NAME)[1:-1] in text:
                held.add(route.path.removeprefix("/api/performance/"))
    assert held >= {
        *("dashboard", "services/{service}", "operations", "slowest", "errors", "costs", "alerts", "alerts/{id}"),
        *("mutes", "markers", "audit", "/health/ai-services", "error-groups", "error-groups/{id}"),
    }


@pytest.mark.parametrize("format_", ["json", "ndjson", "csv", "prometheus"])
async def test_every_export_contains_them_whole(served, hostile, format_):
    async with served() as web:
        await hostile(web)
        answer = await web.get(f"/api/performance/export?format={format_}&since=1970-01-01")
    assert NAME not in str(answer.headers)
    if format_ == "json":
        (service,) = [name for name in json.loads(answer.body)["metrics"]["services"] if name == NAME]
        assert service == NAME
    elif format_ == "ndjson":
        assert len([one for one in answer.text.split("\n") if one and json.loads(one)["service"] == NAME]) == 120
    elif format_ == "csv":
        rows = list(csv.reader(io.StringIO(answer.text, newline="")))
        assert {len(row) for row in rows} == {6}
        assert [unguarded(row[1]) for row in rows].count(NAME) == 120
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
    else:
        services = {one.labels["service"] for family in prometheus(answer.text) for one in family.samples}
        assert NAME in services


async def test_no_event_of_the_stream_is_made_by_a_text(served, hostile):
    async with served() as web, web.session.get(f"{web.url}/api/performance/live") as stream:
        seen, lines = set(), []
        await stream.content.readline()
        filling = asyncio.create_task(hostile(web))
        while not {"alert", "marker", "snapshot"} <= seen:
            line = (await asyncio.wait_for(stream.content.readline(), 30)).decode()
            lines.append(line)
            field, _, value = line.rstrip("\n").partition(": ")
            assert field in {"id", "event", "data", ""}, line
            if field == "event":
                seen.add(value)
            elif field == "data":
                json.loads(value)
        await filling
    assert seen <= {"alert", "marker", "snapshot"}
    assert any(json.dumps(NAME)[1:-1] in line for line in lines)


async def test_problems_contain_them_too(served, hostile):
    async with served() as web:
        await hostile(web)
        for path in (f"services/{quote(NAME + 'x', safe='')}", f"series?service={quote(NAME + 'x', safe='')}"):
            async with web.session.get(URL(f"{web.url}/api/performance/{path}", encoded=True)) as answer:
                assert answer.status == 404
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert json.loads(await answer.text())["near"] == [NAME]
