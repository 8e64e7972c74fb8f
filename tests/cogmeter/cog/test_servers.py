"""The web of a loaded extension: served by the bot's own process, told by the doctor, and gone with the extension."""

import socket

import aiohttp
import pytest


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def test_the_loaded_extension_serves_and_the_doctor_says_where(move_in):
    port = free_port()
    url = f"http://127.0.0.1:{port}/openapi.json"
    async with move_in(PERFORMANCE_HTTP_PORT=port) as home:
        assert home.bot.get_cog("cogmeter").servers.addresses == [f"http://localhost:{port}/api"]
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
        result = await home.owner.slash(home.channel, "perf doctor")
        assert f"web :{port}" in result.response.embeds[0].description
        await home.bot.unload_extension("cogmeter.cog")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(url)
