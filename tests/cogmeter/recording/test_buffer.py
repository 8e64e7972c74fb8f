"""The buffer: its bound, in operations and in bytes, and that taking and giving back never loses or tears anything."""

import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.recording.buffer import FIELDS, PLAIN_BYTES, Buffer, extra_bytes
from cogmeter.recording.recorder import Recorder

MB = 1_000_000


def by_memory(megabytes):
    buffer = Buffer()
    buffer.bound_by_memory(megabytes * MB)
    return buffer


def fill(buffer, **metadata):
    """Record until an operation is dropped; return how many were kept."""
    recorder = Recorder(buffer)
    while not buffer.dropped:
        recorder.record("s", "o", duration_ms=1, metadata=metadata or None)
    return len(buffer)


def test_a_bound_in_operations_counts_each_the_same():
    assert fill(Buffer(100)) == 100
    assert fill(Buffer(100), prompt="x" * 10_000) == 100


def test_a_bound_in_bytes_keeps_fewer_operations_the_more_there_is_in_them():
    assert fill(by_memory(1)) == pytest.approx(MB / PLAIN_BYTES, rel=0.01)
    assert fill(by_memory(8), prompt="x" * 10_000) == pytest.approx(8 * MB / 10_600, rel=0.1)
    assert fill(by_memory(8), prompt="x" * MB) == pytest.approx(8, abs=2)


def test_one_operation_with_much_in_it_does_not_keep_the_others_out():
    buffer = by_memory(8)
    recorder = Recorder(buffer)
    for number in range(1_000):
        recorder.record(
            "s", "o", duration_ms=1, metadata={"picture": bytes(MB)} if number % 400 == 0 else {"a": number}
        )
    assert (len(buffer), buffer.dropped) == (1_000, 0)


def test_operations_that_always_come_in_the_same_order_are_all_weighed_sometimes():
    recorder = Recorder(by_memory(32))
    while not recorder.buffer.dropped:
        for size in (10, 10, 10, 4_000):
            recorder.record("s", "o", duration_ms=1, metadata={"prompt": "x" * size})
    assert len(recorder.buffer) == pytest.approx(32 * MB / 1_500, rel=0.3)


@pytest.mark.parametrize(
    "metadata", [None, {"model": "gpt-4o"}, {"user": 5_000_000_000, "score": 0.5}, {"text": "x" * 3_000}]
)
def test_what_a_full_buffer_takes_is_about_its_bound(metadata):
    recorder = Recorder(by_memory(8))
    recorder.record("s", "o", duration_ms=0.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    number = 0
    while not recorder.buffer.dropped:
        number += 1
        # Values of its own for each operation, so that nothing is shared between them.
        own = {f"{key}": type(value)(f"{value}{number}") for key, value in metadata.items()} if metadata else None
        recorder.record("s", "o", duration_ms=number + 0.5, metadata=own)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.7 * 8 * MB < taken < 1.3 * 8 * MB


def test_five_thousand_interactions_at_once_fit_into_the_default_bound():
    buffer = by_memory(32)
    recorder = Recorder(buffer)
    for number in range(15_000):
        people = {"user": f"{number:08x}", "guild": f"{number:08x}", "command": "ask", "parent": "core/answer"}
        recorder.record("discord.commands", "ask", duration_ms=3, error="x" * 500, metadata=people)
    assert (len(buffer), buffer.dropped) == (15_000, 0)


def test_the_room_of_operations_being_written_is_freed_when_they_are_stored():
    buffer = by_memory(8)
    room = buffer.limit
    kept = fill(buffer, prompt="x" * 1_000)
    assert buffer.used == pytest.approx(1, abs=0.01)
    first, second = buffer.take(kept // 2), buffer.take()
    assert (len(first) + len(second), len(buffer)) == (kept * FIELDS, 0)
    assert buffer.used == pytest.approx(1, abs=0.01)
    buffer.release(first)
    assert buffer.used == pytest.approx(0.5, abs=0.02)
    buffer.put_back(second)
    assert buffer.used == pytest.approx(0.5, abs=0.02)
    buffer.release(buffer.take())
    assert (buffer.limit, buffer.used) == (room, 0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.none() | st.text(max_size=50)),
            st.tuples(st.just("take"), st.none() | st.integers(1, 5)),
            st.tuples(st.sampled_from(["release", "put_back"]), st.none()),
            st.tuples(st.just("bound"), st.sampled_from([20, 40.0])),
        ),
        max_size=60,
    )
)
def test_whatever_comes_in_and_goes_out_the_bound_is_the_same_in_the_end(steps):
    buffer = Buffer(20)
    taken = []
    for step, value in steps:
        if step == "add":
            buffer.add(0, 1, 1, 0, None if value is None else (value, None))
        elif step == "take":
            taken.append(buffer.take(value))
        elif step == "bound" and isinstance(value, float):
            buffer.bound_by_memory(value * PLAIN_BYTES)
        elif step == "bound":
            buffer.capacity = value
        elif taken:
            getattr(buffer, step)(taken.pop(0))
    for one in taken:
        buffer.release(one)
    buffer.release(buffer.take())
    assert buffer.limit == buffer.capacity * FIELDS
    assert (buffer.used, len(buffer)) == (0, 0)


def test_a_buffer_that_is_shut_while_a_batch_is_written_keeps_nothing_afterwards():
    buffer = Buffer(10)
    recorder = Recorder(buffer)
    recorder.record("s", "o", duration_ms=1)
    taken = buffer.take()
    buffer.disable()
    buffer.release(taken)
    recorder.record("s", "o", duration_ms=1)
    assert len(buffer) == 0


def test_a_new_bound_counts_what_is_being_written():
    buffer = Buffer(10)
    recorder = Recorder(buffer)
    for _ in range(4):
        recorder.record("s", "o", duration_ms=1)
    taken = buffer.take()
    buffer.capacity = 5
    fill(buffer)
    assert len(buffer) == 1
    buffer.release(taken)
    assert buffer.limit == 5 * FIELDS


def test_the_level_says_the_bound_that_is_set():
    buffer = Buffer(10_000)
    assert buffer.level() == "0 of 10,000 operations wait"
    buffer.bound_by_memory(32 * MB)
    recorder = Recorder(buffer)
    for _ in range(5_000):
        recorder.record("s", "o", duration_ms=1)
    assert buffer.level() == "5,000 operations wait (2% of 32 MB)"


def test_metadata_whose_size_cannot_be_found_loses_no_operation():
    class Hostile:
        def __sizeof__(self):
            raise RuntimeError("no size")

    recorder = Recorder(by_memory(1))
    with recorder.operation("s", "o", thing=Hostile()):
        pass
    assert (len(recorder.buffer), recorder.refused) == (1, 0)


def test_the_size_of_many_values_is_that_of_a_few_times_their_number():
    few, many = ({f"k{number}": "x" * 1_000 for number in range(count)} for count in (20, 2_000))
    assert extra_bytes((None, many)) == pytest.approx(100 * extra_bytes((None, few)), rel=0.1)


def test_threads_that_record_while_others_take_and_put_back_lose_and_tear_nothing():
    buffer = by_memory(32)
    recorder = Recorder(buffer)
    room = buffer.limit
    ending = threading.Event()
    stored = []

    def work(thread):
        tracked = recorder.track("s", f"o{thread}")
        for number in range(2_000):
            with tracked():
                pass
            recorder.record("s", f"o{thread}", duration_ms=1, metadata={"thread": thread, "number": number})

    def flush():
        turn = 0
        while not ending.is_set() or len(buffer):
            taken = buffer.take(97)
            turn += 1
            if turn % 3 == 0:
                buffer.put_back(taken)
            else:
                stored.extend(taken)
                buffer.release(taken)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    flusher = threading.Thread(target=flush)
    for thread in (*threads, flusher):
        thread.start()
    for thread in threads:
        thread.join()
    ending.set()
    flusher.join()
    assert len(stored) == 16_000 * FIELDS
    numbers = {thread: recorder.series("s", f"o{thread}") for thread in range(4)}
    seen = {thread: [] for thread in range(4)}
    for series, extra in zip(stored[::FIELDS], stored[4::FIELDS], strict=True):
        if extra is not None:
            assert series == numbers[extra[1]["thread"]]
            seen[extra[1]["thread"]].append(extra[1]["number"])
    assert all(sorted(one) == list(range(2_000)) for one in seen.values())
    assert (buffer.limit, buffer.dropped) == (room, 0)
