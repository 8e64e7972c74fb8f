"""Random traffic, outages, restarts and vanished responses: the endpoint's numbers are those of the summary."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from http_receiver import serving
from hypothesis import given, settings
from hypothesis import strategies as st
from otlp_decoder import Decoded

from cogmeter.push.base import Origin
from cogmeter.push.otlp import OtlpTarget
from cogmeter.push.otlp_variables import read_otlp_variables
from cogmeter.push.pusher import Pusher
from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter_storage import Outcome, open_store
from cogmeter_storage.clock import Clock
from cogmeter_storage.model import MINUTE_US

START_US = 1_800_000_000_000_000
EXAMPLES = int(os.environ.get("COGMETER_PUSH_SEQUENCES", "15"))

operations = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, MINUTE_US - 1), st.integers(0, 10**9), st.integers(0, 4)), max_size=30
)
# Each minute: its operations, whether the bot restarts, and how the endpoint answers in turn.
minutes = st.lists(
    st.tuples(operations, st.booleans(), st.lists(st.sampled_from([200, 500, 429, "vanish"]), max_size=3)),
    min_size=1,
    max_size=8,
)


class Bot:
    """A store and a pusher that starts again whenever the test says so."""

    def __init__(self, store, url, preference):
        self.store, self.url, self.preference = store, url, preference
        self.pusher = None

    async def restart(self):
        values = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url}
        values["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = self.preference
        target = OtlpTarget(read_otlp_variables(values), Origin("chatterbot", "1b9d6bcd", "host-1"))
        self.pusher = Pusher(target, lambda: self.store, interval_s=60)
        self.pusher._reader._series = 2  # several requests for one minute

    async def record(self, rows, until_us):
        names = [(f"service {number % 2}", f"operation {number}") for number in range(6)]
        ids = await self.store.series_ids(names)
        ordered = sorted((ids[number], end, took, outcome, None, None) for number, end, took, outcome in rows)
        ordered.sort(key=lambda row: row[1])
        await self.store.append([ordered] if ordered else [], now_us=until_us)


def run_all(story, preference, folder):
    asyncio.run(play(story, preference, folder))


async def play(story, preference, folder):
    shown = [START_US]
    store = await open_store(f"sqlite:///{folder / 'performance.db'}")
    with patch.object(Clock, "now_ns", lambda _: shown[0] * 1000):
        async with serving() as receiver:
            bot = Bot(store, receiver.url(""), preference)
            await bot.restart()
            await bot.pusher.push()
            for rows, restarts, answers in story:
                begin_us, shown[0] = shown[0], shown[0] + MINUTE_US
                await bot.record([(n, begin_us + at, took, outcome) for n, at, took, outcome in rows], shown[0])
                # A restart between a lost response and its repetition is the one case that cumulative points double.
                if restarts and (preference == "delta" or not bot.pusher._waiting):
                    await bot.restart()
                receiver.script.extend(receiver.hang_up if one == "vanish" else one for one in answers)
                await bot.pusher._attempt()
            receiver.script.clear()
            await bot.pusher.push()
            await compare(store, Decoded.of(seen for seen in receiver.seen if seen.accepted), shown[0])
    await store.close()


async def compare(store, found, until_us):
    query = Query(store, clock=lambda: until_us)
    summary = await query.summary(Range(START_US, until_us, "test"))
    totals = await store.totals(
        START_US, until_us, groups={one.id: place for place, one in enumerate(await store.series())}
    )
    assert sum(found.total(series) for series in found.counts) == summary.total.operations
    for place, one in enumerate(await store.series()):
        for outcome in Outcome:
            pushed = found.total((one.service, one.operation, outcome.label))
            assert pushed == totals.outcomes[0, place, outcome], (one, outcome)
    failed = sum(found.total(series) for series in found.counts if series[2] in {"error", "upstream"})
    assert failed == round(summary.total.error_rate * summary.total.operations) if summary.total.operations else True


@pytest.mark.parametrize("preference", ["delta", "cumulative"])
def test_the_numbers_of_the_endpoint_are_those_of_the_summary(preference):
    @settings(max_examples=EXAMPLES)
    @given(minutes)
    def check(story):
        with tempfile.TemporaryDirectory() as folder:
            run_all(story, preference, Path(folder))

    check()
