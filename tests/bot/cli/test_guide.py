"""Each example of the guide's command line has its counterpart here, to the letter."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cogmeter.recording.buffer import DROPPED

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
MINUTE_US = 60_000_000
SUMMARY = """\
Performance Summary (Last 24 Hours)
===================================
Total Operations: 1,247
Success Rate: 97.2%
Average Response Time: 1,234ms
Error Rate: 2.8%
Active Services: 12

Top Services by Volume:
1. core-intelligence: 456 ops (97.8% success)
2. sentiment-analysis: 234 ops (98.7% success)
3. context-memory: 198 ops (96.5% success)
"""
STATS = """\
Sentiment Analysis Service Statistics
===================================
Total Operations: 234
Successful: 231 (98.7%)
Failed: 3 (1.3%)
Average Response Time: 145ms
95th Percentile: 267ms
99th Percentile: 412ms

Recent Errors:
- 2025-08-17 10:23:45: Rate limit exceeded
- 2025-08-17 09:15:22: Invalid input format
"""


def day(now_us):
    """The guide's day: 1,247 operations of 12 services, 35 failed, 1,234 ms on average; none slow enough to alert."""
    counts = [("core-intelligence", 456, 10), ("sentiment-analysis", 234, 3), ("context-memory", 198, 7)]
    counts += [(f"service-{number}", 40 if number < 8 else 39, 2 if number < 6 else 1) for number in range(9)]
    rows, place = [], 0
    for service, count, failed in counts:
        for one in range(count):
            place += 1
            rows.append(
                (service, "run", now_us - (1_300 - place) * MINUTE_US, 1_234_000, int(one < failed), None, None)
            )
    return rows


def test_summary(cogmeter, seed, now_us):
    rows = day(now_us)
    assert (len(rows), sum(row[4] for row in rows)) == (1_247, 35)
    seed(rows)
    assert cogmeter("summary")[:2] == (0, SUMMARY)


def test_summary_says_how_many_operations_were_dropped(cogmeter, seed, now_us):
    async def lose(store):
        await store.add_samples(now_us - MINUTE_US, {DROPPED: 2_000.0})
        await store.add_samples(now_us, {DROPPED: 500.0})

    seed(day(now_us), work=lose)
    said = "Dropped Operations: 2,500 (the buffer was full: raise PERFORMANCE_MAX_BUFFER_MB)\n"
    assert cogmeter("summary")[:2] == (0, SUMMARY.replace("Services: 12\n", f"Services: 12\n{said}"))
    code, output, _ = cogmeter("summary", "--json")
    assert (code, json.loads(output)["overallStats"]["droppedOperations"]) == (0, 2_500)


def sentiment(at):
    """234 operations: 145 ms on average, the 95th percentile 267 ms, the 99th 412 ms."""
    took = [412.0] * 3 + [267.0] * 12
    took += [(145 * 234 - sum(took)) / 219] * 219
    ends = [at("2025-08-17T11:00:00Z") - place * MINUTE_US for place in range(234)]
    rows = [
        ["sentiment-analysis", "analyze", end, round(ms * 1000), 0, None, None]
        for end, ms in zip(ends, took, strict=True)
    ]
    for row, when, error in (
        (rows[0], "2025-08-17T10:23:45Z", "Rate limit exceeded"),
        (rows[1], "2025-08-17T09:15:22Z", "Invalid input format"),
        (rows[2], "2025-08-17T01:00:00Z", "Invalid input format"),
    ):
        row[2], row[4], row[5] = at(when), 1, error
    return [tuple(row) for row in rows]


def test_stats_of_a_service(cogmeter, seed, at):
    seed(sentiment(at))
    code, out, err = cogmeter("stats", "sentiment-analysis", "--since", "2025-08-17", "--until", "2025-08-17")
    assert (code, err) == (0, "")
    lines, guides = out.splitlines(), STATS.splitlines()
    for place, wanted in ((6, 267), (7, 412)):  # percentiles are exact to 1%
        label, _, value = lines[place].partition(": ")
        assert abs(float(value.removesuffix("ms")) - wanted) <= 0.01 * wanted + 0.5
        lines[place] = f"{label}: {wanted}ms"
    assert lines == [*guides, "- 2025-08-17 01:00:00: Invalid input format"]


def test_stats_of_an_operation(cogmeter, seed, at):
    seed(sentiment(at))
    asked = ("stats", "sentiment-analysis", "--operation", "analyze", "--since", "2025-08-17", "--until", "2025-08-17")
    code, out, _ = cogmeter(*asked)
    assert code == 0
    assert out.startswith("Sentiment Analysis / analyze Service Statistics\n=====")
    answer = json.loads(cogmeter(*asked, "--json")[1])
    guides = ("serviceName", "totalOperations", "successfulOperations", "failedOperations", "averageResponseTime")
    assert [answer[name] for name in guides] == ["sentiment-analysis", 234, 231, 3, 145]
    assert answer["errorRate"] == 0.013


@pytest.fixture
def two(at):
    return [
        ("sentiment-analysis", "analyze", at("2025-08-17T10:00:00Z"), 145_000, 0, None, None),
        ("context-memory", "retrieve", at("2025-08-17T10:00:01Z"), 234_000, 1, "timeout", None),
        ("core-intelligence", "process", at("2025-08-18T10:00:01Z"), 1_000, 0, None, None),
    ]


def test_export_of_everything_as_json(terminal, seed, two, tmp_path):
    seed(two)
    said, code = terminal("export")
    assert code == 0
    assert "Wrote performance-export.json (3 operations, " in said
    document = json.loads((tmp_path / "performance-export.json").read_text())
    assert document["metrics"]["totalOperations"] == 3
    assert list(document["metrics"]["services"]) == ["context-memory", "core-intelligence", "sentiment-analysis"]


def test_an_export_of_a_time_range_contains_both_days(cogmeter, seed, two):
    seed(two)
    code, out, _ = cogmeter("export", "--since=2025-08-16", "--until=2025-08-17", "-o", "-")
    document = json.loads(out)
    assert code == 0
    assert document["timeRange"]["since"] == "2025-08-16T00:00:00Z"
    assert document["timeRange"]["until"] == "2025-08-17T23:59:59Z"
    assert document["metrics"]["totalOperations"] == 2


def test_export_as_csv_and_prometheus(terminal, seed, two, tmp_path):
    seed(two)
    assert terminal("export", "--format=csv")[1] == 0
    assert (
        (tmp_path / "performance-export.csv")
        .read_text()
        .startswith(
            "timestamp,service,operation,duration,success,error\n"
            "2025-08-17T10:00:00Z,sentiment-analysis,analyze,145,true,\n"
            '2025-08-17T10:00:01Z,context-memory,retrieve,234,false,"timeout"\n'
        )
    )
    assert terminal("export", "--format=prometheus")[1] == 0
    text = (tmp_path / "performance-export.prom").read_text()
    assert 'chatterbot_operations_total{service="sentiment-analysis"} 1\n' in text


def test_an_export_into_a_pipe_needs_no_option(cogmeter, seed, two, tmp_path):
    seed(two)
    code, out, err = cogmeter("export", "--format=csv")
    assert (code, err) == (0, "")
    assert out.startswith("timestamp,service,operation,duration,success,error\n2025-08-17T10:00:00Z,")
    assert not list(tmp_path.glob("performance-export*"))


def test_export_of_services(cogmeter, seed, two):
    seed(two)
    _, out, _ = cogmeter("export", "--services=core-intelligence,sentiment-analysis", "-o", "-")
    assert list(json.loads(out)["metrics"]["services"]) == ["core-intelligence", "sentiment-analysis"]


def test_live(cogmeter, seed, now_us):
    seed([("core-intelligence", "process", now_us - 1_000_000, 5_000_000, 1, "timeout", None)])
    code, out, err = cogmeter("live", "--count", "2", "--interval", "0.5")
    assert (code, err) == (0, "")
    assert out.count("Live (data/performance.db)\n====") == 2
    assert "Errors: 1 of 1 (100%)\n" in out
    assert "\nActive Alerts (0):\nnone\n" in out
    assert ": core-intelligence / process: timeout\n" in out


def block(language, holding):
    """The code of the page's block that holds this text."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL) if holding in text]
    assert len(found) == 1
    return found[0]


def test_the_guides_pandas_example_with_its_line_more_runs_on_our_file(cogmeter, seed, two, tmp_path, needed):
    needed(importlib.util.find_spec("pandas"), "pandas")
    seed(two)
    cogmeter("export", "-o", "performance-export.json")
    done = subprocess.run(
        [sys.executable, "-c", block("python", "pandas")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.search(r"Average response times by service:\nservice\ncontext-memory +234", done.stdout)
    assert re.search(r"Error rates by service:\nservice\ncontext-memory +1.0", done.stdout)


def test_the_guides_sql_example_runs_on_our_file(cogmeter, seed, two, tmp_path):
    seed([*two, ("context-memory", "retrieve", two[1][2] + 1, 236_000, 0, None, None)])
    cogmeter("export", "-o", "performance-export.csv")
    with (tmp_path / "performance-export.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    text = block("sql", "CREATE TABLE")
    statements = [one.strip() for one in re.sub(r"(?m)^\.import.*$", "", text).split(";") if one.strip()]
    raw = sqlite3.connect(":memory:")
    answers = []
    for statement in statements:
        answers.append(raw.execute(statement).fetchall())
        if statement.startswith("CREATE"):  # what the .import of the sqlite3 program does
            raw.executemany("INSERT INTO performance_data VALUES (?, ?, ?, ?, ?, ?)", rows)
    assert answers[-2:] == [
        [("context-memory", 236.0), ("sentiment-analysis", 145.0), ("core-intelligence", 1.0)],
        [("context-memory", 1)],
    ]
