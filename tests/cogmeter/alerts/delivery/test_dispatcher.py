"""The outbox worker, on a real store: what it tells, in which order, how often, and what it says when it cannot."""

import asyncio
import contextlib

import pytest
from factories import make_alert

from cogmeter.alerts.delivery.backoff import SendRate, TokenBucket, delay_us
from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.alerts.delivery.target_worker import GIVE_UP_US
from cogmeter.notifiers.base import NotifyError
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
    """Keeps what it is told, and does first what the script says: raises it, or awaits it."""

    def __init__(self, name="target", *script, living=False, single=False, prepared=None):
        self.name, self.living, self.single = name, living, single
        self.script = list(script)
        self.prepared = prepared
        self.tried = []
        self.told = []
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
        self.told.append(notice)
        return f"receipt-{len(self.told)}"

    @property
    def kinds(self):
        return [notice.change.kind for notice in self.told]


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


async def test_each_target_is_told_once_and_the_store_knows_it(store, clock):
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


async def test_a_notice_has_the_alert_as_it_is_its_receipt_and_what_a_group_speaks_for(store, clock):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("root")), Step(alert("b", group="root")), Step(alert("c", group="root"))])
    await delivery.deliver_due()
    await store.alerting.save([step(alert("root", state=AlertState.RESOLVED), "resolved")])
    await delivery.deliver_due()
    first, second = target.told
    assert {member.uid for member in first.members} == {"b", "c"}
    assert (first.receipt, second.receipt) == (None, "receipt-1")
    assert (first.uncertain, first.test, first.stored) == (False, False, True)
    assert second.alert.state is AlertState.RESOLVED
    assert first.event_id != second.event_id


def test_of_an_alert_that_a_group_speaks_for_only_single_targets_are_told(store):
    delivery = Dispatcher(store, [Target("log", single=True), Target("channel")])
    assert delivery.targets(alert()) == ("log", "channel")
    assert delivery.targets(alert(group="root")) == ("log",)


async def test_of_changes_that_wait_a_living_target_is_told_the_newest_and_any_other_all_in_order(store, clock):
    living, listing = Target("living", living=True), Target("listing")
    delivery = Dispatcher(store, [living, listing], clock=clock)
    for kind in ("fired", "worsened", "acknowledged"):
        await store.alerting.save([step(alert(), kind, ("living", "listing"))])
    await delivery.deliver_due()
    assert living.kinds == ["acknowledged"]
    assert listing.kinds == ["fired", "worsened", "acknowledged"]
    assert sorted(await outcomes(store)) == ["sent"] * 4 + ["superseded"] * 2


async def test_a_change_that_may_have_arrived_is_looked_for_even_if_a_later_one_waits(store, clock):
    living = Target("living", living=True)
    await store.alerting.save([step(alert(), "fired", ("living",))])
    (begun,) = await store.alerting.due(NOON)
    await store.alerting.begin(begun.id, now_us=NOON)  # and the process dies
    await store.alerting.save([step(alert(), "worsened", ("living",))])
    await Dispatcher(store, [living], clock=clock).deliver_due()
    assert [(notice.change.kind, notice.uncertain) for notice in living.told] == [("fired", True), ("worsened", False)]


async def test_a_ping_is_not_left_out_while_the_alert_fires(store, clock):
    living = Target("living", living=True)
    for kind in ("fired", "escalated", "reminded"):
        await store.alerting.save([step(alert(), kind, ("living",))])
    await Dispatcher(store, [living], clock=clock).deliver_due()
    assert living.kinds == ["escalated", "reminded"]


async def test_a_failure_is_tried_again_later_and_later_until_it_works(store, clock, caplog):
    target = Target("target", *[again() for _ in range(5)])
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    for _ in range(5):
        await delivery.deliver_due()
        await delivery.deliver_due()  # at the same moment nothing is tried again
        (finding,) = delivery.findings()
        assert (finding.well, finding.text) == (False, "busy")
        clock.now_us = await store.alerting.next_due_us()
    assert (len(target.tried), target.told) == (5, [])
    await delivery.deliver_due()
    assert target.kinds == ["fired"]
    assert {notice.event_id for notice in target.tried} == {target.told[0].event_id}
    assert [notice.uncertain for notice in target.tried] == [False] + [True] * 5
    assert await outcomes(store) == ["retry"] * 5 + ["sent"]
    assert delivery.findings()[0].well
    assert [record.levelname for record in caplog.records if "trying again" in record.message] == ["WARNING"]


async def test_what_fails_permanently_is_given_up_and_said_and_the_next_change_is_told(store, clock, caplog):
    target = Target("target", NotifyError("it does not take this", permanent=True))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    await store.alerting.save([step(alert(), "resolved")])
    await delivery.deliver_due()
    assert target.kinds == ["resolved"]
    assert await outcomes(store) == ["failed", "sent"]
    assert (delivery.failed, delivery.stopped) == ({"target": 1}, {})
    assert "not told of fired of error_rate@knowledge-graph, in 1 attempts: it does not take this" in caplog.text


async def test_a_target_that_missed_something_is_well_again_once_it_is_told(store, clock):
    target = Target("target", NotifyError("it does not take this", permanent=True))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    await delivery.deliver_due()
    await delivery.prepare()  # that it could be told now does not make good what it missed
    (finding,) = delivery.findings()
    assert (finding.well, finding.text) == (False, "0 delivered, 1 failed")
    await store.alerting.save([step(alert(), "resolved")])
    await delivery.deliver_due()
    (finding,) = delivery.findings()
    assert (finding.well, finding.text) == (True, "1 delivered, 1 failed")


async def test_what_nobody_takes_for_a_day_is_given_up(store, clock):
    target = Target("target", *[again() for _ in range(5_000)])
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    while (due_us := await store.alerting.next_due_us()) is not None:
        clock.now_us = max(clock.now_us, due_us)
        await delivery.deliver_due()
    assert GIVE_UP_US - 600 * SECOND <= clock.now_us - NOON <= GIVE_UP_US
    assert delivery.failed == {"target": 1}
    assert 100 < len(target.tried) < 1_000


async def test_what_waited_for_the_bot_for_days_gets_its_attempts_too(store, clock):
    target = Target("target", again(), again())
    await store.alerting.save([step(alert())])
    clock.advance(3 * 86_400)
    delivery = Dispatcher(store, [target], clock=clock)
    for _ in range(3):
        await delivery.deliver_due()
        clock.advance(600)
    assert (target.kinds, delivery.failed) == (["fired"], {})


async def test_a_target_that_asks_for_a_pause_gets_it_for_all_alerts(store, clock):
    target = Target("target", again(retry_after_s=30))
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("a")), step(alert("b"))])
    await delivery.deliver_due()
    clock.advance(29)
    await delivery.deliver_due()
    assert len(target.tried) == 1
    clock.advance(1)
    await delivery.deliver_due()
    assert sorted(notice.alert.uid for notice in target.told) == ["a", "b"]


async def test_a_target_that_is_gone_is_told_nothing_more_and_the_others_hear_of_it_once(store, clock, caplog):
    gone = Target("webhook", NotifyError("PERFORMANCE_X answered 404", permanent=True, gone=True))
    log, channel = Target("log", single=True), Target("channel", living=True)
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
        (word,) = [notice for notice in other.told if not notice.stored]
        assert (word.change.message, word.test) == (
            "The alert target webhook receives no more alerts: PERFORMANCE_X answered 404",
            False,
        )
    assert caplog.text.count("is told of no more alerts until the next start: PERFORMANCE_X answered 404") == 1
    assert [(one.name, one.well) for one in delivery.findings() if not one.well] == [("alerts: webhook", False)]


async def test_an_attempt_that_is_never_answered_is_cut_off_and_tried_again_as_uncertain(store, clock, monkeypatch):
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


async def test_why_a_target_is_gone_leaves_the_bot_without_ids(store, clock):
    gone = Target("channel", prepared=NotifyError("X_ID=123456789012345678: none", permanent=True, gone=True))
    webhook = Target("webhook")
    delivery = Dispatcher(store, [gone, webhook], clock=clock)
    await delivery.prepare()
    await delivery.deliver_due()
    (word,) = webhook.told
    assert word.change.message == "The alert target channel receives no more alerts: X_ID=(id): none"
    (finding, _) = delivery.findings()
    assert "123456789012345678" in finding.text


async def test_a_fault_of_ours_is_logged_and_given_up_after_three_attempts(store, clock, caplog):
    target = Target("target", *[RuntimeError("s3cret") for _ in range(3)])
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert())])
    for _ in range(5):
        await delivery.deliver_due()
        clock.advance(600)
    assert await outcomes(store) == ["retry", "retry", "failed"]
    assert [attempt.error for attempt in await store.alerting.attempts()] == [
        "a fault of cogmeter's (RuntimeError); see the log"
    ] * 3
    assert caplog.text.count("Traceback") == 3


async def test_a_slow_target_holds_up_no_other(store, clock):
    free = asyncio.Event()
    slow, quick = Target("slow", free.wait), Target("quick")
    async with running(Dispatcher(store, [slow, quick], clock=clock)) as delivery:
        await store.alerting.save([step(alert("a"), targets=("slow", "quick"))])
        delivery.wake()
        await until(lambda: quick.told and slow.tried)
        await store.alerting.save([step(alert("b"), targets=("slow", "quick"))])
        delivery.wake()
        await until(lambda: len(quick.told) == 2)
        assert slow.told == []
        free.set()
        await until(lambda: len(slow.told) == 2)
    assert [notice.alert.uid for notice in slow.told] == ["a", "b"]


async def test_the_worker_delivers_what_the_last_run_left_and_what_wakes_it(store):
    target = Target()
    await store.alerting.save([step(alert("a"))])
    async with running(Dispatcher(store, [target])) as delivery:
        await until(lambda: len(target.told) == 1)
        await store.alerting.save([step(alert("b"))])
        delivery.wake()
        await until(lambda: len(target.told) == 2)


async def test_the_worker_tries_again_by_itself_when_it_is_time(store, monkeypatch):
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
        await until(lambda: target.told)


async def test_what_waits_for_a_target_that_is_not_set_any_more_is_ended(store, clock, caplog):
    await store.alerting.save([step(alert(), targets=("pager",)), step(alert("b"), targets=("target",))])
    await store.alerting.save([step(alert(), "resolved", ("pager",))])
    target = Target()
    async with running(Dispatcher(store, [target], clock=clock)):
        await until(lambda: caplog.text.count("waited for the pager target") == 2 and target.told)
    assert await outcomes(store) == ["failed", "failed"]
    assert await store.alerting.next_due_us() is None


async def test_an_attempt_that_runs_at_the_end_is_let_finish(store, clock):
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
    assert [notice.uncertain for notice in after.told] == [True]


async def test_it_can_be_stopped_at_once_and_started_again(store, clock):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    delivery.start()
    tasks = set(delivery._tasks)
    await delivery.stop()
    assert [(task.done(), task.cancelled()) for task in tasks] == [(True, False)] * 2
    await store.alerting.save([step(alert())])
    async with running(delivery):
        await until(lambda: target.told)


async def test_what_the_store_did_not_take_is_offered_once_more_at_the_end(store, clock, monkeypatch):
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


async def test_a_store_that_fails_after_the_target_was_told_has_it_told_once(store, clock, monkeypatch):
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
    assert len(target.told) == 1
    assert await outcomes(store) == ["sent"]


async def test_a_store_that_fails_is_left_alone_for_a_while_and_then_it_goes_on(store, clock, monkeypatch, caplog):
    monkeypatch.setattr("cogmeter.alerts.delivery.target_worker.PAUSE_S", 0.01)
    target = Target()
    await store.alerting.save([step(alert())])
    due, asked = store.alerting.due, []

    async def refuse(*args, **options):
        asked.append(options.get("target"))
        raise StorageError("locked", permanent=False)

    monkeypatch.setattr(store.alerting, "due", refuse)
    async with running(Dispatcher(store, [target], clock=clock)):
        await until(lambda: asked.count("target") >= 3)
        monkeypatch.setattr(store.alerting, "due", due)
        await until(lambda: target.told)
    assert caplog.text.count("The alerts for the target target wait: locked") == 1


async def test_a_store_that_never_notes_an_end_does_not_have_it_told_again(store, clock, monkeypatch, caplog):
    target = Target()
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert("a")), step(alert("b"))])

    async def refuse(*args, **options):
        raise StorageError("the table of attempts is damaged", permanent=True)

    monkeypatch.setattr(store.alerting, "end", refuse)
    for _ in range(3):
        await delivery.deliver_due()
    assert sorted(notice.alert.uid for notice in target.told) == ["a", "b"]
    assert caplog.text.count("(sent) was not stored: the table of attempts is damaged") == 2


async def test_a_store_that_ends_nothing_any_more_is_not_asked_for_ever(store, clock, monkeypatch):
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
        assert [notice.alert.uid for notice in target.told] == ["b"]
    finally:
        await other.close()


async def test_what_a_target_says_at_start_is_logged_and_shown_and_forgotten_once_it_works(store, clock, caplog):
    target = Target("target", prepared=NotifyError("PERFORMANCE_X is not to be seen", permanent=True))
    delivery = Dispatcher(store, [target], clock=clock)
    await delivery.prepare()
    assert "PERFORMANCE_X is not to be seen" in caplog.text
    assert [(one.well, one.text) for one in delivery.findings()] == [(False, "PERFORMANCE_X is not to be seen")]
    assert delivery.targets(alert()) == ("target",)
    await store.alerting.save([step(alert())])
    await delivery.deliver_due()
    assert [one.well for one in delivery.findings()] == [True]


async def test_a_target_that_is_gone_at_start_is_given_up_and_the_others_hear_of_it(store, clock):
    gone = Target("gone", prepared=NotifyError("answered 401", permanent=True, gone=True))
    log = Target("log")
    delivery = Dispatcher(store, [gone, log], clock=clock)
    await store.alerting.save([step(alert(), targets=("gone",))])
    await delivery.prepare()
    await delivery.deliver_due()
    assert (delivery.stopped, gone.tried) == ({"gone": "answered 401"}, [])
    assert [notice.stored for notice in log.told] == [False]
    assert await outcomes(store) == ["failed"]


async def test_a_fault_while_a_target_is_looked_at_ends_nothing(store, caplog):
    delivery = Dispatcher(store, [Target("target", prepared=RuntimeError("a fault"))])
    await delivery.prepare()
    assert "Traceback" in caplog.text
    assert delivery.stopped == {}


async def test_a_test_goes_to_each_target_beside_the_outbox_and_says_what_went_wrong(store, clock):
    well, ill, faulty = Target("well"), Target("ill", again("no connection")), Target("faulty", RuntimeError("x"))
    gone = Target("gone", prepared=NotifyError("answered 404", permanent=True, gone=True))
    delivery = Dispatcher(store, [well, ill, faulty, gone], clock=clock)
    await delivery.prepare()
    assert await delivery.test("Ada") == {
        "well": "",
        "ill": "no connection",
        "faulty": "A fault of cogmeter's (RuntimeError); see the log",
        "gone": "Stopped: answered 404",
    }
    (notice,) = well.told
    assert (notice.test, notice.stored, notice.change.actor) == (True, False, "Ada")
    assert "Ada" in notice.change.message
    assert await store.alerting.attempts() == []


async def test_tests_that_come_together_are_sent_once(store, clock):
    well, ill = Target("well"), Target("ill", again("no connection"))
    delivery = Dispatcher(store, [well, ill], clock=clock)
    await delivery.prepare()
    said = await asyncio.gather(*(delivery.test(f"Ada {number}") for number in range(12)), delivery.test("Ben", "well"))
    assert said == [{"well": "", "ill": "no connection"}] * 12 + [{"well": ""}]
    assert len(well.told) == 1
    await delivery.test("Ada")
    assert len(well.told) == 2


async def test_a_target_with_a_pace_is_told_no_faster(store, clock):
    target = Target("webhook")
    delivery = Dispatcher(store, [target], clock=clock)
    await store.alerting.save([step(alert(f"a{number}"), targets=("webhook",)) for number in range(12)])
    counts = []
    for _ in range(8):
        await delivery.deliver_due()
        counts.append(len(target.told))
        clock.advance(1)
    assert counts == [5, 6, 7, 8, 9, 10, 11, 12]


def test_the_pause_grows_and_is_spread_and_has_a_limit():
    drawn = {attempts: [delay_us(attempts) / 1e6 for _ in range(500)] for attempts in (1, 3, 50)}
    for attempts, limit_s in ((1, 5), (3, 20), (50, 600)):
        assert min(drawn[attempts]) >= 1
        assert limit_s * 0.8 < max(drawn[attempts]) <= limit_s
    assert delay_us(1, wish_s=120) == 120 * SECOND
    assert delay_us(1, wish_s=1e9) == 3_600 * SECOND


def test_a_clock_that_was_set_back_holds_no_target_up():
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


async def test_who_was_told_in_another_way_is_left_out_but_of_an_alert_that_it_knows(store, clock):
    """The lifeline may have told it of the same trouble."""
    delivery = Dispatcher(store, [Target("webhook"), Target("log")], clock=clock)
    delivery.skip_alerts_sent_by(lambda one, target: target == "webhook" and one.uid == "a")
    assert delivery.targets(alert("a")) == ("log",)
    assert delivery.targets(alert("b")) == ("webhook", "log")
    await store.alerting.save([step(alert("a"), targets=("webhook",))])  # just before the lifeline spoke
    await delivery.deliver_due()
    assert delivery.targets(alert("a")) == ("webhook", "log")
    assert delivery.stands("webhook", "error_rate")
    assert not delivery.stands("log", "error_rate")
    assert not delivery.stands("webhook", "stall")
    await store.alerting.save([step(alert("a", state=AlertState.RESOLVED), "resolved", ("webhook",))])
    await delivery.deliver_due()
    assert not delivery.stands("webhook", "error_rate")


async def test_a_target_that_is_gone_is_not_looked_at_again(store, clock):
    gone = Target("gone", prepared=NotifyError("answered 404", permanent=True, gone=True))
    delivery = Dispatcher(store, [gone], clock=clock)
    for _ in range(3):  # at the start, and by the doctor
        await delivery.prepare()
    assert gone.looked == 1
    assert delivery.stopped == {"gone": "answered 404"}
