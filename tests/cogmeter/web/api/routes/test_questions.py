"""Unknown names, wrong times, pages to the end, hostile texts, hidden ids."""

import json
from urllib.parse import quote

import pytest
from yarl import URL

from cogmeter.web.api.params import cursor_of

PATH = "/api/performance"


@pytest.mark.parametrize(
    "path",
    [
        "dashboard?services=context-memry",
        "services/context-memry",
        "series?service=context-memry",
        "operations?service=context-memry",
        "errors?service=context-memry",
        "traces?service=context-memry",
        "costs?service=context-memry",
        "export?format=csv&services=sentiment-analysis,context-memry",
    ],
)
async def test_an_unknown_service_is_404_with_near_names(seeded, path):
    async with seeded() as web:
        problem = (await web.get(f"{PATH}/{path}")).problem
    assert (problem["status"], problem["parameter"], problem["near"]) == (404, "service", ["context-memory"])


async def test_an_unknown_operation_is_404_with_near_names(seeded):
    async with seeded() as web:
        problem = (await web.get(f"{PATH}/services/context-memory?operation=retrive")).problem
    assert (problem["status"], problem["parameter"], problem["near"]) == (404, "operation", ["retrieve"])


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("dashboard?since=yesterday", "since"),
        ("dashboard?until=1755426000", "until"),
        ("services/context-memory?since=2025-13-01", "since"),
        ("series?step=0", "step"),
        ("series?operation=query", "operation"),
        ("operations?outcome=good", "outcome.0"),
        ("operations?limit=201", "limit"),
        ("operations?cursor=zzz", "cursor"),
        ("operations?cursor=W10", "cursor"),
        (f"operations?cursor={cursor_of(1, 0, 2**63 - 1)}", "cursor"),
        (f"operations?cursor={cursor_of(2**63 - 1, 0, 1)}", "cursor"),
        (f"audit?cursor={cursor_of(2**63)}", "cursor"),
        ("alerts?cursor=WzEsMl0", "cursor"),
        ("alerts?state=open", "state"),
        ("audit?cursor=Wy0xXQ", "cursor"),
        ("export?format=xml", "format"),
        ("export?since=2025-08-17&until=2025-08-15", "since, until"),
        ("markers?since=2999-01-01", "since"),
        ("stalls?limit=101", "limit"),
    ],
)
async def test_what_cannot_be_asked_is_422_naming_the_parameter(seeded, path, parameter):
    async with seeded() as web:
        problem = (await web.get(f"{PATH}/{path}")).problem
    assert (problem["status"], problem["parameter"]) == (422, parameter)


@pytest.mark.parametrize(
    ("query", "count"), [("", 900), ("&service=context-memory&outcome=failed", 18), ("&minDuration=1000", 99)]
)
async def test_pages_to_the_end_are_all_stored_operations_once(seeded, query, count):
    async with seeded() as web:
        found, cursor = [], ""
        while True:
            answer = (await web.get(f"{PATH}/operations?limit=70{query}{cursor}")).json()
            found += answer["operations"]
            if answer["next"] is None:
                break
            web.monitor.recorder.record("context-memory", "retrieve", duration_ms=5000, outcome=1)  # moves no page
            await web.flushed()
            cursor = f"&cursor={answer['next']}"
    assert len(found) == count
    numbers = [int(one["operationId"].removeprefix("op_")) for one in found]
    assert numbers == sorted(set(numbers), reverse=True)


async def test_ranges_reach_from_minutes_to_all_there_is(seeded):
    async with seeded() as web:
        for since, least in (("1970-01-01", 900), ("2020-02-29T12:00:00+02:00", 900)):
            answer = (await web.get(f"{PATH}/dashboard?since={since.replace('+', '%2B')}")).json()
            assert answer["overallStats"]["totalOperations"] == least
        past = (await web.get(f"{PATH}/dashboard?since=2020-01-01&until=2020-01-02")).json()
        assert past["overallStats"]["totalOperations"] == 0
        assert past["overallStats"]["averageResponseTime"] is None
        assert past["timeRange"] == {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T23:59:59Z"}


async def test_a_series_is_trimmed_to_the_time_with_records_on_request(served):
    async with served() as web:
        web.monitor.recorder.record("memory", "recall", duration_ms=12)
        await web.flushed()
        whole = (await web.get(f"{PATH}/series?since=1970-01-01")).json()
        trimmed = (await web.get(f"{PATH}/series?since=1970-01-01&trim=true")).json()
    assert trimmed["timeRange"]["since"] == whole["timeRange"]["since"] == whole["timestamps"][0]
    assert len(trimmed["timestamps"]) <= 2 < len(whole["timestamps"])
    assert (trimmed["stepSeconds"], max(trimmed["p50ResponseTime"])) == (60, max(whole["p50ResponseTime"], key=bool))


async def test_a_series_has_no_more_points_than_may_be_however_fine_it_is_asked(seeded):
    async with seeded() as web:
        coarse = (await web.get(f"{PATH}/series?since=1970-01-01&step=60")).json()
        fine = (await web.get(f"{PATH}/series?service=knowledge-graph&step=61")).json()
    assert len(coarse["timestamps"]) <= 1_501
    assert sum(coarse["operationsPerMinute"]) > 0
    assert fine["stepSeconds"] == 120
    assert len({len(one) for one in fine.values() if isinstance(one, list)}) == 1
    assert max(one for one in fine["p95ResponseTime"] if one) > 1000


async def test_a_services_filter_counts_those_alone(seeded):
    async with seeded() as web:
        answer = (await web.get(f"{PATH}/dashboard?services=context-memory,knowledge-graph")).json()
    assert list(answer["serviceStats"]) == ["context-memory", "knowledge-graph"]
    assert answer["overallStats"]["totalOperations"] == 360


async def test_the_dashboard_lists_commands_by_name_besides_all_services(served):
    async with served() as web:
        for name, count in (("ask", 3), ("help", 5)):
            for _ in range(count):
                web.monitor.recorder.record("discord.commands", name, duration_ms=40)
        web.monitor.recorder.record("memory", "load", duration_ms=5)
        await web.flushed()
        answer = (await web.get(f"{PATH}/dashboard")).json()
    assert [(one["name"], one["service"], one["operation"]) for one in answer["commands"]] == [
        ("/help", "discord.commands", "help"),
        ("/ask", "discord.commands", "ask"),
    ]
    assert list(answer["serviceStats"]) == ["discord.commands", "memory"]
    assert answer["overallStats"]["activeServices"] == 1  # as on the other surfaces: commands are counted apart
    stats = answer["serviceStats"]["memory"]
    assert answer["commands"][0].keys() == {"name", "service", "operation", *stats}
    assert answer["commands"][0]["totalOperations"] == 5


async def test_a_command_is_read_by_its_label(served):
    async with served() as web:
        web.monitor.recorder.record("discord.commands", "ask", duration_ms=40)
        await web.flushed()
        by_label = (await web.get(f"{PATH}/services/%2Fask")).json()
        series = (await web.get(f"{PATH}/series?service=%2Fask")).json()
        operations = (await web.get(f"{PATH}/operations?service=ask")).json()["operations"]
        unknown = await web.get(f"{PATH}/services/%2Faks")
    assert (by_label["serviceName"], by_label["operation"]) == ("discord.commands", "ask")
    assert by_label["totalOperations"] == len(operations) == 1
    assert (series["service"], series["operation"]) == ("discord.commands", "ask")
    assert unknown.status == 404
    assert (unknown.problem["title"], unknown.problem["parameter"]) == ("Unknown service or command", "service")
    assert unknown.problem["near"] == ["/ask"]


async def test_hostile_names_are_plain_text_of_json(seeded):
    async with seeded() as web:
        dashboard = (await web.get(f"{PATH}/dashboard")).json()
        name = "<script>alert(1)</script>"
        one = await web.get(f"{PATH}/services/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert name in dashboard["serviceStats"]
    assert one.json()["serviceName"] == name
    assert one.headers["Content-Type"].startswith("application/json")


IDS = ("123456789012345678", "1234567890123456789")


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "../../etc/passwd",
        "..",
        "{service}",
        "%2F",
        "a?b#c",
        "a+b",
        "ü 日本語 🎉",
        "' OR 1=1 --",
        "a\\b",
        "A" * 100,
    ],
)
async def test_a_service_of_any_name_is_found_by_it(served, stored, name):
    coded = quote(name, safe="")
    async with served() as web:
        await stored(web, (name, name, 2, 3))
        for path in (
            f"{PATH}/services/{coded}?operation={coded}",
            f"{PATH}/series?service={coded}&operation={coded}",
            f"{PATH}/dashboard?services={coded}",
            f"{PATH}/export?format=csv&services={coded}",
            f"/health/ai-services/{coded}",
        ):
            async with web.session.get(URL(web.url + path, encoded=True)) as answer:
                assert answer.status == 200, path
        async with web.session.get(URL(f"{web.url}{PATH}/services/{coded}", encoded=True)) as answer:
            assert (await answer.json())["serviceName"] == name


async def test_no_id_of_discord_leaves_and_odd_metadata_does_no_harm(served, stored):
    user, guild = IDS
    deep = "x"
    for _ in range(60):
        deep = [deep]
    odd = {
        "user": int(user),
        f"guild {guild}": [guild, {"at": f"<@{user}>"}],
        "deep": deep,
        "half": "\ud800",
        "n": float("nan"),
    }
    async with served() as web:
        await stored(web, ("a", "x", 1, 5, 1, f"Unknown member {user} in {guild}", odd))
        texts = [(await web.get(f"{PATH}/{path}")).text for path in ("operations", "errors", "services/a", "dashboard")]
    assert not any(one in text for one in IDS for text in texts)
    shown = json.loads(texts[0])["operations"][0]
    assert shown["error"] == "Unknown member [id] in [id]"
    assert shown["metadata"]["user"] == "[id]"
    assert shown["metadata"]["n"] == "nan"


async def test_failures_are_grouped_by_what_they_say(served, stored):
    async with served() as web:
        await stored(
            web, *(("a", "x", 5, 5, 1, f"timeout after {number} s") for number in range(7)), ("a", "x", 4, 1, 2, "502")
        )
        answer = (await web.get(f"{PATH}/errors?service=a")).json()
    assert [(one["error"], one["count"], one["outcome"]) for one in answer["groups"]] == [
        ("timeout after # s", 7, "error"),
        ("#", 1, "upstream"),
    ]
    assert not answer["truncated"]


async def test_gauges_are_thinned_and_the_newest_of_all_are_returned(served):
    async with served() as web:
        from cogmeter.query.query import now_us

        begin_us = now_us() - 3_000_000_000
        for number in range(1000):
            await web.monitor.store.add_samples(begin_us + number * 2_900_000, {"loop.lag_p99_ms": number % 10})
        web.monitor.gauges = {"loop.lag_p99_ms": 1.5}
        answer = (await web.get(f"{PATH}/gauges?names=loop.lag_p99_ms,none")).json()
    lag = answer["gauges"]["loop.lag_p99_ms"]
    assert 100 < len(lag["timestamps"]) <= 201
    assert (min(lag["lowest"]), max(lag["highest"])) == (0, 9)
    assert answer["gauges"]["none"]["timestamps"] == []
    assert answer["latest"]["loop.lag_p99_ms"] == 1.5


async def test_stalls_and_loops_return_what_was_recorded(served, stored):
    stack = {"stack": ["cogs/music.py:88:search", "cogs/music.py:20:play"], "during": "play"}
    async with served() as web:
        empty = (await web.get(f"{PATH}/stalls")).json()
        await stored(
            web,
            ("discord.stalls", "cogs/music.py:88 search", 9, 900, 0, None, stack),
            ("discord.stalls", "cogs/music.py:88 search", 8, 300, 0, None, stack),
            ("discord.tasks", "Music.refresh", 7, 12),
        )
        stalls = (await web.get(f"{PATH}/stalls")).json()
        loops = (await web.get(f"{PATH}/loops")).json()
    assert empty["recent"] == []
    assert [one["duration"] for one in stalls["recent"]] == [300, 900]
    assert [one["duration"] for one in stalls["longest"]] == [900, 300]
    assert stalls["recent"][0]["stack"] == stack["stack"]
    assert stalls["places"]["cogs/music.py:88 search"]["totalOperations"] == 2
    assert [(one["name"], one["state"]) for one in loops["loops"]] == [("Music.refresh", "ok")]


async def test_traces_contain_their_spans(served):
    from cogmeter.query.query import now_us
    from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

    span = SpanRecord(1, 0, "knowledge-graph", "query", 250_000, 1_000_000, Outcome.OK)
    trace = TraceRecord(now_us() - 1, "discord.commands", "ask", 1_500_000, Outcome.ERROR, "boom", 2, (span,))
    async with served() as web:
        await web.monitor.store.series_ids([("discord.commands", "ask")])
        await web.monitor.store.add_traces([trace])
        (one,) = (await web.get(f"{PATH}/traces?service=discord.commands&operation=ask")).json()["traces"]
    assert (one["duration"], one["error"], one["spansLeftOut"]) == (1500, "boom", 2)
    assert one["spans"][0] == {
        "id": 1, "parent": 0, "service": "knowledge-graph", "operation": "query",
        "start": 250, "duration": 1000, "outcome": "ok",
    }  # fmt: skip


async def test_costs_are_by_day_service_and_model(served):
    async with served() as web:
        for model in ("small", "large", "large"):
            web.monitor.recorder.record(
                "graph", "query", duration_ms=1, metadata={"model": model, "cost_usd": 0.25, "tokens_in": 100}
            )
        await web.flushed()
        answer = (await web.get(f"{PATH}/costs")).json()
    assert answer["total"] == {
        "operations": 3,
        "tokensIn": 300,
        "tokensOut": 0,
        "cachedTokens": 0,
        "costUsd": 0.75,
        "costMicroUsd": 750_000,
        "unpricedOperations": 0,
    }
    assert sum(one["costMicroUsd"] for one in answer["groups"]) == 750_000
    assert [(one["service"], one["model"], one["costUsd"]) for one in answer["lines"]] == [
        ("graph", "large", 0.5),
        ("graph", "small", 0.25),
    ]
