"""The route of the fleet, and the parameter ``process`` of the others."""

from __future__ import annotations

import pytest

from cogmeter.query.fleet import ONE_PROCESS

API = "/api/performance"


async def test_every_process_is_listed_the_silent_first(fleet_served):
    async with fleet_served() as web:
        answer = (await web.get(f"{API}/fleet")).json()
    names = [one["name"] for one in answer["processes"]]
    assert names[:3] == ["shards 4-7", "shards 8-11", "shards 12-15"]
    assert set(names[3:]) == {"self", "shards 0-3"}
    assert (answer["alive"], answer["expected"], answer["status"]) == (4, 5, "unhealthy")
    assert answer["text"].startswith("4 of 5 processes alive; silent: shards 4-7 (2 min")
    silent, failing, late = answer["processes"][:3]
    assert (silent["state"], silent["silentSeconds"] >= 125) == ("silent", True)
    assert silent["signOfLife"].startswith("silent for 2 min")
    assert failing["stats"]["errorRate"] == 0.4
    assert failing["stats"]["operationsPerMinute"] > 10
    assert failing["shards"] == "8, 9, 10, 11"
    assert late["loopLag"] == 450
    assert answer["versions"]["1.4"] == 2


async def test_an_sqlite_file_has_one_process(served):
    async with served() as web:
        answer = (await web.get(f"{API}/fleet")).json()
    assert (answer["processes"], answer["text"], answer["status"]) == ([], ONE_PROCESS, "unknown")


async def test_a_process_narrows_totals_lists_and_series(fleet_served):
    process = {"process": "shards 8-11"}
    async with fleet_served() as web:

        async def get(path, **params):
            answer = await web.get(f"{API}/{path}", params=process | params)
            assert answer.status == 200, answer.text
            return answer.json()

        whole = (await web.get(f"{API}/dashboard")).json()
        assert whole["overallStats"]["totalOperations"] >= 400
        assert (await get("dashboard"))["overallStats"]["totalOperations"] == 100
        assert (await get("services/alpha"))["failedOperations"] == 20
        operations = (await get("operations", limit="200"))["operations"]
        assert len(operations) == 100
        assert {one["error"] for one in operations} == {None, "no answer for shards 8-11"}
        assert len((await get("slowest", limit="100"))["operations"]) == 100
        assert {one["error"] for one in (await get("errors"))["groups"]} == {"no answer for shards #-#"}
        failed = [(await web.get(f"{API}/series", params=more)).json()["failuresPerMinute"] for more in ({}, process)]
        assert sum(failed[0]) == pytest.approx(sum(failed[1]))  # no other process has failures
        assert sum((await get("series"))["operationsPerMinute"]) > 0
        gauges = await get("gauges", names="loop.lag_p99_ms")
        assert (gauges["gauges"]["loop.lag_p99_ms"]["mean"], gauges["latest"]["loop.lag_p99_ms"]) == ([3], 3)
        exported = await web.get(f"{API}/export", params=process | {"format": "ndjson"})
        assert len(exported.text.splitlines()) >= 100
        assert "shards 4-7" not in exported.text
        for path in ("resources", "slow", "selection", "compare", "usage", "costs", "stalls", "loops", "markers"):
            assert await get(path)


async def test_the_gauges_of_two_processes_are_never_one_line(fleet_served):
    async with fleet_served() as web:
        store = web.monitor.store
        lag = {}
        for name in ("shards 0-3", "shards 12-15"):
            params = {"process": name, "names": "loop.lag_p99_ms"}
            answer = (await web.get(f"{API}/gauges", params=params)).json()
            lag[name] = answer["gauges"]["loop.lag_p99_ms"]["mean"]
        assert lag == {"shards 0-3": [3], "shards 12-15": [450]}
        assert "self" not in await store.samples_by_process("loop.lag_p99_ms", 0, 1)


async def test_an_unknown_process_is_refused_with_a_suggestion(fleet_served):
    async with fleet_served() as web:
        answer = await web.get(f"{API}/dashboard", params={"process": "shards 8-12"})
    assert answer.status == 404
    assert (answer.problem["parameter"], "shards 8-11" in answer.problem["near"]) == ("process", True)
