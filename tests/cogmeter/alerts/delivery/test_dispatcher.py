"""The dispatcher on a real store: what it sends, in which order, how often, and what it reports on failures."""

import asyncio
import contextlib
import re

import pytest
from factories import make_alert

from cogmeter.alerts.delivery.attempts import TokenBucket, delay_us
from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.alerts.delivery.target_worker import GIVE_UP_US
from cogmeter.notifiers.base import NotifyError, SendRate
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.alerting import AlertChange, AlertState, Step

NOON = 1_750_075_200_000_000
SECOND = 1_000_000


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


class Clock:
    def __init__(self):
        self.now_us = NOON

    def __call__(self):
        return self.now_us

    def advance(self, seconds):
        self.now_us += int(seconds * SECOND)


@pytest.fixture
def clock():
    return Clock()


class Target:
    """Records notices, after the script's next step, which it raises or awaits."""

    def __init__(self, name="target", *script, edits_in_place=False, per_alert=False, rate=None, prepared=None):
        self.name, self.edits_in_place, self.per_alert, self.rate = name, edits_in_place, per_alert, rate
        self.script = list(script)
        self.prepared = prepared
        self.tried = []
        self.received = []
        self.refreshed = []
        self.looked = 0

    async def prepare(self):
        self.looked += 1
        if self.prepared is not None:
            raise self.prepared

    async def notify(self, notice):
        self.tried.append(notice)
        if self.script and (step := self.script.pop(0)) is not None:
            if isinstance(step, BaseException):
                raise step
            await step()
        self.received.append(notice)
        return f"receipt-{len(self.received)}"

    async def refresh(self, notice):
        self.refreshed.append((notice.receipt, notice.alert.message))

    @property
    def kinds(self):
        return [notice.change.kind for notice in self.received]


def alert(
    uid="a", *, group="", state=AlertState.FIRING, at_us=NOON, message="Error rate of 7.8% exceeds threshold of 5%"
):
    return make_alert(at_us, uid=uid, state=state, message=message, group=group)


def step(one, kind="fired", targets=("target",), at_us=NOON):
    change = AlertChange(one.uid, kind, one.state, one.severity, one.message, one.current, one.threshold, at_us)
    return Step(one, change, targets)


def again(text="busy", **options):
    return NotifyError(text, permanent=False, **options)


async def outcomes(store, uid="a"):
    return [attempt.outcome for attempt in reversed(await store.alerting.attempts(uid))]


async def until(true):
    for _ in range(2_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


@contextlib.asynccontextmanager
async def running(delivery):
    delivery.start()
    try:
        yield delivery
    finally:
        await delivery.stop()


async def test_each_target_receives_a_change_once_and_the_attempt_is_stored(store, clock):
    one, two = Target("one"), Target("two")
    delivery = Dispatcher(store, [one, two], clock=clock)
    await store.alerting.save([step(alert(), targets=("one", "two"))])
    for _ in range(3):
        await delivery.deliver_due()
    assert (one.kinds, two.kinds) == (["fired"], ["fired"])
    assert delivery.delivered == {"one": 1, "two": 1}
    assert await outcomes(store) == ["sent", "sent"]
    assert await store.alerting.receipt("a", "one") == "receipt-1"
    assert all(finding.well for finding in delivery.findings())


async def test_a_notice_has_the_present_alert_its_receipt_and_its_groups_members(store, clock):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("root")), Step(alert("b", group="root")), Step(alert("c", group="root"))])
    await delivery.deliver_due()
    await store.alerting.save([step(alert("root", state=AlertState.RESOLVED), "resolved")])
    await delivery.deliver_due()
    first, second = target.received
    assert {member.uid for member in first.members} == {"b", "c"}
    assert (first.receipt, second.receipt) == (None, "receipt-1")
    assert (first.uncertain, first.test, first.stored) == (False, False, True)
    assert second.alert.state is AlertState.RESOLVED
    assert first.event_id != second.event_id


def test_a_grouped_alert_goes_only_to_targets_that_take_every_alert(store):
    delivery = Dispatcher(store, [Target("log", per_alert=True), Target("channel")])
    assert delivery.targets(alert()) == ("log", "channel")
    assert delivery.targets(alert(group="root")) == ("log",)


async def test_a_target_that_edits_receives_the_newest_waiting_change_and_any_other_all_in_order(store, clock):
    editing, listing = Target("editing", edits_in_place=True), Target("listing")
    delivery = Dispatcher(store, [editing, listing], clock=clock)
    for kind in ("fired", "worsened", "acknowledged"):
        await store.alerting.save([step(alert(), kind, ("editing", "listing"))])
    await delivery.deliver_due()
    assert editing.kinds == ["acknowledged"]
    assert listing.kinds == ["fired", "worsened", "acknowledged"]
    assert sorted(await outcomes(store)) == ["sent"] * 4 + ["superseded"] * 2


async def test_a_message_that_is_edited_follows_the_figures_of_its_alert_once_a_minute(store, clock):
    editing, listing = Target("editing", edits_in_place=True), Target("listing")
    delivery = Dispatcher(store, [editing, listing], clock=clock)
    await store.alerting.save([step(alert(), "fired", ("editing", "listing"))])
    await delivery.deliver_due()

    async def check(message, *, after_s, **more):
        clock.advance(after_s)
        delivery.show([make_alert(NOON, message=message, fired_us=NOON, **{"uid": "a"} | more)])
        await delivery.deliver_due()

    await check("8%", after_s=30)  # too soon
    await check("9%", after_s=30)
    await check("9%", after_s=60)  # the same
    await check("10%", after_s=60, group="root")  # the group's own message shows it
    await check("11%", after_s=60, uid="never sent")
    assert editing.refreshed == [("receipt-1", "9%")]
    assert listing.refreshed == []


async def test_a_change_that_may_have_arrived_is_attempted_even_if_a_later_one_waits(store, clock):
    editing = Target("editing", edits_in_place=True)
    await store.alerting.save([step(alert(), "fired", ("editing",))])
    (begun,) = await store.alerting.due(NOON)
    await store.alerting.begin(begun.id, now_us=NOON)  # and the process dies
    await store.alerting.save([step(alert(), "worsened", ("editing",))])
    await Dispatcher(store, [editing], clock=clock).deliver_due()
    assert [(notice.change.kind, notice.uncertain) for notice in editing.received] == [
        ("fired", True),
        ("worsened", False),
    ]


async def test_a_ping_is_not_left_out_while_the_alert_fires(store, clock):
    editing = Target("editing", edits_in_place=True)
    for kind in ("fired", "escalated", "reminded"):
        await store.alerting.save([step(alert(), kind, ("editing",))])
    await Dispatcher(store, [editing], clock=clock).deliver_due()
    assert editing.kinds == ["escalated", "reminded"]


async def test_a_failure_is_retried_with_growing_pauses_until_it_succeeds(store, clock, caplog):
    target = Target("target", *[again() for _ in range(5)])
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    for _ in range(5):
        await delivery.deliver_due()
        await delivery.deliver_due()  # at the same moment nothing is tried again
        (finding,) = delivery.findings()
        assert (finding.well, finding.text) == (False, "busy")
        clock.now_us = await store.alerting.next_due_us()
    assert (len(target.tried), target.received) == (5, [])
    await delivery.deliver_due()
    assert target.kinds == ["fired"]
    assert {notice.event_id for notice in target.tried} == {target.received[0].event_id}
    assert [notice.uncertain for notice in target.tried] == [False] + [True] * 5
    assert await outcomes(store) == ["retry"] * 5 + ["sent"]
    assert delivery.findings()[0].well
    assert [record.levelname for record in caplog.records if "retrying in" in record.message] == ["WARNING"]


async def test_a_permanent_failure_is_logged_and_the_next_change_is_sent(store, clock, caplog):
    target = Target("target", NotifyError("it does not take this", permanent=True))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    await store.alerting.save([step(alert(), "resolved")])
    await delivery.deliver_due()
    assert target.kinds == ["resolved"]
    assert await outcomes(store) == ["failed", "sent"]
    assert (delivery.failed, delivery.stopped) == ({"target": 1}, {})
    assert "did not receive fired of error_rate@knowledge-graph, 1 attempts: it does not take this" in caplog.text


async def test_a_target_that_missed_a_change_passes_again_after_its_next_delivery(store, clock):
    target = Target("target", NotifyError("it does not take this", permanent=True))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    await delivery.deliver_due()
    await delivery.prepare()  # a passed check does not replace the missed change
    (finding,) = delivery.findings()
    assert (finding.well, finding.text) == (False, "0 delivered, 1 failed")
    await store.alerting.save([step(alert(), "resolved")])
    await delivery.deliver_due()
    (finding,) = delivery.findings()
    assert (finding.well, finding.text) == (True, "1 delivered, 1 failed")


async def test_a_change_that_fails_for_a_day_is_not_retried_again(store, clock):
    target = Target("target", *[again() for _ in range(5_000)])
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    while (due_us := await store.alerting.next_due_us()) is not None:
        clock.now_us = max(clock.now_us, due_us)
        await delivery.deliver_due()
    assert GIVE_UP_US - 600 * SECOND <= clock.now_us - NOON <= GIVE_UP_US
    assert delivery.failed == {"target": 1}
    assert 100 < len(target.tried) < 1_000


async def test_a_change_that_waited_for_days_while_the_bot_was_off_gets_its_attempts(store, clock):
    target = Target("target", again(), again())
    await store.alerting.save([step(alert())])
    clock.advance(3 * 86_400)
    delivery = Dispatcher(store, [target], clock=clock)
    for _ in range(3):
        await delivery.deliver_due()
        clock.advance(600)
    assert (target.kinds, delivery.failed) == (["fired"], {})


async def test_a_pause_that_a_target_requires_applies_to_all_alerts(store, clock):
    target = Target("target", again(retry_after_s=30))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("a")), step(alert("b"))])
    await delivery.deliver_due()
    clock.advance(29)
    await delivery.deliver_due()
    assert len(target.tried) == 1
    clock.advance(1)
    await delivery.deliver_due()
    assert sorted(notice.alert.uid for notice in target.received) == ["a", "b"]


async def test_a_target_that_is_gone_receives_nothing_more_and_the_others_are_notified_once(store, clock, caplog):
    gone = Target("webhook", NotifyError("PERFORMANCE_X answered 404", permanent=True, gone=True))
    log, channel = Target("log", per_alert=True), Target("channel", edits_in_place=True)
    delivery = Dispatcher(store, [gone, log, channel], clock=clock)
    targets = ("webhook", "log", "channel")
    await store.alerting.save([step(alert("a"), targets=targets), step(alert("b"), targets=targets)])
    await store.alerting.save([step(alert("a"), "resolved", targets)])
    for _ in range(3):
        await delivery.deliver_due()
    assert len(gone.tried) == 1
    assert delivery.targets(alert()) == ("log", "channel")
    assert delivery.stopped == {"webhook": "PERFORMANCE_X answered 404"}
    assert await store.alerting.next_due_us("webhook") is None
    assert delivery.failed == {"webhook": 3}
    for other in (log, channel):
        (notice,) = [notice for notice in other.received if not notice.stored]
        assert (notice.change.message, notice.test) == (
            "The alert target webhook receives no more alerts: PERFORMANCE_X answered 404",
            False,
        )
    assert caplog.text.count("receives no more alerts until the next start: PERFORMANCE_X answered 404") == 1
    assert [(one.name, one.well) for one in delivery.findings() if not one.well] == [("alerts: webhook", False)]


async def test_an_attempt_without_a_response_is_cut_off_and_retried_as_uncertain(store, clock, monkeypatch):
    monkeypatch.setattr("cogmeter.alerts.delivery.target_worker.ANSWER_S", 0.05)
    target = Target("target", asyncio.Event().wait, asyncio.Event().wait)
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    await delivery.deliver_due()
    assert delivery.findings()[0].text == "no answer within 0.05 s"
    assert await delivery.test("Ada") == {"target": "no answer within 0.05 s"}
    clock.advance(60)
    await delivery.deliver_due()
    assert [notice.uncertain for notice in target.tried if notice.stored] == [False, True]
    assert await outcomes(store) == ["retry", "sent"]


async def test_the_notice_of_a_stopped_target_contains_no_ids(store, clock):
    gone = Target("channel", prepared=NotifyError("X_ID=123456789012345678: none", permanent=True, gone=True))
    webhook = Target("webhook")
    delivery = Dispatcher(store, [gone, webhook], clock=clock)
    await delivery.prepare()
    await delivery.deliver_due()
    (notice,) = webhook.received
    assert notice.change.message == "The alert target channel receives no more alerts: X_ID=(id): none"
    (finding, _) = delivery.findings()
    assert "123456789012345678" in finding.text


async def test_an_internal_error_is_logged_and_ends_the_delivery_after_three_attempts(store, clock, caplog):
    target = Target("target", *[RuntimeError("s3cret") for _ in range(3)])
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    for _ in range(5):
        await delivery.deliver_due()
        clock.advance(600)
    assert await outcomes(store) == ["retry", "retry", "failed"]
    assert [attempt.error for attempt in await store.alerting.attempts()] == [
        "an internal error of cogmeter (RuntimeError); see the log"
    ] * 3
    assert caplog.text.count("Traceback") == 3


async def test_a_slow_target_delays_no_other(store, clock):
    free = asyncio.Event()
    slow, quick = Target("slow", free.wait), Target("quick")
    async with running(Dispatcher(store, [slow, quick], clock=clock)) as delivery:
        await store.alerting.save([step(alert("a"), targets=("slow", "quick"))])
        delivery.wake()
        await until(lambda: quick.received and slow.tried)
        await store.alerting.save([step(alert("b"), targets=("slow", "quick"))])
        delivery.wake()
        await until(lambda: len(quick.received) == 2)
        assert slow.received == []
        free.set()
        await until(lambda: len(slow.received) == 2)
    assert [notice.alert.uid for notice in slow.received] == ["a", "b"]


async def test_the_worker_delivers_what_the_last_run_left_and_what_wakes_it(store):
    target = Target()
    await store.alerting.save([step(alert("a"))])
    async with running(Dispatcher(store, [target])) as delivery:
        await until(lambda: len(target.received) == 1)
        await store.alerting.save([step(alert("b"))])
        delivery.wake()
        await until(lambda: len(target.received) == 2)


async def test_the_worker_retries_by_itself_when_it_is_due(store, monkeypatch):
    monkeypatch.setattr("cogmeter.alerts.delivery.target_worker.delay_us", lambda attempts, wish_s: 10_000)
    target = Target("target", again(), again())
    now_us = int(NOON)
    async with running(Dispatcher(store, [target], clock=lambda: now_us)) as delivery:
        await store.alerting.save([step(alert())])
        delivery.wake()
        await until(lambda: target.tried)
        now_us += SECOND
        await until(lambda: len(target.tried) == 2)
        now_us += SECOND
        await until(lambda: target.received)


async def test_deliveries_to_a_target_that_is_no_longer_set_are_dropped(store, clock, caplog):
    await store.alerting.save([step(alert(), targets=("pager",)), step(alert("b"), targets=("target",))])
    await store.alerting.save([step(alert(), "resolved", ("pager",))])
    target = Target()
    async with running(Dispatcher(store, [target], clock=clock)):
        await until(
            lambda: caplog.text.count("alert for the pager target, which is no longer set") == 2 and target.received
        )
    assert await outcomes(store) == ["failed", "failed"]
    assert await store.alerting.next_due_us() is None


async def test_stop_waits_for_a_running_attempt(store, clock):
    free = asyncio.Event()
    target = Target("target", free.wait)
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("a")), step(alert("b"))])
    delivery.start()
    await until(lambda: target.tried)
    stopping = asyncio.ensure_future(delivery.stop())
    await asyncio.sleep(0)
    free.set()
    await stopping
    assert await outcomes(store) == ["sent"]
    assert [one.alert.uid for one in await store.alerting.due(NOON)] == ["b"]  # kept for the next start


async def test_an_attempt_that_does_not_end_is_cut_off_and_counts_as_uncertain(store, clock, monkeypatch):
    monkeypatch.setattr("cogmeter.alerts.delivery.dispatcher.STOP_S", 0.05)
    target = Target("target", asyncio.Event().wait)
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    delivery.start()
    await until(lambda: target.tried)
    await delivery.stop()
    assert await outcomes(store) == []
    after = Target()
    await Dispatcher(store, [after], clock=clock).deliver_due()
    assert [notice.uncertain for notice in after.received] == [True]


async def test_it_can_be_stopped_at_once_and_started_again(store, clock):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    delivery.start()
    tasks = set(delivery._tasks)
    await delivery.stop()
    assert [(task.done(), task.cancelled()) for task in tasks] == [(True, False)] * 2
    await store.alerting.save([step(alert())])
    async with running(delivery):
        await until(lambda: target.received)


async def test_a_result_that_was_not_stored_is_stored_again_at_the_end(store, clock, monkeypatch):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    end, refused = store.alerting.end, []

    async def refuse(*args, **options):
        refused.append(options)
        raise StorageError("disk full", permanent=False)

    monkeypatch.setattr(store.alerting, "end", refuse)
    async with running(delivery):
        await until(lambda: refused)
        monkeypatch.setattr(store.alerting, "end", end)
    assert await outcomes(store) == ["sent"]


async def test_a_store_that_fails_after_a_delivery_causes_no_second_one(store, clock, monkeypatch):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    end = store.alerting.end

    async def refuse(*args, **options):
        raise StorageError("disk full", permanent=False)

    monkeypatch.setattr(store.alerting, "end", refuse)
    for _ in range(2):
        with pytest.raises(StorageError, match="disk full"):
            await delivery.deliver_due()
    monkeypatch.setattr(store.alerting, "end", end)
    await delivery.deliver_due()
    assert len(target.received) == 1
    assert await outcomes(store) == ["sent"]


async def test_a_failing_store_is_used_again_after_a_pause(store, clock, monkeypatch, caplog):
    monkeypatch.setattr("cogmeter.alerts.delivery.target_worker.PAUSE_S", 0.01)
    target = Target()
    await store.alerting.save([step(alert())])
    due, targets_read = store.alerting.due, []

    async def refuse(*args, **options):
        targets_read.append(options.get("target"))
        raise StorageError("locked", permanent=False)

    monkeypatch.setattr(store.alerting, "due", refuse)
    async with running(Dispatcher(store, [target], clock=clock)):
        await until(lambda: targets_read.count("target") >= 3)
        monkeypatch.setattr(store.alerting, "due", due)
        await until(lambda: target.received)
    assert caplog.text.count("The alerts for the target target wait: locked") == 1


async def test_a_store_that_never_records_an_end_causes_no_second_delivery(store, clock, monkeypatch, caplog):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("a")), step(alert("b"))])

    async def refuse(*args, **options):
        raise StorageError("the table of attempts is damaged", permanent=True)

    monkeypatch.setattr(store.alerting, "end", refuse)
    for _ in range(3):
        await delivery.deliver_due()
    assert sorted(notice.alert.uid for notice in target.received) == ["a", "b"]
    logged = re.findall(r"Could not store the result of delivery (\d+) \(sent\): the table of attempts", caplog.text)
    assert sorted(logged) == ["1", "2"]


async def test_a_store_that_refuses_every_end_causes_no_endless_loop(store, clock, monkeypatch):
    gone = NotifyError("answered 404", permanent=True, gone=True)
    delivery = Dispatcher(store, [Target("target", gone)], clock=clock)
    await store.alerting.save([step(alert("a")), step(alert("b"))])

    async def refuse(*args, **options):
        raise StorageError("no such delivery", permanent=True)

    monkeypatch.setattr(store.alerting, "end", refuse)
    await delivery.deliver_due()
    assert delivery.stopped == {"target": "answered 404"}


async def test_a_replaced_store_is_used_from_then_on(store, clock, tmp_path):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    other = await open_store(f"sqlite:///{tmp_path / 'other.db'}")
    try:
        delivery.store = other
        await other.alerting.save([step(alert("b"))])
        await delivery.deliver_due()
        assert [notice.alert.uid for notice in target.received] == ["b"]
    finally:
        await other.close()


async def test_an_error_of_the_check_at_start_is_logged_and_shown_until_a_delivery_succeeds(store, clock, caplog):
    target = Target("target", prepared=NotifyError("PERFORMANCE_X is not to be seen", permanent=True))
    delivery = Dispatcher(store, [target], clock=clock)
    await delivery.prepare()
    assert "PERFORMANCE_X is not to be seen" in caplog.text
    assert [(one.well, one.text) for one in delivery.findings()] == [(False, "PERFORMANCE_X is not to be seen")]
    assert delivery.targets(alert()) == ("target",)
    await store.alerting.save([step(alert())])
    await delivery.deliver_due()
    assert [one.well for one in delivery.findings()] == [True]


async def test_a_target_that_is_gone_at_start_is_stopped_and_the_others_are_notified(store, clock):
    gone = Target("gone", prepared=NotifyError("answered 401", permanent=True, gone=True))
    log = Target("log")
    delivery = Dispatcher(store, [gone, log], clock=clock)
    await store.alerting.save([step(alert(), targets=("gone",))])
    await delivery.prepare()
    await delivery.deliver_due()
    assert (delivery.stopped, gone.tried) == ({"gone": "answered 401"}, [])
    assert [notice.stored for notice in log.received] == [False]
    assert await outcomes(store) == ["failed"]


async def test_an_internal_error_in_a_targets_check_stops_nothing(store, caplog):
    delivery = Dispatcher(store, [Target("target", prepared=RuntimeError("a fault"))])
    await delivery.prepare()
    assert "Traceback" in caplog.text
    assert delivery.stopped == {}


async def test_a_test_goes_to_each_target_without_the_outbox_and_returns_the_errors(store, clock):
    well, ill, faulty = Target("well"), Target("ill", again("no connection")), Target("faulty", RuntimeError("x"))
    gone = Target("gone", prepared=NotifyError("answered 404", permanent=True, gone=True))
    delivery = Dispatcher(store, [well, ill, faulty, gone], clock=clock)
    await delivery.prepare()
    assert await delivery.test("Ada") == {
        "well": "",
        "ill": "no connection",
        "faulty": "An internal error of cogmeter (RuntimeError); see the log",
        "gone": "Stopped: answered 404",
    }
    (notice,) = well.received
    assert (notice.test, notice.stored, notice.change.actor) == (True, False, "Ada")
    assert "Ada" in notice.change.message
    assert await store.alerting.attempts() == []


async def test_simultaneous_tests_are_sent_once(store, clock):
    well, ill = Target("well"), Target("ill", again("no connection"))
    delivery = Dispatcher(store, [well, ill], clock=clock)
    await delivery.prepare()
    errors = await asyncio.gather(
        *(delivery.test(f"Ada {number}") for number in range(12)), delivery.test("Ben", "well")
    )
    assert errors == [{"well": "", "ill": "no connection"}] * 12 + [{"well": ""}]
    assert len(well.received) == 1
    await delivery.test("Ada")
    assert len(well.received) == 2


async def test_a_target_receives_no_more_than_its_rate(store, clock):
    target = Target("webhook", rate=SendRate(burst=5, per_s=1.0))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert(f"a{number}"), targets=("webhook",)) for number in range(12)])
    counts = []
    for _ in range(8):
        await delivery.deliver_due()
        counts.append(len(target.received))
        clock.advance(1)
    assert counts == [5, 6, 7, 8, 9, 10, 11, 12]


def test_the_pause_grows_and_is_spread_and_has_a_limit():
    drawn = {attempts: [delay_us(attempts) / 1e6 for _ in range(500)] for attempts in (1, 3, 50)}
    for attempts, limit_s in ((1, 5), (3, 20), (50, 600)):
        assert min(drawn[attempts]) >= 1
        assert limit_s * 0.8 < max(drawn[attempts]) <= limit_s
    assert delay_us(1, retry_after_s=120) == 120 * SECOND
    assert delay_us(1, retry_after_s=1e9) == 3_600 * SECOND


def test_a_clock_that_was_set_back_delays_no_target():
    bucket = TokenBucket(SendRate(burst=1, per_s=1))
    bucket.take(NOON)
    bucket.close(NOON + 600 * SECOND)
    assert bucket.ready_us(NOON - 3_600 * SECOND) <= NOON - 3_599 * SECOND


async def test_the_work_runs_outside_of_the_callers_context(store, clock):
    from cogmeter.recording.background import own_work

    seen = []

    class Looking(Target):
        async def notify(self, notice):
            seen.append(own_work.get())

        async def prepare(self):
            seen.append(own_work.get())

    delivery = Dispatcher(store, [Looking()], clock=clock)
    await store.alerting.save([step(alert())])
    await delivery.prepare()
    await delivery.deliver_due()
    await delivery.test("Ada")
    assert seen == [True, True, True]


async def test_a_target_is_left_out_of_an_alert_that_it_received_out_of_band(store, clock):
    """The out-of-band thread may have sent it the same alert."""
    delivery = Dispatcher(
        store,
        [Target("webhook"), Target("log")],
        sent_out_of_band=lambda one, target: target == "webhook" and one.uid == "a",
        clock=clock,
    )
    assert delivery.targets(alert("a")) == ("log",)
    assert delivery.targets(alert("b")) == ("webhook", "log")
    await store.alerting.save([step(alert("a"), targets=("webhook",))])  # just before the out-of-band thread sent it
    await delivery.deliver_due()
    assert delivery.targets(alert("a")) == ("webhook", "log")
    assert delivery.has_active("webhook", "error_rate")
    assert not delivery.has_active("log", "error_rate")
    assert not delivery.has_active("webhook", "stall")
    await store.alerting.save([step(alert("a", state=AlertState.RESOLVED), "resolved", ("webhook",))])
    await delivery.deliver_due()
    assert not delivery.has_active("webhook", "error_rate")


async def test_a_target_that_is_gone_is_not_checked_again(store, clock):
    gone = Target("gone", prepared=NotifyError("answered 404", permanent=True, gone=True))
    delivery = Dispatcher(store, [gone], clock=clock)
    for _ in range(3):  # at the start, and by the doctor
        await delivery.prepare()
    assert gone.looked == 1
    assert delivery.stopped == {"gone": "answered 404"}
