"""The API's document is true: the JSON, and its page."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.specs.openapi import definitions

from cogmeter import __version__
from cogmeter.web.api.problems import MEANINGS, MEDIA_TYPE
from cogmeter.web.api.routes.openapi import document
from cogmeter.web.api.routing import Route
from cogmeter.web.pages.table import PAGE_ROUTES
from cogmeter.web.server.app import ROUTES
from cogmeter.web.server.assets import render

HOSTILE = "<script>alert('x')</script>"
COMPONENTS = """
    AlertAnswer AlertDetail AlertPage AttemptAnswer AuditAnswer AuditPage ChangeAnswer ChangeBody CheckAnswer Cost
    CostLine Costs Dashboard ErrorGroupAnswer ErrorGroupDetail ErrorGroupPage ErrorGroupSummary ErrorMuteBody
    ErrorOccurrence Errors ExceptionInfo Fault Gauge Gauges HealthAnswer HoldingAnswer Loop Loops OperationErrors
    StackFrame MarkerAnswer MarkerBody Markers MuteAnswer MuteBody Mutes Nothing OperationAnswer OperationPage
    OutlookAnswer OverallStats ProblemDocument Series ServiceAnswer ServiceHealthAnswer ServicesHealthAnswer Slowest
    SpanAnswer Stall Stalls Stats Status TargetAnswer TestAlert ThresholdChange ThresholdChanges Thresholds
    TimeRange TraceAnswer Traces TrialBody
"""


@pytest.fixture(scope="module")
def spec():
    return document((*ROUTES, *PAGE_ROUTES), cookie="cogmeter_session")


def operations(spec):
    return [(path, method, one) for path, methods in spec["paths"].items() for method, one in methods.items()]


def references(part):
    if isinstance(part, dict):
        yield from ([part["$ref"]] if "$ref" in part else [])
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from references(one)


def test_it_is_openapi_3_1_of_this_version(spec):
    assert spec["openapi"] == "3.1.0"
    assert spec["info"]["version"] == __version__
    schema = definitions.OPENAPI_31_VALIDATOR  # the OpenAPI initiative's own, as schemathesis carries it
    schema.validate(spec)
    assert not schema.is_valid(spec | {"paths": {"without-a-slash": {}}})
    assert schema.is_valid(document(ROUTES, cookie=None))


def test_every_documented_route_is_in_it_once(spec):
    wanted = [(route.path, route.method.lower()) for route in ROUTES if route.documented]
    assert sorted(wanted) == sorted((path, method) for path, method, _ in operations(spec))
    names = [one["operationId"] for _, _, one in operations(spec)]
    assert len(names) == len(set(names))


def test_no_route_is_there_twice():
    known = [(route.method, route.path) for route in (*ROUTES, *PAGE_ROUTES)]
    assert len(known) == len(set(known))


def test_pages_are_not_in_it(spec):
    assert not [path for path in spec["paths"] if path.startswith("/performance")]


def test_every_reference_leads_somewhere(spec):
    for reference in references(spec):
        assert reference.rpartition("/")[2] in spec["components"]["schemas"], reference


def test_components_keep_their_names_because_generated_clients_use_them(spec):
    assert set(COMPONENTS.split()) <= set(spec["components"]["schemas"])


def test_every_path_parameter_is_documented_as_required(spec):
    for path, _, one in operations(spec):
        documented = {each["name"]: each for each in one.get("parameters", ()) if each["in"] == "path"}
        assert set(documented) == set(re.findall(r"{(\w+)}", path))
        assert all(each["required"] for each in documented.values())


def test_no_parameter_is_documented_as_null(spec):
    assert '"null"' not in json.dumps([one.get("parameters", []) for _, _, one in operations(spec)])


def test_every_operation_documents_its_answer_and_what_any_may_answer(spec):
    for path, method, one in operations(spec):
        responses = one["responses"]
        assert any(status.startswith("2") for status in responses), path
        assert {"403", "414", "422", "500", "503"} <= set(responses), path
        for status in ("422", "500"):
            assert MEDIA_TYPE in responses[status]["content"]
        if "requestBody" in one:
            assert {"400", "408", "413", "415"} <= set(responses), (path, method)


def test_every_problem_that_a_route_names_is_explained():
    assert {status for route in ROUTES for status in route.problems} <= set(MEANINGS)


def test_security_is_documented_where_there_is_a_token(spec):
    assert spec["security"] == [{"bearer": []}, {"session": []}]
    assert spec["components"]["securitySchemes"]["session"]["name"] == "cogmeter_session"
    for path, _, one in operations(spec):
        public = path.startswith("/health")
        assert ("401" in one["responses"]) is not public
        assert (one.get("security") == []) is public
    without = document(ROUTES, cookie=None)
    assert "security" not in without
    assert "401" not in without["paths"]["/openapi.json"]["get"]["responses"]


def test_every_operation_says_what_it_is(spec):
    assert all(one["summary"] for _, _, one in operations(spec))


async def test_the_page_lists_everything_and_needs_no_script(served):
    async with served() as web:
        page = await web.get("/api")
        spec = (await web.get("/openapi.json")).json()
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for path, method, one in operations(spec):
            assert f"<code>{method.upper()} {path}</code>" in page.text
            assert f'id="{one["operationId"]}"' in page.text
        for name in spec["components"]["schemas"]:
            assert f'id="schema-{name}"' in page.text
        for status in MEANINGS:
            assert f'id="problem-{status}"' in page.text
        assert re.findall("<script[^>]*>", page.text) == [
            '<script src="/performance/static/theme.js">'
        ]  # dark or light
        assert "style=" not in page.text
        ids = re.findall(r' id="([^"]*)"', page.text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'href="#([^"]*)"', page.text)) <= set(ids)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_hostile_text_in_the_document_is_text_on_the_page():
    async def do(monitor):
        return None

    spec = document([Route("GET", "/x", do, HOSTILE, media={"text/html": HOSTILE})], cookie=None)
    page = render("api.html", document=spec, meanings=MEANINGS)
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def tags_of(template, **values):
    tags = Tags()
    tags.feed(render(template, **values))
    return [tag for tag, _ in tags.seen]


@given(st.text(min_size=1, max_size=40))
def test_any_text_is_text_on_the_plain_pages(text):
    assert tags_of("login.html", next=text, wrong=text) == tags_of("login.html", next="x", wrong="x")
    assert tags_of("again.html", url=text) == tags_of("again.html", url="x")
