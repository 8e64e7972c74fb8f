"""What leaves by an export is what is stored: every row, every figure, whatever the names."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter.exporters import csv_table
from cogmeter.exporters.base import Export, milliseconds
from cogmeter.exporters.prometheus import BOUNDS_S
from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter.times import iso
from cogmeter_storage import Outcome, Retention, StorageError
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, MINUTE_US

NOON = 1_750_075_200_000_000
HOSTILE = [
    "<script>alert(1)</script>",
    "say \"yes\", or 'no'",
    "two\nlines\r\nthree\rfour",
    "nothing\0after",
    "\N{SNOWMAN}\U0001f600\u202e",
    "back\\slash\\n",
    "=cmd|' /C calc'!A0",
    "'=already",
    "@sum",
    "-1",
    " +1",
    "\ttab",
    '{service="x"} 1\nfake_total 9',
    "]]>&amp;%00;",
    "",
]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
METADATA = st.one_of(
    st.none(), st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.booleans(), st.lists(TEXTS)), max_size=3)
)
ROWS = st.lists(
    st.tuples(
        TEXTS,
        TEXTS,
        st.sampled_from([0, 1, 999, 1_000_000, MINUTE_US, HOUR_US, 2 * DAY_US + 7]),
        st.one_of(st.integers(0, 10**9), st.sampled_from([0, 1, 1000, 145_000])),
        st.sampled_from(Outcome),
        st.one_of(st.none(), TEXTS.filter(bool)),
        METADATA,
    ),
    max_size=30,
)


def in_time(rows):
    """The rows with end times from their gaps, and the metadata as JSON."""
    made, end_us = [], NOON
    for service, operation, gap_us, duration_us, outcome, error, metadata in rows:
        end_us += gap_us
        text = json.dumps(metadata) if metadata else None
        made.append((service, operation, end_us, duration_us, int(outcome), error, text))
    return made


def microseconds(text):
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_back(record):
    """A row from the JSON object of an operation."""
    end_us, duration_us = microseconds(record["endTime"]), round(record["duration"] * 1000)
    assert microseconds(record["startTime"]) == end_us - duration_us
    outcome = Outcome[record["outcome"].upper()]
    assert record["success"] is (outcome not in FAILURES)
    return (
        int(record["operationId"].removeprefix("op_")),
        record["service"],
        record["operation"],
        end_us,
        duration_us,
        outcome,
        record["error"],
        record["metadata"],
    )


def stored(rows):
    return [(number, *row[:6], json.loads(row[6]) if row[6] else {}) for number, row in enumerate(rows, 1)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_what_is_written_is_what_is_stored(filled, written, rows):
    rows = in_time(rows)

    async def check():
        async with filled(rows) as store:
            lines = (await written("ndjson", store)).splitlines()
            assert [read_back(json.loads(line)) for line in lines] == stored(rows)
            services = json.loads(await written("json", store))["metrics"]["services"]
            assert list(services) == sorted({row[0] for row in rows})
            for name, service in services.items():
                expected = [one for one in stored(rows) if one[1] == name]
                assert [read_back(one) for one in service["operations"]] == expected
            table = csv.DictReader(io.StringIO(await written("csv", store), newline=""))
            assert [
                (
                    *(csv_table.unguarded(line[name]) for name in ("service", "operation")),
                    microseconds(line["timestamp"]),
                    round(float(line["duration"]) * 1000),
                    line["success"],
                    csv_table.unguarded(line["error"]) or None,
                )
                for line in table
            ] == [(*row[:4], "false" if row[4] in FAILURES else "true", row[5]) for row in rows]

    asyncio.run(check())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.one_of(st.just(0), st.integers(-60, 60)), st.booleans())
def test_figures_agree_with_a_plain_list(filled, written, rows, minutes, folded):
    rows = in_time(rows)
    since_us = NOON + minutes * MINUTE_US if minutes else 0

    async def check():
        async with filled(rows) as store:
            if folded and rows:
                await store.fold(now_us=rows[-1][2] + DAY_US)
            return json.loads(await written("json", store, since_us=since_us))

    metrics = asyncio.run(check())["metrics"]
    wanted = [row for row in rows if row[2] >= since_us]
    assert metrics["totalOperations"] == len(wanted)
    assert list(metrics["services"]) == sorted({row[0] for row in wanted})
    for name, service in metrics["services"].items():
        assert_figures(service["stats"], [row for row in wanted if row[0] == name])
    hours = sorted({row[2] // HOUR_US * HOUR_US for row in wanted})
    starts = [microseconds(one["timestamp"]) for one in metrics["timeline"]]
    assert starts == [max(hour, since_us) for hour in hours]
    for hour, figures in zip(hours, metrics["timeline"], strict=True):
        assert_figures(figures, [row for row in wanted if row[2] // HOUR_US * HOUR_US == hour])


def assert_figures(figures, rows):
    failed = sum(row[4] in FAILURES for row in rows)
    durations = sorted(row[3] for row in rows)
    assert figures["totalOperations"] == len(rows)
    assert figures["successfulOperations"] == len(rows) - failed
    assert figures["failedOperations"] == failed
    assert figures["errorRate"] == pytest.approx(failed / len(rows), abs=1e-6)
    assert figures["averageResponseTime"] == pytest.approx(sum(durations) / len(rows) / 1000, abs=6e-4)
    assert figures["maxResponseTime"] == durations[-1] / 1000
    median = durations[(len(rows) + 1) // 2 - 1] / 1000
    assert abs(figures["p50ResponseTime"] - median) <= median * 0.01 + 6e-4


@pytest.mark.parametrize("name", EXPORTERS)
async def test_only_the_requested_range_and_services_are_exported(name, filled, written):
    rows = [(f"service{i % 3}", "op", NOON + i * MINUTE_US, 5000, 0, None, None) for i in range(90)]
    async with filled(rows) as store:
        asked = {"since_us": NOON + 10 * MINUTE_US, "until_us": NOON + 40 * MINUTE_US}
        text = await written(name, store, **asked, services={"service1", "unknown"})
        assert ("service0" in text, "service1" in text, "unknown" in text) == (False, True, False)
        if name == "prometheus":
            assert 'operations_total{service="service1"} 10\n' in text
        else:
            assert len(re.findall(r"T12:\d\d:00Z,s|endTime", text)) == 10
        nothing = await written(name, store, services=[])
        assert "service0" not in nothing
        assert nothing == await written(name, store, services={"unknown"})


@pytest.mark.parametrize("name", EXPORTERS)
async def test_an_empty_store_makes_an_export_without_operations(name, filled, written):
    async with filled([]) as store:
        text = await written(name, store)
    if name == "json":
        assert json.loads(text)["metrics"] == {
            "totalOperations": 0,
            "services": {},
            "commands": [],
            "timeline": [],
        }
    else:
        assert [line for line in text.splitlines() if line and not line.startswith("#")] == (
            [csv_table.HEADER] if name == "csv" else []
        )


@pytest.mark.parametrize("name", EXPORTERS)
async def test_a_range_that_ends_before_it_begins_is_empty(name, filled, written):
    async with filled([("a", "b", NOON, 5000, 0, None, None)]) as store:
        text = await written(name, store, since_us=NOON + DAY_US, until_us=NOON - DAY_US)
    assert '"a"' not in text


async def test_figures_outlive_the_operations_they_count_and_say_what_they_cover(filled, written):
    rows = [("a", "b", NOON + i * HOUR_US, 5000, 0, None, None) for i in range(20 * 24)]
    async with filled(rows) as store:
        now_us = rows[-1][2] + MINUTE_US
        await store.append([], now_us=now_us)
        await store.fold(now_us=now_us)
        await store.clean(Retention(raw_hours=24, hour_hours=10 * 24), now_us=now_us)
        document = json.loads(await written("json", store, since_us=NOON + 90 * MINUTE_US))
    metrics, covered = document["metrics"], document["timeRange"]
    assert covered["figuresSince"] == iso(NOON - NOON % DAY_US)  # whole days alone are kept of that time
    assert metrics["totalOperations"] == metrics["services"]["a"]["stats"]["totalOperations"] == 480
    assert len(metrics["services"]["a"]["operations"]) == 25
    assert sum(one["totalOperations"] for one in metrics["timeline"]) == 480
    assert metrics["timeline"][0]["totalOperations"] == 12
    assert metrics["timeline"][-1]["totalOperations"] == 1


async def test_json_has_the_figures_of_commands_by_name(filled, written):
    rows = [
        ("discord.commands", "ask", NOON, 4_000_000, 0, None, None),
        ("discord.commands", "help", NOON + 1, 1_000, 0, None, None),
        ("discord.commands", "ask", NOON + 2, 2_000_000, 1, "late", None),
        ("discord.replies", "on_message", NOON + 3, 9_000_000, 0, None, None),
        ("graph", "query", NOON + 4, 1_000, 0, None, None),
    ]
    async with filled(rows) as store:
        metrics = json.loads(await written("json", store))["metrics"]
        others = json.loads(await written("json", store, services=["graph"]))["metrics"]
    ask, *rest = metrics["commands"]
    assert ask == {
        "name": "/ask",
        "service": "discord.commands",
        "operation": "ask",
        **{key: ask[key] for key in metrics["services"]["graph"]["stats"]},
    }
    assert (ask["totalOperations"], ask["failedOperations"], ask["averageResponseTime"]) == (2, 1, 3000)
    assert [one["name"] for one in rest] == ["/help", "reply on_message"]
    assert metrics["services"]["discord.commands"]["stats"]["totalOperations"] == 3
    assert others["commands"] == []


async def test_the_histogram_is_cumulative_and_counts_what_took_exactly_a_bound(filled, written):
    rows = [("a", "b", NOON, int(bound * 1e6), 0, None, None) for bound in BOUNDS_S]
    rows += [("a", "b", NOON, 3_600_000_000, 0, None, None)]
    async with filled(rows) as store:
        text = await written("prometheus", store, namespace="mybot")
    found = re.findall(
        r'^mybot_operation_duration_seconds_bucket\{service="a",le="([^"]+)"\} (\d+)$', text, re.MULTILINE
    )
    expected = [(str(bound), str(place)) for place, bound in enumerate(BOUNDS_S, 1)]
    assert found == [*expected, ("+Inf", str(len(rows)))]
    assert f'mybot_operation_duration_seconds_sum{{service="a"}} {sum(row[3] for row in rows) / 1e6}\n' in text
    assert f'mybot_operation_duration_seconds_count{{service="a"}} {len(rows)}\n' in text
    assert "chatterbot" not in text


async def test_a_label_cannot_break_out_of_its_line(filled, written):
    async with filled([(name, "b", NOON, 5000, 0, None, None) for name in HOSTILE]) as store:
        text = await written("prometheus", store)
    sample = re.compile(r'chatterbot_\w+\{service="(?:[^"\\\n]|\\["\\n])*"(?:,le="[\d.+Inf]+")?\} [\d.]+')
    for line in text.split("\n"):
        assert not line or line.startswith("# ") or sample.fullmatch(line), line
    assert text.count("chatterbot_operations_total{") == len(set(HOSTILE))


async def test_metadata_that_json_has_no_word_for_is_still_written(filled, written):
    texts = ['{"a": NaN, "b": [-Infinity, 1e999]}', '{"half": "\\ud800"}', '["no", "object"]', "no JSON at all"]
    rows = [("a", "b", NOON, 1, 0, None, text) for text in texts]

    def refuse(constant):
        raise AssertionError(constant)

    async with filled(rows) as store:
        lines = (await written("ndjson", store)).splitlines()
    assert [json.loads(line, parse_constant=refuse)["metadata"] for line in lines] == [
        {"a": "NaN", "b": ["-Infinity", "Infinity"]},
        {"half": "\ud800"},
        {"metadata": ["no", "object"]},
        {"metadata": "no JSON at all"},
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text):
    shown = csv_table.guarded(text)
    assert not re.match(r"[\s\0]*[=+\-@]|[\t\r\n]", shown)
    assert csv_table.unguarded(shown) == text
    assert shown == text or shown == f"'{text}"


@given(st.text(st.sampled_from("'=+-@ \t\ra"), max_size=6))
def test_a_guarded_text_comes_back(text):
    assert csv_table.unguarded(csv_table.guarded(text)) == text


@pytest.mark.slow
async def test_all_formats_keep_at_most_a_few_chunks_in_memory(filled):
    rows = 40_000
    metadata = json.dumps({"model": "m", "tokens_in": 512})
    made = [("a" if i % 2 else "b", "op", NOON + i * 1_000_000, i, i % 5, None, metadata) for i in range(rows)]
    async with filled(made) as store:
        del made
        await store.fold(now_us=NOON + rows * 1_000_000)
        for name in EXPORTERS:
            export = Export(since_us=0, until_us=2**62, at_us=NOON)
            tracemalloc.start()
            try:
                size = sum([len(piece) async for piece in exporter(name).write(store, export)])
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert size > (rows * 30 if exporter(name).streams else 2_000)
            assert peak < 6_000_000, name  # a list of all would take thirty


async def test_an_export_leaves_out_what_is_recorded_while_it_is_written(filled):
    rows = [(f"service{i % 2}", "op", NOON + i * 1000, 5, 0, None, None) for i in range(1000)]
    async with filled(rows) as store:
        text = b""
        async for piece in exporter("json").write(store, Export(since_us=0, until_us=2**62, at_us=NOON)):
            text += piece
            await store.append([[(2, NOON + HOUR_US, 5, 0, None, None)]], now_us=NOON + HOUR_US)
    services = json.loads(text)["metrics"]["services"]
    assert [len(service["operations"]) for service in services.values()] == [500, 500]


@pytest.mark.parametrize("name", EXPORTERS)
async def test_a_store_that_fails_midway_ends_the_export_with_its_error(name, filled):
    rows = [("a", "op", NOON + i * 1000, 5, 0, None, None) for i in range(1000)]
    async with filled(rows) as store:
        pieces = exporter(name).write(store, Export(since_us=0, until_us=2**62, at_us=NOON))
        if name != "prometheus":  # its figures are read at once
            await anext(pieces)
        await store.close()
        with pytest.raises(StorageError, match="closed"):
            [piece async for piece in pieces]


@pytest.mark.parametrize(
    ("at_us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (NOON + 120_000, "2025-06-16T12:00:00.120Z"),
        (NOON + 1, "2025-06-16T12:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (2**62, "9999-12-31T23:59:59.999999Z"),
        (-(2**62), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_as_short_as_they_are_exact(at_us, text):
    assert iso(at_us) == text


@pytest.mark.parametrize(
    ("duration_us", "text"), [(0, "0"), (145_000, "145"), (400, "0.4"), (1, "0.001"), (145_250, "145.25")]
)
def test_durations_are_whole_milliseconds_where_they_can_be(duration_us, text):
    assert str(milliseconds(duration_us)) == text
