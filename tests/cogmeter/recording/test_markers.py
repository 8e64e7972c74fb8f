"""Markers: kept until they are stored, within bounds, and never a trouble of the host."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import cogmeter
from cogmeter.recording import markers as module
from cogmeter.recording.markers import (
    CAPACITY,
    EXTENSION,
    MARK,
    MAX_NAME,
    NAMELESS,
    MarkerRecorder,
    mark_start,
    store_markers,
)
from cogmeter_storage import open_store
from cogmeter_storage.base import StorageError

FOREVER = 1 << 60


@pytest.fixture
def marks():
    return MarkerRecorder()


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'marks.db'}")
    yield store
    await store.close()


async def stored(store):
    return [(one.kind, one.name) for one in await store.markers(0, FOREVER)]


def names(marks):
    return [one.name for one in marks.take()]


def test_a_mark_of_the_package_waits_before_the_extension_is_loaded():
    cogmeter.mark("deployed 1.4")
    (one,) = cogmeter.default_recorder.markers.take()
    assert (one.kind, one.name) == (MARK, "deployed 1.4")
    assert one.at_us > 1_600_000_000_000_000


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  deployed\n1.4\t(hotfix) ", "deployed 1.4 (hotfix)"),
        ("x" * 150, "x" * (MAX_NAME - 1) + "…"),
        ("x" * 5_000_000, "x" * (MAX_NAME - 1) + "…"),
        ("", NAMELESS),
        ("\0\ud800", NAMELESS),
        (14, "14"),
        ("hook webhooks/80351110224678912/se-cret.token", "hook webhooks/80351110224678912/[redacted]"),
        (
            "a" * 70 + " Bearer abcdefghijklmnopqrstuvwxyz0123456789",
            "a" * 70 + " Bearer [redacted]",
        ),
    ],
)
def test_a_name_is_one_short_printable_line_without_secrets(marks, given, kept):
    marks.mark(given)
    assert names(marks) == [kept]


def test_an_object_without_a_text_is_counted_and_never_raises(marks):
    class Broken:
        def __str__(self):
            raise RuntimeError("no text")

    marks.mark(Broken())
    assert (names(marks), marks.dropped) == ([], 1)


def test_more_than_can_wait_are_dropped_and_counted(marks):
    for number in range(CAPACITY + 7):
        marks.mark(number)
    assert (len(marks), marks.dropped) == (CAPACITY, 7)
    assert names(marks) == [str(number) for number in range(CAPACITY)]


def test_threads_that_mark_at_once_do_not_exceed_what_may_wait(marks):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [marks.mark("x") for _ in range(50)], range(8)))
    assert (len(marks), marks.dropped) == (CAPACITY, 400 - CAPACITY)


def test_a_mark_that_comes_while_another_one_is_cleaned_does_not_exceed_what_may_wait(marks):
    class Marking:
        def __str__(self):
            while len(marks) < CAPACITY:
                marks.mark("in between")
            return "outer"

    marks.mark(Marking())
    assert (len(marks), marks.dropped) == (CAPACITY, 1)


def test_threads_may_mark_at_once(marks):
    threads = [threading.Thread(target=lambda: [marks.mark("x") for _ in range(9)]) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(marks) == ["x"] * 90


def test_what_one_verb_was_done_to_is_one_marker(marks):
    for verb, name in (
        ("reloaded", "cogs.music"),
        ("reloaded", "cogs.quotes"),
        ("reloaded", "cogs.quotes"),
        ("unloaded", "cogs.quotes"),
        ("", "reloaded by hand"),
        ("", "reloaded by hand"),
        ("reloaded", "cogs.music"),
    ):
        marks.add(EXTENSION, name, verb=verb)
    first, *others = marks.take()
    assert (first.kind, first.name) == (EXTENSION, "reloaded cogs.music, cogs.quotes")
    assert first.at_us <= others[0].at_us
    assert [one.name for one in others] == [
        "unloaded cogs.quotes",
        "reloaded by hand",
        "reloaded by hand",
        "reloaded cogs.music",
    ]


def test_a_hundred_reloads_at_once_are_one_marker_of_bounded_length(marks):
    for number in range(CAPACITY):
        marks.add(EXTENSION, f"cogs.number_{number}", verb="reloaded")
    (name,) = names(marks)
    assert len(name) == MAX_NAME
    assert name.endswith("…")


def test_what_could_not_be_stored_stays_as_it_was_taken(marks):
    for name in ("cogs.music", "cogs.quotes"):
        marks.add(EXTENSION, name, verb="reloaded")
    marks.put_back(marks.take())
    marks.add(EXTENSION, "cogs.music", verb="reloaded")
    assert names(marks) == ["reloaded cogs.music, cogs.quotes", "reloaded cogs.music"]


async def test_what_waits_is_stored_in_order(store, marks):
    for name in ("one", "two"):
        marks.mark(name)
    await store_markers(store, marks)
    assert await stored(store) == [(MARK, "one"), (MARK, "two")]
    assert len(marks) == 0


async def test_what_the_store_does_not_take_is_stored_the_next_time(store, marks, monkeypatch):
    add, asked = store.add_marker, []

    async def full(marker):
        asked.append(marker.name)
        if asked == ["one", "two"]:
            raise StorageError("the disk is full", permanent=False)
        return await add(marker)

    monkeypatch.setattr(store, "add_marker", full)
    for name in ("one", "two", "three"):
        marks.mark(name)
    await store_markers(store, marks)
    assert len(marks) == 2
    marks.mark("four")
    await store_markers(store, marks)
    assert [name for _, name in await stored(store)] == ["one", "two", "three", "four"]


async def test_a_marker_that_cannot_be_stored_does_not_block_others(store, marks, monkeypatch):
    add = store.add_marker

    async def picky(marker):
        if marker.name == "bad":
            raise ValueError("bad")
        return await add(marker)

    monkeypatch.setattr(store, "add_marker", picky)
    for name in ("bad", "good"):
        marks.mark(name)
    await store_markers(store, marks)
    await store_markers(store, marks)
    assert await stored(store) == [(MARK, "good")]


async def test_a_start_and_a_restart_in_a_running_process_have_different_markers(store, marks):
    for _ in range(2):
        await mark_start(store, marks, None)
    await store_markers(store, marks)
    assert await stored(store) == [("start", "bot started"), ("start", "monitoring restarted")]


async def test_a_version_is_marked_when_it_is_another_than_at_the_last_start(store):
    for version in ("1.3", "1.3", "1.4", " ", None, "1.4", "1.3"):
        await mark_start(store, MarkerRecorder(), version)
    assert await stored(store) == [("version", f"version {one}") for one in ("1.3", "1.4", "1.3")]


async def test_a_version_whose_marker_was_not_stored_is_marked_at_the_next_start(store, marks, monkeypatch):
    async def full(marker):
        raise StorageError("the disk is full", permanent=False)

    with monkeypatch.context() as broken:
        broken.setattr(store, "add_marker", full)
        with pytest.raises(StorageError, match="the disk is full"):
            await mark_start(store, marks, "1.4")
    assert len(marks) == 1  # the start itself waits to be stored
    assert await stored(store) == []
    await mark_start(store, marks, "1.4")
    assert await stored(store) == [("version", "version 1.4")]
    assert await store.get_value(module.VERSION_KEY) == b"1.4"
