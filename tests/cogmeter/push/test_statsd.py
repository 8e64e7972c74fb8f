"""What a Datadog Agent receives over UDP, on a real socket."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import defaultdict

import pytest
from datadog_intake import check_tags

from cogmeter.push import statsd
from cogmeter.push.base import Cursor, Origin, PushBatch, PushError, SeriesCounts
from cogmeter.push.pusher import Pusher
from cogmeter.push.statsd import StatsdTarget, build
from cogmeter.push.table import switched_on
from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter.settings import Settings, SettingsError
from cogmeter_storage.model import MINUTE_US

ORIGIN = Origin("chatterbot", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "host-1", "1.4")
SAMPLE = b"cogmeter.process.thread.count"
LINE = re.compile(r"(?P<metric>[a-z][a-z0-9_.]*):(?P<value>[\d.e+-]+)\|(?P<kind>[cg])\|#(?P<tags>[^|]+)\|T(?P<at>\d+)")


class Agent(asyncio.DatagramProtocol):
    """Keeps one value for each metric, set of tags and second, as the intake behind the Agent does."""

    def __init__(self):
        self.packets = []
        self.arrived = asyncio.Event()

    def datagram_received(self, data, addr):
        self.packets.append(data)
        self.arrived.set()

    async def points(self, target):
        """What came before a sample that is sent now: packets to one socket of this machine keep their order."""
        await target.check()
        async with asyncio.timeout(30):
            while not any(SAMPLE in packet for packet in self.packets):
                self.arrived.clear()
                await self.arrived.wait()
        found = defaultdict(dict)
        for line in b"\n".join(self.packets).decode().split("\n"):
            parts = LINE.fullmatch(line)
            assert parts, line
            tags = parts["tags"].split(",")
            check_tags(tags)
            found[parts["metric"], parts["kind"], frozenset(tags)][int(parts["at"])] = float(parts["value"])
        return {key: points for key, points in found.items() if key[0] != SAMPLE.decode()}


@pytest.fixture
async def agent():
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Agent, local_addr=("127.0.0.1", 0))
    protocol.port = transport.get_extra_info("sockname")[1]
    yield protocol
    transport.close()


def minute(*names):
    """A batch with one operation of 1 ms of each name."""
    series = (SeriesCounts("graph", name, (1, 0, 0, 0, 0), 1_000, 1_000, ((350, 1),)) for name in names)
    return PushBatch(Cursor(MINUTE_US), 0, tuple(series))


async def test_totals_are_those_of_the_summary_with_the_time_of_their_minute(record, store, agent, now):
    start_us = now[0]
    target = StatsdTarget("127.0.0.1", agent.port, ORIGIN)
    pusher = Pusher(target, lambda: store, interval_s=60)
    await pusher.push()
    rows = [("graph", f"op {n % 3}", start_us + n * 7_000_000, 1_000 * n, n % 5) for n in range(60)]
    for turn in range(1, 9):
        now[0] = start_us + turn * MINUTE_US
        await record([row for row in rows if now[0] - MINUTE_US <= row[2] < now[0]], now[0])
        if turn % 3 == 0:  # several minutes at once
            await pusher.push()
    await pusher.push()
    found = await agent.points(target)
    counts = {key: points for key, points in found.items() if key[:2] == ("cogmeter.operations", "c")}
    summary = await Query(store, clock=lambda: now[0]).summary(Range(start_us, now[0], "test"))
    assert summary.total.operations == sum(sum(points.values()) for points in counts.values()) == 60
    starts = {start_us // 1_000_000 + 60 * n for n in range(7)}
    assert {at_s for points in counts.values() for at_s in points} == starts
    assert {"p50", "p95", "p99", "avg", "max"} == {
        metric.rpartition(".")[2] for metric, kind, _ in found if kind == "g"
    }


async def test_packets_fit_a_network_and_each_line_is_whole(agent, monkeypatch):
    monkeypatch.setattr(statsd, "PAUSE_S", 0)
    target = StatsdTarget("localhost", agent.port, ORIGIN)
    (request,) = target.encode(minute(*(f"operation number {n} | with, separators#" for n in range(100))))
    await target.send(request)
    found = await agent.points(target)
    assert max(map(len, agent.packets)) <= 1432
    assert sum(key[0] == "cogmeter.operations" for key in found) == 100


def test_a_line_that_is_longer_than_a_packet_is_one_of_its_own():
    (request,) = StatsdTarget("localhost", 8125, ORIGIN).encode(minute("short", "大" * 300, "brief"))
    packets = list(statsd._packets(request.body))
    assert b"\n".join(packets) == request.body
    assert all(len(packet) <= 1432 or b"\n" not in packet for packet in packets)


async def test_an_address_where_nothing_listens_is_a_failure_that_is_tried_again(record, store, now):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pusher = Pusher(StatsdTarget("127.0.0.1", port, ORIGIN), lambda: store, interval_s=60)
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    for _ in range(2):
        with pytest.raises(PushError, match=r"^PERFORMANCE_EXPORT_STATSD: ") as raised:
            await pusher.push()
    assert not raised.value.permanent
    assert pusher.operations == 0


async def test_a_host_that_does_not_exist_is_named_by_its_setting():
    target = StatsdTarget("agent.invalid", 8125, ORIGIN)
    (request,) = target.encode(minute("query"))
    with pytest.raises(PushError, match=r"^PERFORMANCE_EXPORT_STATSD: "):
        await target.send(request)


async def test_check_sends_one_sample(agent):
    text = await StatsdTarget("127.0.0.1", agent.port, ORIGIN).check()
    assert text == (
        f"one sample of cogmeter.process.thread.count was sent to 127.0.0.1:{agent.port}; UDP confirms nothing"
    )
    async with asyncio.timeout(30):
        await agent.arrived.wait()
    (packet,) = agent.packets
    assert LINE.fullmatch(packet.decode())["metric"] == SAMPLE.decode()


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("localhost:8125", ("localhost", 8125)),
        ("[::1]:8125", ("::1", 8125)),
        ("dd_agent:1", ("dd_agent", 1)),
    ],
)
def test_the_setting_is_a_host_and_a_port(value, address):
    settings = Settings(export_statsd=value)
    assert switched_on(settings) == ["statsd"]
    assert build(settings, ORIGIN)._address == address


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(
        SettingsError, match=f"^PERFORMANCE_EXPORT_STATSD=localhost:{port} has no port from 1 to 65,535$"
    ):
        build(Settings(export_statsd=f"localhost:{port}"), ORIGIN)


@pytest.mark.parametrize("value", ["localhost", "http://localhost:8125", "a b:1", ":8125", "user:word@host:1"])
def test_text_that_is_no_address_is_refused(value):
    with pytest.raises(ValueError, match="export_statsd"):
        Settings(export_statsd=value)
