"""The flusher: what is recorded is stored, once, whatever the store does at that time."""

import asyncio
import logging
import sqlite3
import time
from collections import deque

import pytest

from cogmeter.query.query import Query
from cogmeter.query.records import Period
from cogmeter.recording import backlog, flusher
from cogmeter.recording.buffer import FIELDS, Buffer
from cogmeter.recording.flusher import EARLY, Flusher
from cogmeter.recording.losses import LossReporter
from cogmeter.recording.recorder import Recorder
from cogmeter.schemas.statistics import dashboard
from cogmeter_storage import CorruptStoreError, Outcome, StorageError, TraceRecord, open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "performance.db"


@pytest.fixture
async def store(path):
    store = await open_store(f"sqlite:///{path}")
    yield store
    await store.close()


@pytest.fixture
def recorder():
    return Recorder(Buffer(1_000))


def stored(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT service, operation, outcome FROM operations ORDER BY id").fetchall()
    finally:
        connection.close()


class Failing:
    """A store whose writes, or writes of traces, fail a number of times; the rest is the real one's."""

    def __init__(self, store, failures, error, *, trace_failures=0):
        self._store, self.failures, self._error = store, failures, error
        self.trace_failures = trace_failures

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def append(self, slices, *, now_us):
        if self.failures:
            self.failures -= 1
            next(iter(slices), None)  # fails half-way: some rows were converted already
            raise self._error
        return await self._store.append(slices, now_us=now_us)

    async def add_traces(self, traces):
        if self.trace_failures:
            self.trace_failures -= 1
            raise self._error
        await self._store.add_traces(traces)


def slow(name, duration_us=5_000_000):
    return TraceRecord(1_750_000_000_000_000, "discord.commands", name, duration_us, Outcome.OK, None, 0, ())


async def until(condition):
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


async def test_what_is_recorded_is_stored_within_moments(recorder, store, path):
    flusher = Flusher(recorder, store)
    flusher.start()
    with recorder.operation("knowledge-graph", "query"):
        pass
    await until(lambda: flusher.written == 1)
    recorder.record("web-crawling", "fetch", duration_ms=3, error="timeout")
    await flusher.stop()
    assert stored(path) == [("knowledge-graph", "query", "ok"), ("web-crawling", "fetch", "error")]
    assert recorder.buffer.limit == Buffer(1_000).limit


async def test_series_recorded_before_and_after_the_start_find_their_names(recorder, store, path):
    recorder.record("a", "1", duration_ms=1)
    flusher = Flusher(recorder, store)
    await flusher.flush()
    recorder.record("b", "2", duration_ms=1)
    recorder.record("a", "1", duration_ms=1)
    await flusher.flush()
    assert [row[:2] for row in stored(path)] == [("a", "1"), ("b", "2"), ("a", "1")]


async def test_end_times_are_wall_times(recorder, store, path):
    before = time.time_ns() // 1000
    recorder.record("a", "1", duration_ms=1)
    await Flusher(recorder, store).flush()
    after = time.time_ns() // 1000
    connection = sqlite3.connect(path)
    (end_us,) = connection.execute("SELECT end_us FROM operation").fetchone()
    connection.close()
    assert before - 1_000 <= end_us <= after + 1_000


async def test_a_store_that_fails_is_tried_again_and_nothing_is_lost_or_doubled(recorder, store, path, caplog):
    flusher = Flusher(recorder, Failing(store, 1, StorageError("disk full", permanent=False)))
    recorder.record("a", "1", duration_ms=1)
    with pytest.raises(StorageError):
        await flusher.flush()
    assert flusher.pending == 1
    recorder.record("a", "2", duration_ms=1)
    await flusher.flush()
    await flusher.flush()
    assert [row[1] for row in stored(path)] == ["1", "2"]


async def test_the_background_task_says_once_that_the_store_fails_and_when_it_works_again(
    recorder, store, path, caplog, monkeypatch
):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 0.01)
    monkeypatch.setattr("cogmeter.recording.flusher.FIRST_RETRY_S", 0.01)
    flusher = Flusher(recorder, Failing(store, 3, StorageError("disk full", permanent=False)))
    recorder.record("a", "1", duration_ms=1)
    flusher.start()
    await until(lambda: flusher.written == 1)
    await flusher.stop()
    messages = [record.getMessage() for record in caplog.records if record.name == "cogmeter.flusher"]
    assert len(messages) == 2
    assert "disk full" in messages[0]
    assert "works again" in messages[1]
    assert stored(path) == [("a", "1", "ok")]


async def test_what_could_not_be_stored_waits_in_the_buffer_for_the_next_start(recorder, store, path, monkeypatch):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 0.01)
    broken = Flusher(recorder, Failing(store, 10**6, StorageError("locked", permanent=False)))
    recorder.record("a", "1", duration_ms=1)
    broken.start()
    await until(lambda: broken.failures)
    await broken.stop()
    recorder.record("a", "2", duration_ms=1)
    await Flusher(recorder, store).flush()
    assert [row[1] for row in stored(path)] == ["1", "2"]


async def test_a_buffer_that_fills_up_while_the_store_fails_drops_and_counts(store, path):
    recorder = Recorder(Buffer(100))
    flusher = Flusher(recorder, Failing(store, 1, StorageError("disk full", permanent=False)))
    for number in range(60):
        recorder.record("a", str(number), duration_ms=1)
    with pytest.raises(StorageError):
        await flusher.flush()
    for number in range(60, 120):
        recorder.record("a", str(number), duration_ms=1)
    await flusher.flush()
    await flusher.flush()
    assert len(stored(path)) == 100
    assert recorder.buffer.dropped == 20


async def test_a_batch_that_only_a_fault_of_ours_keeps_out_is_dropped_after_three_attempts(
    recorder, store, path, monkeypatch, caplog
):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 0.01)
    monkeypatch.setattr("cogmeter.recording.flusher.FIRST_RETRY_S", 0.01)
    flusher = Flusher(recorder, Failing(store, 3, ZeroDivisionError("our fault")))
    recorder.record("a", "1", duration_ms=1)
    flusher.start()
    await until(lambda: recorder.buffer.dropped)
    recorder.record("a", "2", duration_ms=1)
    await until(lambda: flusher.written == 1)
    await flusher.stop()
    assert [row[1] for row in stored(path)] == ["2"]
    assert "our fault" in caplog.text


async def test_a_corrupt_store_is_replaced_and_the_batch_goes_into_the_new_one(
    recorder, store, path, tmp_path, monkeypatch
):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 0.01)
    other = await open_store(f"sqlite:///{tmp_path / 'new.db'}")

    async def replace(error):
        assert isinstance(error, CorruptStoreError)
        return other

    flusher = Flusher(recorder, Failing(store, 1, CorruptStoreError("malformed")), replace=replace)
    recorder.record("a", "1", duration_ms=1)
    flusher.start()
    await until(lambda: flusher.written == 1)
    await flusher.stop()
    await other.close()
    assert stored(path) == []
    assert stored(tmp_path / "new.db") == [("a", "1", "ok")]


async def test_a_replacement_that_fails_is_tried_again_though_the_old_store_is_closed(
    recorder, store, path, tmp_path, monkeypatch
):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 0.01)
    monkeypatch.setattr("cogmeter.recording.flusher.FIRST_RETRY_S", 0.01)
    replaced = []

    async def replace(error):
        await store.close()
        if not replaced:
            replaced.append(error)
            raise StorageError("the disk is full", permanent=False)
        replaced.append(await open_store(f"sqlite:///{tmp_path / 'new.db'}"))
        return replaced[-1]

    flusher = Flusher(recorder, Failing(store, 1, CorruptStoreError("malformed")), replace=replace)
    recorder.record("a", "1", duration_ms=1)
    flusher.start()
    await until(lambda: flusher.written == 1)
    await flusher.stop()
    await replaced[1].close()
    assert stored(tmp_path / "new.db") == [("a", "1", "ok")]


async def test_each_batch_is_watched_once_even_when_the_store_fails(recorder, store):
    seen = []

    async def watch(atoms):
        seen.append(len(atoms))

    flusher = Flusher(recorder, Failing(store, 1, StorageError("disk full", permanent=False)), watch=watch)
    recorder.record("a", "1", duration_ms=1)
    with pytest.raises(StorageError):
        await flusher.flush()
    await flusher.flush()
    assert seen == [5]


async def test_a_buffer_that_fills_quickly_is_flushed_before_its_time(recorder, store, monkeypatch):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 3_600)
    flusher = Flusher(recorder, store)
    flusher.start()
    for _ in range(501):
        recorder.record("a", "1", duration_ms=1)
    await until(lambda: flusher.written == 501)
    await flusher.stop()


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_dropped_operations_are_logged_once_a_minute_with_the_setting_to_raise(
    recorder, store, caplog, monkeypatch
):
    now_s = [1_000.0]
    monkeypatch.setattr("cogmeter.recording.losses.monotonic", lambda: now_s[0])
    recorder.buffer.drop(3_000)
    flusher = Flusher(recorder, store)
    flusher.start()
    await until(lambda: warnings(caplog))
    recorder.buffer.drop(7)
    recorder.buffer.bound_by_memory(32_000_000)
    await flusher.flush()
    now_s[0] += 59
    await flusher.flush()
    assert warnings(caplog) == [
        "Dropped 3,000 operations: the buffer was full (1,000 operations). Raise PERFORMANCE_MAX_OPERATIONS_IN_MEMORY."
    ]
    now_s[0] += 1
    await until(lambda: warnings(caplog)[1:])
    recorder.buffer.drop(1_000)
    await flusher.stop()
    assert warnings(caplog)[1:] == [
        "Dropped 7 operations: the buffer was full (32 MB). Raise PERFORMANCE_MAX_BUFFER_MB.",
        "Dropped 1,000 operations: the buffer was full (32 MB). Raise PERFORMANCE_MAX_BUFFER_MB.",
    ]


async def test_what_was_logged_is_not_logged_again_by_the_flusher_after_a_reload(recorder, store, caplog):
    recorder.buffer.drop(5)
    for _ in range(2):
        flusher = Flusher(recorder, store)
        flusher.start()
        await flusher.stop()
    assert len(warnings(caplog)) == 1


async def test_dropped_operations_are_known_to_every_reader_of_the_store(recorder, store, monkeypatch):
    now_s = [1_000.0]
    monkeypatch.setattr("cogmeter.recording.losses.monotonic", lambda: now_s[0])
    flusher, query = Flusher(recorder, store), Query(store)
    assert (await query.overview()).dropped == 0
    recorder.buffer.drop(5)
    await flusher.flush()
    assert (await query.overview()).dropped == 5
    recorder.buffer.drop(2)
    await flusher.flush()
    assert (await query.overview()).dropped == 5  # stored every 10 s
    now_s[0] += 10
    await flusher.flush()
    assert (await query.summary()).dropped == 7
    recorder.buffer.drop(1)
    flusher.start()
    await flusher.stop()
    assert (await query.summary()).dropped == 8
    answer = await dashboard(query, Period.DAY)
    assert answer.overall_stats.dropped_operations == 8


async def test_dropped_operations_that_the_store_does_not_take_are_stored_later(recorder, store):
    class Refusing(Failing):
        async def add_samples(self, at_us, values):
            if self.failures:
                self.failures -= 1
                raise StorageError("disk full", permanent=False)
            await self._store.add_samples(at_us, values)

    recorder.buffer.drop(5)
    refusing = Refusing(store, 0, None)
    refusing.failures = 1
    await LossReporter(recorder.buffer).store(refusing)
    assert (await Query(store).overview()).dropped == 0
    await LossReporter(recorder.buffer).store(refusing)
    assert (await Query(store).overview()).dropped == 5


async def test_a_full_buffer_is_written_in_batches_that_are_each_watched(recorder, store, path, monkeypatch):
    monkeypatch.setattr("cogmeter.recording.backlog.BATCH", 100)
    seen = []

    async def watch(atoms):
        seen.append(len(atoms) // FIELDS)

    flusher = Flusher(recorder, store, watch=watch)
    for number in range(250):
        recorder.record("a", str(number), duration_ms=1)
    await flusher.flush()
    assert seen == [100, 100, 50]
    assert [row[1] for row in stored(path)] == [str(number) for number in range(250)]


async def test_a_buffer_far_from_full_is_flushed_before_its_time_when_much_waits(store, monkeypatch):
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 3_600)
    recorder = Recorder(Buffer(1_000_000))
    flusher = Flusher(recorder, store)
    flusher.start()
    for _ in range(EARLY + 1):
        recorder.record("a", "1", duration_ms=1)
    await until(lambda: flusher.written == EARLY + 1)
    await flusher.stop()


async def test_traces_are_stored_behind_the_batch_and_none_twice(recorder, store):
    traces = deque([slow("a"), slow("b")], maxlen=10)
    flusher = Flusher(recorder, store, traces=traces)
    await flusher.flush()
    traces.append(slow("c"))
    await flusher.flush()
    assert not traces
    assert [trace.operation for trace in await store.traces(None, None, 0, limit=10)] == ["c", "b", "a"]


async def test_traces_that_the_store_refuses_wait_and_fail_no_batch(recorder, store, path):
    error = StorageError("disk full", permanent=False)
    traces = deque([slow("a")], maxlen=10)
    flusher = Flusher(recorder, Failing(store, 0, error, trace_failures=1), traces=traces)
    recorder.record("a", "1", duration_ms=1)
    await flusher.flush()
    assert (len(stored(path)), len(traces), flusher.pending) == (1, 1, 0)
    await flusher.flush()
    assert not traces
    assert len(await store.traces(None, None, 0, limit=10)) == 1


async def test_traces_that_only_a_fault_of_ours_keeps_out_are_dropped(recorder, store, caplog):
    traces = deque([slow("a")], maxlen=10)
    await Flusher(recorder, Failing(store, 0, ZeroDivisionError("our fault"), trace_failures=1), traces=traces).flush()
    assert not traces
    assert "our fault" in caplog.text


async def test_traces_that_arrive_while_others_are_stored_are_kept(recorder, store):
    traces = deque([slow("a"), slow("b")], maxlen=2)

    class Arriving(Failing):
        async def add_traces(self, stored):
            traces.append(slow("c"))
            await super().add_traces(stored)

    flusher = Flusher(recorder, Arriving(store, 0, None), traces=traces)
    await flusher.flush()
    assert [trace.operation for trace in traces] == ["c"]


async def test_the_last_flush_stores_traces_although_nothing_else_waits(recorder, store):
    traces = deque(maxlen=10)
    flusher = Flusher(recorder, store, traces=traces)
    flusher.start()
    await until(lambda: flusher.last_flush_us)
    traces.append(slow("a"))
    await flusher.stop()
    assert len(await store.traces(None, None, 0, limit=10)) == 1


async def test_two_flushes_at_once_write_each_operation_once(recorder, store, path):
    flusher = Flusher(recorder, store)
    recorder.record("a", "b", duration_ms=1)
    await asyncio.gather(flusher.flush(), flusher.flush())
    assert len(stored(path)) == 1


async def test_markers_are_stored_within_moments_and_at_the_end(recorder, store):
    flusher = Flusher(recorder, store)
    recorder.markers.mark("before the start")
    flusher.start()
    await until(lambda: not recorder.markers)
    recorder.markers.mark("just before the end")
    await flusher.stop()
    assert [one.name for one in await store.markers(0, 1 << 60)] == ["before the start", "just before the end"]


def test_a_thread_that_runs_between_the_readings_of_both_clocks_shifts_no_batch(monkeypatch):
    class Interrupted:
        def __init__(self):
            self.counter_ns = 0
            self.pauses_ns = iter([0, 5_000_000, 0, 0])  # another thread runs before the second reading

        def perf_counter_ns(self):
            self.counter_ns += next(self.pauses_ns, 0) + 100
            return self.counter_ns

        def time_ns(self):
            return 1_900_000_000_000_000_000 + self.counter_ns

    clocks = Interrupted()
    monkeypatch.setattr("cogmeter.recording.backlog.time", clocks)
    monkeypatch.setattr("cogmeter_storage.clock.time", clocks)
    assert abs(backlog.wall_minus_perf_ns() - 1_900_000_000_000_000_000) < 1_000


# Errors.


def fail(recorder, text="no answer"):
    try:
        raise ValueError(text)
    except ValueError as error:
        recorder.errors.failed(error, "music", "play")


class FailingErrors:
    """A store of errors that fails a number of times; the rest is the real one's."""

    def __init__(self, store, failures, error):
        self._store, self.failures, self._error = store, failures, error

    def __getattr__(self, name):
        return getattr(self._store, name)

    @property
    def errors(self):
        return self

    async def add(self, batches):
        if self.failures:
            self.failures -= 1
            raise self._error
        return await self._store.errors.add(batches)


async def test_errors_are_stored_with_the_operations(recorder, store):
    for _ in range(3):
        fail(recorder)

    await Flusher(recorder, store).flush()

    (group,) = await store.errors.groups(0, 2**53)
    assert (group.type, group.count) == ("ValueError", 3)
    assert not recorder.errors


async def test_errors_wait_until_their_store_works_again(recorder, store):
    flusher = Flusher(recorder, FailingErrors(store, 2, StorageError("disk full", permanent=False)))
    recorder.record("quotes", "pick", duration_ms=1.0)
    for _ in range(3):
        fail(recorder)
        await flusher.flush()

    (group,) = await store.errors.groups(0, 2**53)
    assert (group.count, flusher.written) == (3, 1)
    assert recorder.errors.dropped == 0


async def test_errors_that_the_store_refuses_are_dropped_and_counted(recorder, store, caplog):
    flusher = Flusher(recorder, FailingErrors(store, 1, ValueError("a bug")))
    fail(recorder)

    await flusher.flush()

    assert (len(recorder.errors), recorder.errors.dropped) == (0, 1)
    assert "Dropped 1 groups of errors" in caplog.text


async def test_the_last_flush_stores_errors(recorder, store, monkeypatch):
    monkeypatch.setattr(flusher, "INTERVAL_S", 0.0)
    writer = Flusher(recorder, store)
    writer.start()
    await until(lambda: writer.last_flush_us is not None)
    monkeypatch.setattr(flusher, "INTERVAL_S", 3600.0)
    fail(recorder)
    await writer.stop()

    assert len(await store.errors.groups(0, 2**53)) == 1


async def test_errors_are_reported_with_their_new_and_reopened_groups_and_those_are_marked(recorder, store):
    reported = []
    writer = Flusher(recorder, store, on_errors=lambda batches, changes: reported.append((batches, changes)))
    fail(recorder)
    await writer.flush()
    fail(recorder)
    await writer.flush()
    (group,) = await store.errors.groups(0, 2**53)
    await store.errors.resolve(group.id, actor="owner", now_us=group.last_us)
    await asyncio.sleep(0.01)
    fail(recorder)
    await writer.flush()

    assert [sum(batch.counts.values()) for batches, _ in reported for batch in batches] == [1, 1, 1]
    assert [[change.reopened for change in changes] for _, changes in reported] == [[False], [], [True]]
    (marker,) = await store.markers(0, 2**53)
    assert (marker.kind, marker.name) == ("error", "error came back: ValueError in fail")


async def test_a_failing_report_of_errors_does_not_fail_the_flush(recorder, store, caplog):
    def report(batches, changes):
        raise RuntimeError

    fail(recorder)
    await Flusher(recorder, store, on_errors=report).flush()

    assert len(await store.errors.groups(0, 2**53)) == 1
    assert "could not be counted for alerts" in caplog.text
