"""What the web servers of a running monitor answer."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable

import aiohttp

from cogmeter.web.server.servers import Servers
from setting_effects.place import Place, flushed, record

TOKEN = "a-token-of-more-than-32-characters-for-tests"
DASHBOARD = {"ENABLE_ANALYTICS_DASHBOARD": "true", "PERFORMANCE_DASHBOARD_PORT": "<port>"}


async def served(place: Place) -> Servers:
    """The servers of a monitor with some operations; free ports are known as ``<port>`` and ``<other>``."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        place.known |= {"port": one.getsockname()[1], "other": other.getsockname()[1]}
    monitor = await place.monitor()
    record(10)
    await flushed(monitor)
    servers = Servers(monitor, {})
    await servers.start()
    place.stack.push_async_callback(servers.stop)
    return servers


async def answer(place: Place, path: str, word: str = "port", token: str = "") -> tuple[int, str]:
    """The status and text of an answer at the port of this word; 0 if no server listens there."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{place.known[word]}{path}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        try:
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                return response.status, await response.text()
        except aiohttp.ClientConnectorError:
            return 0, ""


def status_of(path: str, *words: str, token: str = "") -> Callable[[Place], Awaitable[object]]:
    """Return what shows the statuses of this path at these ports."""

    async def observe(place: Place) -> object:
        await served(place)
        return [(await answer(place, path, word, token))[0] for word in words or ("port",)]

    return observe


def found_in(path: str, pattern: str) -> Callable[[Place], Awaitable[object]]:
    """Return what shows the first group of a pattern in the answer."""

    async def observe(place: Place) -> object:
        await served(place)
        _, text = await answer(place, path)
        match = re.search(pattern, text)
        return match[1] if match else None

    return observe


async def host_of_the_link(place: Place) -> object:
    """The host to which the answer of ``/perf dashboard`` leads."""
    link = (await served(place)).dashboard_link(1, "Ada")
    assert link is not None
    return re.sub(r":\d+", "", link.url.split("/")[2])
