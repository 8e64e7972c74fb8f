"""Alerts from a running bot: in the channel with the chart, in the log with the guide's line, stored once."""

import logging
from contextlib import asynccontextmanager

import pytest

import cogmeter
from cogmeter.notifiers.base import NotifyError
from cogmeter_storage.model import AlertEvent

BREACHES = {
    "error_rate": {"duration_ms": 5, "error": "Rate limit exceeded"},
    "response_time": {"duration_ms": 9_000},
    "throughput": {"duration_ms": 1},
}
LIMITS = {
    "error_rate": "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE",
    "response_time": "PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME",
    "throughput": "PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE",
}


@pytest.fixture
def alerting(move_in):
    """A home whose ops channel is the alert channel, with only the rules that are named switched on."""

    @asynccontextmanager
    async def opened(*rules):
        async def prepare(home, monkeypatch):
            monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))
            for rule, name in LIMITS.items():
                if rule not in rules:
                    monkeypatch.setenv(name, "0")

        async with move_in(prepare=prepare) as home:
            yield home

    return opened


@pytest.mark.parametrize("rule", BREACHES)
async def test_each_kind_of_alert_reaches_the_channel_and_the_log_once(alerting, caplog, rule):
    async with alerting(rule) as home:
        for _ in range(150):
            cogmeter.record("knowledge-graph", "query", **BREACHES[rule])
        await home.flushed()
        with caplog.at_level(logging.WARNING, logger="cogmeter.alerts"):
            for _ in range(3):  # the cooldown holds
                await home.monitor.alerting.check()
        await home.env.settle()
        (stored,) = await home.monitor.store.alerts(0)
        assert (stored.rule, stored.service) == (rule, "knowledge-graph")
        (message,) = home.channel.history()
        assert stored.message in message.embeds[0].description
        assert "knowledge-graph" in message.embeds[0].title
        assert {field.name for field in message.embeds[0].fields} >= {"Current", "Threshold"}
        assert message.attachments[0].filename == "chart.png"
        lines = [line for line in caplog.messages if line.startswith("[ALERT]")]
        assert lines == [f"[ALERT] {rule.upper()}: knowledge-graph {stored.message[:1].lower()}{stored.message[1:]}"]


async def test_a_channel_that_is_not_there_is_said_with_the_setting_and_holds_up_no_other_notifier(move_in):
    async with move_in(PERFORMANCE_ALERT_CHANNEL_ID=999_999_999_999_999_999) as home:
        (notifier,) = [one for one in home.monitor.alerting.delivery.notifiers if one.name == "channel"]
        event = AlertEvent("error_rate", "knowledge-graph", "warning", "m", 0.05, 0.08, 1)
        with pytest.raises(NotifyError, match="PERFORMANCE_ALERT_CHANNEL_ID=999999999999999999") as raised:
            await notifier.notify(event)
        assert raised.value.permanent
        await home.monitor.alerting.delivery.deliver(event)
        assert home.monitor.alerting.delivery.failed == {"channel": 1}
        assert home.monitor.alerting.delivery.delivered == {"log": 1}
