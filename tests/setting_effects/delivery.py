"""Where alerts are sent, from a running bot to a simulated Discord or a server on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import time

from aiohttp import web

from cogmeter.alerts import out_of_band
from cogmeter.alerts.model import Reading, Subject
from cogmeter.monitor.monitor import Monitor
from cogmeter.query.query import now_us
from cogmeter.recording.operation import now_ns
from cogmeter.watch.event_loop.stalls import StallWatch
from setting_effects.place import Home, Place, flushed, record, until


async def test_reaches(place: Place) -> object:
    """The paths that are requested when somebody tests the alert targets."""
    receiver = await place.receiver()
    receiver.script.append(_discord_answer)
    await (await place.monitor()).alerting.delivery.test("Ada")
    return [seen.path for seen in receiver.seen]


async def _discord_answer(_: web.Request) -> web.Response:
    return web.json_response({"id": "1234567890"})


async def signature_fits(place: Place) -> object:
    """Whether the request is signed with this key."""
    receiver = await place.receiver()
    await (await place.monitor()).alerting.delivery.test("Ada")
    (seen,) = receiver.seen
    signed = f"{seen.headers.get('X-Cogmeter-Timestamp')}.".encode() + seen.body
    expected = "v1=" + hmac.new(b"first key", signed, hashlib.sha256).hexdigest()
    return seen.headers.get("X-Cogmeter-Signature") == expected


async def redirect_is_followed(place: Place) -> object:
    receiver = await place.receiver()
    receiver.script.append((307, {"Location": "/moved"}))
    await (await place.monitor()).alerting.delivery.test("Ada")
    return [seen.path for seen in receiver.seen]


async def link_in_an_alert(place: Place) -> object:
    """The start of the link to the dashboard that an alert at the operator's endpoint has."""
    receiver = await place.receiver()
    monitor = await place.monitor()
    await _breach(monitor)
    await until(lambda: receiver.seen)
    return receiver.seen[0].json.get("dashboardUrl", "").partition("/performance")[0]


async def _breach(monitor: Monitor) -> None:
    record(60, error="Rate limit exceeded")
    await flushed(monitor)
    await monitor.alerting.check()


async def posts_in_the_channel(place: Place) -> object:
    home = await place.home()
    await home.monitor.alerting.delivery.test("Ada")
    return len(home.channel.history())


async def threads_at_an_alert(place: Place) -> object:
    home = await place.home()
    await _breach(home.monitor)
    await _delivered(home)
    return [thread.name.split(":")[0] for thread in home.channel.threads]


async def pinged(place: Place) -> object:
    """Whether the messages about an alert that is not acknowledged ping the role and the user."""
    home = await place.home()
    alerting = home.monitor.alerting
    reading = Reading(Subject("error_rate", "graph"), 0.5, 0.05, "Error rate of 50%", "critical")
    for seconds_ago in (901, 0):
        await alerting.engine.step([reading], now_us() - seconds_ago * 1_000_000)
        await _delivered(home)
    said = " ".join(message.content for message in home.channel.history())
    return [word for word in ("role", "user") if f"{place.known[word]}>" in said]


async def _delivered(home: Home) -> None:
    async with asyncio.timeout(60):
        while await home.monitor.store.alerting.next_due_us() is not None:
            await asyncio.sleep(0.01)


async def lifeline(place: Place) -> object:
    """The requests of the out-of-band thread while the loop is blocked, after 15 s of its clock."""
    paths = place.thread_receiver()
    monitor = await place.monitor()
    watch = next(surface for surface in monitor.watcher.surfaces if isinstance(surface, StallWatch))
    await asyncio.sleep(0.05)  # the watchdog begins
    until_s = time.perf_counter() + 30
    while watch.watchdog.blocked_since_ns is None and time.perf_counter() < until_s:
        time.sleep(0.005)
    _check(place, monitor, "stall", after_s=15)
    return paths


async def lost_connection(place: Place) -> object:
    """The requests of the out-of-band thread when the connection has been lost for 150 s of its clock."""
    paths = place.thread_receiver()
    home = await place.home()
    place.monkeypatch.setattr(home.bot, "ws", None)
    _check(place, home.monitor, "gateway", after_s=150)
    return paths


def _check(place: Place, monitor: Monitor, rule: str, *, after_s: float) -> None:
    """Let the monitor's alerts from outside of the loop look at an outage, now and later by their clock."""
    thread_alerts = monitor.out_of_band
    assert thread_alerts is not None
    thread_alerts.stop()  # its thread looks at other times
    for ahead_ns in (0, int(after_s * 1e9)):
        place.monkeypatch.setattr(out_of_band, "now_ns", lambda ahead_ns=ahead_ns: now_ns() + ahead_ns)
        for outage in thread_alerts._outages:
            if outage.rule == rule:
                thread = threading.Thread(target=thread_alerts._check, args=(outage,))
                thread.start()
                thread.join()
