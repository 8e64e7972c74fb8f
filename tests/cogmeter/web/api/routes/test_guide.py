"""The guide's examples: each URL, and the JSON shape of its answer."""

import gzip
import json
import re

import pytest

PATH = "/api/performance"


def like(example, answer, place=""):
    """The answer has every field of the example, of the same type, and may have more."""
    if isinstance(example, dict):
        assert set(example) <= set(answer), place
        for key, value in example.items():
            like(value, answer[key], f"{place}.{key}")
    elif isinstance(example, list):
        assert isinstance(answer, list), place
        for one in answer:
            like(example[0], one, f"{place}[]")
    elif isinstance(example, bool | str):
        assert type(answer) is type(example), place
    else:
        assert type(answer) in {int, float}, place


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


async def test_the_dashboard_is_the_guides(served, stored, breach):
    example = {
        "overallStats": {
            "totalOperations": 1247,
            "averageResponseTime": 1234,
            "overallErrorRate": 0.028,
            "activeServices": 12,
        },
        "serviceStats": {
            "core-intelligence": {
                "totalOperations": 456,
                "successfulOperations": 446,
                "failedOperations": 10,
                "averageResponseTime": 2145,
                "errorRate": 0.022,
            }
        },
        "alerts": [
            {
                "type": "error_rate",
                "service": "knowledge-graph",
                "message": "Error rate exceeds threshold",
                "threshold": 0.05,
                "current": 0.078,
                "timestamp": "2025-08-17T10:30:00Z",
            }
        ],
    }
    async with served() as web:
        await stored(web, *(("core-intelligence", "process", 5, 2145, int(number < 10)) for number in range(456)))
        await breach(web)
        answer = (await web.get(f"{PATH}/dashboard")).json()
    like(example, answer)
    assert list(answer)[:3] == list(example)
    assert list(answer["overallStats"])[:4] == list(example["overallStats"])
    core = {
        key: answer["serviceStats"]["core-intelligence"][key] for key in example["serviceStats"]["core-intelligence"]
    }
    assert core == example["serviceStats"]["core-intelligence"]
    assert answer["overallStats"]["totalOperations"] == 956
    assert answer["overallStats"]["overallErrorRate"] == round(49 / 956, 3)
    assert answer["overallStats"]["activeServices"] == 2
    (alert,) = [one for one in answer["alerts"] if one["type"] == "error_rate"]
    assert list(alert)[:6] == list(example["alerts"][0])
    assert (alert["threshold"], alert["current"]) == (0.05, 0.078)
    assert alert["message"] == "Error rate of 7.8% exceeds threshold of 5%"
    assert TIME.fullmatch(alert["timestamp"])


async def test_a_services_statistics_are_the_guides(served, stored):
    async with served() as web:
        await stored(
            web,
            *(
                ("sentiment-analysis", "analyze", 6, 145, int(number < 3), "x" if number < 3 else None)
                for number in range(233)
            ),
            ("sentiment-analysis", "batch", 5, 156),
        )
        answer = (await web.get(f"{PATH}/services/sentiment-analysis")).json()
        one = (await web.get(f"{PATH}/services/sentiment-analysis?operation=batch")).json()
    guide = {
        "serviceName": "sentiment-analysis",
        "totalOperations": 234,
        "successfulOperations": 231,
        "failedOperations": 3,
        "averageResponseTime": 145.047,
        "errorRate": 0.013,
    }
    assert {key: answer[key] for key in guide} == guide
    recent = answer["recentOperations"][0]
    assert (recent["duration"], recent["success"]) == (156, True)
    assert re.fullmatch(r"op_\d+", recent["operationId"])
    assert TIME.fullmatch(recent["startTime"])
    assert len(answer["recentOperations"]) == 20
    assert [error["error"] for error in answer["recentErrors"]] == ["x"] * 3
    assert list(answer["operations"]) == ["analyze", "batch"]
    assert (one["totalOperations"], one["operation"], list(one["operations"])) == (1, "batch", ["batch"])


async def test_the_export_is_the_guides(seeded):
    async with seeded() as web:
        answer = (await web.get(f"{PATH}/export?format=json&services=context-memory,sentiment-analysis")).json()
    like(
        {
            "exportTime": "2025-08-17T10:30:00Z",
            "timeRange": {"since": "2025-08-16T00:00:00Z", "until": "2025-08-17T23:59:59Z"},
            "metrics": {"totalOperations": 1247, "services": {}, "timeline": [{}]},
        },
        answer,
    )
    assert list(answer["metrics"]["services"]) == ["context-memory", "sentiment-analysis"]
    assert answer["metrics"]["totalOperations"] == 360
    assert len(answer["metrics"]["services"]["context-memory"]["operations"]) == 180


async def test_a_plain_day_includes_itself(seeded):
    async with seeded() as web:
        answer = (await web.get(f"{PATH}/export?format=json&since=2025-08-16&until=2025-08-17")).json()
    assert answer["timeRange"]["since"] == "2025-08-16T00:00:00Z"
    assert answer["timeRange"]["until"] == "2025-08-17T23:59:59Z"


async def test_csv_and_prometheus_begin_as_in_the_guide(seeded):
    async with seeded() as web:
        csv = await web.get(f"{PATH}/export?format=csv")
        prometheus = await web.get(f"{PATH}/export?format=prometheus")
    assert csv.headers["Content-Type"] == "text/csv; charset=utf-8"
    header, *lines = csv.text.splitlines()
    assert header == "timestamp,service,operation,duration,success,error"
    assert len(lines) == 900
    assert any(line.endswith(',context-memory,retrieve,234,false,"timeout"') for line in lines)
    assert "# HELP chatterbot_operations_total Total number of operations" in prometheus.text
    assert 'chatterbot_operations_total{service="sentiment-analysis"} 180' in prometheus.text


@pytest.mark.parametrize(
    ("format_", "ending"), [("json", "json"), ("csv", "csv"), ("ndjson", "ndjson"), ("prometheus", "prom")]
)
async def test_an_export_is_a_file_and_packed_on_request(seeded, format_, ending):
    async with seeded() as web:
        path = f"{PATH}/export?format={format_}&until=2026-01-01"
        plain = await web.get(path, headers={"Accept-Encoding": "identity"})
        async with web.session.get(
            web.url + path, headers={"Accept-Encoding": "gzip"}, auto_decompress=False
        ) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            packed = gzip.decompress(await answer.read())
        refused = await web.get(path, headers={"Accept-Encoding": "gzip;q=0, br"})
    assert re.fullmatch(
        rf'attachment; filename="performance-\d{{4}}-\d\d-\d\d\.{ending}"', plain.headers["Content-Disposition"]
    )
    assert "Content-Encoding" not in refused.headers
    without_time = re.compile(rb'"exportTime":"[^"]*"')
    assert without_time.sub(b"", packed) == without_time.sub(b"", plain.body)


async def test_the_format_of_an_export_that_names_none_is_the_settings(seeded):
    async with seeded(export_format="csv") as web:
        assert (await web.get(f"{PATH}/export")).text.startswith("timestamp,")


async def test_what_is_packed_is_whole(seeded):
    async with seeded() as web:
        answer = await web.get(f"{PATH}/export?format=ndjson", headers={"Accept-Encoding": "gzip"})
    assert len([json.loads(line) for line in answer.text.splitlines()]) == 900


@pytest.mark.parametrize("format_", ["json", "csv", "ndjson", "prometheus"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_export_that_cannot_begin_is_a_problem_and_no_half_file(seeded, format_, encoding):
    async with seeded() as web:
        await web.monitor.store.close()
        answer = await web.get(f"{PATH}/export?format={format_}", headers={"Accept-Encoding": encoding})
    assert answer.status == 503
    assert answer.problem["title"] == "Not available"
    assert "Content-Disposition" not in answer.headers
