"""What is pushed by OTLP, to Datadog, and to an Agent."""

from __future__ import annotations

import asyncio
import socket

from cogmeter.monitor import jobs
from cogmeter.push.base import Origin
from cogmeter.push.table import build
from setting_effects.place import Place

ORIGIN = Origin("chatterbot", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "host-1", "1.4")


async def otlp_requests(place: Place) -> object:
    """The paths to which a monitor pushes its gauges until it is stopped."""
    receiver = await place.receiver()
    await _pushed(place)
    return sorted({seen.path for seen in receiver.seen})


async def _pushed(place: Place) -> None:
    monitor = await place.monitor()
    await jobs.sample(monitor)
    await monitor.pushing.end()  # with a last push
    assert not monitor.faults


async def pause_between_pushes(place: Place) -> object:
    """The seconds that the pusher of a monitor waits after a push that was accepted."""
    await place.receiver()
    monitor = await place.monitor()
    (pusher,) = monitor.pushing.pushers
    await pusher.stop()
    return await pusher._attempt()


async def statsd_hosts(place: Place) -> object:
    """The bots that a monitor names in datagrams to an Agent on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.setblocking(False)
        place.known["agent"] = "{}:{}".format(*agent.getsockname())
        await _pushed(place)
        try:
            return agent.recv(65_536).split(b"|#")[1].split(b",")[0]
        except BlockingIOError:
            return None


# Datadog


async def datadog_requests(place: Place) -> object:
    """The receivers that get what a monitor pushes to Datadog, and the keys that it sends."""
    receivers = {word: await place.receiver(word) for word in ("first", "second")}
    await _pushed(place)
    return {
        (word, seen.path, seen.headers.get("DD-API-KEY"))
        for word, receiver in receivers.items()
        for seen in receiver.seen
    }


async def checked_application_keys(place: Place) -> object:
    """The application keys that ``cogmeter push --check`` shows to Datadog."""
    receiver = await place.receiver("first")
    target = await asyncio.to_thread(build, "datadog", place.settings(), ORIGIN)
    await target.check()
    return [key for seen in receiver.seen if (key := seen.headers.get("DD-APPLICATION-KEY"))]
