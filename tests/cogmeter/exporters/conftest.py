"""A store with known operations, and what exporters wrote of it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from cogmeter.exporters.base import Export
from cogmeter.exporters.table import exporter
from cogmeter_storage import Store, open_store


@pytest.fixture
def at() -> Callable[[str], int]:
    """``at("2025-08-17T10:00:00Z")``: the microseconds of a time."""
    return lambda text: int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.fixture
def filled() -> Callable[..., object]:
    """``async with filled(rows) as store``; a row is (service, operation, end, duration, outcome, error, metadata)."""

    @asynccontextmanager
    async def fill(rows: list[tuple]) -> AsyncIterator[Store]:
        with tempfile.TemporaryDirectory() as folder:
            store = await open_store(f"sqlite:///{Path(folder) / 'performance.db'}")
            try:
                if rows:
                    names = sorted({row[:2] for row in rows})
                    ids = dict(zip(names, await store.series_ids(names), strict=True))
                    made = [(ids[row[:2]], *row[2:]) for row in rows]
                    slices = (made[start : start + 200] for start in range(0, len(made), 200))
                    await store.append(slices, now_us=made[-1][1])
                yield store
            finally:
                await store.close()

    return fill


@pytest.fixture
def written() -> Callable[..., object]:
    """``await written(format, store, since_us=..., ...)``: all that the exporter of this name gives, as text."""

    async def write(name: str, store: Store, **asked) -> str:
        export = Export(**{"since_us": 0, "until_us": 2**62, "at_us": 2**50, **asked})
        return b"".join([piece async for piece in exporter(name).write(store, export)]).decode()

    return write
