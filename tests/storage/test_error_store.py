"""The contract of ErrorStore, checked for every back end, and compared with a plain model."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter_storage import Cleaned, Retention, StorageError
from cogmeter_storage.alerting import AuditEntry
from cogmeter_storage.errors import (
    MAX_EXAMPLES,
    MAX_PEOPLE,
    MAX_PLACES,
    ErrorBatch,
    ErrorChange,
    ErrorExample,
    ErrorGroup,
    ErrorKind,
    ErrorLink,
    Frame,
    UnknownErrorGroupError,
)
from cogmeter_storage.model import DAY_US, HOUR_US

NOON = 1_750_075_200_000_000
TODAY = NOON // DAY_US
FOREVER = 2**60


@pytest.fixture
def errors(store):
    return store.errors


async def ids(errors, since_us=0, until_us=FOREVER, **options):
    return [group.id for group in await errors.groups(since_us, until_us, **options)]


# Groups and their counts


async def test_a_group_comes_back_with_every_field(errors, make_errors, noon):
    batch = make_errors("a", noon, count=3, users="xy", guilds=frozenset("g"), version="1.4")
    (change,) = await errors.add([batch])
    group = ErrorGroup(
        id=1,
        fingerprint=batch.fingerprint,
        kind=ErrorKind.FAILED,
        type="RuntimeError",
        message="no answer from a",
        place=Frame("bot/answers.py", "Answers.a", 42, own=True),
        count=3,
        total=3,
        first_us=noon,
        last_us=noon,
        first_version="1.4",
        last_version="1.4",
        users=2,
        guilds=1,
        resolved_us=None,
        resolved_by="",
        reopened_us=None,
        muted_until_us=None,
        places=(("alpha", "one", 3),),
        days=((TODAY, 3),),
    )
    assert change == ErrorChange(group, reopened=False)
    assert await errors.groups(noon, noon + 1) == [group]
    assert await errors.group(1) == (group, list(batch.examples))
    assert await errors.group(2) is None
    assert isinstance(group.kind, ErrorKind)


async def test_an_error_without_a_place_version_and_people_is_stored(errors, make_errors, noon):
    await errors.add([make_errors("a", noon, place=None, examples=())])
    ((group,), (_, examples)) = (await errors.groups(noon, noon + 1), await errors.group(1))
    assert (group.place, group.first_version, group.users, group.guilds) == (None, None, 0, 0)
    assert examples == []


async def test_batches_of_a_group_are_added_up_and_the_newest_names_it(errors, make_errors, noon):
    later = make_errors("b", noon + DAY_US, count=5, version="2", fingerprint="f", users="xy")
    earlier = make_errors("a", noon, count=2, version="1", fingerprint="f", users="yz")
    older = make_errors("c", noon - DAY_US, version=None, fingerprint="f")
    (change,) = await errors.add([earlier, later])
    assert await errors.add([older]) == []
    assert change.group.total == 7
    (group,) = await errors.groups(0, FOREVER)
    assert (group.count, group.total, group.users) == (8, 8, 3)
    assert (group.first_us, group.last_us) == (noon - DAY_US, noon + DAY_US)
    assert (group.message, group.place.function) == ("no answer from b", "Answers.b")
    assert (group.first_version, group.last_version) == ("1", "2")
    assert group.days == ((TODAY - 1, 1), (TODAY, 2), (TODAY + 1, 5))


async def test_a_fingerprint_has_one_group_for_each_kind(errors, make_errors):
    changes = await errors.add([make_errors("a", kind=kind) for kind in ErrorKind])
    assert [(change.group.id, change.group.kind) for change in changes] == [
        (1, "failed"),
        (2, "logged"),
        (3, "unhandled"),
    ]
    assert await ids(errors, kinds=[ErrorKind.LOGGED]) == [2]
    assert await ids(errors, kinds=[]) == []


async def test_the_counts_of_a_range_cover_its_days_and_the_chosen_services_and_operation(errors, make_errors, noon):
    counts = {
        ("alpha", "one", TODAY): 3,
        ("alpha", "two", TODAY): 4,
        ("beta", "one", TODAY): 4,
        ("beta", "one", TODAY + 1): 2,
    }
    await errors.add(
        [make_errors("a", noon, last_us=noon + DAY_US, counts=counts), make_errors("b", noon - 9 * DAY_US)]
    )
    (today,) = await errors.groups(noon + 5, noon + 6)
    assert (today.count, today.total, today.days) == (11, 13, ((TODAY, 11),))
    assert today.places == (("alpha", "two", 4), ("beta", "one", 4), ("alpha", "one", 3))
    (beta,) = await errors.groups(noon, noon + DAY_US, services=["beta"])
    assert (beta.count, beta.total, beta.days) == (6, 13, ((TODAY, 4), (TODAY + 1, 2)))
    assert beta.places == (("beta", "one", 6),)
    (one,) = await errors.groups(noon, noon + DAY_US, services=["alpha"], operation="one")
    assert (one.count, one.days, one.places) == (3, ((TODAY, 3),), (("alpha", "one", 3),))
    (of_both,) = await errors.groups(noon, noon + DAY_US, operation="one")
    assert of_both.places == (("beta", "one", 6), ("alpha", "one", 3))
    assert await ids(errors, services=["beta"], operation="two") == []
    assert await ids(errors, services=["gamma"]) == await ids(errors, services=[]) == []
    midnight = (TODAY + 1) * DAY_US
    assert [group.count for group in await errors.groups(noon, midnight)] == [11]
    assert [group.count for group in await errors.groups(midnight, midnight + 1)] == [2]
    assert await errors.groups(noon, noon) == []


async def test_groups_are_listed_last_seen_first_page_by_page(errors, make_errors, noon):
    await errors.add([make_errors(str(number), noon + number % 3) for number in range(6)])
    listed = await ids(errors)
    assert listed == [6, 3, 5, 2, 4, 1]
    assert await ids(errors, limit=2) == [6, 3]
    assert await ids(errors, limit=2, offset=5) == [1]
    assert await ids(errors, limit=0) == []
    await errors.resolve(3, actor="Ann", now_us=noon)
    assert await ids(errors, resolved=True) == [3]
    assert await ids(errors, resolved=False) == [6, 5, 2, 4, 1]


async def test_only_the_most_frequent_places_of_a_group_are_returned(errors, make_errors):
    counts = {("alpha", f"operation {number:02}", TODAY): 1 + number for number in range(30)}
    (change,) = await errors.add([make_errors("a", counts=counts)])
    assert len(change.group.places) == MAX_PLACES
    assert change.group.places[0] == ("alpha", "operation 29", 30)
    assert change.group.count == change.group.total == sum(counts.values())


async def test_people_are_counted_once_and_up_to_a_maximum(errors, make_errors):
    everybody = frozenset(f"{number:04}" for number in range(MAX_PEOPLE + 300))
    some = frozenset(sorted(everybody)[: MAX_PEOPLE - 1])
    await errors.add([make_errors("a", guilds=some), make_errors("b", guilds=frozenset("x"))])
    await errors.add([make_errors("a", guilds=some)])
    assert {group.id: group.guilds for group in await errors.groups(0, FOREVER)} == {1: MAX_PEOPLE - 1, 2: 1}
    await errors.add([make_errors("a", guilds=everybody)])
    assert {group.id: group.guilds for group in await errors.groups(0, FOREVER)} == {1: MAX_PEOPLE, 2: 1}


async def test_the_newest_examples_of_a_group_are_kept_newest_first(errors, make_errors, noon):
    many = [make_errors("a", noon + number) for number in range(MAX_EXAMPLES + 3)]
    await errors.add(many[2:])
    await errors.add([*many[:2], make_errors("b", noon - 5)])
    _, examples = await errors.group(1)
    assert examples == [batch.examples[0] for batch in many[: -MAX_EXAMPLES - 1 : -1]]
    _, (example,) = await errors.group(2)
    assert example.at_us == noon - 5


async def test_an_example_keeps_its_chain_with_every_frame(errors, make_errors, noon):
    frames = tuple(Frame(f"päckchen/{number}.py", "<locals>.f", number, own=number % 2 == 0) for number in range(30))
    chain = (ErrorLink("x.Y", "Ω \x00 \n", frames), ErrorLink("KeyError", "", ()))
    await errors.add([make_errors("a", examples=(ErrorExample(noon, "s", "o", None, None, chain),))])
    _, (example,) = await errors.group(1)
    assert example == ErrorExample(noon, "s", "o", None, None, chain)
    assert all(isinstance(frame, Frame) for link in example.chain for frame in link.frames)


async def test_texts_that_are_not_valid_unicode_are_stored(errors, make_errors):
    frame = Frame("\udcff.py", "f\ud800", 1, own=True)
    example = ErrorExample(NOON, "s", "o", None, None, (ErrorLink("E", "\udcff", (frame,)),))
    await errors.add([make_errors("a", message="\udcff!", place=frame, examples=(example,))])
    group, (stored,) = await errors.group(1)
    assert (group.message, group.place) == ("?!", Frame("?.py", "f?", 1, own=True))
    assert stored.chain == (ErrorLink("E", "?", (group.place,)),)


async def test_adding_nothing_changes_nothing(errors):
    assert await errors.add([]) == []


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"counts": {}}, "needs errors"),
        ({"counts": {("a", "b", TODAY): 2, ("a", "c", TODAY): 0}}, "at least 1"),
        ({"first_us": NOON + 1}, "is after"),
    ],
)
async def test_an_invalid_batch_is_refused_and_none_is_stored(errors, make_errors, wrong, match):
    with pytest.raises(ValueError, match=match):
        await errors.add([make_errors("a"), dataclasses.replace(make_errors("b"), **wrong)])
    assert await ids(errors) == []


async def test_an_addition_that_fails_half_way_has_stored_nothing(errors, make_errors):
    await errors.add([make_errors("a")])
    before = await errors.group(1)
    with pytest.raises(StorageError):
        await errors.add([make_errors("a"), make_errors("b"), make_errors("c", counts={(None, "one", TODAY): 1})])
    assert await errors.group(1) == before
    assert await ids(errors) == [1]


async def test_a_cancelled_addition_has_stored_all_or_nothing(errors, make_errors, noon):
    for turn in range(20):
        task = asyncio.create_task(errors.add([make_errors(f"{number}", users=f"{turn:c}") for number in range(20)]))
        for _ in range(turn % 4):
            await asyncio.sleep(0.0005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await errors.add([make_errors("last")])  # waits behind it
        groups = [group for group in await errors.groups(0, FOREVER) if group.message != "no answer from last"]
        assert len(groups) in {0, 20}
        assert len({(group.total, group.users, group.count) for group in groups}) <= 1


# Resolving, reopening and muting


async def test_a_resolved_group_is_reopened_by_the_next_error(errors, make_errors, noon):
    await errors.add([make_errors("a", noon)])
    resolved = await errors.resolve(1, actor="Ann", now_us=noon + 10)
    assert (resolved.resolved_us, resolved.resolved_by, resolved.reopened_us) == (noon + 10, "Ann", None)
    assert await errors.group(1) == (resolved, [make_errors("a").examples[0]])
    # Errors from before the resolution were stored late: they do not reopen it.
    assert await errors.add([make_errors("a", noon + 10)]) == []
    (change,) = await errors.add([make_errors("a", noon + 12), make_errors("a", noon + 13)])
    assert change.reopened
    group = change.group
    assert (group.resolved_us, group.resolved_by, group.reopened_us, group.total) == (None, "Ann", noon + 12, 4)
    assert await errors.add([make_errors("a", noon + 14)]) == []
    again = await errors.resolve(1, actor="Ben", now_us=noon + 20)
    assert (again.resolved_us, again.resolved_by, again.reopened_us) == (noon + 20, "Ben", noon + 12)


async def test_a_batch_that_began_before_the_resolution_and_ended_after_it_reopens_the_group(errors, make_errors, noon):
    await errors.add([make_errors("a", noon)])
    await errors.resolve(1, actor="Ann", now_us=noon + 10)
    (change,) = await errors.add([make_errors("a", noon, last_us=noon + 15)])
    assert (change.reopened, change.group.reopened_us) == (True, noon + 15)


async def test_an_error_of_another_kind_reopens_nothing(errors, make_errors, noon):
    await errors.add([make_errors("a", noon)])
    await errors.resolve(1, actor="Ann", now_us=noon)
    (change,) = await errors.add([make_errors("a", noon + 1, kind=ErrorKind.LOGGED)])
    assert (change.group.id, change.reopened) == (2, False)
    assert (await errors.group(1))[0].resolved_us == noon


async def test_decisions_about_groups_are_audited_once(store, errors, make_errors, noon):
    await errors.add([make_errors("a")])
    muted = await errors.mute(1, until_us=noon + HOUR_US, actor="Ann", now_us=noon)
    assert muted.muted_until_us == noon + HOUR_US
    assert await errors.mute(1, until_us=noon + HOUR_US, actor="Ben", now_us=noon + 1) == muted
    assert (await errors.mute(1, until_us=2**62, actor="Ben", now_us=noon + 2)).muted_until_us == 2**62
    assert (await errors.mute(1, until_us=None, actor="Ann", now_us=noon + 3)).muted_until_us is None
    assert (await errors.mute(1, until_us=None, actor="Ann", now_us=noon + 4)).muted_until_us is None
    await errors.resolve(1, actor="Ann", now_us=noon + 5)
    assert (await errors.resolve(1, actor="Ben", now_us=noon + 6)).resolved_by == "Ann"
    subject, until = "error 1 (RuntimeError)", "until 2025-06-16 13:00 UTC"
    assert (await store.alerting.audit())[::-1] == [
        AuditEntry(noon, "Ann", "mute error", subject, "", until, 1),
        AuditEntry(noon + 2, "Ben", "mute error", subject, until, f"until {2**62}", 2),
        AuditEntry(noon + 3, "Ann", "unmute error", subject, f"until {2**62}", "", 3),
        AuditEntry(noon + 5, "Ann", "resolve error", subject, "open", "resolved", 4),
    ]


async def test_a_mute_that_has_ended_is_no_state_to_audit(store, errors, make_errors, noon):
    await errors.add([make_errors("a")])
    await errors.mute(1, until_us=noon + 10, actor="Ann", now_us=noon)
    assert (await errors.mute(1, until_us=None, actor="Ben", now_us=noon + 10)).muted_until_us is None
    (entry,) = await store.alerting.audit()
    assert entry.actor == "Ann"


async def test_a_muted_group_is_counted_and_stays_muted_when_it_is_reopened(errors, make_errors, noon):
    await errors.add([make_errors("a", noon)])
    await errors.mute(1, until_us=noon + HOUR_US, actor="Ann", now_us=noon)
    await errors.resolve(1, actor="Ann", now_us=noon)
    (change,) = await errors.add([make_errors("a", noon + 1)])
    assert (change.reopened, change.group.muted_until_us, change.group.total) == (True, noon + HOUR_US, 2)


async def test_a_mute_keeps_its_remaining_time_when_the_clock_is_set(store, errors, make_errors, noon):
    await errors.add([make_errors("a"), make_errors("b")])
    await errors.mute(1, until_us=noon + 100, actor="Ann", now_us=noon)
    await errors.mute(2, until_us=noon + 10, actor="Ann", now_us=noon)
    await store.alerting.shift_times(HOUR_US, now_us=noon + 50 + HOUR_US)
    assert (await errors.group(1))[0].muted_until_us == noon + 100 + HOUR_US
    assert (await errors.group(2))[0].muted_until_us == noon + 10


async def test_a_group_that_does_not_exist_cannot_be_resolved_or_muted(store, errors, noon):
    for call in (
        errors.resolve(7, actor="Ann", now_us=noon),
        errors.mute(7, until_us=noon + 1, actor="Ann", now_us=noon),
    ):
        with pytest.raises(UnknownErrorGroupError, match="no error 7") as caught:
            await call
        assert caught.value.number == 7
    assert await store.alerting.audit() == []


async def test_a_store_opened_for_reading_shows_errors_and_refuses_to_change_them(backend, errors, make_errors, noon):
    await errors.add([make_errors("a")])
    async with backend.store(read_only=True) as reading:
        assert await ids(reading.errors) == [1]
        assert await reading.errors.group(1) == await errors.group(1)
        for write in (
            reading.errors.add([make_errors("b")]),
            reading.errors.resolve(1, actor="Ann", now_us=noon),
            reading.errors.mute(1, until_us=None, actor="Ann", now_us=noon),
        ):
            with pytest.raises(StorageError, match="reading only") as caught:
                await write
            assert caught.value.permanent


# Clean-up

RETENTION = Retention(raw_hours=24, hour_hours=48, day_hours=10 * 24, error_hours=5 * 24)


async def test_clean_removes_groups_without_a_recent_error_and_old_days_of_the_others(store, errors, make_errors, noon):
    await errors.add([make_errors("gone", noon, users="x"), make_errors("kept", noon, users="x")])
    await errors.mute(1, until_us=FOREVER, actor="Ann", now_us=noon)
    await errors.add([make_errors("kept", noon + 3 * DAY_US, count=2)])
    now_us = noon + 7 * DAY_US
    assert await store.clean(RETENTION, now_us=now_us) == Cleaned(errors=1)
    group, (example,) = await errors.group(2)
    assert await ids(errors) == [2]
    assert (group.count, group.total, group.users, group.days) == (2, 3, 1, ((TODAY + 3, 2),))
    assert (group.first_us, example.at_us) == (noon, noon + 3 * DAY_US)
    # A group that comes back after its removal is a new one.
    (change,) = await errors.add([make_errors("gone", now_us)])
    assert (change.reopened, change.group.id, change.group.total, change.group.users) == (False, 3, 1, 0)
    assert await store.clean(RETENTION, now_us=now_us) == Cleaned()


async def test_clean_keeps_errors_as_long_as_the_retention_says(store, errors, make_errors, noon):
    await errors.add([make_errors("a", noon)])
    midnight = TODAY * DAY_US
    assert await store.clean(Retention(), now_us=midnight + 91 * DAY_US - 1) == Cleaned()
    assert await store.clean(Retention(), now_us=midnight + 91 * DAY_US) == Cleaned(errors=1)
    assert await ids(errors) == []


async def test_clean_takes_many_groups_in_small_steps(store, errors, make_errors, noon):
    await errors.add([make_errors(f"{number}") for number in range(450)])
    assert await store.clean(Retention(), now_us=noon + 100 * DAY_US) == Cleaned(errors=450)


# Any sequence of calls, compared with a plain model

NAMES, SERVICES = ("a", "b", "c"), ("alpha", "beta")
KEYS = st.tuples(st.sampled_from(NAMES), st.sampled_from([ErrorKind.FAILED, ErrorKind.LOGGED]))
BATCHES = st.tuples(
    KEYS,
    st.sampled_from([0, -1, -30, -DAY_US, -3 * DAY_US]),  # the end, after now
    st.integers(0, 40),  # the duration
    st.dictionaries(st.tuples(st.sampled_from(SERVICES), st.sampled_from("xy")), st.integers(1, 9), min_size=1),
    st.frozensets(st.sampled_from("uvw")),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(BATCHES, max_size=4)),
        st.tuples(st.sampled_from(["resolve", "unmute"]), st.integers(1, 6)),
        st.tuples(st.just("mute"), st.tuples(st.integers(1, 6), st.sampled_from([10, DAY_US]))),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, HOUR_US, DAY_US, 2 * DAY_US])),
        st.tuples(st.sampled_from(["clean", "reopen"]), st.none()),
    ),
    max_size=20,
)


@dataclass
class Group:
    """A group as the store should have it."""

    id: int
    key: tuple[str, ErrorKind]
    first_us: int
    last_us: int
    message: str = ""
    total: int = 0
    counts: Counter = field(default_factory=Counter)
    users: set = field(default_factory=set)
    examples: list = field(default_factory=list)
    resolved_us: int | None = None
    reopened_us: int | None = None
    muted_until_us: int | None = None

    def record(self, first_day, last_day, services):
        """Return the figures of a range, or None without errors in it."""
        chosen = {
            (service, name, day): count
            for (service, name, day), count in self.counts.items()
            if first_day <= day <= last_day and service in services
        }
        days, places = Counter(), Counter()
        for (service, name, day), count in chosen.items():
            days[day] += count
            places[service, name] += count
        ranked = sorted(((*place, count) for place, count in places.items()), key=lambda one: (-one[2], one[:2]))
        state = (self.resolved_us, self.reopened_us, self.muted_until_us)
        figures = (self.message, sum(days.values()), self.total, self.first_us, self.last_us, len(self.users))
        return (self.id, *self.key, *figures, *state, tuple(ranked), tuple(sorted(days.items()))) if days else None


def figures_of(group):
    state = (group.resolved_us, group.reopened_us, group.muted_until_us)
    figures = (group.message, group.count, group.total, group.first_us, group.last_us, group.users)
    return (group.id, group.fingerprint, group.kind, *figures, *state, group.places, group.days)


@dataclass
class Model:
    """All groups, in plain Python."""

    now_us: int = NOON
    last_id: int = 0
    number: int = 0  # of batches
    groups: dict[tuple[str, ErrorKind], Group] = field(default_factory=dict)

    def batch(self, key, end_us, length_us, counts, users):
        last_us = self.now_us + end_us
        first_us = max(last_us - length_us, last_us // DAY_US * DAY_US)
        self.number += 1
        message = f"batch {self.number}"
        chain = (ErrorLink("E", message, ()),)
        return ErrorBatch(
            fingerprint=key[0],
            kind=key[1],
            type="E",
            message=message,
            place=None,
            first_us=first_us,
            last_us=last_us,
            counts={(*place, last_us // DAY_US): count for place, count in counts.items()},
            users=users,
            guilds=frozenset(),
            version=None,
            examples=(ErrorExample(last_us, "s", "o", None, None, chain),),
        )

    def add(self, batches):
        """Return the ids of the groups that are new or reopened."""
        changes = {}
        for batch in batches:
            key = (batch.fingerprint, batch.kind)
            group = self.groups.get(key)
            if group is None:
                self.last_id += 1
                group = self.groups[key] = Group(self.last_id, key, batch.first_us, batch.last_us)
                changes.setdefault(group.id, False)
            if batch.last_us >= group.last_us:
                group.message = batch.message
            group.first_us, group.last_us = min(group.first_us, batch.first_us), max(group.last_us, batch.last_us)
            group.total += sum(batch.counts.values())
            group.counts.update(batch.counts)
            group.users |= batch.users
            group.examples = sorted([*group.examples, (batch.last_us, self.place(batch), batch)])[-MAX_EXAMPLES:]
            if group.resolved_us is not None and batch.last_us > group.resolved_us:
                group.reopened_us = batch.first_us if batch.first_us > group.resolved_us else batch.last_us
                group.resolved_us = None
                changes.setdefault(group.id, True)
        return list(changes.items())

    def place(self, batch):
        """Return the number of a batch: of examples of one time, the one stored later is newer."""
        return int(batch.message.removeprefix("batch "))

    def clean(self, hours):
        """Return the number of removed groups."""
        cut = int(self.now_us - hours * HOUR_US) // DAY_US
        gone = [key for key, group in self.groups.items() if group.last_us < cut * DAY_US]
        for key in gone:
            del self.groups[key]
        for group in self.groups.values():
            group.counts = Counter({key: count for key, count in group.counts.items() if key[2] >= cut})
            group.examples = [example for example in group.examples if example[0] >= cut * DAY_US]
        return len(gone)

    def numbered(self, number):
        return next((group for group in self.groups.values() if group.id == number), None)


async def decide(errors, model, step, value):
    number, length_us = value if step == "mute" else (value, 0)
    group = model.numbered(number)
    until_us = model.now_us + length_us if step == "mute" else None
    if step == "resolve":
        call = errors.resolve(number, actor="Ann", now_us=model.now_us)
    else:
        call = errors.mute(number, until_us=until_us, actor="Ann", now_us=model.now_us)
    if group is None:
        with pytest.raises(UnknownErrorGroupError):
            await call
        return
    if step == "resolve":
        group.resolved_us = model.now_us if group.resolved_us is None else group.resolved_us
    else:
        group.muted_until_us = until_us
    returned = await call
    assert returned.resolved_us == group.resolved_us


async def compare(errors, model):
    in_order = sorted(model.groups.values(), key=lambda group: (-group.last_us, -group.id))
    for since_us, until_us in ((0, FOREVER), (model.now_us - DAY_US, model.now_us), (0, model.now_us - 2 * DAY_US)):
        for services in (SERVICES, SERVICES[:1]):
            days = since_us // DAY_US, (until_us - 1) // DAY_US
            expected = [one for group in in_order if (one := group.record(*days, services)) is not None]
            named = None if services is SERVICES else services
            found = await errors.groups(since_us, until_us, services=named)
            assert [figures_of(group) for group in found] == expected
    for group in in_order:
        _, examples = await errors.group(group.id)
        assert examples == [batch.examples[0] for _, _, batch in reversed(group.examples)]


async def play(backend, steps):
    """Run the steps on the store and on the model, and compare after each."""
    model = Model()
    store = await backend.open()
    try:
        for step, value in steps:
            if step == "reopen":
                await store.close()
                store = await backend.open()
            elif step == "clean":
                cleaned = await store.clean(Retention(error_hours=72), now_us=model.now_us)
                assert cleaned == Cleaned(errors=model.clean(72))
            elif step == "wait":
                model.now_us += value
            elif step == "add":
                batches = [model.batch(*batch) for batch in value]
                changes = await store.errors.add(batches)
                assert [(change.group.id, change.reopened) for change in changes] == model.add(batches)
            else:
                await decide(store.errors, model, step, value)
            await compare(store.errors, model)
    finally:
        await store.close()


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_calls_agrees_with_a_plain_model(backend_class, steps):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(backend_class(Path(folder)), steps))
