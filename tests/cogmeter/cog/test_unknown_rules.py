"""Alerts, mutes and thresholds of a rule that this version does not know: kept, shown everywhere, and not evaluated."""

from __future__ import annotations

import dataclasses
import json
import logging
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from factories import make_alert

import cogmeter
from cogmeter.diagnostics.doctor import examine
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertChange, AlertState, Mute, Step
from cogmeter_storage.model import HOUR_US, MINUTE_US

RULE = "warp_core"
TOKEN = "0123456789abcdef" * 2
QUIET = {"PERFORMANCE_ALERT_CHECK_INTERVAL": 3600, "PERFORMANCE_ALERT_THRESHOLD_DEVIATION": 0}


def stored_alert(number, now_us, **more):
    given = {
        "uid": f"{number:032x}",
        "rule": RULE,
        "message": f"Warp core {number} exceeds its limit",
        "severity": "fatal",
        "started_us": now_us - 20 * MINUTE_US,
        "fired_us": now_us - 19 * MINUTE_US,
    }
    return make_alert(now_us - MINUTE_US, **given | more)


def fired(alert):
    return AlertChange(
        alert.uid, "fired", alert.state, alert.severity, alert.message, alert.current, alert.threshold, alert.changed_us
    )


async def left_by_another_version():
    """What a version that knows the rule left: alerts in every state, one of them still to be sent, and the rest."""
    store = await open_store("sqlite:///data/performance.db")
    now_us = time.time_ns() // 1000
    states = [AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.MUTED, AlertState.PENDING, AlertState.RESOLVED]
    alerts = [
        stored_alert(number, now_us, state=state, operation="query" if number % 2 else "")
        for number, state in enumerate(states)
    ]
    alerts[3] = dataclasses.replace(alerts[3], fired_us=None)
    alerts[4] = dataclasses.replace(alerts[4], resolved_us=now_us - MINUTE_US)
    root = stored_alert(7, now_us, rule="many_services", service="(bot)")
    member = stored_alert(8, now_us, group=root.uid)
    targets = ("log", "channel", "webhook")
    await store.alerting.save([Step(alerts[0], fired(alerts[0]), targets), *(Step(one) for one in alerts[1:])])
    await store.alerting.save([Step(root, fired(root), targets), Step(member)])
    await store.alerting.override({f"{RULE}@knowledge-graph": "5", "error_rate.hue": "red"}, now_us=now_us, actor="Ada")
    await store.alerting.add_mute(Mute("shop", RULE, now_us, now_us + HOUR_US, "Ada", "known"))
    await store.close()
    return {one.uid: one for one in (*alerts, member)}


@pytest.fixture
async def left(tmp_path, monkeypatch):
    """What was left, before the bot loads the extension."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    return await left_by_another_version()


@pytest.fixture
def settings(move_in):
    """Opens a home with an alert channel and the dashboard; gives it with the dashboard's address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]

    async def prepare(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

    more = {
        "PERFORMANCE_HTTP_PORT": port,
        "PERFORMANCE_DASHBOARD_PORT": port,
        "PERFORMANCE_ANALYTICS_DASHBOARD": True,
        "PERFORMANCE_HTTP_TOKEN": TOKEN,
    }
    return lambda: move_in(prepare=prepare, **QUIET, **more), f"http://127.0.0.1:{port}"


async def unchanged(monitor, left):
    """Each alert is in the database as it was."""
    for uid, before in left.items():
        after = await monitor.store.alerting.alert(uid)
        assert dataclasses.replace(after, id=0, version=0) == before


async def test_they_neither_fail_the_start_nor_are_evaluated_or_deleted(settings, left, caplog):
    opened, _ = settings
    caplog.set_level(logging.INFO, "cogmeter")
    async with opened() as home:
        monitor = home.monitor
        assert not monitor.faults
        assert not [one for one in monitor.alerting.engine.active if one.rule == RULE]
        for _ in range(60):
            cogmeter.record("shop", "buy", duration_ms=1, error="no")
        await home.flushed()
        await monitor.alerting.check()
        assert ("error_rate", "shop") in {(one.rule, one.service) for one in monitor.alerting.engine.active}
        await monitor.override({"error_rate@shop": "10%"}, "Bob")
        await monitor.alerting.check()
        await unchanged(monitor, left)
        assert (await monitor.store.alerting.overrides()).keys() >= {f"{RULE}@knowledge-graph", "error_rate.hue"}
        assert [one.rule for one in await monitor.store.alerting.mutes(time.time_ns() // 1000)] == [RULE]
        assert not monitor.alerting.evaluator.faults
        (rules,) = [one for one in await examine(monitor) if one.name == "rules"]
        assert rules.well
        assert RULE in rules.text
    assert len([one for one in caplog.messages if "has no effect in this version" in one]) == 2
    assert len([one for one in caplog.messages if "which this version does not know" in one]) == 1


async def test_what_waits_is_delivered_to_every_target(settings, left, caplog):
    opened, _ = settings
    caplog.set_level(logging.INFO, "cogmeter")
    async with opened() as home:
        await home.monitor.alerting.delivery.deliver_due()
        await home.env.settle()
        (message, *_) = [one for one in home.channel.history() if "Warp core" in str(one.embeds[0].title)]
        assert "knowledge-graph" in message.embeds[0].title
        attempts = await home.monitor.store.alerting.attempts(next(iter(left)))
        assert {("log", "sent"), ("channel", "sent")} <= {(one.target, one.outcome) for one in attempts}
    assert any("WARP_CORE" in one for one in caplog.messages)


async def test_the_buttons_of_its_message_answer(settings, left):
    opened, _ = settings
    async with opened() as home:
        await home.monitor.alerting.delivery.deliver_due()
        await home.env.settle()
        (message, *_) = [one for one in home.channel.history() if "Warp core" in str(one.embeds[0].title)]
        uid = next(iter(left))
        pressed = await home.owner.click(message, label="Acknowledge")
        assert RULE in str(pressed.followups[-1].content)
        await home.owner.click(message, label="Mute 1 h")
        assert "presses" not in home.monitor.faults
        mutes = await home.monitor.store.alerting.mutes(time.time_ns() // 1000)
        assert ("knowledge-graph", RULE) in {(one.service, one.rule) for one in mutes}
        await home.owner.click(message, label="Details")
        assert "presses" not in home.monitor.faults
        await unchanged(home.monitor, {uid: left[uid]})


async def test_every_command_answers(settings, left):
    opened, _ = settings
    async with opened() as home:
        for _ in range(30):
            cogmeter.record("knowledge-graph", "query", duration_ms=1)
        await home.flushed()
        await home.monitor.alerting.check()
        asked = {
            "alerts": {},
            "alerts history": {"state": "history"},
            "thresholds view": {},
            "report": {},
            "unmute": {"service": "shop"},
            "summary": {},
            "doctor": {},
        }
        said = {}
        for name, options in asked.items():
            result = await home.owner.slash(home.channel, f"perf {name.removesuffix(' history')}", **options)
            said[name] = result.response
        assert home.monitor.faults["commands"] == 0
        text = {name: json.dumps([one.to_dict() for one in each.embeds]) for name, each in said.items()}
        assert all(text.values())
        assert "Warp core" in text["alerts history"]
        assert "Warp core" in text["report"]


async def test_every_page_and_route_answers(settings, left):
    opened, address = settings
    firing, resolved = (
        uid for uid, one in left.items() if one.state in {AlertState.FIRING, AlertState.RESOLVED} and not one.group
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with opened() as home, aiohttp.ClientSession(headers=headers) as session:
        paths = ["/performance", "/performance/alerts", "/performance/alerts?state=history"]
        paths += [f"/api/performance/{one}" for one in ("alerts", "alerts?state=history", "thresholds", "mutes")]
        paths += [f"/api/performance/alerts/{uid}" for uid in left]
        paths += ["/api/performance/dashboard", "/api/performance/audit", "/metrics"]
        found = {}
        for path in paths:
            async with session.get(address + path) as response:
                found[path] = (response.status, await response.text())
        wrong = {path: answer for path, answer in found.items() if answer[0] != 200}
        assert not wrong
        listed = json.loads(found["/api/performance/alerts?state=history"][1])["alerts"]
        assert {one["id"] for one in listed if one["type"] == RULE} == {
            uid for uid, one in left.items() if one.state is not AlertState.PENDING
        }
        assert "Warp core" in found["/performance/alerts?state=history"][1]
        assert "Warp core" in found["/performance/alerts"][1]  # its mute
        for uid, reason in ((firing, RULE), (resolved, "already resolved")):
            url = f"{address}/api/performance/alerts/{uid}/acknowledge"
            async with session.post(url, json={}) as response:
                assert response.status == 409
                assert reason in (await response.json())["detail"]
        assert home.monitor.faults["web"] == 0
        await unchanged(home.monitor, left)
