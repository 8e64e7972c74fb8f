"""Recording: what reaches the buffer, and what never reaches the host."""

import asyncio
import threading

import pytest

import cogmeter
from cogmeter.buffer import FIELDS, Buffer
from cogmeter.recorder import MAX_SERIES, OTHER, Recorder
from cogmeter.rows import Batch
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


def test_an_exception_is_recorded_and_goes_on_its_way(recorder):
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
def test_an_outcome_set_by_hand_stands_above_the_exception(recorder, said):
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
    assert [row[2:] for row in recorded(recorder)] == [
        (12_300, Outcome.OK, None, '{"user": 42}'),
        (7_000, Outcome.OK, None, None),
        (1_000, Outcome.ERROR, "timeout", None),
        (1_000, Outcome.UPSTREAM, "KeyError: 'k'", None),
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
    recorder.buffer.shut()
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
    assert metadata == '{"thing": "(Hostile: its repr failed)"}'


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


def test_an_outcome_given_by_hand_goes_out_with_the_exception(recorder):
    with pytest.raises(OSError), recorder.operation("command", "ask"), recorder.operation("model", "call") as op:
        op.outcome = "upstream"
        raise OSError("502")
    assert [row[3] for row in recorded(recorder)] == [Outcome.UPSTREAM, Outcome.UPSTREAM]
