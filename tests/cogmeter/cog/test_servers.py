"""The web of a loaded extension: served by the bot's own process, shown by the doctor, and gone with the extension."""

import asyncio
import socket

import aiohttp
import psutil
import pytest

pytestmark = pytest.mark.slow


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
        await home.owner.slash(home.channel, "perf doctor")
        await home.owner.click(home.channel.last_message, label="Show all checks")
        assert f"web :{port}" in home.channel.last_message.embeds[0].description
        await home.bot.unload_extension("cogmeter.cog")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(url)


def sockets():
    """The ports that this process listens on, and how many connections it has."""
    found = psutil.Process().net_connections("tcp")
    return sorted(one.laddr.port for one in found if one.status == psutil.CONN_LISTEN), len(found)


async def test_fifty_reloads_under_open_streams_leave_the_same_servers_and_the_unload_no_socket(move_in):
    api, dashboard = free_port(), free_port()
    ports = {
        "PERFORMANCE_HTTP_PORT": api,
        "PERFORMANCE_DASHBOARD_PORT": dashboard,
        "ENABLE_ANALYTICS_DASHBOARD": "true",
    }
    async with move_in(load=False, **ports) as home:
        before, files = sockets(), psutil.Process().num_fds()
        await home.bot.load_extension("cogmeter.cog")
        for _ in range(50):
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{dashboard}/api/performance/live") as live:
                    assert (await live.content.readline()).startswith(b"retry")
                    await home.bot.reload_extension("cogmeter.cog")
                for port in (api, dashboard):
                    async with session.get(f"http://127.0.0.1:{port}/health") as answer:
                        assert "checks" in await answer.json()
            assert sockets()[0] == sorted([*before[0], api, dashboard])
            assert not [one for one in home.bot.get_cog("cogmeter").servers.findings() if not one.well]
        await home.bot.unload_extension("cogmeter.cog")
        await asyncio.sleep(0)
        assert sockets() == before
        assert psutil.Process().num_fds() <= files


async def test_a_change_that_ends_after_the_unload_opens_no_port(move_in, monkeypatch):
    port = free_port()
    async with move_in(PERFORMANCE_HTTP_PORT=port) as home:
        cog, reached, unloaded = home.bot.get_cog("cogmeter"), asyncio.Event(), asyncio.Event()
        read = cog.monitor.setting_changes.read

        async def read_late():
            await read()
            reached.set()
            await unloaded.wait()

        monkeypatch.setattr(cog.monitor.setting_changes, "read", read_late)
        changing = asyncio.create_task(cog.monitor.setting_changes.change({"analytics_dashboard": "true"}, "ada"))
        await reached.wait()
        await home.bot.unload_extension("cogmeter.cog")
        unloaded.set()
        await changing
        assert cog.servers.addresses == []
