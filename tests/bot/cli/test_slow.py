"""``cogmeter slow``: why the slowest commands are slow, of all and of one."""

import json

import pytest

from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

COMMANDS = "discord.commands"


@pytest.fixture
def traced(seed, now_us):
    """Two slow commands: one waits for a host, of the other nothing is known."""
    at_us = now_us - 60_000_000
    host = SpanRecord(1, 0, "http.api.example.com", "POST", 100_000, 3_000_000, Outcome.OK)
    first = SpanRecord(2, 0, "discord.acknowledgement", "ask", 20_000, 60_000, Outcome.OK)

    async def traces(store):
        ask = TraceRecord(
            at_us, COMMANDS, "ask", 4_000_000, Outcome.UPSTREAM, "a \x1b[31mlate\x1b[0m host", 0, (host, first)
        )
        look = TraceRecord(at_us, COMMANDS, "look", 2_100_000, Outcome.OK, None, 0, ())
        await store.add_traces([ask, look])

    rows = [
        (COMMANDS, "ask", at_us + 4_000_000, 4_000_000, 2, "late", None),
        (COMMANDS, "look", at_us + 2_100_000, 2_100_000, 0, None, None),
    ]
    return seed(rows, work=traces)


def test_below_the_operations_it_says_why_the_slowest_commands_are_slow(cogmeter, traced):
    code, out, err = cogmeter("slow")
    assert (code, err) == (0, "")
    table, _, why = out.partition("Why:")
    assert "discord.commands / ask" in table
    ask, look = why.splitlines()[1:]
    assert ask.startswith("- /ask 4 s: POST api.example.com took 3 s. Set a timeout")
    assert look.startswith("- /look 2.1 s: Own code 2.1 s, not broken down: nothing was recorded inside it.")


def test_one_command_shows_where_its_time_goes_and_each_run_by_part(cogmeter, traced):
    code, out, err = cogmeter("slow", "/ask")
    assert (code, err) == (0, "")
    assert "Where the time goes (1 traced of 1 runs):" in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "other hosts 75% 3 s 3 s" in lines
    assert f"other hosts 3 s {'#' * 30}" in lines
    assert "first output after 80 ms" in lines
    assert "\x1b" not in out


def test_as_json_it_is_the_document_of_the_api(cogmeter, traced):
    (run,) = json.loads(cogmeter("slow", "ask", "--json")[1])["runs"]
    assert (run["name"], run["patterns"][0]["pattern"]) == ("/ask", "slow_upstream")


def test_an_unknown_name_is_refused_and_a_service_without_traces_shows_its_operations(cogmeter, seed, now_us):
    seed([("core", "go", now_us - 4, 2_000_000, 0, None, None)])
    code, _, err = cogmeter("slow", "nothing")
    assert code == 2
    assert "nothing" in err
    out = cogmeter("slow", "core")[1]
    assert "Where the 2 s went is not known: no trace of this run is stored." in out


def test_check_fails_if_a_run_exceeds_its_threshold(cogmeter, traced):
    assert cogmeter("slow", "/ask", "--check")[0] == 0
    assert cogmeter("slow", "/ask", "--check", PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME="100")[0] == 1
