"""The guide's examples of exports, to the letter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter_storage.model import DAY_US

MS = 1000


@pytest.fixture
def two(at):
    return [
        ("sentiment-analysis", "analyze", at("2025-08-17T10:00:00Z"), 145 * MS, 0, None, None),
        ("context-memory", "retrieve", at("2025-08-17T10:00:01Z"), 234 * MS, 1, "timeout", None),
    ]


async def test_csv(filled, written, two):
    async with filled(two) as store:
        assert await written("csv", store) == (
            "timestamp,service,operation,duration,success,error\n"
            "2025-08-17T10:00:00Z,sentiment-analysis,analyze,145,true,\n"
            '2025-08-17T10:00:01Z,context-memory,retrieve,234,false,"timeout"\n'
        )


async def test_json(filled, written, two, at):
    async with filled(two) as store:
        text = await written(
            "json",
            store,
            since_us=at("2025-08-16T00:00:00Z"),
            until_us=at("2025-08-17T00:00:00Z") + DAY_US,
            at_us=at("2025-08-17T10:30:00Z"),
        )
    document = json.loads(text)
    assert list(document) == ["exportTime", "timeRange", "metrics"]
    assert document["exportTime"] == "2025-08-17T10:30:00Z"
    assert document["timeRange"]["since"] == "2025-08-16T00:00:00Z"
    assert document["timeRange"]["until"] == "2025-08-17T23:59:59Z"
    metrics = document["metrics"]
    assert list(metrics) == ["totalOperations", "services", "timeline", "commands"]
    assert metrics["totalOperations"] == 2
    assert list(metrics["services"]) == ["context-memory", "sentiment-analysis"]
    memory = metrics["services"]["context-memory"]
    assert list(memory) == ["operations", "stats"]
    assert memory["operations"] == [
        {
            "operationId": "op_2",
            "service": "context-memory",
            "operation": "retrieve",
            "startTime": "2025-08-17T10:00:00.766Z",
            "endTime": "2025-08-17T10:00:01Z",
            "duration": 234,
            "success": False,
            "outcome": "error",
            "error": "timeout",
            "metadata": {},
        }
    ]
    guides = ("totalOperations", "successfulOperations", "failedOperations", "averageResponseTime", "errorRate")
    assert [memory["stats"][name] for name in guides] == [1, 0, 1, 234, 1]
    (hour,) = metrics["timeline"]
    assert hour["timestamp"] == "2025-08-17T10:00:00Z"
    assert [hour[name] for name in guides] == [2, 1, 1, 189.5, 0.5]


@pytest.fixture
def measured(at):
    start_us = at("2025-08-17T10:00:00Z")
    return [
        ("sentiment-analysis", "analyze", start_us + i, (100 if i < 145 else 101 + i) * MS, int(i < 3), None, None)
        for i in range(234)
    ]


async def test_prometheus(filled, written, measured):
    async with filled(measured) as store:
        text = await written("prometheus", store)
    assert text.startswith(
        "# HELP chatterbot_operations_total Total number of operations\n"
        "# TYPE chatterbot_operations_total counter\n"
        'chatterbot_operations_total{service="sentiment-analysis"} 234\n'
        "\n"
        "# HELP chatterbot_operation_duration_seconds Operation duration\n"
        "# TYPE chatterbot_operation_duration_seconds histogram\n"
    )
    assert '\nchatterbot_operation_duration_seconds_bucket{service="sentiment-analysis",le="0.1"} 145\n' in text


@pytest.mark.skipif(
    shutil.which("promtool") is None and not os.environ.get("COGMETER_TEST_ALL"), reason="needs promtool (prometheus)"
)
async def test_prometheus_itself_finds_no_fault(filled, written, measured):
    rows = [('a "b" \\ c\nd', "e\N{SNOWMAN}", *row[2:]) if i % 2 else row for i, row in enumerate(measured)]
    async with filled(rows) as store:
        text = await written("prometheus", store)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text.encode(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_formats_have_their_names_media_types_and_endings():
    assert {one.name: (one.media_type.split(";")[0], one.suffixes[0]) for one in map(exporter, EXPORTERS)} == {
        "json": ("application/json", "json"),
        "ndjson": ("application/x-ndjson", "ndjson"),
        "csv": ("text/csv", "csv"),
        "prometheus": ("text/plain", "prom"),
    }
