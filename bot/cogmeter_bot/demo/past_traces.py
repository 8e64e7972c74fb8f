"""Slow commands of the made-up past, with the operations inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter_storage.model import DAY_US, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from numpy.random import Generator

    from cogmeter_storage.base import Store

A_DAY: Final = 12.0
SLOW_US: Final = (1_150_000, 4_200_000)
COMMANDS: Final = "discord.commands"


class SpanTemplate(NamedTuple):
    """One operation inside a command: its place in the tree, and its stretch of the command's time."""

    parent: int  # a piece by its place, counted from 1; 0 is the command itself
    service: str
    operation: str
    start: float  # share of the command's duration
    length: float


# Every command that is slow now and then, with what it does.
SHAPES: Final = (
    (
        "ask",
        (
            SpanTemplate(0, "core-intelligence", "process", 0.04, 0.93),
            SpanTemplate(1, "sentiment-analysis", "analyze", 0.05, 0.12),
            SpanTemplate(1, "context-memory", "retrieve", 0.18, 0.06),
            SpanTemplate(1, "knowledge-graph", "query", 0.25, 0.22),
            SpanTemplate(1, "core-intelligence", "route", 0.48, 0.02),
            SpanTemplate(0, "context-memory", "store", 0.97, 0.02),
        ),
    ),
    (
        "look",
        (
            SpanTemplate(0, "web-crawling", "fetch", 0.03, 0.35),
            SpanTemplate(0, "multimodal-processing", "thumbnail", 0.39, 0.14),
            SpanTemplate(0, "multimodal-processing", "describe", 0.54, 0.43),
        ),
    ),
)


async def bring_traces(store: Store, *, until_us: int, days: float, seed: int) -> None:
    """Store the slow commands of the ``days`` before ``until_us``."""
    rng = np.random.default_rng(seed + 3)
    when_us = sorted((until_us - rng.uniform(0.0, days * DAY_US, rng.poisson(A_DAY * days))).astype(int).tolist())
    await store.add_traces([_trace(rng, at_us) for at_us in when_us])


def _trace(rng: Generator, at_us: int) -> TraceRecord:
    command, pieces = SHAPES[int(rng.integers(len(SHAPES)))]
    took_us = int(rng.uniform(*SLOW_US))
    failed = rng.random() < 0.15
    outcome = Outcome.UPSTREAM if failed else Outcome.OK
    error = "TimeoutError: the model did not answer within 30 s" if failed else None
    spans = tuple(
        SpanRecord(
            id=number,
            parent=one.parent,
            service=one.service,
            operation=one.operation,
            start_us=int(one.start * took_us),
            duration_us=int(one.length * took_us),
            outcome=outcome if number == 1 else Outcome.OK,
        )
        for number, one in enumerate(pieces, start=1)
    )
    in_order = tuple(sorted(spans, key=lambda one: one.start_us + one.duration_us))
    return TraceRecord(at_us, COMMANDS, command, took_us, outcome, error, 0, in_order)
