"""Measure what recording costs the recorded code, and what other libraries cost it in the same run.

Run ``python benchmarks/record.py [--short]``. The yardstick is prometheus_client's labelled pair, which is what a bot's
author writes today: ``Counter.labels(a, b).inc()`` and ``Histogram.labels(a, b).observe(seconds)``. Every case is the
body of a plain loop; the loop itself, about 20 ns, is included in all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timing import Spread, at_most, difference, interleaved, missing, parser, ratio, row, sized

import cogmeter
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.errors import STACKS_PER_MINUTE
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 4000
PEER_CALLS, SLOW_CALLS = 500, 60  # so that every case takes one to a few milliseconds a round
FAILING_CALLS, FRAMES = STACKS_PER_MINUTE, 20  # no more calls than stacks are captured, see per_call
FAILING_ALONE, FAILING = "failing call, 20 frames", "with, tracked, fails with 20 frames"
BATCH, BATCHES = 1000, 5
YARDSTICK = "prometheus_client, labelled pair"

recorder = Recorder(Buffer(capacity=0))
budgets = recorder.budgets
budgets.begin(b"0" * 16, guild_usd=1, user_usd=1)
recorder.buffer.bound_by_memory(32e6)  # as it is by default while a monitor runs
loop = asyncio.new_event_loop()
Case = tuple[int, "Callable[[int], object]"]  # how many calls, and what makes them


def per_call(case: Case) -> float:
    """Return the CPU seconds of one call; the buffer is emptied afterwards, outside of the measured time."""
    calls, work = case
    start = time.thread_time()
    work(calls)
    taken = (time.thread_time() - start) / calls
    recorder.buffer.release(recorder.buffer.take())
    recorder.errors.forked()  # each round captures stacks
    return taken


def awaited(work: Callable[[int], Awaitable[object]]) -> Callable[[int], object]:
    return lambda calls: loop.run_until_complete(work(calls))


# 1. What is measured: ours.


def our_cases() -> dict[str, Case]:  # noqa: C901 - one loop after the other, each its own function
    track, record, operation = recorder.track("knowledge-graph", "query"), recorder.record, recorder.operation

    def empty() -> None:
        return

    async def empty_async() -> None:
        return

    decorated, decorated_async = track(empty), track(empty_async)

    def call_empty(calls: int) -> None:
        for _ in range(calls):
            empty()

    def by_record(calls: int) -> None:
        for _ in range(calls):
            record("knowledge-graph", "query", duration_ms=12.3)

    def by_with(calls: int) -> None:
        for _ in range(calls):
            with track():
                pass

    async def by_async_with(calls: int) -> None:
        for _ in range(calls):
            async with track():
                pass

    def by_decorator(calls: int) -> None:
        for _ in range(calls):
            decorated()

    async def by_async_decorator(calls: int) -> None:
        for _ in range(calls):
            await decorated_async()

    async def one_off(calls: int) -> None:
        for _ in range(calls):
            async with operation("knowledge-graph", "query"):
                pass

    async def annotated(calls: int) -> None:
        for _ in range(calls):
            async with operation("knowledge-graph", "query", model="m") as op:
                op.annotate(tokens=80)

    async def annotated_below(calls: int) -> None:
        async with operation("knowledge-graph", "query"):
            for _ in range(calls):
                cogmeter.annotate(tokens_in=80)

    async def usage_read(calls: int) -> None:
        usage = {"prompt_tokens": 80, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 64}}
        response = {
            "model": "gpt-4o",
            "choices": [{"finish_reason": "stop", "message": {"content": "Hi"}}],
            "usage": usage,
        }
        async with operation("knowledge-graph", "query"):
            for _ in range(calls):
                cogmeter.usage(response)

    async def budget_asked(calls: int) -> None:
        for _ in range(calls):
            budgets.of(user=123456789012345678, guild=234567890123456789)

    def fail(depth: int) -> None:
        if depth > 1:
            fail(depth - 1)
        raise ValueError("no answer")

    def failing_alone(calls: int) -> None:
        for _ in range(calls):
            with contextlib.suppress(ValueError):
                fail(FRAMES)

    def failing(calls: int) -> None:
        for _ in range(calls):
            with contextlib.suppress(ValueError), track():
                fail(FRAMES)

    return {
        FAILING_ALONE: (FAILING_CALLS, failing_alone),
        FAILING: (FAILING_CALLS, failing),
        "empty call": (CALLS, call_empty),
        "record()": (CALLS, by_record),
        "with, tracked": (CALLS, by_with),
        "async with, tracked": (CALLS, awaited(by_async_with)),
        "decorator, with the call": (CALLS, by_decorator),
        "async decorator, with the call": (CALLS, awaited(by_async_decorator)),
        "async with, one-off": (CALLS, awaited(one_off)),
        "async with, one-off, annotated": (CALLS, awaited(annotated)),
        "cogmeter.annotate()": (CALLS, awaited(annotated_below)),
        "cogmeter.usage(response)": (PEER_CALLS, awaited(usage_read)),
        "cogmeter.budget(user, guild)": (PEER_CALLS, awaited(budget_asked)),
    }


# 2. Its peers.


def prometheus_cases() -> dict[str, Case]:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    counter = Counter("operations", "Operations", ["service", "operation"], registry=registry)
    histogram = Histogram("duration_seconds", "Durations", ["service", "operation"], registry=registry)
    bound = counter.labels("knowledge-graph", "query"), histogram.labels("knowledge-graph", "query")

    def labelled(calls: int) -> None:
        for _ in range(calls):
            counter.labels("knowledge-graph", "query").inc()
            histogram.labels("knowledge-graph", "query").observe(0.0123)

    def prebound(calls: int) -> None:
        inc, observe = bound[0].inc, bound[1].observe
        for _ in range(calls):
            inc()
            observe(0.0123)

    return {YARDSTICK: (PEER_CALLS, labelled), "prometheus_client, pre-bound": (PEER_CALLS, prebound)}


def opentelemetry_cases() -> dict[str, Case]:
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("benchmark")  # records spans, exports none

    async def span(calls: int) -> None:
        for _ in range(calls):
            with tracer.start_as_current_span("query"):
                pass

    return {"OpenTelemetry span": (SLOW_CALLS, awaited(span))}


PROCESSOR = "SpanProcessor, a database span"


def span_processor_cases() -> dict[str, Case]:
    """Return the cases of one ended span: ours, the SDK's processors with an exporter in memory, and none."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import SpanKind

    from cogmeter.otel import SpanProcessor

    exporter = InMemorySpanExporter()
    batch = BatchSpanProcessor(exporter)
    peers = {
        "OpenTelemetry BatchSpanProcessor": batch,
        "OpenTelemetry SimpleSpanProcessor": SimpleSpanProcessor(exporter),
    }
    spans = []
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark")
    for _ in range(SLOW_CALLS):
        attributes = {"db.system": "sqlite", "db.statement": "SELECT name FROM users", "db.name": "bot"}
        spans.append(tracer.start_span("SELECT users", kind=SpanKind.CLIENT, attributes=attributes))
        spans[-1].end()
    ended = [span._readable_span() for span in spans]

    def by(processor: Any) -> Callable[[int], object]:
        def work(calls: int) -> None:
            for place in range(calls):
                processor.on_start(spans[place])
                processor.on_end(ended[place])
            exporter.clear()

        return work

    return {
        name: (SLOW_CALLS, by(processor)) for name, processor in {PROCESSOR: SpanProcessor(recorder), **peers}.items()
    }


def sentry_cases() -> dict[str, Case]:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Nowhere(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            pass

    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1", transport=Nowhere, traces_sample_rate=1.0, default_integrations=False
    )

    async def span(calls: int) -> None:
        with sentry_sdk.start_transaction(op="benchmark", name="benchmark"):
            for _ in range(calls):
                with sentry_sdk.start_span(op="query", name="query"):
                    pass

    return {"sentry span": (SLOW_CALLS, awaited(span))}


def available(make: Callable[[], dict[str, Case]]) -> dict[str, Case]:
    try:
        return make()
    except ImportError as error:
        missing(make.__name__.removesuffix("_cases"), error)
        return {}


# 3. All the processor time there is in it: recording, converting, writing, adding up, on whichever thread.


async def cpu_of_record_and_flush(flusher: Flusher) -> float:
    """Return the CPU seconds of one operation, in batches of a thousand as a busy bot flushes them."""
    record = flusher.recorder.record
    start = time.process_time()
    for _ in range(BATCHES):
        for _ in range(BATCH):
            record("knowledge-graph", "query", duration_ms=12.3)
        await flusher.flush()
    return (time.process_time() - start) / (BATCHES * BATCH)


def total_cpu(rounds: int, pair: Case) -> None:
    def cpu_of_pair() -> float:
        start = time.process_time()
        pair[1](BATCHES * BATCH)
        return (time.process_time() - start) / (BATCHES * BATCH)

    with tempfile.TemporaryDirectory() as folder:
        store = loop.run_until_complete(open_store(f"sqlite:///{Path(folder) / 'bench.db'}"))
        flusher = Flusher(Recorder(Buffer(capacity=2 * BATCH)), store)
        cases = {"ours": lambda: loop.run_until_complete(cpu_of_record_and_flush(flusher)), "pair": cpu_of_pair}
        results = interleaved(cases, rounds)
        loop.run_until_complete(store.close())
    found = ratio(results["ours"], results["pair"])
    row(
        "total CPU, record + flush",
        f"{Spread.of(results['ours']).median * 1e9:.0f} ns",
        peer=f"labelled pair {Spread.of(results['pair']).median * 1e9:.0f} ns",
        ratio=f"{found:.2f}",
        goal=at_most(found.median, 1.2),
    )


GOALS = {
    "record()": 0.08,
    "with, tracked": 0.15,
    "async with, tracked": 0.20,
    "decorator, with the call": 0.17,
}


def main() -> None:
    options = parser(__doc__).parse_args()
    peers = {**available(prometheus_cases), **available(opentelemetry_cases), **available(sentry_cases)}
    processors = available(span_processor_cases)
    cases = {**our_cases(), **peers, **processors}
    timed = {name: lambda case=case: per_call(case) for name, case in cases.items()}
    results = interleaved(timed, sized(options, 301, 61, 2))
    failing = difference(results[FAILING], results.pop(FAILING_ALONE))
    row(FAILING, f"{failing.median * 1e6:.1f} us above the failing call", goal=at_most(failing.median * 1e6, 60, " us"))
    del results[FAILING]
    yardstick = results.get(YARDSTICK)
    for name, taken in results.items():
        figure = f"{min(taken) * 1e9:.0f} ns best, {Spread.of(taken).median * 1e9:.0f} median"
        if yardstick is None:
            row(name, figure)
            continue
        found = ratio(taken, yardstick)
        goal = at_most(found.median, GOALS[name]) if name in GOALS else None
        row(name, figure, peer=YARDSTICK, ratio=f"{found:.3f}", goal=goal)
    for peer, limit in (("OpenTelemetry span", 0.05), ("sentry span", None)):
        if peer in results:
            found = ratio(results["async with, one-off"], results[peer])
            goal = at_most(found.median, limit) if limit else None
            row("async with, one-off", "as above", peer=peer, ratio=f"{found:.4f}", goal=goal)
    for peer in list(processors)[1:]:
        row(PROCESSOR, "as above", peer=peer, ratio=f"{ratio(results[PROCESSOR], results[peer]):.3f}")
    if yardstick is not None:
        total_cpu(sized(options, 101, 31, 2), cases[YARDSTICK])
    loop.close()


if __name__ == "__main__":
    main()
