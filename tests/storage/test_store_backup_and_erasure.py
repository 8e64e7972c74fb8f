"""The contract of Store.backup(), vacuum() and erase_person()."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace

import pytest
from store_places import place_of

from cogmeter_storage import Marker, Person, Retention, StorageError, open_store
from cogmeter_storage.alerting import Mute
from cogmeter_storage.errors import ErrorExample, ErrorLink
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Outcome, TraceRecord

EVERYTHING = 2**62
SOMEBODY = Person(("user", "0a1b2c3d"), "123456789012345678", "Ann")


async def everything(store):
    return [one async for chunk in store.stream(None, 0, EVERYTHING) for one in chunk]


async def test_a_backup_opens_as_a_store_with_all_that_was_there(store, append, make_rows, noon, tmp_path):
    await append(store, make_rows(500, noon))
    await store.fold(now_us=noon + DAY_US)
    await store.set_value("key", b"secret")
    steps = []
    await store.backup(tmp_path / "copy.db", progress=lambda done, of: steps.append((done, of)))
    copy = await open_store(f"sqlite:///{tmp_path / 'copy.db'}")
    try:
        # The copy is one file, whose ids are the places of the operations.
        assert await everything(copy) == [replace(one, id=place_of(one)) for one in await everything(store)]
        assert await copy.get_value("key") == b"secret"
        groups = {1: 0, 2: 0, 3: 0}
        totals = [await one.totals(noon, noon + HOUR_US, groups=groups) for one in (copy, store)]
        assert totals[0].buckets.tolist() == totals[1].buckets.tolist()
    finally:
        await copy.close()
    assert steps
    assert steps[-1][0] == steps[-1][1]


async def test_a_backup_while_others_write_is_of_one_moment_and_hinders_nobody(
    store, append, make_rows, noon, tmp_path
):
    await append(store, make_rows(20_000, noon, gap_us=1000))
    ready = asyncio.Event()

    async def write():
        batch = 0
        while not (batch and copying.done()):  # a busy machine takes long to copy; a copy that never ends is a time-out
            batch += 1
            await append(store, make_rows(50, noon + 20_000_000 + batch * 50_000, gap_us=1000))
            ready.set()
        return batch

    copying = asyncio.ensure_future(ready.wait())
    writing = asyncio.create_task(write())
    await copying
    copying = asyncio.create_task(store.backup(tmp_path / "copy.db"))
    assert await writing > 1
    await copying
    copy = await open_store(f"sqlite:///{tmp_path / 'copy.db'}", read_only=True)
    try:
        kept = len(await everything(copy))
        assert kept % 50 == 0  # whole appends
        assert 20_050 <= kept <= len(await everything(store))
    finally:
        await copy.close()


async def test_a_backup_never_replaces_a_file(store, tmp_path):
    (tmp_path / "mine.db").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        await store.backup(tmp_path / "mine.db")
    assert (tmp_path / "mine.db").read_bytes() == b"precious"


async def test_a_backup_that_is_cancelled_or_fails_leaves_no_file(store, append, make_rows, noon, tmp_path):
    await append(store, make_rows(50_000, noon, gap_us=1000))
    target = tmp_path / "copy.db"
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    copying = asyncio.create_task(store.backup(target, progress=lambda *_: loop.call_soon_threadsafe(begun.set)))
    await begun.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert not target.exists()
    with pytest.raises(FileNotFoundError):
        await store.backup(tmp_path / "nowhere" / "copy.db")

    def refuse(*_):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.backup(target, progress=refuse)
    assert not target.exists()
    assert len(await everything(store)) == 50_000


async def test_vacuum_gives_room_back_and_changes_nothing(store, append, make_rows, noon):
    await append(store, make_rows(30_000, noon, gap_us=MINUTE_US // 100))
    # Traces are rows of one table in every engine; the operations of a day may be a table of their own.
    texts = [random.randbytes(1_000).hex() for _ in range(4_000)]
    await store.add_traces([TraceRecord(noon, "a", "b", 5, Outcome.ERROR, text, 0, ()) for text in texts])
    await store.append([], now_us=noon + 2 * DAY_US)
    await store.fold(now_us=noon + 2 * DAY_US)
    await store.clean(Retention(raw_hours=46), now_us=noon + 2 * DAY_US)
    before, kept = await store.status(), await everything(store)
    await store.vacuum()
    after = await store.status()
    assert after.size_bytes < before.size_bytes * 0.7
    assert await everything(store) == kept
    await append(store, make_rows(10, noon + 3 * DAY_US))
    assert len(await everything(store)) == len(kept) + 10


async def test_forgetting_takes_the_person_out_and_leaves_all_else(store, append, noon):
    notes = [
        {"user": "0a1b2c3d", "guild": "ffffffff", "model": "x"},
        {"user": "99999999"},
        {"who": 123456789012345678, "list": ["<@123456789012345678>", 1123456789012345678]},
        {"kind": "0a1b2c3d"},
        None,
    ]
    errors = [None, None, None, None, "no right for 123456789012345678: 403"]
    rows = [
        (1, noon + i, 5, 0, errors[i], None if notes[i] is None else json.dumps(notes[i])) for i in range(len(notes))
    ]
    await append(store, rows)
    await store.add_marker(Marker(noon, "mark", "by 123456789012345678"))
    await store.alerting.add_mute(Mute("alpha", "", noon, noon + HOUR_US, "Ann", "asked by 123456789012345678"))
    assert (await store.erase_person(SOMEBODY)).rows == 3 + 1 + 2 + 2  # operations, marker, mute, the mute's audit
    found = await everything(store)
    assert [one.metadata for one in found] == [
        {"guild": "ffffffff", "model": "x"},
        {"user": "99999999"},
        {"who": "(forgotten)", "list": ["<@(forgotten)>", 1123456789012345678]},
        {"kind": "0a1b2c3d"},
        {},
    ]
    assert [one.error for one in found] == [*errors[:4], "no right for (forgotten): 403"]
    (mute,) = await store.alerting.mutes(noon + 1)
    assert (mute.actor, mute.reason) == ("(forgotten)", "asked by (forgotten)")
    assert [one.actor for one in await store.alerting.audit()] == ["(forgotten)"]
    assert [one.name for one in await store.markers(noon, noon + 1)] == ["by (forgotten)"]
    assert (await store.erase_person(SOMEBODY)).rows == 0


async def test_erasing_removes_the_person_from_errors(store, make_errors, noon, tmp_path):
    other = ErrorLink("KeyError", "no right for 123456789012345678 in 1123456789012345678", ())
    hashes = frozenset({"0a1b2c3d", "ffffffff"})
    example = ErrorExample(noon, "alpha", "one", "0a1b2c3d", None, (other,))
    await store.errors.add([make_errors("a", noon, message=other.message, users=hashes, examples=(example,))])
    await store.errors.add([make_errors("b", noon, guilds=frozenset({"0000cafe"}))])
    await store.errors.resolve(1, actor="Ann", now_us=noon)
    # Message and name of the group, user and text of the example, the person, and the actor of the audit entry.
    assert (await store.erase_person(SOMEBODY)).rows == 6
    group, (example,) = await store.errors.group(1)
    assert (group.message, group.resolved_by, group.users) == (
        "no right for (forgotten) in 1123456789012345678",
        "(forgotten)",
        1,
    )
    assert (example.user, example.chain[0].message) == (None, group.message)
    assert (await store.errors.group(2))[0].guilds == 1
    assert (await store.erase_person(SOMEBODY)).rows == 0
    await store.backup(tmp_path / "copy.db")
    content = (tmp_path / "copy.db").read_bytes()
    assert not [text for text in (b"0a1b2c3d", b" 123456789012345678", b"Ann") if text in content]


async def test_a_reader_can_make_a_backup_and_nothing_else_of_these(backend, store, append, make_rows, noon, tmp_path):
    await append(store, make_rows(20, noon))
    async with backend.store(read_only=True) as reader:
        await reader.backup(tmp_path / "copy.db")
        for call in (reader.vacuum(), reader.erase_person(SOMEBODY)):
            with pytest.raises(StorageError, match="for reading only"):
                await call
    assert (tmp_path / "copy.db").stat().st_size
