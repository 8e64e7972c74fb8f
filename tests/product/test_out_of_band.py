"""Out-of-band alerts: webhooks receive what is wrong with the bot while the bot itself cannot send anything."""

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import discord
import pytest
from discord.ext import commands
from loopback import Loopback

from cogmeter.settings import Settings, env_name

SECRET = "a-long-random-text"
PATIENCE_S = 30


@dataclass
class Mailbox:
    """A server in a thread of its own: what it was sent, and when."""

    letters: list[tuple[float, Any, bytes]] = field(default_factory=list)
    status: int = 200
    url: str = ""

    def received(self, state: str) -> list[dict[str, Any]]:
        letters = [json.loads(body) for _, _, body in list(self.letters)]
        return [letter for letter in letters if letter["state"] == state]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.letters.append((time.perf_counter(), self.headers, body))
            self.send_response(box.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box.url = f"http://127.0.0.1:{server.server_port}/alerts/T0ken"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield box
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make_bot(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, mailbox: Mailbox) -> Any:
    """A bot with the extension's settings in its surroundings; the extension is loaded by the test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(env_name(name), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_ALERT_WEBHOOK_URL", mailbox.url)
    monkeypatch.setenv("PERFORMANCE_ALERT_WEBHOOK_SECRET", SECRET)

    def make(**settings: object) -> commands.Bot:
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        return commands.Bot("!", intents=discord.Intents.default())

    return make


async def until(condition: Any) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    while not condition():
        assert time.perf_counter() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


async def test_a_blocked_loop_is_reported_while_it_is_blocked(
    discord_server: Loopback, make_bot: Any, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot()
    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        try:
            await asyncio.sleep(1)
            time.sleep(20)
            ended_s = time.perf_counter()
            (letter,) = mailbox.received("firing")
            (at_s, headers, body), *_ = mailbox.letters
            assert at_s < ended_s - 2
            assert (letter["type"], letter["service"], letter["severity"]) == ("stall", "(bot)", "critical")
            assert "test_out_of_band.py" in letter["message"]
            signed = f"{headers['X-Cogmeter-Timestamp']}.".encode() + body
            expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            assert headers["X-Cogmeter-Signature"] == f"v1={expected}"
            await until(lambda: any(one["alert"] == letter["alert"] for one in mailbox.received("resolved")))
        finally:
            await bot.unload_extension("cogmeter.cog")
    assert "T0ken" not in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "cogmeter-out-of-band"]


async def test_the_engine_sends_a_target_nothing_that_it_has_received_out_of_band(
    discord_server: Loopback, make_bot: Any, mailbox: Mailbox
) -> None:
    bot = make_bot(
        PERFORMANCE_ALERT_LIFELINE_AFTER=1,
        PERFORMANCE_ALERT_CHECK_INTERVAL=1,
        PERFORMANCE_ALERT_THRESHOLD_STALL=500,
        PERFORMANCE_ALERT_THRESHOLD_ACKNOWLEDGEMENT=0,
    )

    def stalls() -> list[str]:
        return [one["kind"] for one in map(json.loads, (body for _, _, body in list(mailbox.letters)))]

    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        alerting = bot.get_cog("cogmeter").monitor.alerting
        try:
            await asyncio.sleep(1)
            time.sleep(4)
            await until(lambda: mailbox.received("resolved"))
            await until(lambda: alerting.delivery.delivered["log"])  # who has not heard of it
            assert stalls() == ["fired", "resolved"]
            alert = next(one for one in alerting.engine.active if one.rule == "stall")
            await alerting.engine.acknowledge(alert.uid, "Ada", alert.seen_us)
            await until(lambda: alerting.delivery.delivered["log"] == 2)
            assert stalls() == ["fired", "resolved"]
        finally:
            await bot.unload_extension("cogmeter.cog")


async def test_a_lost_connection_is_reported_and_its_return_too(
    discord_server: Loopback, make_bot: Any, mailbox: Mailbox
) -> None:
    bot = make_bot(PERFORMANCE_ALERT_GATEWAY_LOST_AFTER=1)
    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        try:
            keep_alive = bot.ws._keep_alive
            lost_s, keep_alive._last_ack = keep_alive._last_ack, keep_alive._last_ack - 75
            await until(lambda: mailbox.received("firing"))
            (letter,) = mailbox.received("firing")
            assert letter["type"] == "gateway"
            assert "acknowledged" in letter["message"]
            keep_alive._last_ack = max(lost_s, time.perf_counter())
            await until(lambda: mailbox.received("resolved"))
        finally:
            await bot.unload_extension("cogmeter.cog")


async def test_an_alert_that_could_not_be_sent_is_sent_once_the_receiver_is_back(
    discord_server: Loopback, make_bot: Any, mailbox: Mailbox
) -> None:
    bot = make_bot(PERFORMANCE_ALERT_GATEWAY_LOST_AFTER=1)
    mailbox.status = 503
    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        try:
            bot.ws._keep_alive._last_ack -= 75
            await until(lambda: mailbox.letters)
            mailbox.status = 200
            await until(lambda: len(mailbox.letters) > 1)
            ids = {json.loads(body)["id"] for _, _, body in mailbox.letters}
            assert len(ids) == 1
        finally:
            await bot.unload_extension("cogmeter.cog")
