"""Compares the store's results with a computation over all operations, across folds, clean-ups and restarts."""

from __future__ import annotations

import asyncio
import itertools
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from store_places import place_of

from cogmeter_storage import Retention
from cogmeter_storage.histogram import quantiles
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

NOON = 1_750_075_200_000_000
RETENTION = Retention(raw_hours=3, hour_hours=30)
GROUPS = {1: 0, 2: 1, 4: 1}
PROBABILITIES = (0.5, 0.95, 0.99)

GAPS = st.one_of(
    st.integers(0, 20_000_000),
    st.sampled_from([0, MINUTE_US, MINUTE_US - 1, 20 * MINUTE_US, HOUR_US, 7 * HOUR_US, DAY_US]),
)
OPERATIONS = st.tuples(st.integers(1, 4), GAPS, st.one_of(st.integers(0, 9), st.integers(0, 10**10)), st.integers(0, 4))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(OPERATIONS, min_size=1, max_size=40)),
        st.tuples(st.just("wait"), GAPS),
        st.tuples(st.sampled_from(["fold", "clean", "reopen"]), st.none()),
    ),
    min_size=1,
    max_size=12,
)


@dataclass
class Model:
    """All operations ever stored, and those whose rows are still kept."""

    now_us: int = NOON
    rows: list[tuple] = field(default_factory=list)
    first_kept: int = 0
    starts: list[int] = field(default_factory=lambda: [0, 0])  # operations before each run of the process
    cleaned: bool = False

    def append(self, operations):
        rows = []
        for series, gap, duration, outcome in operations:
            self.now_us += gap
            rows.append((series, self.now_us, duration, outcome, None, None))
        self.rows += rows
        return rows

    def clean(self, cut):
        self.cleaned = True
        self.first_kept = max(self.first_kept, sum(row[1] < cut for row in self.rows))

    def between(self, since_us, until_us, series, first=0):
        rows = enumerate(self.rows[first:], first + 1)
        return [(number, row) for number, row in rows if since_us <= row[1] < until_us and row[0] in series]


async def play(backend, steps, question):
    """Run the steps on the store and on the model, then compare."""
    model = Model()
    store = await backend.open()
    try:
        await store.series_ids([("alpha", "one"), ("alpha", "two"), ("beta", "one"), ("beta", "two")])
        for step, value in steps:
            if step == "reopen":
                await store.close()
                store = await backend.open()
                model.starts.append(len(model.rows))
            else:
                await take(backend, store, model, step, value)
        await compare_totals(store, model, *question)
        await compare_operations(store, model, *question)
    finally:
        await store.close()


async def take(backend, store, model, step, value):
    if step == "append":
        rows = model.append(value)
        await store.append((rows[i : i + 7] for i in range(0, len(rows), 7)), now_us=model.now_us)
    elif step == "wait":
        model.now_us += value
        await store.append([], now_us=model.now_us)
    elif step == "fold":
        await store.fold(now_us=model.now_us)
    else:
        await store.append([], now_us=model.now_us)
        await store.clean(RETENTION, now_us=model.now_us)
        model.clean(backend.raw_cut(model.now_us, RETENTION.raw_hours))


async def compare_totals(store, model, since_us, length_us, step_us):
    totals = await store.totals(since_us, since_us + length_us, groups=GROUPS, step_us=step_us)
    assert totals.since_us <= since_us
    assert totals.until_us >= since_us + length_us
    if not model.cleaned:
        assert totals.since_us == since_us // MINUTE_US * MINUTE_US
        assert totals.until_us == max(-(-(since_us + length_us) // MINUTE_US) * MINUTE_US, totals.since_us)
    edges = [*totals.edges_us.tolist(), totals.until_us]
    # Where only hours or days are kept, they cannot be cut into bins, so then the whole is compared.
    merged = model.cleaned
    spans = [(edges[0], edges[-1])] if merged else list(itertools.pairwise(edges))
    for place, (start, stop) in enumerate(spans):
        for group in (0, 1):
            at = (slice(None), group) if merged else (slice(place, place + 1), group)
            series = {one for one, number in GROUPS.items() if number == group}
            rows = [row for _, row in model.between(start, stop, series)]
            durations = sorted(row[2] for row in rows)
            assert totals.outcomes[at].sum(axis=0).tolist() == [sum(row[3] == n for row in rows) for n in range(5)]
            assert totals.sum_us[at].sum() == sum(durations)
            assert totals.max_us[at].max(initial=0) == max(durations, default=0)
            answers = quantiles(totals.buckets[at].sum(axis=0), PROBABILITIES)
            for answer, probability in zip(answers, PROBABILITIES, strict=True):
                rank = max(math.ceil(probability * len(rows) - 1e-9), 1)
                exact = durations[rank - 1] if rows else math.nan
                assert answer == pytest.approx(exact, rel=0.01, nan_ok=True)


async def compare_operations(store, model, since_us, length_us, _):
    at = ({1, 4}, since_us, since_us + length_us)

    def places(operations):
        return [place_of(one, model.starts) for one in operations]

    kept = model.between(since_us, since_us + length_us, {1, 4}, model.first_kept)
    newest = [number for number, _ in reversed(kept)]
    failed = [number for number, row in reversed(kept) if row[3] in (1, 2)]
    slowest = [number for number, _ in sorted(kept, key=lambda one: (-one[1][2], -one[0]))]
    assert places(await store.recent(*at, limit=6)) == newest[:6]
    assert places(await store.recent(*at, limit=4, failed=True)) == failed[:4]
    assert places(await store.slowest(*at, limit=5)) == slowest[:5]


# A clean-up without a folding before it, of operations of the day before.
@example(
    [
        ("append", [(1, 0, 0, 0), (1, HOUR_US, 0, 0), (1, 7 * HOUR_US, 0, 0)]),
        ("append", [(1, 7 * HOUR_US, 0, 0)]),
        ("clean", None),
    ],
    (NOON - NOON % DAY_US, 2 * DAY_US, None),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    STEPS,
    st.tuples(
        st.one_of(st.integers(NOON - DAY_US, NOON + 3 * DAY_US), st.just(NOON - NOON % DAY_US)),
        st.one_of(st.integers(0, 3 * DAY_US), st.sampled_from([HOUR_US, DAY_US, 2 * DAY_US])),
        st.sampled_from([None, 15 * MINUTE_US, 17 * MINUTE_US, HOUR_US, 2 * HOUR_US, DAY_US]),
    ),
)
def test_answers_agree_with_a_computation_over_all_operations(backend_class, steps, question):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(backend_class(Path(folder)), steps, question))
