"""A server that answers slowly, or without an end, does not keep a command for ever."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from cogmeter.query.records import Range
from cogmeter.settings import Settings
from cogmeter_bot.errors import NoDataError, RequestError
from cogmeter_bot.sources import api
from cogmeter_bot.sources.api import ApiSource

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
SPAN = Range(0, 60_000_000, "all")


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """What a command waits for is short here; a drop comes far sooner than that, and they never end."""
    monkeypatch.setattr(api, "RESPONSE_S", 0.3)
    monkeypatch.setattr(api, "TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    monkeypatch.setattr(api, "EXPORT_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=30))


@asynccontextmanager
async def dripping(start, drop=b" ", *, pause_s=0.01):
    """A server that sends ``start`` at once, and then a drop again and again until nobody listens."""

    tasks = []

    async def serve(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(start)
            while True:
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(pause_s)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = await ApiSource.open(f"http://127.0.0.1:{port}", None, Settings(_env_file=None))
    try:
        yield source
    finally:
        await source.close()
        server.close()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", HEAD + b"\r\n{"], ids=["headers", "body"])
async def test_a_response_that_drips_is_cut_off(start):
    async with dripping(start, b"x") as source:
        with pytest.raises(
            NoDataError,
            match=r"does not answer: no connection or no complete response within 0.3 s\. Check the address",
        ):
            await source.dashboard(SPAN, None)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", HEAD + b"\r\n{"], ids=["headers", "body"])
async def test_an_export_that_drips_is_cut_off(start):
    async with dripping(start, b"x") as source:
        export = await source.export("json", SPAN, None)
        with pytest.raises(NoDataError, match="does not answer"):
            async for _ in export.chunks:
                pass


async def test_an_export_that_flows_may_take_longer_than_an_answer():
    async with dripping(HEAD + b"\r\n", b"x" * 2_000) as source:
        export, begun = await source.export("json", SPAN, None), asyncio.get_running_loop().time()
        async for _ in export.chunks:
            if asyncio.get_running_loop().time() - begun > 3 * api.RESPONSE_S:
                break
        else:
            pytest.fail("the export ended early")


async def test_an_answer_without_an_end_is_not_kept_in_memory(monkeypatch):
    monkeypatch.setattr(api, "MAX_RESPONSE_BYTES", 100_000)
    async with dripping(HEAD + b"\r\n", b" " * 60_000, pause_s=0) as source:
        with pytest.raises(NoDataError, match="sent more than 100,000 bytes in one response"):
            await source.dashboard(SPAN, None)


async def test_a_wrong_address_is_reported_without_its_password():
    with pytest.raises(RequestError) as raised:
        await ApiSource.open("http://me:hunter2@host/?a", None, Settings(_env_file=None))
    assert (
        str(raised.value)
        == "--url 'http://host/[redacted]' is not a valid address. Use one like http://127.0.0.1:3000."
    )


async def test_a_name_that_is_not_valid_text_is_still_requested():
    async with dripping(HEAD + b"\r\n") as source:
        with pytest.raises(NoDataError):
            await source.service("caf\udce9", None, SPAN)
