"""An empty database of a real server, and stores on it as different processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from postgres_server import PROGRAMS, Server

from cogmeter_storage import Store, open_store
from cogmeter_storage.process import Process


@pytest.fixture
def server(needed, request) -> Server:
    """The server of this run, with an empty database."""
    needed(PROGRAMS, "PostgreSQL")
    server: Server = request.getfixturevalue("postgres_server")
    server.clear("postgres")
    return server


@pytest.fixture
def url(server: Server) -> str:
    return server.url("postgres")


@pytest.fixture
async def start(url: str) -> AsyncIterator[Callable[[str], Awaitable[Store]]]:
    """``await start("one")``: the store of a process of this name, which is closed after the test."""
    stores: list[Store] = []

    async def start(name: str) -> Store:
        stores.append(await open_store(url, process=Process(name, version="1.0")))
        return stores[-1]

    yield start
    for store in stores:
        await store.close()
