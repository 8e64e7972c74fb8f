"""The engine on a real store: stored before sent, across restarts, failures and clicks."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from factories import make_alert

from cogmeter.alerts.lifecycle.engine import (
    AlertEngine,
    ClosedAlertError,
    UnevaluatedAlertError,
    UnknownAlertError,
)
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter.startup import StartupGuard
from cogmeter_storage import StorageError, open_store
from cogmeter_storage.alerting import AlertState, Mute, Step

START_US = 1_800_000_000_000_000
CHECK_US = 30_000_000
LIMIT = Limit(threshold=0.05, recovery=0.04, for_s=0, recovery_s=120, min_operations=20)


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


class Bench:
    """An engine and its clock; a check every 30 s."""

    def __init__(self, store, *, limit=LIMIT, **policy):
        self.store = store
        self.now_us = START_US
        self.sent = 0
        self._limit = limit
        self._policy = Policy(**policy)
        self._make()

    def _make(self):
        self.engine = AlertEngine(
            self.store, lambda _: self._limit, self._policy, targets=self.targets, wake=self._wake
        )

    def targets(self, alert):
        return ("webhook",) if alert.group else ("log", "webhook")

    def _wake(self):
        self.sent += 1

    async def restart(self, down_s=0):
        self.now_us += down_s * 1_000_000
        self._make()
        await self.engine.restore(self.now_us)

    async def check(self, *services, times=1, severity="warning"):
        changed = []
        for _ in range(times):
            readings = [reading(service, severity) for service in services]
            changed += await self.engine.step(readings, self.now_us)
            self.now_us += CHECK_US
        return [(alert.service, alert.state) for alert in changed]

    async def kinds(self):
        return [(change.kind, change.at_us - START_US) for change in (await self.store.alerting.changes())[::-1]]

    async def due(self):
        due = await self.store.alerting.due(self.now_us)
        return [(one.target, one.alert.service, one.change.kind) for one in due]


def reading(service="knowledge-graph", severity="warning", *, current=0.078):
    text = "Error rate of 7.8% exceeds threshold of 5%"
    return Reading(Subject("error_rate", service), current, 0.05, text, severity)


def mute(now_us, *, minutes=60, service="", rule=""):
    return Mute(service, rule, now_us, now_us + minutes * 60_000_000, "Ada", "known")


async def test_an_alert_is_stored_with_its_deliveries_before_it_is_sent(store, monkeypatch):
    bench = Bench(store)
    order = []
    save = store.alerting.save

    async def saved(steps):
        found = await save(steps)
        order.append("stored")
        return found

    monkeypatch.setattr(type(store.alerting), "save", lambda _, steps, **_more: saved(steps))
    monkeypatch.setattr(bench, "_wake", lambda: order.append("sent"))
    bench._make()
    assert await bench.check("knowledge-graph") == [("knowledge-graph", AlertState.FIRING)]
    assert order == ["stored", "sent"]
    assert await bench.due() == [("log", "knowledge-graph", "fired"), ("webhook", "knowledge-graph", "fired")]
    [alert] = bench.engine.active
    assert alert == await store.alerting.alert(alert.uid)
    assert (alert.id, alert.version) == (1, 1)


async def test_a_check_writes_once_or_not_at_all_if_nothing_changes(store, monkeypatch):
    bench = Bench(store)
    saves = []
    save = type(store.alerting).save
    monkeypatch.setattr(
        type(store.alerting), "save", lambda self, steps, **_: saves.append(len(steps)) or save(self, steps)
    )
    services = [f"service-{number}" for number in range(100)]
    await bench.check(*services, times=20)
    assert saves == [101]  # only the group is sent
    assert bench.sent == 1


async def test_cooldown_and_pending_alerts_survive_a_restart(store):
    bench = Bench(store, limit=Limit(0.05, 0.04, for_s=60, recovery_s=60, min_operations=20))
    await bench.check("a", times=2)
    await bench.restart()
    await bench.check("a")
    assert await bench.kinds() == [("fired", 60_000_000)]
    await bench.check(times=2)
    assert [kind for kind, _ in await bench.kinds()] == ["fired", "resolved"]
    await bench.check("a", times=4)
    await bench.restart()
    await bench.check("a", times=10)
    assert await bench.kinds() == [("fired", 60_000_000), ("resolved", 120_000_000), ("fired", 360_000_000)]


async def test_a_pending_alert_that_ends_leaves_nothing_behind(store, monkeypatch):
    bench = Bench(store, limit=Limit(0.05, 0.04, for_s=60, recovery_s=60, min_operations=20))
    await bench.check("a", times=2)
    [alert] = await store.alerting.alerts()
    assert (alert.state, alert.started_us) == (AlertState.PENDING, START_US)
    drops = []
    delete = store.alerting.delete_unfired
    monkeypatch.setattr(store.alerting, "delete_unfired", lambda uids, **_: drops.append(uids) or delete(uids))
    await bench.check(times=3)
    assert await store.alerting.alerts(tuple(AlertState)) == []
    assert bench.engine.active == ()
    assert drops == [(alert.uid,)]


async def test_a_breach_that_ended_while_down_is_resolved_after_two_recovery_delays(store):
    bench = Bench(store)
    await bench.check("a")
    await bench.restart(down_s=3_600)
    up_us = bench.now_us
    await bench.check(times=20)
    assert await bench.kinds() == [("fired", 0), ("resolved", up_us - START_US + 240_000_000)]
    assert bench.sent == 2


async def test_a_breach_that_is_measured_after_a_restart_recovers_normally(store):
    bench = Bench(store)
    await bench.check("a")
    await bench.restart(down_s=600)
    up_us = bench.now_us
    await bench.check("a")
    await bench.check(times=20)
    assert await bench.kinds() == [("fired", 0), ("resolved", up_us - START_US + 120_000_000)]


async def test_flapping_is_known_across_a_restart(store):
    bench = Bench(store)
    for _ in range(3):
        await bench.check("a")
        await bench.check(times=10)
        await bench.restart()
    kinds = [kind for kind, _ in await bench.kinds()]
    assert kinds == ["fired", "resolved", "fired", "resolved", "fired", "flapping"]
    assert bench.engine.active[0].flapping


async def test_a_group_continues_after_a_restart(store):
    bench = Bench(store)
    await bench.check("a", "b", "c", "d")
    await bench.restart()
    await bench.check("a", "b", "c", "d", "e")
    root = next(alert for alert in bench.engine.active if alert.rule == "many_services")
    assert {alert.group for alert in bench.engine.active} == {root.uid, ""}
    assert [kind for kind, _ in await bench.kinds()][-2:] == ["joined", "fired"]
    assert (await store.alerting.changes(root.uid))[0].note == "e"
    assert len(await store.alerting.alerts(group=root.uid)) == 5


async def test_only_the_root_of_a_group_goes_to_all_targets(store):
    bench = Bench(store)
    await bench.check("a", "b", "c", "d")
    due = await bench.due()
    assert due[:2] == [("log", "(bot)", "fired"), ("webhook", "(bot)", "fired")]
    assert due[2:] == [("webhook", one, "fired") for one in "abcd"]
    assert bench.sent == 1


async def test_a_change_that_cannot_be_stored_comes_with_the_next_check(store, monkeypatch, caplog):
    bench = Bench(store)

    async def refuse(self, steps, **_):
        raise StorageError("disk full", permanent=False)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.alerting), "save", refuse)
        assert await bench.check("a", "b", "c", "d") == []
        assert bench.sent == 0
        assert "disk full" in caplog.text
    assert len(await bench.check("a", "b", "c", "d")) == 5
    assert await bench.check("a", "b", "c", "d", times=3) == []
    assert bench.sent == 1
    assert {alert.started_us for alert in bench.engine.active if alert.group} == {START_US}
    with monkeypatch.context() as patch:
        patch.setattr(type(store.alerting), "save", refuse)
        await bench.check(times=6)
        assert len(bench.engine.active) == 5
    await bench.check()
    assert bench.engine.active == ()


async def test_an_alert_that_cannot_be_dropped_is_dropped_later(store, monkeypatch):
    bench = Bench(store, limit=Limit(0.05, 0.04, for_s=60, recovery_s=60, min_operations=20))
    await bench.check("a")

    async def refuse(self, uids, **_):
        raise StorageError("disk full", permanent=False)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.alerting), "delete_unfired", refuse)
        await bench.check()
        assert bench.engine.active == ()
        await bench.check("a")  # a new breach, while the row of the one before is still there
        assert len(await store.alerting.alerts()) == 2
        await bench.restart()
        await bench.check("a", times=2)
    await bench.check(times=20)
    assert await store.alerting.alerts() == []
    assert [kind for kind, _ in await bench.kinds()] == ["fired", "resolved"]


async def test_a_check_that_is_cancelled_is_finished_and_fires_nothing_twice(store, monkeypatch):
    bench = Bench(store)
    save = type(store.alerting).save
    saving = asyncio.Event()
    monkeypatch.setattr(type(store.alerting), "save", lambda self, steps, **_: saving.set() or save(self, steps))
    check = asyncio.ensure_future(bench.engine.step([reading()], START_US))
    await saving.wait()
    check.cancel()
    with pytest.raises(asyncio.CancelledError):
        await check
    await bench.check("knowledge-graph", times=3)
    assert await bench.kinds() == [("fired", 0)]
    assert bench.sent == 1


async def test_acknowledging_is_audited_and_a_second_click_changes_nothing(store):
    bench = Bench(store)
    await bench.check("a")
    [alert] = bench.engine.active
    first = await bench.engine.acknowledge(alert.uid, "Ada", bench.now_us)
    second = await bench.engine.acknowledge(alert.uid, "Bob", bench.now_us + 1)
    assert first == second
    assert (first.state, first.acknowledged_by, first.acknowledged_us) == (
        AlertState.ACKNOWLEDGED,
        "Ada",
        bench.now_us,
    )
    [entry] = await store.alerting.audit()
    assert (entry.actor, entry.action) == ("Ada", "acknowledge")
    assert [change.actor for change in await store.alerting.changes(alert.uid)] == ["Ada", ""]
    assert bench.sent == 2


async def test_two_simultaneous_clicks_count_once(store):
    bench = Bench(store)
    await bench.check("a")
    [alert] = bench.engine.active
    clicks = [bench.engine.acknowledge(alert.uid, name, bench.now_us) for name in ("Ada", "Bob")]
    assert {one.acknowledged_by for one in await asyncio.gather(*clicks)} == {"Ada"}


async def test_a_resolved_or_unknown_alert_cannot_be_acknowledged(store):
    bench = Bench(store)
    await bench.check("a")
    [alert] = bench.engine.active
    await bench.check(times=6)
    with pytest.raises(ClosedAlertError, match="Alert 1 is already resolved"):
        await bench.engine.acknowledge(alert.uid, "Ada", bench.now_us)
    with pytest.raises(UnknownAlertError, match="no such alert"):
        await bench.engine.acknowledge("nothing", "Ada", bench.now_us)


async def test_an_acknowledgement_that_cannot_be_stored_has_not_happened(store, monkeypatch):
    bench = Bench(store)
    await bench.check("a")
    [alert] = bench.engine.active

    async def refuse(self, steps, **_):
        raise StorageError("disk full", permanent=False)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.alerting), "save", refuse)
        with pytest.raises(StorageError):
            await bench.engine.acknowledge(alert.uid, "Ada", bench.now_us)
    assert bench.engine.active == (alert,)


async def test_a_mute_survives_a_restart_and_can_be_ended(store):
    bench = Bench(store)
    await bench.check("a")
    kept = await bench.engine.mute(mute(bench.now_us, service="a"), bench.now_us)
    assert kept.id
    [alert] = bench.engine.active
    assert (alert.state, alert.muted_until_us) == (AlertState.MUTED, kept.until_us)
    await bench.restart()
    await bench.check("a", times=3)
    assert [one.id for one in await bench.engine.unmute([kept.id], "Bob", bench.now_us)] == [kept.id]
    assert [one.state for one in bench.engine.active] == [AlertState.FIRING]
    changes = await store.alerting.changes(alert.uid)
    assert [(one.kind, one.actor, one.note) for one in changes] == [
        ("unmuted", "Bob", ""),
        ("muted", "Ada", "known"),
        ("fired", "", ""),
    ]
    assert await bench.engine.unmute([kept.id], "Bob", bench.now_us) == []


async def test_an_alert_that_is_muted_from_its_start_is_not_sent(store):
    bench = Bench(store)
    kept = await bench.engine.mute(mute(bench.now_us, rule="error_rate"), bench.now_us)
    await bench.check("a", times=3)
    assert (await bench.due(), bench.sent) == ([], 0)
    await bench.engine.unmute([kept.id], "Ada", bench.now_us)
    assert bench.sent == 0  # whether the breach goes on is known at the next check
    assert await bench.check("a") == [("a", AlertState.FIRING)]
    assert [kind for kind, _ in await bench.kinds()] == ["muted", "fired"]


async def test_a_stored_mute_whose_changes_failed_is_applied_by_the_next_check(store, monkeypatch):
    bench = Bench(store)
    await bench.check("a")

    async def refuse(self, steps, **_):
        raise StorageError("disk full", permanent=False)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.alerting), "save", refuse)
        await bench.engine.mute(mute(bench.now_us), bench.now_us)
        assert bench.engine.active[0].state is AlertState.FIRING
    assert await bench.check("a") == [("a", AlertState.MUTED)]


async def test_alerts_continue_in_a_new_store(store, tmp_path):
    bench = Bench(store)
    await bench.check("a")
    new = await open_store(f"sqlite:///{tmp_path / 'new.db'}")
    bench.engine.store = new
    await bench.check(times=6)
    assert [(one.service, one.state) for one in await new.alerting.alerts(tuple(AlertState))] == [
        ("a", AlertState.RESOLVED)
    ]
    await new.close()


async def test_a_new_store_receives_active_alerts_and_mutes(store, tmp_path):
    bench = Bench(store)
    await bench.check("a", "b")
    await bench.engine.mute(mute(bench.now_us, service="b"), bench.now_us)
    await bench.engine.mute(mute(bench.now_us, service="c"), bench.now_us)
    new = await open_store(f"sqlite:///{tmp_path / 'new.db'}")
    await bench.engine.move(new, bench.now_us)
    assert {(one.service, one.state) for one in await new.alerting.alerts()} == {
        ("a", AlertState.FIRING),
        ("b", AlertState.MUTED),
    }
    assert set(bench.engine.active) == set(await new.alerting.alerts())
    assert [(one.service, one.actor) for one in await new.alerting.mutes(bench.now_us)] == [("b", "Ada"), ("c", "Ada")]
    bench.store = new
    await bench.restart()
    assert await bench.check("a", "b", "c") == [("c", AlertState.MUTED)]  # nothing is sent again
    ended = await bench.engine.unmute([one.id for one in await new.alerting.mutes(bench.now_us)], "Bob", bench.now_us)
    assert len(ended) == 2
    await new.close()


async def test_a_check_of_many_alerts_lets_other_work_run(store):
    bench = Bench(store)
    services = [f"service-{number}" for number in range(500)]
    for doing, least in (("fire", 80), ("stand", 40)):
        turns = 0
        check = asyncio.ensure_future(bench.check(*services))
        while not check.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= least, doing


def stored(rule, **more):
    return make_alert(START_US, **{"uid": f"{rule}-1", "rule": rule, "fired_us": START_US} | more)


async def test_alerts_of_an_unknown_rule_stay_unchanged_in_the_store(store):
    unknown = stored("warp_core", severity="fatal")
    over = stored("warp_core", uid="over", state=AlertState.RESOLVED, resolved_us=START_US)
    await store.alerting.save([Step(unknown), Step(over), Step(stored("error_rate"))])
    bench = Bench(store)
    await bench.restart()
    assert [one.rule for one in bench.engine.active] == ["error_rate"]
    assert bench.engine.unknown_rules == {"warp_core": 1}
    await bench.check(times=100)
    await bench.engine.mute(mute(bench.now_us), bench.now_us)
    assert await store.alerting.alert(unknown.uid) == replace(unknown, id=1)
    assert await store.alerting.alert(over.uid) == replace(over, id=2)
    assert (await store.alerting.alert("error_rate-1")).state is AlertState.RESOLVED
    with pytest.raises(UnevaluatedAlertError, match="warp_core"):
        await bench.engine.acknowledge(unknown.uid, "Ada", bench.now_us)


async def test_alerts_of_an_unknown_rule_stay_unchanged_in_a_new_store(store, tmp_path):
    unknown = stored("warp_core")
    new = await open_store(f"sqlite:///{tmp_path / 'new.db'}")
    await new.alerting.save([Step(unknown), Step(stored("error_rate"))])
    bench = Bench(store)
    await bench.engine.move(new, bench.now_us)
    assert [one.rule for one in bench.engine.active] == ["error_rate"]
    assert bench.engine.unknown_rules == {"warp_core": 1}
    await bench.check(times=10)
    assert await new.alerting.alert(unknown.uid) == replace(unknown, id=1)
    await new.close()


async def test_an_alert_of_an_unknown_severity_continues_with_the_measured_one(store):
    await store.alerting.save([Step(stored("error_rate", severity="fatal"))])
    bench = Bench(store)
    await bench.restart()
    await bench.check("knowledge-graph", times=3)
    (alert,) = bench.engine.active
    assert (alert.uid, alert.severity) == ("error_rate-1", "warning")


@pytest.mark.parametrize("method", ["alerts", "mutes"])
async def test_a_store_that_could_not_be_read_at_the_start_is_read_again_and_no_alert_is_sent_twice(
    store, monkeypatch, method
):
    await store.alerting.save([Step(stored("error_rate"))])
    await store.alerting.add_mute(mute(START_US, service="other"))
    bench, faults = Bench(store), Counter()

    async def fail(*_arguments, **_named):
        raise StorageError("the disk is full", permanent=False)

    with monkeypatch.context() as broken:
        broken.setattr(store.alerting, method, fail)
        await bench.engine.restore(bench.now_us, StartupGuard(faults))
    assert faults == {f"start: {method}": 1}
    assert not bench.engine.restored
    await bench.engine.restore(bench.now_us, StartupGuard(faults))
    assert bench.engine.restored
    assert faults == {f"start: {method}": 1}
    await bench.check("knowledge-graph", "other", times=3)
    assert {(one.service, one.state) for one in bench.engine.active} == {
        ("knowledge-graph", AlertState.FIRING),
        ("other", AlertState.MUTED),
    }
    assert {one.uid for one in bench.engine.active if one.service == "knowledge-graph"} == {"error_rate-1"}


@pytest.mark.parametrize("method", ["alerts", "mutes"])
async def test_a_store_that_can_never_be_read_does_not_disturb_the_alerts_of_this_run(store, monkeypatch, method):
    bench, faults = Bench(store, limit=replace(LIMIT, for_s=60)), Counter()

    async def fail(*_arguments, **_named):
        raise StorageError("the disk is full", permanent=False)

    monkeypatch.setattr(store.alerting, method, fail)
    changed = []
    for services in [["web"]] * 6 + [[]] * 6:
        await bench.engine.restore(bench.now_us, StartupGuard(faults))
        changed += await bench.check(*services)
    assert changed == [("web", AlertState.FIRING), ("web", AlertState.RESOLVED)]


async def test_more_alerts_than_a_page_are_restored(store):
    bench = Bench(store)
    services = [f"service-{number}" for number in range(1_200)]
    await bench.check(*services)
    await bench.restart()
    assert len(bench.engine.active) == 1_201
    assert await bench.check(*services) == []


async def test_the_reason_why_an_alert_fired_or_did_not_is_logged_at_debug(store, caplog):
    bench = Bench(store)
    with caplog.at_level("DEBUG", logger="cogmeter.alerts"):
        await bench.check("a")
        await bench.check(times=5)
        await bench.check("a")
    text = "a: Error rate of 7.8% exceeds threshold of 5%"
    results = [message.removeprefix(text) for message in caplog.messages if message.startswith(text)]
    waiting = [" (no breach now): firing"] * 3
    assert results == [": fired", *waiting, " (no breach now): resolved", ": in its cooldown"]


@pytest.mark.parametrize("step_s", [-10 * 365 * 86_400, -3_600, 3_600, 10 * 365 * 86_400])
async def test_a_step_of_the_clock_changes_no_wait_no_cooldown_no_mute_and_no_retry(store, tmp_path, step_s):
    limit = replace(LIMIT, for_s=60)
    lives = []
    for stepped in (False, True):
        other = await open_store(f"sqlite:///{tmp_path / f'{stepped}.db'}")
        bench = Bench(other, limit=limit, cooldown_s=600)
        await bench.engine.mute(mute(bench.now_us, minutes=20, service="quiet"), bench.now_us)
        results = []
        for number in range(60):
            if number == 1 and stepped:
                await step(bench, step_s)
            results.append(await bench.check(*(("loud", "quiet") if number % 20 < 8 else ())))
            if number == 5:
                for one in await other.alerting.due(bench.now_us):
                    await other.alerting.begin(one.id, now_us=bench.now_us)
                    due_us = bench.now_us + 300_000_000
                    await other.alerting.end(one.id, outcome="retry", now_us=bench.now_us, due_us=due_us)
            if number == 30 and stepped:
                await step(bench, -step_s)
            results.append(sorted(await bench.due()))
        lives.append(results)
        await other.close()
    assert lives[0] == lives[1]


async def step(bench, seconds):
    bench.now_us += seconds * 1_000_000
    await bench.engine.stepped(seconds * 1_000_000, bench.now_us)
