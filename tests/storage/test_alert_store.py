"""The contract of AlertStore, markers and named values, checked for every back end."""

from __future__ import annotations

import asyncio
import dataclasses
import math

import pytest

from cogmeter_storage import Cleaned, Retention, StorageError
from cogmeter_storage.alerting import ACTIVE, Alert, AlertChange, AlertState, Attempt, AuditEntry, Mute, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker

EVERY = tuple(AlertState)
FIRING, RESOLVED = AlertState.FIRING, AlertState.RESOLVED


@pytest.fixture
def alerting(store):
    return store.alerting


@pytest.fixture
def make_alert(noon):
    """``make_alert("a", state, at_us=..., ...)``: an alert that changed then."""

    def make(uid, state=FIRING, *, at_us=noon, **others):
        resolved_us = at_us if state is RESOLVED else None
        values = {"service": "alpha", "fired_us": at_us, "resolved_us": resolved_us} | others
        return Alert(
            uid=uid,
            rule="error_rate",
            operation="one",
            state=state,
            severity="critical",
            message="High error rate: 20% in 5 minutes",
            threshold=0.05,
            current=0.2,
            worst=0.3,
            started_us=at_us - MINUTE_US,
            seen_us=at_us,
            changed_us=at_us,
            **values,
        )

    return make


def step(alert, kind="fired", targets=(), *, at_us=None, actor=""):
    """Return a step with this change of the alert."""
    at_us = alert.changed_us if at_us is None else at_us
    measured = (alert.severity, alert.message, alert.current, alert.threshold, at_us)
    return Step(alert, AlertChange(alert.uid, kind, alert.state, *measured, actor, "note"), targets)


async def uids(alerting, *args, **options):
    return [one.uid for one in await alerting.alerts(*args, **options)]


# Alerts and what happened to them


async def test_an_alert_comes_back_with_every_field(alerting, make_alert, noon):
    alert = make_alert(
        "a",
        AlertState.ACKNOWLEDGED,
        acknowledged_us=noon + 1,
        acknowledged_by="Ann",
        resolved_us=noon + 2,
        muted_until_us=noon + 3,
        reminded_us=noon + 4,
        escalated=True,
        flapping=True,
        group="root",
    )
    (saved,) = await alerting.save([step(alert)])
    assert saved == dataclasses.replace(alert, id=1, version=1)
    assert await alerting.alert("a") == saved
    assert await alerting.alerts() == [saved]
    assert await alerting.alert("b") is None


async def test_an_alert_keeps_its_id_and_its_version_rises_with_each_change_alone(alerting, make_alert, noon):
    pending = make_alert("a", AlertState.PENDING, fired_us=None)
    (first,) = await alerting.save([Step(pending)])
    fired = make_alert("a", at_us=noon + 1)
    _, second = await alerting.save([step(make_alert("b")), step(fired)])
    seen = dataclasses.replace(fired, seen_us=noon + 2, current=math.inf, version=70, id=80)
    (third,) = await alerting.save([Step(seen)])
    fourth, fifth = await alerting.save([step(seen, "worsened"), step(seen, "reminded")])
    versions = [(one.id, one.version) for one in (first, second, third, fourth, fifth)]
    assert versions == [(1, 0), (1, 1), (1, 1), (1, 2), (1, 3)]
    assert await alerting.alert("a") == dataclasses.replace(seen, id=1, version=3)


async def test_saving_nothing_is_nothing(alerting):
    assert await alerting.save([]) == []


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda alert: dataclasses.replace(step(alert), alert=dataclasses.replace(alert, uid="c")), "change is one of"),
        (lambda alert: Step(alert, None, ("log",)), "nothing to send"),
        (lambda alert: Step(dataclasses.replace(alert, worst=math.nan)), "not a number"),
    ],
)
async def test_a_step_that_cannot_be_is_refused_and_none_is_stored(alerting, make_alert, wrong, match):
    with pytest.raises(ValueError, match=match):
        await alerting.save([step(make_alert("a")), wrong(make_alert("b"))])
    assert await alerting.alerts(EVERY) == []


async def test_a_save_that_fails_half_way_has_stored_nothing(alerting, make_alert, noon):
    unstorable = dataclasses.replace(make_alert("b"), seen_us=None)
    with pytest.raises(StorageError):
        await alerting.save([step(make_alert("a"), targets=("log",)), Step(unstorable)])
    assert await alerting.alerts(EVERY) == []
    assert await alerting.changes() == []
    assert await alerting.due(noon) == []


async def test_a_cancelled_save_has_stored_all_or_nothing(alerting, make_alert, noon):
    for turn in range(20):
        steps = [step(make_alert(f"{turn}-{number}"), targets=("log",)) for number in range(30)]
        task = asyncio.create_task(alerting.save(steps))
        for _ in range(turn % 4):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await alerting.delete_unfired([])  # waits behind it
        count = len(await alerting.alerts(EVERY))
        assert count % 30 == 0
        assert count == len(await alerting.changes()) == len(await alerting.due(noon, limit=1000))


async def test_alerts_are_listed_by_state_time_service_and_group_the_last_begun_first(alerting, make_alert, noon):
    await alerting.save(
        [
            step(make_alert("old", RESOLVED, at_us=noon - HOUR_US)),
            step(make_alert("a", at_us=noon + 1, group="root")),
            step(make_alert("b", AlertState.MUTED, at_us=noon + 3, service="beta")),
            step(make_alert("c", RESOLVED, at_us=noon + 2, group="root")),
            step(make_alert("d", at_us=noon + 3)),
        ]
    )
    assert await uids(alerting) == ["d", "b", "a"]
    assert await uids(alerting, ACTIVE) == ["d", "b", "a"]
    assert await uids(alerting, EVERY) == ["d", "b", "c", "a", "old"]
    assert await uids(alerting, {RESOLVED}) == ["c", "old"]
    assert await uids(alerting, ()) == []
    assert await uids(alerting, EVERY, since_us=noon + 2) == ["d", "b", "c"]
    assert await uids(alerting, EVERY, service="beta") == ["b"]
    assert await uids(alerting, EVERY, service="") == []
    assert await uids(alerting, EVERY, group="root") == ["c", "a"]
    assert await uids(alerting, EVERY, group="") == ["d", "b", "old"]
    assert await uids(alerting, EVERY, limit=2, offset=1) == ["b", "c"]
    assert await uids(alerting, EVERY, limit=0) == []
    late = dataclasses.replace(make_alert("late", RESOLVED, at_us=noon + 4), started_us=noon - HOUR_US)
    await alerting.save([step(late)])  # it began before the others and changed after them
    assert await uids(alerting, EVERY) == ["d", "b", "c", "a", "late", "old"]


async def test_changes_are_listed_newest_first_of_one_alert_or_of_all(alerting, make_alert, noon):
    await alerting.save([step(make_alert("a")), step(make_alert("b"))])
    acknowledged = step(make_alert("a", AlertState.ACKNOWLEDGED, at_us=noon + 1), "acknowledged", actor="Ann")
    await alerting.save([acknowledged])
    newest, *others = await alerting.changes()
    assert newest == dataclasses.replace(acknowledged.change, id=3)
    assert [(one.alert, one.kind, one.id) for one in others] == [("b", "fired", 2), ("a", "fired", 1)]
    assert [one.id for one in await alerting.changes("a")] == [3, 1]
    assert [one.id for one in await alerting.changes("a", since_us=noon + 1)] == [3]
    assert [one.id for one in await alerting.changes(since_us=noon, limit=2)] == [3, 2]
    assert await alerting.changes("nobody") == []
    assert await alerting.changes(limit=0) == []


async def test_what_never_fired_can_be_forgotten_and_what_fired_cannot(alerting, make_alert, noon):
    await alerting.save([Step(make_alert("p", AlertState.PENDING, fired_us=None)), step(make_alert("a"))])
    muted = step(make_alert("m", AlertState.MUTED, fired_us=None), "muted", ("log",))
    await alerting.save([muted])
    await alerting.delete_unfired(["p", "a", "m", "nobody"])
    assert await uids(alerting, EVERY) == ["a"]
    assert [one.alert for one in await alerting.changes()] == ["a"]
    assert await alerting.due(noon) == []
    (again,) = await alerting.save([step(make_alert("p"))])
    assert again.id == 4  # no id is used twice


# Deliveries


async def test_each_target_gets_a_delivery_with_the_change_and_the_alert_as_it_is_now(alerting, make_alert, noon):
    alert = make_alert("a")
    first = step(alert, targets=("log", "channel", "log"))
    await alerting.save([first])
    (worse,) = await alerting.save([Step(dataclasses.replace(alert, current=0.9))])
    log, channel = await alerting.due(noon)
    assert (log.id, log.target, channel.id, channel.target) == (1, "log", 2, "channel")
    assert log.change == channel.change == dataclasses.replace(first.change, id=1)
    assert log.alert == channel.alert == worse
    assert (log.attempts, log.due_us, log.begun_us, log.receipt, log.superseded) == (0, noon, None, None, False)
    assert await alerting.due(noon, target="channel") == [channel]
    assert await alerting.due(noon, limit=1) == [log]
    assert await alerting.due(noon, limit=0) == []
    assert await alerting.due(noon - 1) == []


async def test_what_was_sent_is_given_no_more_and_what_the_target_gave_is_kept(alerting, make_alert, noon):
    alert = make_alert("a")
    await alerting.save([step(alert, targets=("channel",))])
    await alerting.begin(1, now_us=noon + 1)
    await alerting.end(1, outcome="sent", now_us=noon + 5, receipt="message 1")
    assert await alerting.due(noon + DAY_US) == []
    assert await alerting.next_due_us() is None
    assert await alerting.receipt("a", "channel") == "message 1"
    assert await alerting.receipt("a", "log") is None
    assert await alerting.receipt("b", "channel") is None
    await alerting.save([step(alert, "reminded", ("channel", "log"))])
    assert [one.receipt for one in await alerting.due(noon)] == ["message 1", None]
    for delivery, receipt in ((2, None), (3, "line")):
        await alerting.begin(delivery, now_us=noon + 6)
        await alerting.end(delivery, outcome="sent", now_us=noon + 7, receipt=receipt)
    assert await alerting.receipt("a", "channel") == "message 1"
    await alerting.save([step(alert, "eased", ("channel",))])
    await alerting.end(4, outcome="superseded", now_us=noon, receipt="message 2")
    assert await alerting.receipt("a", "channel") == "message 2"


async def test_a_later_delivery_waits_until_the_earlier_one_of_its_alert_and_target_has_ended(
    alerting, make_alert, noon
):
    alert = make_alert("a")
    await alerting.save([step(alert, targets=("log", "channel"))])  # deliveries 1 and 2
    await alerting.save([step(alert, "worsened", ("log",)), step(make_alert("b"), targets=("log",))])  # 3 and 4
    assert [(one.id, one.superseded) for one in await alerting.due(noon)] == [(1, True), (2, False), (4, False)]
    await alerting.begin(1, now_us=noon)
    await alerting.end(1, outcome="retry", now_us=noon + 1, due_us=noon + 100, error="503")
    assert [one.id for one in await alerting.due(noon + 99)] == [2, 4]
    (again,) = await alerting.due(noon + 100, limit=1)
    assert (again.id, again.attempts, again.due_us, again.begun_us, again.superseded) == (1, 1, noon + 100, None, True)
    await alerting.save([step(alert, "reminded", ("log",)), step(alert, "eased", ("log",))])  # 5 and 6
    for number, ended, following in ((1, "sent", 3), (3, "failed", 5), (5, "superseded", 6)):
        await alerting.end(number, outcome=ended, now_us=noon + 101)
        (of_a,) = [one for one in await alerting.due(noon + 101, target="log") if one.alert.uid == "a"]
        assert (of_a.id, of_a.superseded) == (following, following != 6)


async def test_the_next_time_is_that_of_a_delivery_that_may_be_tried_then(alerting, make_alert, noon):
    alert = make_alert("a")
    await alerting.save([step(alert, targets=("log",))])
    assert await alerting.next_due_us() == noon
    await alerting.end(1, outcome="retry", now_us=noon, due_us=noon + 500)
    await alerting.save([step(alert, "reminded", ("log",), at_us=noon + 1)])
    # The reminder is due already, but waits for the earlier delivery that backs off.
    assert await alerting.next_due_us() == noon + 500
    await alerting.save([step(alert, "reminded", ("channel",), at_us=noon + 300)])
    assert await alerting.next_due_us() == noon + 300
    assert await alerting.next_due_us("log") == noon + 500
    assert await alerting.next_due_us("webhook") is None


async def test_an_attempt_that_never_ended_is_seen_even_after_a_restart(backend, make_alert, noon):
    async with backend.store() as store:
        await store.alerting.save([step(make_alert("a"), targets=("log", "channel"))])
        await store.alerting.begin(2, now_us=noon + 7)
    async with backend.store() as store:
        log, channel = await store.alerting.due(noon + 10)
        assert (log.begun_us, log.attempts) == (None, 0)
        assert (channel.begun_us, channel.attempts) == (noon + 7, 1)
        await store.alerting.begin(2, now_us=noon + 11)
        (channel,) = await store.alerting.due(noon + 11, target="channel")
        assert (channel.begun_us, channel.attempts) == (noon + 11, 2)


async def test_each_attempt_is_recorded_newest_first(alerting, make_alert, noon):
    await alerting.save([step(make_alert("a"), targets=("channel",)), step(make_alert("b"), targets=("log",))])
    await alerting.begin(1, now_us=noon + 10)
    await alerting.end(1, outcome="retry", now_us=noon + 40, error="503", due_us=noon + 100)
    await alerting.begin(1, now_us=noon + 100)
    await alerting.end(1, outcome="failed", now_us=noon + 90, error="404")  # the clock jumped back
    await alerting.end(2, outcome="superseded", now_us=noon + 200)
    expected = [
        Attempt(2, "log", "b", noon + 200, 0, "superseded"),
        Attempt(1, "channel", "a", noon + 100, 0, "failed", "404"),
        Attempt(1, "channel", "a", noon + 10, 30, "retry", "503"),
    ]
    assert await alerting.attempts() == expected
    assert await alerting.attempts("a") == expected[1:]
    assert await alerting.attempts(limit=1) == expected[:1]
    assert await alerting.attempts("a", limit=0) == []


async def test_what_does_not_wait_can_neither_begin_nor_end(alerting, make_alert, noon):
    await alerting.save([step(make_alert("a"), targets=("log",))])
    await alerting.end(1, outcome="failed", now_us=noon)
    for number in (1, 2):
        for call in (
            alerting.begin(number, now_us=noon),
            alerting.end(number, outcome="sent", now_us=noon, receipt="message"),
        ):
            with pytest.raises(StorageError, match=f"Delivery {number} is not waiting") as caught:
                await call
            assert caught.value.permanent
    assert await alerting.receipt("a", "log") is None
    assert len(await alerting.attempts()) == 1


async def test_an_end_that_is_none_is_refused(alerting, make_alert, noon):
    await alerting.save([step(make_alert("a"), targets=("log",))])
    with pytest.raises(ValueError, match="'lost'"):
        await alerting.end(1, outcome="lost", now_us=noon)
    with pytest.raises(ValueError, match="due_us"):
        await alerting.end(1, outcome="retry", now_us=noon)
    assert len(await alerting.due(noon)) == 1


# Mutes, overrides and the audit


async def test_mutes_are_active_until_their_end_the_first_to_end_first(alerting, noon):
    long = await alerting.add_mute(Mute("alpha", "error_rate", noon, noon + 100, "Ann", "a deploy"))
    short = await alerting.add_mute(Mute("", "", noon + 10, noon + 50, "Ben"))
    assert (long.id, short.id) == (1, 2)
    assert await alerting.mutes(noon) == [short, long]
    assert await alerting.mutes(noon + 50) == [long]
    assert await alerting.mutes(noon + 100) == []


async def test_ending_a_mute_names_the_mutes_that_stay_active(alerting, noon):
    mutes = [await alerting.add_mute(Mute("alpha", "", noon, noon + hours * HOUR_US, "Ann")) for hours in (1, 2, 3)]
    now_us = noon + HOUR_US
    assert await alerting.end_mutes([1, 2, 9], now_us=now_us, actor="Ben") == [mutes[1]]
    assert await alerting.end_mutes([1, 2, 9], now_us=now_us, actor="Ben") == []
    assert await alerting.mutes(now_us) == [mutes[2]]


async def test_overrides_are_set_changed_and_reset_together_and_only_changes_are_audited(alerting, noon):
    assert await alerting.overrides() == {}
    values = {"error_rate": "0.1", "error_rate@alpha": "0.2", "throughput.for": None}
    entries = await alerting.override(values, now_us=noon, actor="Ann")
    assert entries == [
        AuditEntry(noon, "Ann", "threshold set", "error_rate", "", "0.1", 1),
        AuditEntry(noon, "Ann", "threshold set", "error_rate@alpha", "", "0.2", 2),
    ]
    again = await alerting.override({"error_rate": "0.3", "error_rate@alpha": "0.2"}, now_us=noon + 1, actor="Ben")
    assert again == [AuditEntry(noon + 1, "Ben", "threshold set", "error_rate", "0.1", "0.3", 3)]
    reset = await alerting.override({"error_rate": None}, now_us=noon + 2, actor="Ben")
    assert reset == [AuditEntry(noon + 2, "Ben", "threshold reset", "error_rate", "0.3", "", 4)]
    assert await alerting.overrides() == {"error_rate@alpha": "0.2"}
    assert await alerting.audit() == [*reset, *again, *reversed(entries)]
    assert await alerting.audit(limit=2, offset=1) == [again[0], entries[1]]
    assert await alerting.audit(limit=0) == []


async def test_overrides_of_settings_are_stored_with_those_of_thresholds_and_audited_as_settings(alerting, noon):
    values = {"setting:alert_channel_id": "5", "error_rate": "0.1"}
    entries = await alerting.override(values, now_us=noon, actor="Ann")
    assert [entry.action for entry in entries] == ["setting set", "threshold set"]
    (reset,) = await alerting.override({"setting:alert_channel_id": None}, now_us=noon, actor="Ann")
    assert (reset.action, reset.before, reset.after) == ("setting reset", "5", "")
    assert await alerting.overrides() == {"error_rate": "0.1"}


async def test_mutes_and_acknowledgements_are_audited_too(alerting, make_alert, noon):
    await alerting.save([step(make_alert("a"))])
    await alerting.save([step(make_alert("a", AlertState.ACKNOWLEDGED), "acknowledged", at_us=noon + 1, actor="Ann")])
    mutes = [
        await alerting.add_mute(Mute(service, rule, noon + 2, noon + HOUR_US, "Ann", reason))
        for service, rule, reason in (
            ("alpha", "error_rate", "a deploy"),
            ("", "slow", ""),
            ("beta", "", ""),
            ("",) * 3,
        )
    ]
    await alerting.end_mutes([mutes[0].id], now_us=noon + 3, actor="Ben")
    entries = [(one.at_us, one.actor, one.action, one.subject, one.before, one.after) for one in await alerting.audit()]
    until = "until 2025-06-16 13:00 UTC"
    assert entries[::-1] == [
        (noon + 1, "Ann", "acknowledge", "error_rate@alpha/one", "firing", "alert 1"),
        (noon + 2, "Ann", "mute", "error_rate@alpha", "", f"{until}: a deploy"),
        (noon + 2, "Ann", "mute", "slow", "", until),
        (noon + 2, "Ann", "mute", "*@beta", "", until),
        (noon + 2, "Ann", "mute", "*", "", until),
        (noon + 3, "Ben", "unmute", "error_rate@alpha", f"{until}: a deploy", ""),
    ]


async def test_an_entry_of_its_own_is_audited(alerting, noon):
    entry = await alerting.add_audit(AuditEntry(noon, "Ann", "use", "dashboard link", "", "until then"))
    assert entry == AuditEntry(noon, "Ann", "use", "dashboard link", "", "until then", 1)
    assert await alerting.audit() == [entry]


async def test_a_mute_may_end_after_the_last_time_that_can_be_formatted(store, noon):
    await store.alerting.add_mute(Mute("", "", noon, 2**62, "Ann"))
    (entry,) = await store.alerting.audit()
    assert entry.after == f"until {2**62}"


# Markers and remembered bytes


async def test_markers_come_in_order_of_time_and_a_limit_leaves_out_the_oldest(store, noon):
    later = await store.add_marker(Marker(noon + 5, "mark", "deployed 1.4"))
    first = await store.add_marker(Marker(noon, "start", "started"))
    second = await store.add_marker(Marker(noon, "version", "1.4"))
    assert (later.id, first.id, second.id) == (1, 2, 3)
    assert await store.markers(noon, noon + 6) == [first, second, later]
    assert await store.markers(noon, noon + 5) == [first, second]
    assert await store.markers(noon, noon + 6, limit=2) == [second, later]
    assert await store.markers(noon, noon + 6, limit=0) == []


async def test_bytes_are_remembered_under_a_key(store):
    assert await store.get_value("baselines") is None
    await store.set_value("baselines", b"\x00one")
    await store.set_value("other", b"")
    await store.set_value("baselines", b"\x00two")
    assert (await store.get_value("baselines"), await store.get_value("other")) == (b"\x00two", b"")


# The whole


async def test_everything_of_alerting_is_there_again_after_reopening(backend, make_alert, noon):
    async with backend.store() as store:
        alerting = store.alerting
        saved = await alerting.save([step(make_alert("a"), targets=("log",))])
        mute = await alerting.add_mute(Mute("alpha", "", noon, noon + HOUR_US, "Ann"))
        await alerting.override({"error_rate": "0.1"}, now_us=noon, actor="Ann")
        marker = await store.add_marker(Marker(noon, "start", "started"))
        await store.set_value("key", b"value")
        before = await alerting.due(noon), await alerting.audit(), await alerting.changes()
    async with backend.store() as store:
        alerting = store.alerting
        assert await alerting.alerts() == saved
        assert (await alerting.due(noon), await alerting.audit(), await alerting.changes()) == before
        assert await alerting.mutes(noon) == [mute]
        assert await alerting.overrides() == {"error_rate": "0.1"}
        assert await store.markers(0, noon + 1) == [marker]
        assert await store.get_value("key") == b"value"


async def test_a_store_opened_for_reading_shows_alerting_and_refuses_to_change_it(backend, alerting, make_alert, noon):
    await alerting.save([step(make_alert("a"), targets=("log",))])
    async with backend.store(read_only=True) as reading:
        assert await uids(reading.alerting) == ["a"]
        assert len(await reading.alerting.due(noon)) == 1
        for write in (
            reading.alerting.save([step(make_alert("b"))]),
            reading.alerting.delete_unfired(["a"]),
            reading.alerting.begin(1, now_us=noon),
            reading.alerting.end(1, outcome="sent", now_us=noon),
            reading.alerting.add_mute(Mute("", "", noon, noon + 1, "Ann")),
            reading.alerting.end_mutes([1], now_us=noon, actor="Ann"),
            reading.alerting.override({"error_rate": "1"}, now_us=noon, actor="Ann"),
            reading.add_marker(Marker(noon, "mark", "m")),
            reading.set_value("key", b"value"),
        ):
            with pytest.raises(StorageError, match="reading only") as caught:
                await write
            assert caught.value.permanent


# Clean-up

RETENTION = Retention(raw_hours=24, hour_hours=48, day_hours=10 * 24)


async def test_clean_removes_resolved_alerts_with_all_that_belongs_to_them_and_no_others(store, make_alert, noon):
    alerting, now_us = store.alerting, noon + 30 * DAY_US
    gone = make_alert("gone", RESOLVED)
    await alerting.save([step(gone, targets=("channel",))])
    await alerting.begin(1, now_us=noon)
    await alerting.end(1, outcome="sent", now_us=noon, receipt="message")
    await alerting.save([step(make_alert(state.value, state)) for state in ACTIVE])
    await alerting.save([step(make_alert("untold", RESOLVED), targets=("channel",))])
    await alerting.save([step(make_alert("recent", RESOLVED, at_us=now_us - 9 * DAY_US))])
    assert await store.clean(RETENTION, now_us=now_us) == Cleaned(alerts=1)
    left = {*(state.value for state in ACTIVE), "untold", "recent"}
    assert set(await uids(alerting, EVERY)) == {one.alert for one in await alerting.changes()} == left
    assert [one.alert.uid for one in await alerting.due(now_us)] == ["untold"]
    assert await alerting.attempts() == []
    # Nothing of the old one is found by a new one of its name.
    await alerting.save([step(gone)])
    assert await alerting.receipt("gone", "channel") is None
    assert await alerting.attempts("gone") == []


async def test_clean_removes_old_attempts_and_ended_deliveries_and_nothing_that_waits(store, make_alert, noon):
    alerting, now_us = store.alerting, noon + 3 * DAY_US
    await alerting.save([step(make_alert("a"), targets=("log", "channel", "webhook"))])
    await alerting.end(1, outcome="sent", now_us=noon, receipt="line")
    await alerting.end(2, outcome="retry", now_us=noon, due_us=noon + 1)
    await alerting.end(2, outcome="retry", now_us=now_us, due_us=now_us)
    await alerting.end(3, outcome="failed", now_us=now_us - HOUR_US)
    assert await store.clean(RETENTION, now_us=now_us) == Cleaned()
    assert [(one.target, one.at_us) for one in await alerting.attempts()] == [
        ("webhook", now_us - HOUR_US),
        ("channel", now_us),
    ]
    assert [one.id for one in await alerting.due(now_us)] == [2]
    assert await alerting.receipt("a", "log") == "line"
    assert len(await alerting.changes("a")) == 1


async def test_clean_removes_old_mutes_markers_and_audit(store, noon):
    alerting, now_us = store.alerting, noon + 30 * DAY_US
    for at_us in (noon, now_us - 2 * DAY_US):
        await alerting.override({"error_rate": str(at_us)}, now_us=at_us, actor="Ann")
        await store.add_marker(Marker(at_us, "mark", "m"))
    kept = await alerting.add_mute(Mute("", "", now_us - 29 * DAY_US, now_us + 1, "Ann"))
    await alerting.add_mute(Mute("", "", noon, noon + HOUR_US, "Ann"))
    await store.set_value("key", b"value")
    await store.clean(RETENTION, now_us=now_us)
    assert await alerting.mutes(0) == [kept]
    assert [one.at_us for one in await store.markers(0, now_us)] == [now_us - 2 * DAY_US]
    assert [one.at_us for one in await alerting.audit()] == [now_us - 2 * DAY_US]
    assert await alerting.overrides() == {"error_rate": str(now_us - 2 * DAY_US)}
    assert await store.get_value("key") == b"value"


async def test_clean_takes_many_alerts_in_small_steps(store, make_alert, noon):
    await store.alerting.save([step(make_alert(f"{number}", RESOLVED)) for number in range(450)])
    assert await store.clean(RETENTION, now_us=noon + 30 * DAY_US) == Cleaned(alerts=450)
    assert await store.alerting.changes() == []


async def test_a_value_is_added_only_once(store):
    assert await store.add_value("key", b"first") == b"first"
    assert await store.add_value("key", b"second") == b"first"
    await store.set_value("key", b"third")
    assert await store.get_value("key") == b"third"
