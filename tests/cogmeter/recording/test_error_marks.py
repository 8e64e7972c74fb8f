"""Each failure is counted once, whatever the host does with its exception.

COGMETER_ERROR_SEQUENCES sets the number of generated programs of each kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import os
import pickle
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.recorder import Recorder
from cogmeter_storage.model import ERROR_GROUP, FAILURES

SHARED = ValueError("one for all")
SEQUENCES = int(os.environ.get("COGMETER_ERROR_SEQUENCES", "150"))


@pytest.fixture
def world():
    with World() as world:
        yield world


class FailureError(Exception):
    """A failure of the generated programs."""


class World(logging.Handler):
    """A recorder with a logger that it listens to, and the number of failures that it should count."""

    def __init__(self):
        super().__init__()
        self.recorder = Recorder()
        self.logger = logging.Logger("host")  # noqa: LOG001 - of this test alone
        self.logger.addHandler(self)
        self.failures: list[tuple[BaseException, frozenset[int]]] = []
        self.seen: frozenset[int] = frozenset()
        self.expected = self.last = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        SHARED.__traceback__ = None
        vars(SHARED).clear()

    def emit(self, record):
        self.recorder.errors.logged(record, "host", "log")

    @property
    def counted(self) -> int:
        batches = iter(self.recorder.errors.take, [])
        return sum(sum(batch.counts.values()) for found in batches for batch in found)

    def named_groups(self) -> Iterator[str | None]:
        """Yield the error group that each failed operation names, oldest first."""
        for _, _, _, outcome, extra in zip(*[iter(self.recorder.buffer.take())] * FIELDS, strict=True):
            if outcome in FAILURES:
                yield extra[1] and extra[1].get(ERROR_GROUP)

    def raised(self, error: BaseException, cause: BaseException | None = None) -> BaseException:
        """Note that an exception is about to begin a failure, or to continue that of its cause."""
        if cause is None:
            self.last += 1
        numbers = frozenset({self.last}) if cause is None else self.of(cause)
        self.failures = [(known, of) for known, of in self.failures if known is not error]
        self.failures.append((error, numbers))
        return error

    def of(self, error: BaseException) -> frozenset[int]:
        if isinstance(error, BaseExceptionGroup):
            return frozenset().union(*map(self.of, error.exceptions))
        return next(numbers for known, numbers in self.failures if known is error)

    def see(self, error: BaseException) -> None:
        """Note that an operation or a log record reports this exception."""
        numbers = self.of(error)
        self.expected += not numbers <= self.seen
        self.seen |= numbers


# The generated programs.


async def block(world, program):
    for step in program:
        await STEPS[step[0]](world, *step[1:])


async def fail(world):
    raise world.raised(FailureError())


async def fail_with_shared(world):
    raise world.raised(SHARED)


async def operation(world, program):
    try:
        with world.recorder.operation("host", "operation"):
            await block(world, program)
    except Exception as error:
        world.see(error)
        raise


async def task(world, program):
    await asyncio.create_task(block(world, program))


async def tasks(world, programs):
    async with asyncio.TaskGroup() as group:
        for program in programs:
            group.create_task(block(world, program))


async def call(world, program):
    await block(world, program)


async def attempt(world, program, reports, end):
    kept = None
    try:
        await block(world, program)
    except Exception as error:
        for report in reports:
            REPORTS[report](world, error)
            world.see(error)
        if end == "raise":
            raise
        if end == "raise error":
            raise error  # noqa: TRY201 - that is the case
        if end == "raise from":
            raise world.raised(FailureError(), error) from error
        if end == "raise another":
            raise world.raised(FailureError())  # noqa: B904 - that is the case
        if end == "helper":
            raise_on(world, error)
        kept = error if end == "later" else None
    if kept is not None:
        raise kept


def raise_on(world, error):
    world.logger.error("helper", exc_info=error)
    world.see(error)
    raise error


def log(world, error):
    world.logger.exception("logged")  # noqa: LOG004 - called in a handler


def log_error(world, error):
    world.logger.error("logged", exc_info=error)


def log_text(world, error):
    world.logger.error("it failed: %s", "why")


def record(world, error):
    world.recorder.record("host", "record", duration_ms=0.0, error=error)


def mark_failed(world, error):
    with world.recorder.operation("host", "marked") as op:
        op.fail(error)


STEPS = {
    "fail": fail,
    "fail with shared": fail_with_shared,
    "operation": operation,
    "task": task,
    "tasks": tasks,
    "call": call,
    "attempt": attempt,
}
REPORTS = {"log": log, "log error": log_error, "log text": log_text, "record": record, "mark": mark_failed}
ENDS = ("swallow", "raise", "raise error", "raise from", "raise another", "helper", "later")


def programs(*failures):
    """Return programs that fail in these ways."""
    return st.lists(
        st.recursive(
            st.tuples(st.sampled_from(failures)),
            lambda steps: st.one_of(
                st.tuples(st.sampled_from(["operation", "task", "call"]), st.lists(steps, max_size=3)),
                st.tuples(
                    st.just("attempt"),
                    st.lists(steps, min_size=1, max_size=3),
                    st.lists(st.sampled_from(sorted(REPORTS)), max_size=3),
                    st.sampled_from(ENDS),
                ),
                *(
                    []
                    if "fail with shared" in failures
                    else [st.tuples(st.just("tasks"), st.lists(st.lists(steps, max_size=2), max_size=3))]
                ),
            ),
            max_leaves=12,
        ),
        max_size=4,
    )


async def outcome_of(program):
    with World() as world:
        for step in program:
            with contextlib.suppress(Exception):
                await block(world, [step])
        named = list(world.named_groups())
        batches = list(iter(world.recorder.errors.take, []))
        assert set(named) <= {batch.fingerprint for found in batches for batch in found}
        return sum(sum(batch.counts.values()) for found in batches for batch in found), world.expected


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs("fail"))
def test_each_failure_of_any_program_is_counted_once(program):
    counted, expected = asyncio.run(outcome_of(program))

    assert counted == expected


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs("fail", "fail with shared"))
def test_each_failure_with_a_shared_exception_is_counted_once(program):
    counted, expected = asyncio.run(outcome_of(program))

    assert counted == expected


# Single cases.


def fail_here():
    raise FailureError


def raise_shared():
    raise SHARED


def test_failures_with_one_text_name_the_group_of_the_place_that_raised_them(world):
    def refuse():
        raise FailureError("no answer")

    def fail_inside():
        with world.recorder.operation("ai", "answer"):
            raise FailureError("no answer")

    def wrap():
        try:
            fail_inside()
        except FailureError as error:
            raise RuntimeError("no answer") from error

    for step in (refuse, fail_inside, wrap):
        with contextlib.suppress(FailureError, RuntimeError), world.recorder.operation("discord.commands", "ask"):
            step()

    own, inside, passed_on, inside_again, wrapped = world.named_groups()
    assert own != inside
    assert inside == passed_on == inside_again == wrapped
    counted = {batch.fingerprint: batch.counts for batch in world.recorder.errors.take()}
    assert {place[:2]: count for place, count in counted[own].items()} == {("discord.commands", "ask"): 1}
    assert {place[:2]: count for place, count in counted[inside].items()} == {("ai", "answer"): 2}


def test_an_exception_that_fails_again_elsewhere_names_the_group_of_its_new_place(world):
    def first():
        raise SHARED

    def second():
        raise SHARED

    def run(step):
        with contextlib.suppress(ValueError), world.recorder.operation("host", "operation"):
            step()

    for step in (first, second, first):
        run(step)

    groups = list(world.named_groups())
    assert groups[0] == groups[2] != groups[1]
    assert {batch.fingerprint for batch in world.recorder.errors.take()} == set(groups)


def test_an_exception_that_each_call_raises_is_counted_each_time(world):
    def step():
        raise_shared()

    for _ in range(5):
        try:
            step()
        except ValueError:
            world.logger.exception("again")

    assert world.counted == 5


def test_an_exception_that_each_call_raises_without_its_traceback_is_counted_each_time(world):
    for _ in range(5):
        try:
            raise SHARED.with_traceback(None)
        except ValueError:
            world.logger.exception("again")

    assert world.counted == 5


def test_the_stack_of_an_exception_that_each_call_raises_is_that_of_the_call(world):
    for _ in range(3):
        with contextlib.suppress(ValueError), world.recorder.operation("host", "operation"):
            raise_shared()

    (batch,) = world.recorder.errors.take()
    assert [len(example.chain[0].frames) for example in batch.examples] == [2, 2, 2]


def test_an_exception_that_is_logged_before_it_is_raised_is_counted_once(world):
    def refuse():
        error = FailureError()
        world.logger.error("refused", exc_info=error)
        raise error

    with contextlib.suppress(FailureError), world.recorder.operation("host", "operation"):
        refuse()

    assert world.counted == 1


def test_an_exception_that_is_never_raised_is_counted_in_each_operation(world):
    error = FailureError()
    for _ in range(3):
        with world.recorder.operation("host", "operation") as op:
            op.fail(error)

    assert world.counted == 3


def test_a_retry_that_raises_the_last_exception_is_the_same_failure(world):
    def attempts():
        errors = []
        for _ in range(3):
            try:
                with world.recorder.operation("host", "attempt"):
                    fail_here()
            except FailureError as error:
                errors.append(error)
        raise errors[-1]

    with contextlib.suppress(FailureError), world.recorder.operation("host", "operation"):
        attempts()

    assert world.counted == 3


def test_an_exception_of_a_thread_is_counted_once(world):
    def work():
        with world.recorder.operation("host", "work"):
            fail_here()

    with (
        ThreadPoolExecutor(1) as pool,
        contextlib.suppress(FailureError),
        world.recorder.operation("host", "operation"),
    ):
        pool.submit(work).result()

    assert world.counted == 1


async def test_a_future_that_several_operations_await_is_one_failure(world):
    future = asyncio.get_running_loop().create_future()
    future.set_exception(FailureError())

    for _ in range(3):
        with contextlib.suppress(FailureError), world.recorder.operation("host", "operation"):
            await future

    assert world.counted == 1


def test_the_members_of_a_group_that_were_counted_are_not_counted_as_a_group(world):
    def member():
        with world.recorder.operation("host", "member"):
            fail_here()

    members = []
    for _ in range(2):
        try:
            member()
        except FailureError as error:
            members.append(error)
    with contextlib.suppress(ExceptionGroup), world.recorder.operation("host", "operation"):
        raise ExceptionGroup("both", members)

    assert world.counted == 2


def test_a_log_record_in_a_handler_belongs_to_the_handled_exception(world):
    try:
        fail_here()
    except FailureError:
        world.logger.error("It failed")  # noqa: TRY400 - that is the case
        world.logger.error("It failed again")  # noqa: TRY400

    (batch,) = world.recorder.errors.take()
    assert (batch.type.rpartition(".")[2], sum(batch.counts.values())) == ("FailureError", 1)


def test_a_log_record_in_the_handler_of_a_cancellation_is_an_error_of_its_own(world):
    try:
        raise asyncio.CancelledError
    except asyncio.CancelledError:
        world.logger.error("It was cancelled")  # noqa: TRY400 - that is the case

    (batch,) = world.recorder.errors.take()
    assert batch.type == "logging.ERROR"


def test_a_cause_in_a_circle_ends(world):
    first, second = FailureError(1), FailureError(2)
    first.__cause__, second.__cause__ = second, first

    world.logger.error("circle", exc_info=first)
    world.logger.error("circle", exc_info=second)

    assert world.counted == 1


def test_a_counted_exception_can_be_pickled_and_copied(world):
    with pytest.raises(FailureError) as caught:
        fail_here()
    world.logger.error("logged", exc_info=caught.value)

    for copied in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value), copy.deepcopy(caught.value)):
        assert isinstance(copied, FailureError)


def test_a_counted_exception_is_not_kept_alive(world):
    def failing():
        with world.recorder.operation("host", "operation") as op:
            try:
                fail_here()
            except FailureError as error:
                op.fail(error)
                raise

    gc.disable()
    try:
        try:
            failing()
        except FailureError as error:
            known = weakref.ref(error)
        assert known() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("outcome", ["user", "cancelled", "ok"])
def test_only_failures_are_counted(world, outcome):
    with contextlib.suppress(FailureError), world.recorder.operation("host", "operation") as op:
        op.outcome = outcome
        fail_here()

    assert world.counted == 0


def test_an_upstream_failure_is_counted(world):
    with contextlib.suppress(FailureError), world.recorder.operation("host", "operation") as op:
        op.outcome = "upstream"
        fail_here()

    assert world.counted == 1
