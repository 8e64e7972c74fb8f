"""The route helper over a real socket: what is read, what is refused, and how errors are written."""

import asyncio
import json
import logging

import aiohttp
import pytest
from pydantic import Field
from yarl import URL

from cogmeter.query.records import UnknownNameError
from cogmeter.recording.background import own_work
from cogmeter.schemas.base import Schema
from cogmeter.schemas.times import Instant
from cogmeter.times import utc
from cogmeter.web.api.bodies import Body
from cogmeter.web.api.params import QueryParams, RangeParams
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Reply, Route, Stream
from cogmeter_storage.base import StorageError

HOSTILE = "<script>alert('x')</script>"


class Question(RangeParams):
    service: str = Field(max_length=100)
    page_size: int = Field(default=50, ge=1, le=500)
    share: float | None = None
    failed: bool = False
    services: tuple[str, ...] = ()


class Wish(Body):
    name: str = Field(max_length=50)
    count: int = 1
    share: float | None = None


class Comment(Body):
    text: str = ""


class Said(Schema):
    some_text: str
    at_time: Instant = utc(1_755_426_600_000_000)


class Asked(Schema):
    service: str
    page_size: int
    share: float | None
    failed: bool
    services: tuple[str, ...]
    until: int | None


class Stage:
    """Handlers, and what was seen of them."""

    def __init__(self):
        self.begun, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.outcome = ""

    async def question(self, monitor, params):
        return Asked(**params.model_dump(exclude={"since"}))

    async def by_names(self, monitor, service, request, actor):
        return Said(some_text=f"{service} {request.method} {actor} {own_work.get()}")

    async def wish(self, monitor, body):
        return Said(some_text=f"{body.name}{body.count}{body.share}")

    async def comment(self, monitor, body):
        return Reply(Said(some_text=body.text or "nothing"), status=202, headers={"X-Comment": "1"})

    async def fail(self, monitor, params):
        raise self.error

    async def stream(self, monitor):
        async def pieces():
            for number in range(3):
                yield f"{number}\n".encode()

        return Stream(pieces(), "text/csv", {"Content-Disposition": 'attachment; filename="x.csv"'})

    async def torn(self, monitor):
        async def pieces():
            yield b"first"
            yield b"second"
            raise StorageError("disk", permanent=False) if self.early else ValueError("secret")

        async def at_once():
            raise StorageError("disk full at /somewhere", permanent=False)
            yield b""

        return Stream(at_once() if self.early else pieces(), "text/csv")

    async def wait(self, monitor):
        self.begun.set()
        try:
            await self.go_on.wait()
            self.outcome = "finished"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise
        finally:
            self.ended.set()
        return Said(some_text="waited")

    early = False
    error: Exception = ValueError("the secret of the house")


class Nothing(QueryParams):
    pass


@pytest.fixture
def stage(monkeypatch):
    made = Stage()
    routes = (
        Route("GET", "/try/{service}", made.question, "Asks", query=Question, response=Asked, problems=(404,)),
        Route("GET", "/names/{service}", made.by_names, "Names", query=Question, response=Said),
        Route("POST", "/wish", made.wish, "Wishes", body=Wish, response=Said, changes=True),
        Route(
            "POST",
            "/comment",
            made.comment,
            "Says",
            body=Comment,
            response=Said,
            status=201,
            other_responses={202: Said},
        ),
        Route("GET", "/fail", made.fail, "Fails", query=Nothing, response=Said),
        Route("GET", "/stream", made.stream, "Streams", media={"text/csv": "Rows"}),
        Route("GET", "/torn", made.torn, "Tears", media={"text/csv": "Rows"}),
        Route("GET", "/wait", made.wait, "Waits", response=Said),
        Route("POST", "/wait", made.wait, "Waits", response=Said, changes=True),
    )
    monkeypatch.setattr("cogmeter.web.server.app.ROUTES", routes)
    return made


async def test_a_question_is_read_into_its_model(served, stage):
    async with served() as web:
        path = "/try/a%2Fb%20%3Cc%3E?pageSize=7&share=0.5&failed=true&services=x,y&until=2025-08-17"
        answer = await web.get(path)
        assert answer.status == 200, answer.text
        assert answer.json() == {
            "service": "a/b <c>",
            "pageSize": 7,
            "share": 0.5,
            "failed": True,
            "services": ["x", "y"],
            "until": 1_755_475_200_000_000,
        }


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ("nonsense=1", "nonsense", "nonsense is not a known parameter. Allowed: since, until, process, pageSize"),
        ("page_size=7", "page_size", "is not a known parameter"),
        ("service=other", "service", "is not a known parameter"),
        ("pageSize=1&pageSize=2", "pageSize", "pageSize is repeated"),
        ("pageSize=0", "pageSize", "pageSize=0 should be greater than or equal to 1"),
        ("pageSize=501", "pageSize", "less than or equal to 500"),
        ("pageSize=", "pageSize", "should be a valid integer"),
        ("pageSize=1.0", "pageSize", "should be a valid integer"),
        ("pageSize=1_0", "pageSize", "should be a valid integer"),
        ("pageSize=%201", "pageSize", "should be a valid integer"),
        ("pageSize=" + "9" * 30, "pageSize", "should be"),
        ("pageSize=true", "pageSize", "should be a valid integer"),
        ("share=nan", "share", "should be a valid number"),
        ("share=1e999", "share", "should be a finite number"),
        ("failed=1", "failed", "should be a valid boolean"),
        ("failed=yes", "failed", "should be a valid boolean"),
        ("since=1755302400", "since", "is not a valid time"),
        ("until=2025-02-30", "until", "until=2025-02-30 is not a valid time. Use an ISO 8601 date or time"),
        ("since=2025-08-18&until=2025-08-17", "since, until", "is not before until=2025-08-17T23:59:59Z"),
    ],
)
async def test_a_parameter_that_cannot_be_is_named(served, stage, query, parameter, said):
    async with served() as web:
        answer = await web.get(f"/try/x?{query}")
        problem = answer.problem
        assert (answer.status, problem["parameter"]) == (422, parameter), problem
        assert said in problem["detail"], problem
        assert problem["instance"] == "/try/x"
        assert problem["type"] == "/api#problem-422"


@pytest.mark.parametrize(
    ("sent", "services"),
    [
        ("a,b", ["a", "b"]),
        ("a%2Cb", ["a", "b"]),
        ("a%2Cb,c", ["a,b", "c"]),
        ("%2C", [","]),
        ("", []),
        ("a+b,c%20d,%26%3D%2B", ["a b", "c d", "&=+"]),
        ("%E2%82%AC", ["€"]),
    ],
)
async def test_values_are_separated_by_commas(served, stage, sent, services):
    async with served() as web:
        url = URL(f"{web.url}/try/x?services={sent}", encoded=True)
        async with web.session.get(url) as answer:
            assert (await answer.json())["services"] == services


async def test_a_query_that_is_no_utf_8_is_refused(served, stage):
    async with served() as web, web.session.get(URL(f"{web.url}/try/x?services=%FF", encoded=True)) as answer:
        assert (answer.status, (await answer.json())["parameter"]) == (422, "services")


async def test_an_address_that_is_too_long_is_a_problem(served, stage):
    async with served() as web:
        problem = (await web.get(f"/try/{'x' * 40_000}")).problem
        assert (problem["status"], problem["title"]) == (414, "Too long")


async def test_several_faults_are_all_reported(served, stage):
    async with served() as web:
        problem = (await web.get(f"/try/{'s' * 101}?pageSize=x")).problem
        assert [one["parameter"] for one in problem["errors"]] == ["service", "pageSize"]
        assert len(problem["detail"]) < 200  # a long value is cut


async def test_a_handler_is_given_what_it_names_and_works_as_our_own(served, stage):
    async with served() as web:
        assert (await web.get("/names/abc")).json()["someText"] == "abc GET dashboard True"
    async with served(http_token="t" * 32) as web:
        assert (await web.get("/names/abc")).json()["someText"] == "abc GET api True"


async def test_answers_are_camel_case_with_iso_times(served, stage):
    async with served() as web:
        answer = await web.get("/names/x")
        assert answer.json()["atTime"] == "2025-08-17T10:30:00Z"
        assert answer.headers["Content-Type"] == "application/json"


async def test_a_body_is_read_strictly(served, stage):
    async with served() as web:
        answer = await web.send("POST", "/wish", json={"name": HOSTILE, "count": 2.0, "share": 1})
        assert answer.json()["someText"] == f"{HOSTILE}21.0"


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"name": "a", "count": "2"}, 422, "count"),
        ({"name": "a", "count": True}, 422, "count"),
        ({"name": "a", "count": 1.5}, 422, "count"),
        ({"name": "a", "share": "0.5"}, 422, "share"),
        ({"name": "a", "other": 1}, 422, "other"),
        ({"count": 1}, 422, "name"),
        ({"name": None}, 422, "name"),
        ([], 422, "body"),
        ("text", 422, "body"),
        (None, 422, "body"),
        (b"", 400, None),
        (b"{", 400, None),
        (b'{"name": "\xff"}', 400, None),
        (b'{"name": "a", "share": NaN}', 422, "share"),
        (b'{"name": "a", "share": 1e999}', 422, "share"),
        (b"[" * 10_000, 400, None),
        (b'{"name": "' + b"x" * 70_000 + b'"}', 413, None),
    ],
)
async def test_an_invalid_body_is_refused_with_its_status_and_parameter(served, stage, body, status, parameter):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with served() as web:
        answer = await web.send("POST", "/wish", data=data, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.problem.get("parameter")) == (status, parameter), answer.text


async def test_a_body_that_grows_while_it_comes_is_refused(served, stage):
    async def pieces():
        for _ in range(100):
            yield b" " * 1_000

    async with served() as web:
        answer = await web.send("POST", "/wish", data=pieces(), headers={"Content-Type": "application/json"})
        assert answer.problem["title"] == "Too large"


async def test_a_body_that_does_not_arrive_is_a_timeout(served, stage, monkeypatch):
    monkeypatch.setattr("cogmeter.web.api.bodies.BODY_S", 0.05)

    async def pieces():
        yield b"{"
        await asyncio.sleep(30)

    async with served() as web:
        answer = await web.send("POST", "/wish", data=pieces(), headers={"Content-Type": "application/json"})
        assert answer.status == 408


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_another_kind_of_body_is_refused(served, stage, headers):
    async with served() as web:
        options = {"skip_auto_headers": ["Content-Type"]} if not headers else {}
        answer = await web.send("POST", "/wish", data=b'{"name": "a"}', headers=headers, **options)
        assert answer.status == 415, answer.text


async def test_a_body_without_anything_required_may_be_left_out(served, stage):
    async with served() as web:
        answer = await web.send("POST", "/comment")
        assert (answer.status, answer.json()["someText"], answer.headers["X-Comment"]) == (202, "nothing", "1")
        assert (await web.send("POST", "/comment", json={"text": "well"})).json()["someText"] == "well"


async def test_an_unknown_path_and_method_are_problems(served, stage):
    async with served() as web:
        assert (await web.get("/nothing/here")).problem["instance"] == "/nothing/here"
        answer = await web.send("DELETE", "/wait")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
        assert answer.problem["title"] == "Method not allowed"


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/api/", "/api"),
        ("/health/", "/health"),
        ("/performance/?range=7d", "/performance?range=7d"),
        ("/api/performance", "/api"),
        ("/api/performance/", "/api/performance"),
    ],
)
async def test_a_slash_too_many_and_the_apis_own_address_lead_on(served, path, leads_to):
    async with served() as web:
        answer = await web.get(path)
        assert answer.status in {303, 308}
        assert answer.headers["Location"] == leads_to
        assert answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["//evil.example/", "//evil.example/health/", "/\\evil.example/", "/nothing/"])
async def test_no_path_leads_to_another_host(served, path):
    async with served() as web, web.session.get(URL(web.url + path, encoded=True), allow_redirects=False) as answer:
        assert answer.status == 404


async def test_head_is_get_without_a_body(served, stage):
    async with served() as web:
        for path in ("/names/x", "/stream"):
            answer = await web.request("HEAD", path)
            assert (answer.status, answer.body) == (200, b"")


async def test_an_unknown_name_is_404_with_near_ones(served, stage):
    stage.error = UnknownNameError("service", "sentimant", ["sentiment-analysis"])
    async with served() as web:
        problem = (await web.get("/fail")).problem
        assert (problem["status"], problem["near"]) == (404, ["sentiment-analysis"])
        assert problem["title"] == "Unknown service"


async def test_a_store_that_fails_is_503_without_its_text(served, stage, caplog):
    stage.error = StorageError("disk full at /somewhere/secret.db", permanent=False)
    async with served() as web:
        answer = await web.get("/fail")
        assert (answer.status, "somewhere" in answer.text) == (503, False)
        assert "/somewhere/secret.db" in caplog.text
        assert not web.monitor.faults["web"]
        for _ in range(20):
            await web.get("/fail")
        assert caplog.text.count("/somewhere/secret.db") == 1  # a page that asks again and again fills no log
        stage.error = StorageError("gone", permanent=False)
        await web.get("/fail")
        assert "cannot read the database: gone" in caplog.text


async def test_a_handlers_own_problem_is_passed_on(served, stage):
    stage.error = Problem(409, "Resolved", "The alert is over", headers={"X-Why": "over"}, alert=3)
    async with served() as web:
        answer = await web.get("/fail")
        assert (answer.headers["X-Why"], answer.problem["alert"], answer.problem["title"]) == ("over", 3, "Resolved")


@pytest.mark.parametrize("error", [ValueError("the secret"), TimeoutError("the secret"), KeyError("the secret")])
async def test_an_unexpected_error_is_500_logged_and_counted_and_reveals_nothing(served, stage, caplog, error):
    stage.error = error
    async with served() as web:
        answer = await web.get("/fail")
        assert (answer.status, "secret" in answer.text) == (500, False)
        assert web.monitor.faults["web"] == 1
        assert "GET /fail failed" in caplog.text
        assert "the secret" in caplog.text
        assert [one.text for one in web.servers.findings() if not one.well] == ["1 failed"]


async def test_a_stream_comes_piece_by_piece(served, stage):
    async with served() as web:
        answer = await web.get("/stream")
        assert (answer.text, answer.headers["Content-Type"]) == ("0\n1\n2\n", "text/csv")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="x.csv"'


async def test_a_stream_that_cannot_begin_is_a_problem(served, stage):
    stage.early = True
    async with served() as web:
        assert (await web.get("/torn")).status == 503


async def test_a_stream_that_breaks_off_is_seen_to_be_torn(served, stage):
    async with served() as web:
        with pytest.raises(aiohttp.ClientError):
            await web.get("/torn")
        assert web.monitor.faults["web"] == 1


async def _leave(web, stage, method):
    asking = asyncio.create_task(web.send(method, "/wait") if method == "POST" else web.get("/wait"))
    await asyncio.wait_for(stage.begun.wait(), 60)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_question_ends_when_its_client_leaves(served, stage):
    async with served() as web:
        await _leave(web, stage, "GET")
        await asyncio.wait_for(stage.ended.wait(), 60)
        assert stage.outcome == "cancelled"


async def test_a_change_is_finished_although_its_client_leaves(served, stage):
    async with served() as web:
        await _leave(web, stage, "POST")
        assert (await web.get("/names/x")).status == 200  # the server has had time to notice
        stage.go_on.set()
        await asyncio.wait_for(stage.ended.wait(), 60)
        assert stage.outcome == "finished"


async def test_hostile_text_leaves_the_log_alone(served, stage, caplog):
    caplog.set_level(logging.DEBUG, "cogmeter.web")
    async with served() as web:
        stage.error = StorageError("gone", permanent=False)
        await web.get("/try/%0AFORGED%20LINE?since=%0Ax")
        assert "FORGED" not in caplog.text
