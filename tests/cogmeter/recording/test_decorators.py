"""The decorator, on every kind of function."""

import asyncio
import inspect

import pytest

from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.recorder import Recorder
from cogmeter_storage.model import Outcome


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def tracked(recorder):
    return recorder.track("sentiment-analysis", "analyze")


def outcomes(recorder):
    return recorder.buffer.take()[3::FIELDS]


def durations_us(recorder):
    return [duration // 1000 for duration in recorder.buffer.take()[2::FIELDS]]


def test_a_function_keeps_its_name_signature_and_result(recorder, tracked):
    @tracked
    def analyze(text: str, *, limit: int = 3) -> str:
        """Find the mood."""
        return text[:limit]

    assert analyze("happy") == "hap"
    assert analyze.__name__ == "analyze"
    assert analyze.__doc__ == "Find the mood."
    assert str(inspect.signature(analyze)) == "(text: str, *, limit: int = 3) -> str"
    assert outcomes(recorder) == [Outcome.OK]


def test_a_function_that_raises_is_recorded(recorder, tracked):
    @tracked
    def analyze():
        raise KeyError("mood")

    with pytest.raises(KeyError):
        analyze()
    assert outcomes(recorder) == [Outcome.ERROR]


async def test_a_coroutine_is_timed_to_its_end_not_to_its_creation(recorder, tracked):
    @tracked
    async def analyze():
        await asyncio.sleep(0.02)
        return 5

    assert inspect.iscoroutinefunction(analyze)
    assert await analyze() == 5
    assert durations_us(recorder)[0] >= 19_000


async def test_a_coroutine_that_fails_or_is_cancelled_is_recorded_as_such(recorder, tracked):
    @tracked
    async def analyze(fails):
        if fails:
            raise ValueError
        await asyncio.sleep(60)

    with pytest.raises(ValueError):
        await analyze(True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await analyze(False)
    assert outcomes(recorder) == [Outcome.ERROR, Outcome.CANCELLED]


def test_a_generator_is_one_operation_and_stays_a_generator(recorder, tracked):
    @tracked
    def tokens():
        sent = yield 1
        yield sent
        return "end"

    def consume():
        return (yield from tokens())

    running = consume()
    assert [next(running), running.send("two")] == [1, "two"]
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "end"
    assert outcomes(recorder) == [Outcome.OK]


def test_a_generator_left_early_is_no_failure_and_one_that_raises_is(recorder, tracked):
    @tracked
    def tokens(fails):
        yield 1
        if fails:
            raise RuntimeError("cut off")

    early = tokens(False)
    next(early)
    early.close()
    with pytest.raises(RuntimeError):
        list(tokens(True))
    assert outcomes(recorder) == [Outcome.OK, Outcome.ERROR]


async def test_an_async_generator_passes_on_what_is_sent_and_thrown(recorder, tracked):
    seen = []

    @tracked
    async def stream():
        try:
            seen.append((yield 1))
        except LookupError:
            yield "caught"

    running = stream()
    assert await anext(running) == 1
    assert await running.athrow(LookupError()) == "caught"
    await running.aclose()
    running = stream()
    assert await anext(running) == 1
    with pytest.raises(StopAsyncIteration):
        await running.asend("sent")
    assert seen == ["sent"]
    assert outcomes(recorder) == [Outcome.OK, Outcome.OK]


async def test_an_async_generator_that_fails_is_recorded(recorder, tracked):
    @tracked
    async def stream():
        yield 1
        raise OSError("connection lost")

    with pytest.raises(OSError):
        assert [item async for item in stream()]
    assert outcomes(recorder) == [Outcome.ERROR]


def test_a_tracker_serves_nested_and_recursive_use(recorder, tracked):
    @tracked
    def factorial(number):
        return 1 if number < 2 else number * factorial(number - 1)

    assert factorial(5) == 120
    with tracked(), tracked():
        pass
    assert len(outcomes(recorder)) == 7
