"""Recording: what reaches the buffer, and what never reaches the host."""

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import cogmeter
from cogmeter.recording.buffer import FIELDS, Buffer
from cogmeter.recording.recorder import MAX_SERIES, OTHER, Recorder
from cogmeter.recording.rows import Batch
from cogmeter_storage.model import Outcome


@pytest.fixture
def recorder():
    return Recorder()


def recorded(recorder):
    """The buffered operations as (service, operation, duration_us, outcome, error, metadata JSON)."""
    batch = Batch(recorder.buffer.take(), wall_minus_perf_ns=0)
    rows = [row for rows in batch.slices(range(len(recorder.names)), recorder) for row in rows]
    return [
        (*recorder.names[series], duration_us, Outcome(outcome), error, metadata)
        for series, _, duration_us, outcome, error, metadata in rows
    ]


def only(recorder):
    (one,) = recorded(recorder)
    return one


def test_the_package_offers_one_recorder_under_three_names():
    assert cogmeter.operation == cogmeter.default_recorder.operation
    assert cogmeter.record is cogmeter.default_recorder.record
    assert cogmeter.track == cogmeter.default_recorder.track


def test_a_block_is_recorded_with_its_metadata(recorder):
    with recorder.operation("knowledge-graph", "query", model="gpt-4o") as op:
        op.annotate(tokens_in=512)
        op.annotate(tokens_in=513, tokens_out=80)
    service, operation, _, outcome, error, metadata = only(recorder)
    assert (service, operation, outcome, error) == ("knowledge-graph", "query", Outcome.OK, None)
    assert metadata == '{"model": "gpt-4o", "tokens_in": 513, "tokens_out": 80}'


def test_the_duration_is_that_of_the_block(recorder):
    with recorder.operation("s", "o"):
        threading.Event().wait(0.02)
    assert 20_000 <= only(recorder)[2] < 5_000_000


async def test_async_with_records_like_with(recorder):
    query = recorder.track("knowledge-graph", "query")
    async with recorder.operation("knowledge-graph", "query"):
        await asyncio.sleep(0)
    async with query() as op:
        op.annotate(a=1)
    assert [row[:2] + row[3:] for row in recorded(recorder)] == [
        ("knowledge-graph", "query", Outcome.OK, None, None),
        ("knowledge-graph", "query", Outcome.OK, None, '{"a": 1}'),
    ]


def test_an_exception_is_recorded_and_propagates(recorder):
    failure = ValueError("no such node")
    with pytest.raises(ValueError) as raised, recorder.operation("s", "o"):
        raise failure
    assert raised.value is failure
    assert only(recorder)[3:5] == (Outcome.ERROR, "ValueError: no such node")


async def test_a_cancelled_task_is_recorded_as_cancelled(recorder):
    async def wait():
        async with recorder.operation("s", "o"):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert only(recorder)[3] is Outcome.CANCELLED


def test_fail_marks_an_operation_that_raises_nothing(recorder):
    with recorder.operation("s", "o") as op:
        op.fail("rate limit exceeded")
    assert only(recorder)[3:5] == (Outcome.ERROR, "rate limit exceeded")


@pytest.mark.parametrize("said", ["upstream", Outcome.UPSTREAM])
def test_an_outcome_set_by_hand_has_precedence_over_the_exception(recorder, said):
    with pytest.raises(OSError), recorder.operation("s", "o") as op:
        op.outcome = said
        raise OSError("502")
    assert only(recorder)[3:5] == (Outcome.UPSTREAM, "OSError: 502")


@pytest.mark.parametrize("said", ["bogus", [], 99])
def test_an_outcome_that_does_not_exist_is_counted_and_loses_nothing(recorder, said):
    with recorder.operation("s", "o") as op:
        op.outcome = said
    assert recorder.refused == 1
    assert only(recorder)[3] is Outcome.OK


def test_record_takes_a_duration_that_was_measured_elsewhere(recorder):
    recorder.record("context-memory", "retrieve", duration_ms=12.3, error=None, metadata={"user": 42})
    recorder.record("context-memory", "retrieve", duration_ms=7)
    recorder.record("context-memory", "retrieve", duration_ms=1, error="timeout")
    recorder.record("context-memory", "retrieve", duration_ms=1, error=KeyError("k"), outcome="upstream")
    rows = [row[2:] for row in recorded(recorder)]
    (error,) = recorder.errors.take()
    assert rows == [
        (12_300, Outcome.OK, None, '{"user": 42}'),
        (7_000, Outcome.OK, None, None),
        (1_000, Outcome.ERROR, "timeout", None),
        (1_000, Outcome.UPSTREAM, "KeyError: 'k'", f'{{"error_group": "{error.fingerprint}"}}'),
    ]


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), 10**400, "5", None, object()])
def test_a_duration_that_is_none_is_counted_and_not_kept(recorder, duration):
    recorder.record("s", "o", duration_ms=1)
    recorder.record("s", "o", duration_ms=duration)
    recorder.record("s", "new", duration_ms=duration)
    assert len(recorded(recorder)) == 1
    assert recorder.refused == 2


@pytest.mark.parametrize("name", ["", " ", "\t", "a\nb", "x" * 101, None, 5, ["a"], "\ud800"])
def test_a_bad_name_is_refused_at_definition_and_counted_elsewhere(recorder, name):
    with pytest.raises(ValueError, match="is not 1 to 100 printable characters"):
        recorder.track(name, "o")
    with pytest.raises(ValueError, match="operation name"):
        recorder.track("s", name)
    with recorder.operation(name, "o") as op:
        op.annotate(still="works")
        op.fail("this too")
    recorder.record("s", name, duration_ms=1)
    assert recorded(recorder) == []
    assert recorder.refused == 2


async def test_a_bad_name_costs_an_async_block_nothing_either(recorder):
    async with recorder.operation("", "o"):
        pass
    assert recorder.refused == 1


def test_names_of_a_hundred_printable_characters_are_fine(recorder):
    recorder.record("ß" * 100, "名前", duration_ms=1)
    assert only(recorder)[:2] == ("ß" * 100, "名前")


def test_series_beyond_the_limit_fall_into_other(recorder):
    for number in range(MAX_SERIES + 5):
        recorder.record("s", f"o{number}", duration_ms=1)
    with recorder.operation("s", "one more"):
        pass
    assert len(recorder.names) == MAX_SERIES
    rows = recorded(recorder)
    assert len(rows) == MAX_SERIES + 6
    assert [row[:2] for row in rows].count((OTHER, OTHER)) == 7  # "(other)" itself takes one place
    assert recorder.overflowed == 7


def test_a_full_buffer_drops_and_counts():
    recorder = Recorder(Buffer(3))
    query = recorder.track("s", "o")
    for _ in range(2):
        recorder.record("s", "o", duration_ms=1)
    for _ in range(3):
        with query():
            pass
    with recorder.operation("s", "o", a=1):
        pass
    assert len(recorder.buffer) == 3
    assert recorder.buffer.dropped == 3


def test_what_is_being_written_counts_against_the_buffer():
    buffer = Buffer(2)
    recorder = Recorder(buffer)
    recorder.record("s", "o", duration_ms=1)
    taken = buffer.take()
    recorder.record("s", "o", duration_ms=2)
    recorder.record("s", "o", duration_ms=3)
    assert (len(buffer), buffer.dropped) == (1, 1)
    buffer.release(taken)
    recorder.record("s", "o", duration_ms=4)
    assert len(buffer) == 2


def test_atoms_that_could_not_be_stored_go_back_to_the_front():
    recorder = Recorder(Buffer(10))
    recorder.record("s", "o", duration_ms=1)
    taken = recorder.buffer.take()
    recorder.record("s", "o", duration_ms=2)
    recorder.buffer.put_back(taken)
    assert [row[2] for row in recorded(recorder)] == [1_000, 2_000]


def test_a_shut_buffer_keeps_nothing(recorder):
    recorder.record("s", "o", duration_ms=1)
    recorder.buffer.disable()
    with recorder.operation("s", "o"):
        pass
    assert len(recorder.buffer) == 0


def test_metadata_and_errors_that_fight_back_never_reach_the_host(recorder):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no repr")

        __str__ = __repr__

    class HostileError(Exception):
        def __str__(self):
            raise RuntimeError("no str")

    with pytest.raises(HostileError), recorder.operation("s", "o", thing=Hostile()):
        raise HostileError
    _, _, _, outcome, error, metadata = only(recorder)
    assert outcome is Outcome.ERROR
    assert error.startswith("HostileError: (no text")
    assert metadata.startswith('{"thing": "(Hostile: its repr failed)"')


@pytest.mark.parametrize("metadata", [[1, 2], "text"])
def test_a_failure_whose_metadata_is_no_mapping_is_recorded(recorder, metadata):
    recorder.record("s", "o", duration_ms=1, error=KeyError("k"), metadata=metadata)
    assert only(recorder)[3:5] == (Outcome.ERROR, "KeyError: 'k'")
    assert recorder.refused == 0


def test_threads_that_record_at_once_lose_nothing():
    recorder = Recorder(Buffer(100_000))
    taken = []

    def work(number):
        tracked = recorder.track("threads", f"t{number % 3}")
        for _ in range(2_000):
            with tracked():
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += recorder.buffer.take()
    taken += recorder.buffer.take()
    assert len(taken) == 8_000 * FIELDS
    assert recorder.buffer.dropped == 0


@pytest.fixture
def hurried():
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work, threads=8):
    """Run ``work(number)`` in so many threads that start at the same time; raise what any of them raised."""
    barrier = threading.Barrier(threads)

    def one(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


class Interrupted(list):
    """A list whose first append is followed at once by ``handler()``, as a signal's handler could be."""

    def __init__(self, values, handler):
        super().__init__(values)
        self.handler = handler

    def append(self, value):
        super().append(value)
        handler, self.handler = self.handler, lambda: None
        handler()


def test_a_series_that_is_named_while_another_one_is_named_keeps_its_own_number(recorder):
    recorder.names = Interrupted(recorder.names, lambda: recorder.record("signal", "handler", duration_ms=2))
    recorder.record("knowledge-graph", "query", duration_ms=1)
    recorder.record("knowledge-graph", "query", duration_ms=1)
    assert [row[:3] for row in recorded(recorder)] == [
        ("signal", "handler", 2_000),
        ("knowledge-graph", "query", 1_000),
        ("knowledge-graph", "query", 1_000),
    ]


def test_threads_that_name_new_series_at_once_get_each_its_own_name(hurried):
    recorders = [Recorder(Buffer(5_000)) for _ in range(10)]

    def work(thread):
        for recorder in recorders:
            for number in range(200):
                recorder.record(f"s{thread}", f"o{number}", duration_ms=thread * 1_000 + number)

    together(work)
    for recorder in recorders:
        rows = recorded(recorder)
        assert len(rows) == 1_600
        assert all(row[:2] == (f"s{row[2] // 10**6}", f"o{row[2] // 1_000 % 1_000}") for row in rows)
        assert len(recorder.names) == len(set(recorder.names)) == 1_601


def test_threads_that_name_the_same_series_at_once_share_one_number(hurried):
    recorders = [Recorder(Buffer(5_000)) for _ in range(20)]

    def work(_):
        for recorder in recorders:
            for number in range(50):
                with recorder.operation("s", f"o{number}"):
                    pass

    together(work)
    for recorder in recorders:
        assert sorted(recorder.names) == sorted([(OTHER, OTHER), *(("s", f"o{number}") for number in range(50))])
        assert len(recorded(recorder)) == 400


def test_threads_that_reach_the_limit_of_series_at_once_do_not_exceed_it(hurried, monkeypatch):
    monkeypatch.setattr("cogmeter.recording.recorder.MAX_SERIES", 100)
    recorder = Recorder()
    together(lambda thread: [recorder.series(f"s{thread}", f"o{number}") for number in range(50)])
    assert (len(recorder.names), recorder.overflowed) == (100, 301)


def test_series_beyond_the_limit_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr("cogmeter.recording.recorder.MAX_SERIES", 2)
    recorder = Recorder()
    for number in range(50):
        recorder.record(f"s{number}", "o", duration_ms=1)
    assert len(recorder._numbers) == 2


def test_threads_that_are_refused_or_dropped_at_once_are_all_counted(hurried):
    recorder = Recorder(Buffer(1))
    recorder.record("s", "o", duration_ms=1)

    @recorder.track("s", "decorated")
    def decorated():
        pass

    def work(_):
        for _ in range(200):
            recorder.record("", "o", duration_ms=1)
            recorder.record("s", "o", duration_ms=1)
            recorder.record("s", "o", duration_ms=1, metadata={"a": 1})
            decorated()

    together(work)
    assert (recorder.refused, recorder.buffer.dropped) == (1_600, 4_800)


def test_threads_that_track_at_import_record_each_under_its_own_name(hurried):
    recorder = Recorder()

    def work(thread):
        def function():
            return thread

        tracked = [recorder.track(f"s{thread}", f"o{number}")(function) for number in range(100)]
        return sum(one() for one in tracked)

    assert together(work) == [100 * thread for thread in range(8)]
    assert sorted(row[:2] for row in recorded(recorder)) == sorted(recorder.names[1:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_the_child_of_a_fork_starts_empty_and_does_not_wait_for_a_thread_that_it_does_not_have():
    script = """
import os, threading
from cogmeter import default_recorder as recorder, mark
from cogmeter.recording.buffer import DEFAULT_CAPACITY

recorder.buffer.bound_by_memory(32e6)
ending = threading.Event()

def busy():
    number = 0
    while not ending.is_set():
        recorder.series("thread", f"o{(number := number + 1)}")
        recorder.refuse()

mark("before")
recorder.record("s", "o", duration_ms=1, metadata={"a": 1})
thread = threading.Thread(target=busy)
thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        for _ in range(DEFAULT_CAPACITY + 7):
            recorder.record("child", "o", duration_ms=1)
        buffer = recorder.buffer
        seen = len(buffer), buffer.dropped, recorder.refused, len(recorder.markers)
        os._exit(seen != (DEFAULT_CAPACITY, 7, 0, 0))
    assert os.waitpid(child, 0)[1] == 0, "the child sees what is the parent's"
ending.set()
thread.join()
assert len(recorder.buffer) == 1 and len(recorder.markers) == 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_an_outcome_set_by_hand_leaves_with_the_exception(recorder):
    with pytest.raises(OSError), recorder.operation("command", "ask"), recorder.operation("model", "call") as op:
        op.outcome = "upstream"
        raise OSError("502")
    assert [row[3] for row in recorded(recorder)] == [Outcome.UPSTREAM, Outcome.UPSTREAM]
