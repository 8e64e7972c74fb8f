"""Writes ``version_6.db.gz``: a database as the last release with schema version 6 left it when it was closed.

It was run once, with that release's ``storage`` folder on the path, before schema version 7 existed:
``PYTHONPATH=storage python tests/storage/sqlite/databases/write_version_6.py``
"""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from pathlib import Path

from write_version_5 import NOON, write

from cogmeter_storage import open_store
from cogmeter_storage.errors import ErrorBatch, ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.model import DAY_US


async def write_errors(path: Path) -> None:
    """Add one error group with a count for each of three days, and people."""
    place = Frame("bot/graph.py", "Graph.load", 42, own=True)
    store = await open_store(f"sqlite:///{path}")
    for day in range(3):
        at_us = NOON + day * DAY_US
        link = ErrorLink("KeyError", f"node {day}", (place,))
        batch = ErrorBatch(
            "00000000000000ab", ErrorKind.FAILED, "KeyError", f"node {day}", place, at_us, at_us,
            {("graph", "load", at_us // DAY_US): 20 + day}, frozenset({f"{day:08x}", "0a0b0c0d"}),
            frozenset({"ffffffff"}), "1.4", (ErrorExample(at_us, "graph", "load", "0a0b0c0d", "1.4", (link,)),),
        )  # fmt: skip
        await store.errors.add([batch])
    await store.errors.mute(1, until_us=NOON + 9 * DAY_US, actor="Ann", now_us=NOON + 2 * DAY_US)
    await store.set_value("privacy-key", bytes(range(16)))
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "performance.db")
        asyncio.run(write(database))
        asyncio.run(write_errors(database))
        packed = gzip.compress(database.read_bytes(), mtime=0)
    Path(__file__).with_name("version_6.db.gz").write_bytes(packed)
