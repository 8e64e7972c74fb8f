"""The lifeline's thread by itself; with a real bot it is tried in tests/product."""

import contextlib
import dataclasses
import time

import pytest

from cogmeter.alerts.out_of_band import LOOK_S, Outage, OutOfBandAlerts
from cogmeter.notifiers.base import NotifyError
from cogmeter.recording.operation import now_ns

HOUR_NS = 3_600_000_000_000


class Target:
    """Keeps what it is told, or fails as it should not."""

    def __init__(self, name, error=None):
        self.name, self.living, self.single = name, False, False
        self.error = error
        self.told = []

    async def prepare(self):
        """Nothing to look at."""

    async def notify(self, notice):
        if self.error is not None:
            raise self.error
        self.told.append(notice.change.kind)
        self.alert = notice.alert


@contextlib.contextmanager
def looking(dangers, *targets, **options):
    """A lifeline whose thread looks."""
    lifeline = OutOfBandAlerts(dangers, targets, **options)
    lifeline.start()
    try:
        yield lifeline
    finally:
        lifeline.stop()


def until(condition):
    deadline = time.perf_counter() + 30
    while not condition():
        assert time.perf_counter() < deadline, "it did not come about"
        time.sleep(0.02)


class Trouble:
    """A loop that is blocked, or not."""

    def __init__(self):
        self.since_ns = now_ns()

    def danger(self, **fields):
        return Outage("stall", 0.01, lambda: self.since_ns, "Blocked for {:.0f}s".format, echo="stall", **fields)


def test_a_target_that_fails_as_none_should_keeps_no_other_from_being_told(caplog):
    broken, webhook = Target("discord_webhook", RuntimeError("a fault")), Target("webhook")
    with looking([Trouble().danger()], broken, webhook) as lifeline:
        until(lambda: webhook.told)
    assert webhook.told == ["fired"]
    assert (lifeline.told, lifeline.failed) == (1, 1)
    assert "The discord_webhook target failed in the lifeline" in caplog.text


def test_a_target_that_is_gone_is_told_nothing_more(caplog):
    gone, stopped, webhook = (Target(name) for name in ("discord_webhook", "channel", "webhook"))
    gone.error = NotifyError("answered 404", permanent=True, gone=True)
    trouble = Trouble()
    with looking([trouble.danger()], gone, stopped, webhook, stopped=lambda: ["channel"]) as lifeline:
        until(lambda: webhook.told)
        trouble.since_ns = None
        until(lambda: len(webhook.told) == 2)
    assert webhook.told == ["fired", "resolved"]
    assert stopped.told == []
    assert lifeline.failed == 1


def test_a_process_that_was_stopped_for_a_while_is_not_said_to_have_been_blocked(monkeypatch):
    """All its threads wake at once; here the loop answers a little later than the lifeline would look."""
    looks, called_ns = [], now_ns()

    def since_look_s():
        return time.perf_counter() - looks[0] if looks else 0.0

    def clock_ns():
        return now_ns() + (HOUR_NS if since_look_s() > LOOK_S / 2 else 0)

    def blocked_since_ns():
        looks.append(time.perf_counter())
        return called_ns if len(looks) > 1 and since_look_s() < 1.5 * LOOK_S else None

    monkeypatch.setattr("cogmeter.alerts.out_of_band.now_ns", clock_ns)
    webhook = Target("webhook")
    with looking([Outage("stall", 10, blocked_since_ns, "Blocked for {:.0f}s".format)], webhook):
        until(lambda: len(looks) > 2)
    assert webhook.told == []


def test_what_the_engine_sees_of_the_same_trouble_is_known_to_be_told_and_of_other_trouble_not():
    webhook, trouble = Target("webhook"), Trouble()
    with looking([trouble.danger()], webhook, echo_s=60) as lifeline:
        until(lambda: webhook.told)
        trouble.since_ns = None
        until(lambda: len(webhook.told) == 2)
    over_us = webhook.alert.resolved_us

    def spoke(target="webhook", **fields):
        return lifeline.sent(dataclasses.replace(webhook.alert, **fields), target)

    assert spoke(started_us=over_us + 30_000_000)
    assert not spoke(started_us=over_us + 90_000_000)
    assert not spoke(started_us=webhook.alert.started_us - 1)
    assert not spoke(started_us=over_us, rule="response_time")
    assert not spoke("channel", started_us=over_us)


@pytest.mark.parametrize("known", [True, False])
def test_who_has_heard_of_it_from_the_engine_is_not_told_again(known):
    knowing, other, trouble = Target("webhook"), Target("discord_webhook"), Trouble()
    with looking([trouble.danger(known=lambda target: known and target == "webhook")], knowing, other):
        until(lambda: other.told)
        trouble.since_ns = None
        until(lambda: len(other.told) == 2)
    assert knowing.told == ([] if known else ["fired", "resolved"])
