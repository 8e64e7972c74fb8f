"""``cogmeter fleet`` and the option ``--process``, on a PostgreSQL database and on an SQLite file."""

from __future__ import annotations

import asyncio
import json

import pytest
from fleet_store import FOUR, fill_fleet

from cogmeter.query.fleet import ONE_PROCESS


@pytest.fixture
def fleet(cogmeter, postgres_url):
    """``fleet("summary", ...)``: the command on a database of four processes."""
    asyncio.run(fill_fleet(postgres_url, FOUR))
    return lambda *arguments: cogmeter(*arguments, PERFORMANCE_DATABASE_URL=postgres_url)


def test_every_process_is_listed_the_silent_first(fleet):
    code, output, errors = fleet("fleet")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[2].startswith("Fleet: 3 of 4 processes alive; silent: shards 4-7 (2 min")
    table = [line for line in lines if line.startswith("shards")]
    assert [line.split("  ")[0] for line in table] == ["shards 4-7", "shards 8-11", "shards 12-15", "shards 0-3"]
    assert "silent for 2 min" in table[0]
    assert "40%" in table[1]
    assert "450 ms" in table[2]
    assert fleet("fleet", "--check")[0] == 1


def test_the_json_is_that_of_the_api(fleet):
    answer = json.loads(fleet("fleet", "--json")[1])
    assert answer["processes"][0]["name"] == "shards 4-7"
    assert (answer["alive"], answer["expected"]) == (3, 4)


def test_totals_and_lists_of_one_process(fleet):
    summary = json.loads(fleet("summary", "--json", "--process", "shards 8-11")[1])
    assert summary["overallStats"]["totalOperations"] == 100
    assert json.loads(fleet("summary", "--json")[1])["overallStats"]["totalOperations"] == 400
    stats = json.loads(fleet("stats", "alpha", "--json", "--process", "shards 8-11")[1])
    assert (stats["totalOperations"], stats["failedOperations"]) == (50, 20)


def test_an_unknown_process_is_refused_with_a_suggestion(fleet):
    code, output, errors = fleet("summary", "--process", "shards 8-12")
    assert (code, output) == (2, "")
    assert "No process 'shards 8-12' has been recorded. Did you mean shards 8-11" in errors


def test_the_doctor_names_the_silent_process(fleet):
    findings = {one["name"]: one for one in json.loads(fleet("doctor", "--json")[1])["findings"]}
    assert not findings["fleet"]["well"]
    assert findings["fleet"]["text"].startswith("3 of 4 processes alive; silent: shards 4-7")


def test_an_sqlite_file_has_one_process(cogmeter, seed, now_us):
    seed([("alpha", "one", now_us, 1000, 0, None, None)])
    code, output, _ = cogmeter("fleet")
    assert (code, output.splitlines()[-1]) == (0, ONE_PROCESS)
    code, _, errors = cogmeter("summary", "--process", "one")
    assert (code, "No process" in errors) == (2, True)
    assert cogmeter("fleet", "--check")[0] == 0
