"""A chat bot that fails quietly in every way: each trouble is seen within a minute, with its line, and alerts once.

Its users' texts, its key and all ids are marked: they are in no table and in no answer.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cogmeter.settings import Settings, env_name
from cogmeter_storage.alerting import AlertState

WITHIN_S = 60
QUESTIONS = 16
TEXT = "zanzibar-is-the-password-of-my-diary"
KEY = "zebra5f0e0b9c4d7a4c63a1f2b8d9e7c6a5b4"
NOISE = ("ACKNOWLEDGEMENT", "GATEWAY_LATENCY", "RESPONSE_TIME", "DEVIATION", "LOW_TRAFFIC")  # of a busy machine
ALERTS = {  # one for each trouble, and the places of which its message names one
    ("dependency", "http.127.0.0.1", ""): ("request",),
    ("dependency", "http.localhost", ""): ("model",),
    ("logged_errors", "discord.listeners", ""): ("weather", "model"),
    ("unhandled_errors", "(bot)", ""): ("summary",),
    ("hung", "discord.commands", "ponder"): ("ponder",),
    ("stall", "(bot)", ""): (),  # a machine that is too busy may keep the watchdog from reading the stack
}
ERRORS = {
    ("logged", "aiohttp.client_exceptions.ClientResponseError", "weather"),
    ("logged", "httpx.ReadTimeout", "model"),
    ("unhandled", "LookupError", "summary"),
}
PLACES = ("weather", "request", "model", "summary", "ponder")
PATHS = (
    "dashboard",
    "errors",
    "error-groups",
    "running",
    "alerts",
    "operations",
    "traces",
    "slowest",
    "stalls",
    "audit",
)
PAGES = ("/performance", "/performance/errors", "/performance/running", "/metrics", "/health", "/health/performance")
COMMANDS = (("perf errors", None), ("perf running", None), ("perf summary", None), ("perf alerts", None))


@pytest.fixture
def settings(monkeypatch, tmp_path, discord_server):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    own = {
        "HTTP_PORT": port,
        "DASHBOARD_PORT": port,
        "ALERT_CHANNEL_ID": discord_server.world.channel["id"],
        "ALERT_CHECK_INTERVAL": 1,
        "SAMPLE_INTERVAL": 1,
        "ALERT_MIN_OPERATIONS": 10,
        "ALERT_GROUP_FROM": 1_000,
        "ALERT_THRESHOLD_HUNG": 5,
        **{f"ALERT_THRESHOLD_{rule}": 0 for rule in NOISE},
    }
    for name, value in own.items():
        monkeypatch.setenv(f"PERFORMANCE_{name}", str(value))
    monkeypatch.setenv("ENABLE_ANALYTICS_DASHBOARD", "true")
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def hostile_bot(tmp_path):
    """The module of the bot, in the working directory, as a host has it."""
    file = shutil.copy(Path(__file__).with_name("hostile_bot.py"), tmp_path)
    spec = importlib.util.spec_from_file_location("hostile_bot", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def chatting(server, services, hostile_bot):
    """The bot, online, with the extension loaded."""
    async with services.serve():
        bot = await hostile_bot.make_bot(services, owner=int(server.world.owner["id"]), key=KEY)
        async with server.running(bot):
            await bot.load_extension("cogmeter.cog")
            await bot.tree.sync()
            try:
                yield bot
            finally:
                await bot.unload_extension("cogmeter.cog")


async def until(found, what):
    """Wait until there is what ``found`` returns."""
    deadline = time.perf_counter() + WITHIN_S
    while not (value := await found()):
        assert time.perf_counter() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.2)
    return value


async def fired(monitor):
    alerts = await monitor.store.alerting.alerts(tuple(AlertState), limit=1_000)
    return [alert for alert in alerts if alert.fired_us is not None]


async def read(session, address, path):
    async with session.get(f"{address}{path}") as answer:
        accepted = {200, 503} if path == "/health/performance" else {200}  # 503: the bot is unhealthy
        assert answer.status in accepted, await answer.text()
        return await answer.text()


async def answer_of(server, name, options=None):
    """The first embed that answers a command, without Discord's escapes."""
    message = await (await server.interact(server.owner.slash(name, options))).answered(30)
    return json.dumps(message["embeds"], ensure_ascii=False).replace("\\\\", "")


async def trouble(server, monitor):
    """Every trouble at once; returns the ids of the messages when each has its alert, and three checks later."""
    await (await server.interact(server.owner.slash("ponder", {"question": TEXT}))).acknowledged()
    people, texts = (server.world.owner, server.world.member), [TEXT] * QUESTIONS + [f"digest {TEXT}"]
    said = [(await server.say(text, author=people[place % 2]))["id"] for place, text in enumerate(texts)]

    async def all_fired():
        alerts = {(one.rule, one.service, one.operation): one for one in await fired(monitor)}
        return alerts.keys() >= ALERTS.keys() and alerts

    async def blocked():
        if any("write_digest" in one.operation for one in await monitor.store.series()):
            return True
        await server.say(f"digest {TEXT}")
        return False

    await until(blocked, "the line that blocks")
    await until(all_fired, "the alerts")
    checks = monitor.alerting.engine.checks

    async def checked_again():
        return monitor.alerting.engine.checks > checks + 2

    await until(checked_again, "three checks")
    return said


@pytest.mark.timeout(300)
async def test_each_trouble_is_seen_with_file_and_line_and_alerts_once(discord_server, settings, hostile_bot):
    services = hostile_bot.Services(troubled=True)
    async with chatting(discord_server, services, hostile_bot) as bot, aiohttp.ClientSession() as session:
        monitor, channel = bot.get_cog("cogmeter").monitor, discord_server.world.channel["id"]
        await trouble(discord_server, monitor)
        alerts = await fired(monitor)
        assert Counter((one.rule, one.service, one.operation) for one in alerts) == Counter(ALERTS.keys())

        async def all_posted():
            posted = [one for one in discord_server.world.messages[channel].values() if one["components"]]
            return len(posted) >= len(ALERTS) and posted

        posted = await until(all_posted, "the messages")
        messages = [json.dumps(one["embeds"]).replace("\\", "") for one in posted]
        named = {name: any(hostile_bot.place(name) in message for message in messages) for name in PLACES}
        assert [any(named[name] for name in places) for places in ALERTS.values() if places] == [True] * 5, messages
        assert len(messages) == len(ALERTS)
        groups = json.loads(await read(session, settings, "/api/performance/error-groups"))["groups"]
        found = {(one["kind"], one["type"], f"{one['place']['file']}:{one['place']['line']}"): one for one in groups}
        assert found.keys() == {(kind, name, hostile_bot.place(place)) for kind, name, place in ERRORS}
        assert min(one["count"] for one in groups) == max(one["count"] for one in groups) > QUESTIONS
        assert {one["operation"] for group in groups for one in group["operations"]} == {"on_message Chat.on_message"}
        listed = await answer_of(discord_server, "perf errors")
        assert [f"`{hostile_bot.place(place)} in" in listed for _, _, place in ERRORS] == [True] * len(ERRORS)
        (running,) = json.loads(await read(session, settings, "/api/performance/running"))["operations"]
        assert (running["service"], running["operation"]) == ("discord.commands", "ponder")
        assert running["line"].startswith(f"{hostile_bot.place('ponder')} in Chat.think, waiting in asyncio/locks.py:")
        assert f"{hostile_bot.place('ponder')} in Chat.think" in await answer_of(discord_server, "perf running")


@pytest.mark.timeout(300)
async def test_no_text_key_or_id_is_stored_or_answered(discord_server, settings, hostile_bot):
    services = hostile_bot.Services(troubled=True)
    async with chatting(discord_server, services, hostile_bot) as bot, aiohttp.ClientSession() as session:
        monitor, world = bot.get_cog("cogmeter").monitor, discord_server.world
        said = await trouble(discord_server, monitor)
        await monitor.flusher.flush()
        groups = [one.id for one in await monitor.store.errors.groups(0, 2**62)]
        assert groups
        paths = [f"/api/performance/{name}" for name in PATHS] + [f"/api/performance/error-groups/{n}" for n in groups]
        texts = {path: await read(session, settings, path) for path in [*paths, *PAGES]}
        for name, options in COMMANDS:
            texts[name] = await answer_of(discord_server, name, options)
        ids = {world.owner["id"], world.member["id"], world.guild["id"], *said}
        marks = {TEXT[:20], KEY[:20], discord_server.token, *ids}
    for path in Path("data").iterdir():
        texts[path.name] = path.read_bytes().decode("latin-1")
    assert {name: mark for name, text in texts.items() for mark in marks if mark in text} == {}


@pytest.fixture
def in_virtual_time(clean_environment, tmp_path):
    """``in_virtual_time(kind, minutes)``: the alerts, errors and summary of the bot after so many virtual minutes."""
    folder = Path(__file__).parent
    environment = clean_environment(
        PYTHONPATH=f"{folder.parent}:{folder}",
        PERFORMANCE_SYNC_COMMANDS="true",
        PERFORMANCE_ALERT_CHECK_INTERVAL="3600",  # checks and samples are made by the script
        PERFORMANCE_SAMPLE_INTERVAL="3600",
        PERFORMANCE_MEMORY_LIMIT_MB="800",
        PERFORMANCE_WATCH_STALLS="false",  # each step of the clock would be one
        PERFORMANCE_ALERT_THRESHOLD_GATEWAY_LATENCY="0",  # a heartbeat may be on its way during a step
    )

    def run(kind, minutes):
        command = [sys.executable, str(folder / "virtual_time.py"), kind, str(minutes)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "minutes", "rule"), [("quiet", 20, None), ("leak", 100, "memory_growth"), ("burst", 26, "memory_limit")]
)
def test_in_virtual_time_nothing_alerts_but_a_leak_which_is_named(in_virtual_time, kind, minutes, rule):
    alerts, groups, _ = in_virtual_time(kind, minutes)
    assert groups == []
    assert [one[:2] for one in alerts] == ([[rule, "(bot)"]] if rule else [])
    if alerts:
        assert "hostile_bot.Chat.history (list, from " in alerts[0][2]


@pytest.mark.timeout(300)
def test_after_ten_virtual_minutes_the_summary_of_a_chat_bot_names_its_replies(in_virtual_time):
    minutes = 10
    alerts, groups, (embed,) = in_virtual_time("chat", minutes)
    assert (alerts, groups) == ([], [])
    texts = "\n".join(field["value"] for field in embed["fields"]).replace("\\", "")
    replies = minutes * 60 // 15 * 3  # three messages in each step
    assert re.search(rf"reply Chat\.on_message\W+{replies}\s", texts), texts
    assert "/ponder" in texts
    assert "discord.listeners" not in texts
