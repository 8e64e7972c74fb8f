"""The rules logged_errors, unhandled_errors and new_error: what each reports, and what raises no alert."""

import pytest
from factories import make_errors

from cogmeter.alerts.measurement.errors import group_number
from cogmeter.alerts.model import BOT
from cogmeter_storage import open_store
from cogmeter_storage.base import StorageError
from cogmeter_storage.errors import ErrorKind

ASK = ("discord.listeners", "on_message Ask.ask")
LOGGED = {"logged_errors": 2}
DAY_S, HALF_HOUR_S = 86_400, 1_800


async def ask(one, count, logged):
    """Operations that end now, of which some logged errors."""
    await one.see(*ASK, count=count - logged)
    await one.see(*ASK, count=logged, metadata=LOGGED)
    return one


async def test_a_share_of_operations_with_logged_errors_is_reported(measured):
    one = await ask(measured(), 50, 17)
    (reading,) = await one.readings("logged_errors")
    assert (reading.subject.service, reading.subject.operation) == ("discord.listeners", "")
    assert (reading.current, reading.severity, reading.breached) == (0.34, "critical", True)
    assert reading.message == "Logged errors in 34% of operations exceeds threshold of 10%"


@pytest.mark.parametrize(("count", "logged"), [(50, 4), (19, 10), (50, 0)])
async def test_a_small_share_or_few_operations_raise_no_alert(measured, count, logged):
    one = await ask(measured(), count, logged)
    assert await one.breached("logged_errors") == []


async def test_a_share_that_is_usual_for_the_service_is_chance(measured):
    one = measured()
    for _ in range(36):
        await ask(one.after(3_600), 200, 14)
    assert await (await ask(one.after(3_600), 30, 4)).breached("logged_errors") == []
    assert await (await ask(one.after(301), 30, 20)).breached("logged_errors") == [("logged_errors", ASK[0], "")]


async def test_a_share_by_chance_in_the_first_minutes_is_neither_an_alert_nor_usual(measured):
    one = await ask(measured(), 55, 6)  # 11%: by chance, of a service that usually logs 5%
    assert await one.breached("logged_errors") == []
    assert await (await ask(one.after(301), 55, 6)).breached("logged_errors") == []


async def test_a_share_that_was_too_large_from_the_start_is_reported_after_many_operations(measured):
    one = await ask(measured(), 600, 72)  # 12%
    assert await (await ask(one.after(301), 55, 7)).breached("logged_errors") == [("logged_errors", ASK[0], "")]


async def test_the_alert_about_logged_errors_recovers_with_the_window(measured):
    one = await ask(measured(), 50, 17)
    assert await one.after(310).readings("logged_errors") == []


async def test_errors_that_are_logged_and_raised_are_one_alert(measured):
    one = measured()
    await one.see(*ASK, count=30)
    await one.see(*ASK, count=20, failures=20, metadata=LOGGED)
    assert await one.breached() == [("error_rate", ASK[0], "")]


@pytest.mark.parametrize("metadata", [{"logged_errors": 0}, {"other": 1}, "text", ["logged_errors"]])
async def test_other_metadata_are_no_logged_errors(measured, metadata):
    one = measured()
    await one.see(*ASK, count=50, metadata=metadata)
    assert await one.readings("logged_errors") == []


class Stored:
    """A Measured, with errors that are in a store before they are counted."""

    def __init__(self, one, store):
        self.one, self.store = one, store

    async def start(self, *, old=True):
        """Start the evaluator; by default the monitor has run for a day."""
        await self.one.evaluator.restore(self.store, self.one.now_us)
        if old:
            self.one.after(DAY_S)
        return self

    async def fail(self, count=1, name="ask", **facts):
        batch = make_errors(name, self.one.now_us, count=count, **facts)
        changes = await self.store.errors.add([batch])
        self.one.evaluator.count_errors([batch], changes)
        return self

    async def group(self):
        (group, *_) = await self.store.errors.groups(0, 2**53)
        return group

    async def reported(self):
        return [one.message for one in await self.one.readings("new_error") if one.breached]


@pytest.fixture
async def stored(measured, tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'errors.db'}")
    yield lambda *overrides, **settings: Stored(measured(*overrides, **settings), store)
    await store.close()


async def test_one_unhandled_error_is_reported_for_the_whole_bot_with_its_place(stored):
    one = await (await stored().start()).fail(kind=ErrorKind.UNHANDLED)
    (reading,) = await one.one.readings("unhandled_errors")
    assert (reading.subject.service, reading.current, reading.severity) == (BOT, 1.0, "warning")
    assert reading.message == "1 unhandled error in 5 min, most recently ValueError in cogs/graph.py:42 in Graph.ask"
    assert await one.one.after(301).readings("unhandled_errors") == []


async def test_many_unhandled_errors_are_one_critical_alert(stored):
    one = await stored().start()
    for number in range(5):
        await one.fail(2, kind=ErrorKind.UNHANDLED, name=f"ask_{number}")
    (reading,) = await one.one.after(60).readings()
    assert (reading.subject.rule, reading.current, reading.severity) == ("unhandled_errors", 10.0, "critical")


async def test_fewer_unhandled_errors_than_the_threshold_are_not_reported(stored):
    one = await (await stored(alert_threshold_unhandled_errors=3).start()).fail(2, kind=ErrorKind.UNHANDLED)
    assert await one.one.breached() == []
    assert await (await one.fail(kind=ErrorKind.UNHANDLED)).one.breached("unhandled_errors")


async def test_a_report_without_an_exception_is_named_by_its_masked_message(stored):
    one = await (await stored().start()).fail(
        kind=ErrorKind.UNHANDLED, type="unhandled", place=None, message="Task 12 was destroyed: 'Sync.push'"
    )
    (reading,) = await one.one.readings("unhandled_errors")
    assert reading.message.endswith("most recently Error: Task (number) was destroyed: (quoted)")


async def test_a_new_error_is_reported_from_its_third_time_on(stored):
    one = await (await stored().start()).fail(2)
    assert await one.reported() == []
    one.one.after(3_600)
    await one.fail(3)
    (reading,) = await one.one.readings("new_error")
    assert (reading.subject.service, reading.subject.operation) == (
        "knowledge-graph",
        "ValueError in Graph.ask (error 1)",
    )
    assert (reading.current, reading.severity) == (5.0, "info")
    assert reading.message == "New error: ValueError in cogs/graph.py:42 in Graph.ask, 5 times"
    assert group_number(reading.subject.operation) == (await one.group()).id


async def test_a_new_error_is_over_when_it_does_not_occur_for_half_an_hour(stored):
    one = await (await stored().start()).fail(3)
    assert len(await one.reported()) == 1
    one.one.after(HALF_HOUR_S)
    assert await one.reported() == []
    await one.fail(3)
    assert await one.reported() == []  # it is known now


async def test_a_new_error_is_new_for_a_day(stored):
    one = await (await stored().start()).fail(3)
    for _ in range(72):
        assert len(await one.reported()) == 1
        one.one.after(1_200)
        await one.fail()
    assert await one.reported() == []


async def test_no_error_is_new_on_the_first_day(stored):
    one = await (await stored().start(old=False)).fail(100)
    assert await one.reported() == []
    one.one.after(DAY_S)
    await one.fail(100)
    assert await one.reported() == []
    assert len(await (await one.fail(3, name="other")).reported()) == 1


async def test_a_resolved_error_that_comes_back_is_reported_from_its_third_time_on(stored):
    one = await (await stored().start(old=False)).fail(100)
    number = (await one.group()).id
    await one.store.errors.resolve(number, actor="owner", now_us=one.one.now_us)
    one.one.after(60)
    await one.fail(2)
    assert await one.reported() == []
    one.one.after(5)
    await one.fail()
    assert await one.reported() == ["Resolved error came back: ValueError in cogs/graph.py:42 in Graph.ask, 3 times"]


async def test_resolving_the_error_ends_its_alert(stored):
    one = await (await stored().start()).fail(3)
    assert len(await one.reported()) == 1
    await one.store.errors.resolve((await one.group()).id, actor="owner", now_us=one.one.after(30).now_us)
    assert await one.reported() == []


async def test_a_muted_error_raises_nothing_until_its_mute_ends(stored):
    one = await (await stored().start()).fail(3)
    assert len(await one.reported()) == 1
    until_us = one.one.now_us + 600_000_000
    await one.store.errors.mute((await one.group()).id, until_us=until_us, actor="owner", now_us=one.one.now_us)
    assert await one.reported() == []
    one.one.after(601)
    assert len(await one.reported()) == 1


async def test_an_error_that_is_muted_before_it_is_reported_raises_nothing(stored):
    one = await (await stored().start()).fail(2)
    until_us = one.one.now_us + 600_000_000
    await one.store.errors.mute((await one.group()).id, until_us=until_us, actor="owner", now_us=one.one.now_us)
    assert await (await one.fail()).reported() == []


async def test_each_new_error_has_its_own_alert(stored):
    one = await stored().start()
    for number in range(3):
        await one.fail(3, name=f"ask_{number}")
    assert len({reading.subject for reading in await one.one.readings("new_error")}) == 3


async def test_the_group_of_an_unhandled_error_needs_no_alert_of_its_own(stored):
    one = await (await stored().start()).fail(3, kind=ErrorKind.UNHANDLED)
    assert [rule for rule, *_ in await one.one.breached()] == ["unhandled_errors"]
    one.one.limits.override({"unhandled_errors": "0"})
    assert [rule for rule, *_ in await one.one.breached()] == ["new_error"]


async def test_an_alert_about_the_error_rate_explains_new_errors_also_after_it(stored):
    one = await stored().start()
    await one.one.see("knowledge-graph", "query", count=50, failures=20)
    await one.fail(20)
    assert [rule for rule, *_ in await one.one.breached()] == ["error_rate"]
    assert await one.one.after(1_000).breached() == []
    assert await one.one.after(1_000).breached() == []


async def test_a_restart_neither_forgets_nor_repeats_new_errors(stored, measured):
    before = await (await stored().start()).fail(2)
    await ask(before.one, 50, 17)
    await before.one.evaluator.keep(before.store)
    after = Stored(measured(), before.store)
    after.one.names[:] = before.one.names
    after.one.now_s = before.one.now_s + 30
    await before.store.series_ids([ASK])
    await after.start(old=False)
    assert await after.reported() == []
    assert len(await (await after.fail()).reported()) == 1
    (_, logged) = after.one.evaluator._snapshot(after.one.now_us).errors.logged[-1]
    assert logged.sum() == 17


async def test_a_store_that_does_not_answer_keeps_the_alert(stored, monkeypatch):
    one = await (await stored().start()).fail(3)
    assert len(await one.reported()) == 1

    async def fail(*arguments, **options):
        raise StorageError("locked", permanent=False)

    monkeypatch.setattr(type(one.store.errors), "groups", fail)
    assert len(await one.reported()) == 1


async def test_a_fault_in_following_errors_stops_no_rule(stored, monkeypatch):
    one = await (await stored().start()).fail(3)

    async def fail(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(one.store.errors), "groups", fail)
    assert len(await one.reported()) == 1
    assert one.one.evaluator.faults == {"new_error": 1}


async def test_another_empty_store_makes_no_old_error_new(stored):
    one = await stored().start()
    one.one.evaluator.learn_errors_again()
    assert await (await one.fail(5)).reported() == []


async def test_a_step_of_the_clock_keeps_the_age_of_errors(stored):
    one = await (await stored().start()).fail(3)
    one.one.evaluator.stepped(7_200_000_000)
    one.one.now_s += 7_200
    assert len(await one.reported()) == 1


async def test_the_number_of_followed_errors_is_bounded(stored):
    one = await stored().start()
    batches = [make_errors(f"ask_{number}", one.one.now_us) for number in range(250)]
    one.one.evaluator.count_errors(batches, await one.store.errors.add(batches))
    assert len(one.one.evaluator._errors._new) == 200
