"""The engine: stored before delivered, once in a cooldown, also across a restart."""

import time

import pytest

from cogmeter.alerts.delivery import Delivery
from cogmeter.alerts.engine import AlertEngine
from cogmeter.alerts.rules import Thresholds
from cogmeter.alerts.window import Window
from cogmeter.notifiers.base import NotifyError, guide_fields
from cogmeter.notifiers.log import LogNotifier
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.model import AlertEvent

NAMES = [("(other)", "(other)"), ("knowledge-graph", "query"), ("core-intelligence", "ask")]
EXAMPLE = AlertEvent(
    rule="error_rate",
    service="knowledge-graph",
    severity="warning",
    message="Error rate of 7.8% exceeds threshold of 5%",
    threshold=0.05,
    current=0.078,
    at_us=1_755_426_600_000_000,
)


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


class Inbox:
    """A notifier that keeps what it is given, together with what was stored at that moment."""

    name = "inbox"

    def __init__(self, store):
        self._store = store
        self.events = []
        self.stored = []

    async def notify(self, event):
        self.events.append(event)
        self.stored.append(event in await self._store.alerts(0))


class Deaf:
    name = "deaf"

    def __init__(self, error):
        self._error = error

    async def notify(self, event):
        raise self._error


def engine(store, *notifiers, cooldown_s=300, **thresholds):
    limits = {"error_rate": 0.05, "response_time_ms": 5_000, "operations_per_minute": 100, **thresholds}
    return AlertEngine(
        Window(NAMES, length_s=300),
        Thresholds(**limits),
        cooldown_s=cooldown_s,
        store=store,
        deliver=Delivery(notifiers).deliver,
    )


def atoms(*, count, failures=0, duration_ms=1, series=1):
    flat = []
    for number in range(count):
        flat += [series, 1, duration_ms * 1_000_000, 1 if number < failures else 0, None]
    return flat


async def test_each_kind_of_alert_is_stored_once_and_then_delivered(store):
    inbox = Inbox(store)
    alerting = engine(store, inbox)
    await alerting.watch(atoms(count=500, failures=39, duration_ms=8234))
    await alerting.check()
    assert [event.rule for event in inbox.events] == ["error_rate", "response_time", "throughput"]
    assert inbox.stored == [True, True, True]
    assert sorted(event.id for event in await store.alerts(0)) == sorted(event.id for event in inbox.events)


async def test_the_cooldown_holds_for_each_rule_and_service(store):
    inbox = Inbox(store)
    alerting = engine(store, inbox, operations_per_minute=0, response_time_ms=0)
    await alerting.watch(atoms(count=100, failures=100))
    for _ in range(3):
        await alerting.check()
    await alerting.watch(atoms(count=100, failures=100, series=2))
    await alerting.check()
    assert [event.service for event in inbox.events] == ["knowledge-graph", "core-intelligence"]


async def test_the_cooldown_holds_across_a_restart(store):
    inbox = Inbox(store)
    for _ in range(2):
        alerting = engine(store, inbox, operations_per_minute=0, response_time_ms=0)
        await alerting.restore(time.time_ns() // 1000)
        await alerting.watch(atoms(count=100, failures=100))
        await alerting.check()
    assert len(inbox.events) == 1


async def test_after_the_cooldown_the_alert_comes_again(store):
    inbox = Inbox(store)
    alerting = engine(store, inbox, cooldown_s=0, operations_per_minute=0, response_time_ms=0)
    await alerting.watch(atoms(count=100, failures=100))
    await alerting.check()
    await alerting.check()
    assert len(inbox.events) == 2


async def test_what_cannot_be_stored_is_not_delivered_and_comes_with_the_next_check(store, monkeypatch):
    inbox = Inbox(store)
    alerting = engine(store, inbox, operations_per_minute=0, response_time_ms=0)
    await alerting.watch(atoms(count=100, failures=100))
    add = store.add_alert

    async def refuse(event):
        raise StorageError("disk full", permanent=False)

    monkeypatch.setattr(store, "add_alert", refuse)
    assert await alerting.check() == []
    assert inbox.events == []
    monkeypatch.setattr(store, "add_alert", add)
    assert len(await alerting.check()) == 1


@pytest.mark.parametrize("error", [NotifyError("gone", permanent=True), RuntimeError("a fault")])
async def test_a_notifier_that_fails_holds_up_no_other(store, error, caplog):
    inbox = Inbox(store)
    delivery = Delivery([Deaf(error), inbox])
    await delivery.deliver(EXAMPLE)
    assert inbox.events == [EXAMPLE]
    assert (delivery.failed, delivery.delivered) == ({"deaf": 1}, {"inbox": 1})
    assert str(error) in caplog.text


async def test_why_an_alert_fired_or_did_not_is_said_at_debug(store, caplog):
    alerting = engine(store, operations_per_minute=0, response_time_ms=0)
    await alerting.watch(atoms(count=100, failures=100))
    with caplog.at_level("DEBUG", logger="cogmeter.alerts"):
        await alerting.check()
        await alerting.check()
    text = "knowledge-graph: Error rate of 100% exceeds threshold of 5%"
    assert [message for message in caplog.messages if text in message] == [
        f"{text}: alerting",
        f"{text}: in its cooldown",
    ]


async def test_the_log_line_is_the_guides(caplog):
    await LogNotifier().notify(EXAMPLE)
    assert caplog.messages == ["[ALERT] ERROR_RATE: knowledge-graph error rate of 7.8% exceeds threshold of 5%"]


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (
            EXAMPLE,
            {
                "type": "error_rate",
                "service": "knowledge-graph",
                "message": "Error rate of 7.8% exceeds threshold of 5%",
                "threshold": 0.05,
                "current": 0.078,
                "timestamp": "2025-08-17T10:30:00Z",
                "severity": "warning",
            },
        ),
        (
            AlertEvent("response_time", "multimodal-processing", "critical", "m", 5000.0, 8234.4, EXAMPLE.at_us),
            {
                "type": "response_time",
                "service": "multimodal-processing",
                "message": "m",
                "threshold": 5000,
                "current": 8234,
                "timestamp": "2025-08-17T10:30:00Z",
                "severity": "critical",
            },
        ),
    ],
)
def test_the_fields_are_the_guides(event, fields):
    assert guide_fields(event) == fields
