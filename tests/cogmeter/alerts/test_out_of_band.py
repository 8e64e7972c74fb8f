"""The out-of-band thread by itself; tests/product runs it with a real bot."""

import contextlib
import dataclasses
import time

import pytest

from cogmeter.alerts.out_of_band import CHECK_S, Outage, OutOfBandAlerts, OutOfBandLog
from cogmeter.notifiers.base import NotifyError
from cogmeter.recording.operation import now_ns

HOUR_NS = 3_600_000_000_000


class Target:
    """Records notices, or raises an error."""

    def __init__(self, name, error=None):
        self.name, self.edits_in_place, self.per_alert, self.rate = name, False, False, None
        self.error = error
        self.received = []

    async def prepare(self):
        """Check nothing."""

    async def notify(self, notice):
        if self.error is not None:
            raise self.error
        self.received.append(notice.change.kind)
        self.alert = notice.alert


@contextlib.contextmanager
def checking(outages, *targets, log=None, **options):
    """Out-of-band alerts whose thread runs."""
    out_of_band = OutOfBandAlerts(outages, targets, log or OutOfBandLog(), **options)
    out_of_band.start()
    try:
        yield out_of_band
    finally:
        out_of_band.stop()


def until(condition):
    deadline = time.perf_counter() + 30
    while not condition():
        assert time.perf_counter() < deadline, "it did not come about"
        time.sleep(0.02)


class Trouble:
    """A loop that is blocked, or not."""

    def __init__(self):
        self.since_ns = now_ns()

    def outage(self, **fields):
        return Outage("stall", 0.01, lambda: self.since_ns, "Blocked for {:.0f}s".format, engine_rule="stall", **fields)


def test_an_internal_error_of_a_target_delays_no_other(caplog):
    broken, webhook = Target("discord_webhook", RuntimeError("a fault")), Target("webhook")
    with checking([Trouble().outage()], broken, webhook) as out_of_band:
        until(lambda: webhook.received)
    assert webhook.received == ["fired"]
    assert (out_of_band.sent, out_of_band.failed) == (1, 1)
    assert "The discord_webhook target failed on an out-of-band alert" in caplog.text


def test_a_target_that_is_gone_receives_nothing_more(caplog):
    gone, stopped, webhook = (Target(name) for name in ("discord_webhook", "channel", "webhook"))
    gone.error = NotifyError("answered 404", permanent=True, gone=True)
    trouble = Trouble()
    with checking([trouble.outage()], gone, stopped, webhook, stopped=lambda: ["channel"]) as out_of_band:
        until(lambda: webhook.received)
        trouble.since_ns = None
        until(lambda: len(webhook.received) == 2)
    assert webhook.received == ["fired", "resolved"]
    assert stopped.received == []
    assert out_of_band.failed == 1


def test_a_process_that_was_stopped_does_not_count_as_blocked(monkeypatch):
    """All its threads wake at once; here the loop responds a little later than the thread checks."""
    checks, called_ns = [], now_ns()

    def since_check_s():
        return time.perf_counter() - checks[0] if checks else 0.0

    def clock_ns():
        return now_ns() + (HOUR_NS if since_check_s() > CHECK_S / 2 else 0)

    def blocked_since_ns():
        checks.append(time.perf_counter())
        return called_ns if len(checks) > 1 and since_check_s() < 1.5 * CHECK_S else None

    monkeypatch.setattr("cogmeter.alerts.out_of_band.now_ns", clock_ns)
    webhook = Target("webhook")
    with checking([Outage("stall", 10, blocked_since_ns, "Blocked for {:.0f}s".format)], webhook):
        until(lambda: len(checks) > 2)
    assert webhook.received == []


def test_the_log_covers_the_engines_alert_of_the_same_outage_and_no_other():
    webhook, trouble = Target("webhook"), Trouble()
    log = OutOfBandLog(overlap_s=60)
    with checking([trouble.outage()], webhook, log=log):
        until(lambda: webhook.received)
        trouble.since_ns = None
        until(lambda: len(webhook.received) == 2)
    over_us = webhook.alert.resolved_us

    def covered(target="webhook", **fields):
        return log.covers(dataclasses.replace(webhook.alert, **fields), target)

    assert covered(started_us=over_us + 30_000_000)
    assert not covered(started_us=over_us + 90_000_000)
    assert not covered(started_us=webhook.alert.started_us - 1)
    assert not covered(started_us=over_us, rule="response_time")
    assert not covered("channel", started_us=over_us)


@pytest.mark.parametrize("known", [True, False])
def test_a_target_that_received_the_engines_alert_gets_no_second_one(known):
    knowing, other, trouble = Target("webhook"), Target("discord_webhook"), Trouble()
    with checking([trouble.outage(known=lambda target: known and target == "webhook")], knowing, other):
        until(lambda: other.received)
        trouble.since_ns = None
        until(lambda: len(other.received) == 2)
    assert knowing.received == ([] if known else ["fired", "resolved"])
