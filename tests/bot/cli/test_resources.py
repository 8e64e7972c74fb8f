"""``cogmeter resources``: use and growth from a database."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def grown(seed, now_us):
    async def add(store):
        for minutes in range(360, 0, -5):
            values = {"resources.memory_bytes": 100e6 - minutes * 10e6 / 60, "resources.cpu_percent": 3.0}
            await store.add_samples(now_us - minutes * 60_000_000, values)

    return seed([("alpha", "one", now_us - 9, 5_000, 0, None, None)], work=add)


def test_each_resource_is_listed_with_its_growth(cogmeter, grown):
    code, out, err = cogmeter("resources")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Resources (Last 24 Hours)"
    (memory,) = [line.split() for line in lines if line.startswith("Memory")]
    assert memory[-2:] == ["+240", "MB/day"]
    (cpu,) = [line.split() for line in lines if line.startswith("CPU")]
    assert cpu == ["CPU", "3%", "3%", "3%", "0", "points/day"]


def test_json_has_the_fields_of_the_api_and_check_fails_for_growth(cogmeter, grown):
    document = json.loads(cogmeter("resources", "--json")[1])
    assert [one["name"] for one in document["resources"]] == ["cpu", "memory"]
    assert cogmeter("resources", "--check")[0] == 1


def test_a_database_without_samples_says_so(cogmeter, seed, now_us):
    seed([("alpha", "one", now_us - 9, 5_000, 0, None, None)])
    code, out, _ = cogmeter("resources")
    assert code == 0
    assert "No resources were sampled in this period." in out
