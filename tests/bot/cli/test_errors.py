"""``cogmeter errors`` with error groups: the list with places, one group with its stacks, and its exit code."""

from __future__ import annotations

import json

import pytest
from factories import make_errors

from cogmeter.render.error_text import INNER_TITLE
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import ERROR_GROUP, Marker

MINUTE_US = 60_000_000
GROUP_A = {ERROR_GROUP: "000000000000000a"}  # the metadata of a failure that the group of ``make_errors("a")`` counts


@pytest.fixture
def failing(seed, now_us):
    """A database with two failed operations, of which one has an error group, and a logged error."""
    rows = [
        ("knowledge-graph", "query", now_us - MINUTE_US, 5, 1, "ValueError: no node a", GROUP_A),
        ("core", "go", now_us - MINUTE_US, 5, 2, "timeout after 5 s", None),
    ]
    batches = [
        make_errors("a", now_us - MINUTE_US, count=3),
        make_errors("\x1b[31mred", now_us - 2 * MINUTE_US, where=("core", "go"), kind=ErrorKind.LOGGED),
    ]

    async def work(store):
        await store.add_marker(Marker(now_us - 90_000_000, "version", "version 1.4"))
        await store.errors.add(batches)

    return seed(rows, work=work)


def test_errors_are_listed_with_their_place_and_failures_without_one_by_their_text(cogmeter, failing):
    code, out, err = cogmeter("errors")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Errors (Last 24 Hours)"
    assert lines[2].startswith("Counted by whole days in UTC: ")
    assert lines[4].split() == [
        "id",
        "count",
        "people",
        "(total)",
        "last",
        "seen",
        "(UTC)",
        "kind",
        "state",
        "place",
        "error",
    ]
    assert lines[5].split()[:2] == ["1", "3"]
    assert lines[5].endswith("cogs/graph.py:42 in Graph.a      ValueError: no node a") or "in Graph.a " in lines[5]
    assert "new since version 1.4" in lines[5]
    assert "logged" in lines[6]
    assert "Failures without a known place, each with its newest text:" in lines
    assert lines[-1].endswith("timeout after 5 s")
    assert "\x1b" not in out


def test_the_json_keeps_its_groups_and_gains_error_groups(cogmeter, failing):
    report = json.loads(cogmeter("errors", "--json")[1])
    texts = {group["error"]: group["groupId"] for group in report["groups"]}
    assert texts == {"ValueError: no node a": 1, "timeout after # s": None}
    assert [(group["id"], group["count"]) for group in report["errorGroups"]] == [(1, 3), (2, 1)]
    (group,) = json.loads(cogmeter("errors", "--services", "core", "--operation", "go", "--json")[1])["errorGroups"]
    assert group["kind"] == "logged"


def test_an_error_that_another_operation_raised_is_listed_with_it(cogmeter, seed, now_us):
    rows = [
        (service, name, now_us - MINUTE_US, 5, 1, "ValueError: no node a", GROUP_A)
        for service, name in (("discord.commands", "ask"), ("knowledge-graph", "query"))
    ]

    async def work(store):
        await store.errors.add([make_errors("a", now_us - MINUTE_US)])

    seed(rows, work=work)
    out = cogmeter("errors", "--services", "discord.commands")[1]
    assert f"{INNER_TITLE}:" in out.splitlines()
    assert out.splitlines()[-1].split()[:2] == ["1", "1"]
    assert "knowledge-graph / query" in out
    assert "without a known place" not in out
    assert INNER_TITLE not in cogmeter("errors", "--services", "knowledge-graph")[1]
    assert INNER_TITLE not in cogmeter("errors")[1]  # its group is in the list


def test_one_group_is_shown_with_its_stacks(cogmeter, failing):
    code, out, err = cogmeter("errors", "1")
    assert (code, err) == (0, "")
    assert out.startswith("Error 1\n=====")
    for line in (
        "Error: ValueError: no node a",
        "Place: cogs/graph.py:42 in Graph.a",
        "State: new since version 1.4",
        "Count: 3 in the last 14 days, 3 in total",
        "People: 2 users, 1 server",
        "Running Version: 1.4",
        "- knowledge-graph / query: 3",
        "    discord/app_commands/commands.py:858 in Command._do_call",
        "  > cogs/graph.py:42 in Graph.a",
        "Cause: KeyError: 'a'",
    ):
        assert line in out.splitlines(), line
    assert json.loads(cogmeter("errors", "1", "--json")[1])["examples"][0]["version"] == "1.4"


def test_an_unknown_group_is_reported(cogmeter, failing):
    code, out, err = cogmeter("errors", "77")
    assert (code, out) == (2, "")
    assert "There is no error 77" in err


@pytest.mark.slow
def test_check_fails_for_errors_that_are_neither_resolved_nor_muted(cogmeter, seed, now_us):
    rows = [("knowledge-graph", "query", now_us - MINUTE_US, 5, 0, None, None)]

    async def work(store):
        await store.errors.add([make_errors("a", now_us - MINUTE_US)])

    async def resolve(store):
        await work(store)
        await store.errors.resolve(1, actor="Ada", now_us=now_us)

    async def mute(store):
        await work(store)
        await store.errors.mute(1, until_us=now_us + 600 * MINUTE_US, actor="Ada", now_us=now_us)

    for change, code in ((work, 1), (resolve, 0), (mute, 0)):
        path = seed(rows, f"{change.__name__}.db", work=change)
        assert cogmeter("errors", "--check", "--database", path)[0] == code, change
        assert cogmeter("errors", "1", "--check", "--database", path)[0] == code, change


def test_a_list_that_is_cut_names_itself_and_its_length(cogmeter, failing):
    lines = cogmeter("errors", "--limit", "1")[1].splitlines()
    assert lines[-1] == "Cut after the 1 most frequent: errors. List more with --limit."
    assert any(line.endswith("timeout after 5 s") for line in lines)  # each list has a limit of its own
    assert "--limit" not in cogmeter("errors", "--limit", "5")[1]
