"""A change over HTTP is in effect in the engine, is audited with its actor, and is refused where it is not valid."""

import time

import pytest

from cogmeter.alerts.model import Subject
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import HOUR_US, MINUTE_US

PATH = "/api/performance"
TOKEN = "a-token-of-more-than-32-characters-for-tests"


async def test_an_alert_is_acknowledged_once_by_its_id_or_number(served, breach):
    async with served() as web:
        alert = await breach(web)
        first = (await web.send("POST", f"{PATH}/alerts/{alert.id}/acknowledge")).json()
        again = (await web.send("POST", f"{PATH}/alerts/{alert.uid}/acknowledge", json={})).json()
        (active,) = [one for one in web.monitor.alerting.engine.active if one.uid == alert.uid]
        detail = (await web.get(f"{PATH}/alerts/{alert.uid}")).json()
        listed = (await web.get(f"{PATH}/alerts?state=acknowledged")).json()["alerts"]
        audit = (await web.get(f"{PATH}/audit")).json()["entries"]
    assert first["state"] == again["state"] == "acknowledged"
    assert first["acknowledgedAt"] == again["acknowledgedAt"]
    assert (active.state, active.acknowledged_by) == (AlertState.ACKNOWLEDGED, "dashboard")
    assert [one["kind"] for one in detail["changes"]][-1] == "fired"
    assert alert.uid in [one["id"] for one in listed]
    assert [(one["action"], one["actor"]) for one in audit] == [("acknowledge", "dashboard")]


async def test_with_the_token_the_audit_says_api(served, breach):
    async with served(http_token=TOKEN) as web:
        alert = await breach(web)
        await web.send("POST", f"{PATH}/alerts/{alert.uid}/acknowledge")
        (entry,) = (await web.get(f"{PATH}/audit")).json()["entries"]
    assert entry["actor"] == "api"


async def test_a_missing_or_resolved_alert_is_reported(served, breach):
    async with served(alert_recovery=0) as web:
        alert = await breach(web)
        unknown = await web.send("POST", f"{PATH}/alerts/999999/acknowledge")
        assert unknown.problem["title"] == "Unknown alert"
        assert (await web.get(f"{PATH}/alerts/nothing")).status == 404
        for _ in range(20_000):
            web.monitor.recorder.record("knowledge-graph", "query", duration_ms=10)
            if len(web.monitor.recorder.buffer) > 4_000:
                await web.flushed()
        await web.flushed()
        await web.monitor.alerting.check()
        over = await web.send("POST", f"{PATH}/alerts/{alert.uid}/acknowledge")
        assert over.status == 409, over.text
        history = (await web.get(f"{PATH}/alerts?state=history&service=knowledge-graph")).json()["alerts"]
        assert "resolved" in {one["state"] for one in history}


async def test_pages_of_alerts_lead_to_the_end(served):
    async with served() as web:
        for service in ("a", "b", "c"):
            for number in range(100):
                web.monitor.recorder.record(service, "x", duration_ms=1, outcome=int(number < 50))
        await web.flushed()
        await web.monitor.alerting.check()
        whole = (await web.get(f"{PATH}/alerts")).json()["alerts"]
        found, cursor = [], ""
        while cursor is not None:
            page = (await web.get(f"{PATH}/alerts?limit=1{cursor}")).json()
            found += page["alerts"]
            cursor = page["next"] and f"&cursor={page['next']}"
        assert len(whole) >= 3
        assert found == whole


async def test_a_threshold_is_in_effect_at_once_and_is_audited_and_marked(served, stored):
    async with served() as web:
        await stored(web, ("knowledge-graph", "query", 1, 1))
        values = {"error_rate@knowledge-graph": "8%", "response_time.for": 60, "throughput": 0}
        changed = (await web.send("PUT", f"{PATH}/thresholds", json={"values": values})).json()
        limits = web.monitor.alerting.limits
        assert limits.of(Subject("error_rate", "knowledge-graph")).threshold == 0.08
        assert limits.of(Subject("response_time", "x")).for_s == 60
        assert limits.of(Subject("throughput", "x")).threshold == 0
        assert [one["after"]["value"] for one in changed["changes"]] == [0.08, 60, 0]
        shown = (await web.get(f"{PATH}/thresholds?service=knowledge-graph")).json()
        held = {one["key"]: one for one in [*shown["rules"], *shown["others"]]}
        assert held["error_rate@knowledge-graph"]["origin"] == "changed"
        assert held["error_rate@knowledge-graph"]["changedBy"] == "dashboard"
        audit = (await web.get(f"{PATH}/audit?limit=2")).json()
        rest = (await web.get(f"{PATH}/audit?limit=2&cursor={audit['next']}")).json()
        assert len(audit["entries"]) + len(rest["entries"]) == 3
        assert rest["next"] is None
        await web.flushed()
        names = [one["name"] for one in (await web.get(f"{PATH}/markers")).json()["markers"]]
        assert "error_rate@knowledge-graph 0.08" in names
        await web.send("PUT", f"{PATH}/thresholds", json={"values": {"throughput": None}})
        assert limits.of(Subject("throughput", "x")).threshold == 100


async def test_a_calibrated_threshold_names_its_origin_and_is_learned_again_by_a_reset(served):
    async with served() as web:
        store, now_us = web.monitor.store, time.time_ns() // 1000
        (series,) = await store.series_ids([("chat", "stream")])
        ends_us = range(now_us - 74 * HOUR_US, now_us - HOUR_US, 2 * MINUTE_US)
        await store.append([[(series, at_us, 6_000_000, 0, None, None) for at_us in ends_us]], now_us=now_us)
        await web.monitor.alerting.calibrate()
        shown = (await web.get(f"{PATH}/thresholds?service=chat")).json()
        (held,) = (one for one in shown["rules"] if one["rule"] == "response_time")
        assert (held["value"], held["origin"], held["changedBy"]) == (12_000, "calibrated", None)
        assert held["calibration"]["provisional"] is False
        assert held["calibration"]["operations"] > 2_000
        others = {one["key"]: one["origin"] for one in (await web.get(f"{PATH}/thresholds")).json()["others"]}
        assert others == {"response_time@(bot)": "calibrated", "response_time@chat": "calibrated"}
        values = {"response_time@chat": None}
        changed = (await web.send("PUT", f"{PATH}/thresholds", json={"values": values})).json()
        assert changed["changes"][0]["after"]["origin"] == "calibrated"
        assert (await store.alerting.audit()) == []


async def test_a_dry_run_returns_the_alerts_that_would_have_fired_and_changes_nothing(served, stored):
    async with served() as web:
        slow = [("knowledge-graph", "query", 90 - number / 10, 3000) for number in range(300)]
        await stored(web, *slow)
        answer = await web.send("PUT", f"{PATH}/thresholds?dryRun=true", json={"values": {"response_time": "2s"}})
        (change,) = answer.json()["changes"]
        assert answer.json()["dryRun"] is True
        assert change["outlook"]["times"] >= 1
        assert change["outlook"]["nowTimes"] == 0
        assert change["outlook"]["seconds"] > 60
        assert "this would have fired once, for" in change["message"]
        assert web.monitor.alerting.limits.of(Subject("response_time", "x")).threshold == 5000
        assert (await web.get(f"{PATH}/audit")).json()["entries"] == []
        memory = await web.send(
            "PUT", f"{PATH}/thresholds?dryRun=true", json={"values": {"memory_growth": 1, "cost": None}}
        )
        assert [one["outlook"] for one in memory.json()["changes"]] == [None, None]


@pytest.mark.parametrize(
    ("values", "parameter", "words"),
    [
        ({"error_rat": 1}, "values.error_rat", "Did you mean error_rate"),
        ({"error_rate": 2}, "values.error_rate", "is out of range. Use a share from 0 to 1"),
        ({"stall@a": 2}, "values.stall@a", "about the bot as a whole"),
        ({"error_rate": True}, None, ""),
        ({}, "values", ""),
        (
            {"error_rate": "1%", "response_time": "never"},
            "values.response_time",
            "not valid. Use a number from 0 to",
        ),
    ],
)
async def test_an_invalid_change_is_422_and_changes_nothing(served, values, parameter, words):
    async with served() as web:
        problem = (await web.send("PUT", f"{PATH}/thresholds", json={"values": values})).problem
        assert problem["status"] == 422
        assert words in problem["detail"]
        assert parameter is None or problem["parameter"] == parameter
        assert await web.monitor.store.alerting.overrides() == {}


async def test_a_mute_is_active_until_it_is_ended(served, breach):
    async with served() as web:
        alert = await breach(web)
        body = {"service": "knowledge-graph", "rule": "error_rate", "seconds": 3600, "reason": "we know"}
        made = await web.send("POST", f"{PATH}/mutes", json=body)
        assert made.status == 201
        states = {one.uid: one.state for one in web.monitor.alerting.engine.active}
        assert states[alert.uid] is AlertState.MUTED
        (listed,) = (await web.get(f"{PATH}/mutes")).json()["mutes"]
        assert listed == made.json()
        assert (listed["actor"], listed["reason"]) == ("dashboard", "we know")
        ended = await web.send("DELETE", f"{PATH}/mutes/{listed['id']}")
        assert ended.json()["id"] == listed["id"]
        assert (await web.get(f"{PATH}/mutes")).json()["mutes"] == []
        assert (await web.send("DELETE", f"{PATH}/mutes/{listed['id']}")).status == 404


async def test_a_mute_that_is_sent_again_is_answered_with_the_active_one(served, breach):
    async with served() as web:
        await breach(web)
        body = {"service": "knowledge-graph", "rule": "error_rate", "seconds": 3600}
        answers = [await web.send("POST", f"{PATH}/mutes", json=body) for _ in range(3)]
        assert [one.status for one in answers] == [201, 200, 200]
        (listed,) = (await web.get(f"{PATH}/mutes")).json()["mutes"]
        assert [one.json() for one in answers] == [listed] * 3
        assert [one["action"] for one in (await web.get(f"{PATH}/audit")).json()["entries"]].count("mute") == 1


async def test_a_threshold_that_is_sent_again_changes_nothing(served):
    async with served() as web:
        for _ in range(3):
            assert (await web.send("PUT", f"{PATH}/thresholds", json={"values": {"error_rate": "7%"}})).status == 200
        assert len((await web.get(f"{PATH}/audit")).json()["entries"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"seconds": 600}, 422, "service"),
        ({"service": "nothing", "seconds": 600}, 404, "service"),
        ({"rule": "nothing", "seconds": 600}, 422, "rule"),
        ({"all": True, "seconds": 59}, 422, "seconds"),
        ({"all": True, "seconds": "600"}, 422, "seconds"),
    ],
)
async def test_a_mute_of_nothing_is_refused(seeded, body, status, parameter):
    async with seeded() as web:
        problem = (await web.send("POST", f"{PATH}/mutes", json=body)).problem
    assert (problem["status"], problem["parameter"]) == (status, parameter)


async def test_a_marker_is_stored_at_once(served):
    async with served() as web:
        made = await web.send("POST", f"{PATH}/markers", json={"name": "deployed\n1.4"})
        assert made.status == 201
        names = [(one["name"], one["kind"]) for one in (await web.get(f"{PATH}/markers")).json()["markers"]]
    assert ("deployed 1.4", "mark") in names


async def test_a_test_alert_says_how_each_target_fared(served):
    async with served() as web:
        answer = (await web.send("POST", f"{PATH}/test-alert")).json()
    assert answer == {"targets": [{"target": "log", "delivered": True, "error": None}]}


async def test_one_target_is_tested_alone_and_an_unknown_one_is_reported(served):
    async with served(alert_webhook_url="http://127.0.0.1:9/") as web:
        alone = (await web.send("POST", f"{PATH}/test-alert", json={"target": "log"})).json()
        unknown = await web.send("POST", f"{PATH}/test-alert", json={"target": "pigeon"})
    assert [one["target"] for one in alone["targets"]] == ["log"]
    assert unknown.status == 404
    assert unknown.problem["detail"] == "The target 'pigeon' does not exist. Configured targets: log, webhook"


@pytest.mark.parametrize("path", ["alerts/1/acknowledge", "mutes", "markers", "test-alert"])
async def test_changes_from_another_site_are_refused(served, path):
    async with served() as web:
        answer = await web.request("POST", f"{PATH}/{path}", headers={"Origin": "https://elsewhere.example"}, json={})
    assert answer.status == 403
