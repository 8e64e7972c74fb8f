"""``cogmeter export --push`` and ``cogmeter push --check`` against a receiver on this machine."""

from __future__ import annotations

import asyncio
import json
import re
import socket

import pytest
from http_receiver import SECRET, serving
from otlp_decoder import Decoded

from cogmeter.monitor.pushing import INSTANCE
from cogmeter_storage import Marker, Outcome, TraceRecord, open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step

MINUTE_US = 60_000_000
KEY = f"api-key={SECRET}"


@pytest.fixture
async def receiver():
    async with serving() as receiver:
        yield receiver


@pytest.fixture
def run(cogmeter, receiver):
    """``await run(*arguments)``: exit code, output and errors of the command, which pushes to the receiver."""

    async def run(*arguments, **more):
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url(""),
            "OTEL_EXPORTER_OTLP_HEADERS": KEY,
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        }
        done = await asyncio.to_thread(lambda: cogmeter(*arguments, **variables | more))
        assert SECRET not in done[1] + done[2]
        return done

    return run


@pytest.fixture
def end_us(now_us):
    """The end of the recorded range: the start of this minute."""
    return now_us // MINUTE_US * MINUTE_US


@pytest.fixture
async def database(seed, end_us):
    """Two hours of three services, up to ``end_us``, with records of an hour ago."""
    names = [("knowledge-graph", "query"), ("knowledge-graph", "[bold]\u2603"), ("discord.commands", "ask")]
    rows = [
        (*names[n % 3], end_us - n * 7_000_000 - 1, 1_000 + 977 * n, n % 5, None, None) for n in range(2 * 3_600 // 7)
    ]
    rows.append(("knowledge-graph", "query", end_us + 1, 1, 0, None, None))  # seals the minute before it

    async def records(store):
        at_us = end_us - 60 * MINUTE_US
        await store.add_traces([TraceRecord(at_us, *names[2], 9_000_000, Outcome.ERROR, "no", 0, ())])
        await store.add_marker(Marker(at_us, "mark", "deployed 1.4"))
        values = ("critical", "20%", 0.05, 0.2, 0.2, at_us, at_us, at_us)
        alert = Alert("5f0c", "error_rate", "knowledge-graph", "", AlertState.FIRING, *values)
        await store.alerting.save([Step(alert, AlertChange.of(alert, "fired", at_us))])
        await store.set_value(INSTANCE, b"the-database")
        await store.set_value("push:otlp", b"the position of the bot")

    return await asyncio.to_thread(lambda: seed(rows, work=records))


def iso(at_us):
    from cogmeter.times import iso

    return iso(at_us)


async def test_what_arrives_is_the_summary_of_the_range_while_a_bot_has_the_database_open(
    run, database, receiver, end_us
):
    since, until = iso(end_us - 90 * MINUTE_US), iso(end_us)
    writer = await open_store(f"sqlite:///{database}")  # as the running bot does
    try:
        code, out, err = await run("export", "--push", "otlp", "--since", since, "--until", until)
    finally:
        await writer.close()
    assert (code, err) == (0, "")
    found = Decoded.of(receiver.seen)
    summary = json.loads((await run("summary", "--json", "--since", since, "--until", until))[1])
    total = summary["overallStats"]
    counts = {series: found.total(series) for series in found.counts}
    assert sum(counts.values()) == total["totalOperations"] > 700
    failed = sum(count for series, count in counts.items() if series[2] in {"error", "upstream"})
    assert failed == total["failedOperations"]
    for service, stats in summary["serviceStats"].items():
        assert sum(count for series, count in counts.items() if series[0] == service) == stats["totalOperations"]
    query = json.loads((await run("stats", "discord.commands", "--json", "--since", since, "--until", until))[1])
    p95_s = query["p95ResponseTime"] / 1_000
    assert found.quantile_s(("discord.commands", "ask"), 0.95) == pytest.approx(p95_s, rel=0.0305)
    assert out == (
        f"Pushed to otlp: 90 minutes, {total['totalOperations']:,} operations, 1 trace, 1 alert change, 1 marker.\n"
    )
    assert {resource["service.instance.id"] for resource in found.resources} == {"the-database"}
    assert {seen.headers["api-key"] for seen in receiver.seen} == {SECRET}


async def test_the_position_of_the_bot_stays(run, database, end_us):
    assert (await run("export", "--push", "otlp", "--since", iso(end_us - 5 * MINUTE_US), "--until", iso(end_us)))[
        0
    ] == 0
    store = await open_store(f"sqlite:///{database}", read_only=True)
    assert await store.get_value("push:otlp") == b"the position of the bot"
    await store.close()


async def test_one_service_and_what_was_left_out(run, database, receiver):
    code, out, _ = await run("export", "--push", "otlp", "--since", "3h", "--services", "knowledge-graph")
    assert code == 0
    found = Decoded.of(receiver.seen)
    assert {series[0] for series in found.counts} == {"knowledge-graph"}
    assert not found.spans
    assert [line.split(" (")[0] for line in out.splitlines()[1:]] == ["Not sent: 1 operation"]
    assert "the last minute is not finished" in out


async def test_a_refused_key_stops_it_and_the_printed_command_continues(run, database, receiver, end_us):
    receiver.script.extend([200, 200, 401])
    since, until = iso(end_us - 10 * MINUTE_US), iso(end_us)
    code, out, err = await run("export", "--push", "otlp", "--since", since, "--until", until)
    assert (code, out) == (1, "")
    assert err.startswith("Error: OTEL_EXPORTER_OTLP_ENDPOINT answered 401. The key is wrong")
    assert f"The last minute accepted begins at {iso(end_us - 9 * MINUTE_US)} (2 minutes, " in err
    command = err.split("To continue: cogmeter ")[1].split()
    assert command == ["export", "--push", "otlp", "--since", iso(end_us - 8 * MINUTE_US), "--until", until]
    code, out, _ = await run(*command)
    assert code == 0
    assert out.startswith("Pushed to otlp: 8 minutes, ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--push", "otlp"], "--push needs a range, for example --since 6h"),
        (["--push", "otlp", "--since", "1h", "--url", "http://127.0.0.1:1"], "--push reads the database"),
        (["--push", "otlp", "--since", "1h", "-o", "x.json"], "--push writes no file"),
        (["--push", "otlp", "--since", "1h", "--services", "knowledge-grap"], "knowledge-graph"),
        (["--push", "telnet", "--since", "1h"], "'telnet' is not one of 'otlp'"),
    ],
)
async def test_wrong_usage_is_one_line(run, database, receiver, arguments, said):
    code, out, err = await run("export", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert receiver.seen == []


async def test_a_check_sends_one_sample_and_says_where(run, database, receiver):
    code, out, err = await run("push", "--check", PERFORMANCE_EXPORT_OTLP="true")
    assert (code, err) == (0, "")
    assert out == "[ok] otlp: OTEL_EXPORTER_OTLP_ENDPOINT (127.0.0.1) accepted one sample of process.thread.count.\n"
    found = Decoded.of(receiver.seen)
    assert (len(receiver.seen), len(found.gauges["process.thread.count"]), dict(found.counts)) == (1, 1, {})
    assert found.resources[0]["service.instance.id"] == "the-database"


async def test_a_named_target_is_checked_without_its_switch_and_without_a_database(run, receiver):
    code, out, _ = await run("push", "--check", "otlp")
    assert (code, len(receiver.seen)) == (0, 1)
    assert out.startswith("[ok] otlp: ")


@pytest.mark.parametrize(
    ("status", "said"), [(401, "answered 401. The key is wrong"), (404, "answered 404"), (503, "answered 503")]
)
async def test_a_check_that_is_not_accepted_exits_with_1(run, receiver, status, said):
    receiver.script.append(status)
    code, out, _ = await run("push", "--check", "otlp")
    assert (code, len(receiver.seen)) == (1, 1)
    assert out.startswith(f"[!!] otlp: OTEL_EXPORTER_OTLP_ENDPOINT {said}")


async def test_a_check_without_a_connection_says_why(run, receiver):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}"
        refused = await run("push", "--check", "otlp", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    plain = receiver.url("").replace("http:", "https:")
    broken = await run("push", "--check", "otlp", OTEL_EXPORTER_OTLP_ENDPOINT=plain)
    assert refused[:2] == (1, "[!!] otlp: OTEL_EXPORTER_OTLP_ENDPOINT: no connection (Connection refused).\n")
    assert broken[0] == 1
    assert broken[1].endswith("the certificate or the TLS connection was not accepted.\n")
    assert receiver.seen == []


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ([], {}, "Add --check to try the targets, or use `cogmeter export --push`"),
        (["--check"], {}, "No push target is switched on. Set PERFORMANCE_EXPORT_OTLP or "),
        (["--check", "otlp"], {"OTEL_EXPORTER_OTLP_HEADERS": SECRET}, "OTEL_EXPORTER_OTLP_HEADERS="),
        (["--check", "otlp"], {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL="),
    ],
)
async def test_a_check_that_cannot_begin_names_the_setting(run, receiver, arguments, variables, said):
    code, out, err = await run("push", *arguments, **variables)
    assert (code, out, err.count("\n"), receiver.seen) == (2, "", 1, [])
    assert said in err


async def test_a_missing_extra_is_named_with_the_command_that_installs_it(run, receiver):
    code = "import sys; sys.modules['opentelemetry'] = None; from cogmeter_bot.cli import main; main()"
    done = await run("push", "--check", "otlp", program=("-c", code))
    assert done[:2] == (2, "")
    assert "PERFORMANCE_EXPORT_OTLP: a library is missing" in done[2]
    assert "Run pip install 'cogmeter[otlp]'" in done[2]


async def test_on_a_terminal_the_minutes_are_counted_while_they_are_sent(terminal, database, receiver, end_us):
    arguments = ("export", "--push", "otlp", "--since", iso(end_us - 20 * MINUTE_US), "--until", iso(end_us))
    said, code = await asyncio.to_thread(
        lambda: terminal(*arguments, columns=120, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url(""))
    )
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert code == 0
    assert "Pushing" in said
    assert "/20 minutes" in said
    assert "Pushed to otlp: 20 minutes" in said
