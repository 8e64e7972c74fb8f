"""A store, a receiver, and pushers to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from http_receiver import Receiver, serving
from otlp_decoder import Decoded

from cogmeter.push.base import Origin
from cogmeter.push.otlp import OtlpTarget
from cogmeter.push.otlp_variables import read_otlp_variables
from cogmeter.push.pusher import Pusher
from cogmeter_storage import Store, open_store
from cogmeter_storage.clock import Clock

NOW_US = 1_800_000_000_000_000  # 2027-01-15 08:00 UTC, a border of minutes and hours
ORIGIN = Origin("chatterbot", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "host-1", "1.4")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall time in microseconds that cogmeter sees; a test sets it: ``now[0] = ...``."""
    shown = [NOW_US]
    monkeypatch.setattr(Clock, "now_ns", lambda _: shown[0] * 1000)
    return shown


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with serving() as receiver:
        yield receiver


@pytest.fixture
def make_pusher(store, receiver):
    """``make_pusher(temporality="delta", gauges=..., **variables)``: a pusher by OTLP to the receiver."""

    def make(gauges=None, **variables):
        values = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url("")} | {
            name if name.startswith("OTEL_") else f"OTEL_EXPORTER_OTLP_{name.upper()}": value
            for name, value in variables.items()
        }
        target = OtlpTarget(read_otlp_variables(values), ORIGIN)
        found = {} if gauges is None else {"gauges": gauges}
        return Pusher(target, lambda: store, interval_s=60, **found)

    return make


@pytest.fixture
def decoded(receiver):
    """``decoded()``: everything that the receiver accepted so far, as OpenTelemetry's own classes read it."""
    return lambda: Decoded.of(seen for seen in receiver.seen if seen.accepted)


@pytest.fixture
def record(store):
    """``await record(rows, until_us)``: rows of (service, operation, end_us, duration_us, outcome), and the clock."""

    async def record(rows, until_us):
        ids = await store.series_ids([row[:2] for row in rows])
        ordered = sorted(((number, *row[2:], None, None) for number, row in zip(ids, rows, strict=True)), key=_end)
        await store.append([ordered] if ordered else [], now_us=until_us)

    return record


def _end(row):
    return row[1]
