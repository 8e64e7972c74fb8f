"""Bots in the patterns of discord.py's examples: Discord receives the same from each, with and without the monitor."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import discord
import pytest
from discord import app_commands
from discord.ext import commands, tasks
from discord.ui.item import _ItemCallback
from discord.ui.view import ViewStore
from discord.webhook.async_ import AsyncWebhookAdapter
from example_bots import EXAMPLES
from loopback import Loopback, Request

import cogmeter

OURS = str(Path(cogmeter.__file__).parent)
GROUP = "perf"
HEARTBEAT = 1
OPEN_VIEW = "timeout_task_impl"  # the end of a coroutine's name
HOOKED = (
    *(app_commands.Command, app_commands.ContextMenu, commands.hybrid.HybridAppCommand, commands.Command),
    *(commands.Group, tasks.Loop, ViewStore, _ItemCallback, AsyncWebhookAdapter, discord.InteractionResponse),
)
RANDOM = {"nonce"}  # keys of numbers of any length
# What differs from run to run: snowflakes and what follows from them, random custom ids, times.
CHANGING = re.compile(r"[0-9a-f]{32}|\d{17,20}|(?<=<t:)\d+|(?<=avatars/)\d|\d{4}-\d\d-\d\dT[\d:.+]+")


class Played(NamedTuple):
    """What Discord received, by channel or interaction in order, and what the bot logged."""

    requests: dict[str, list[Any]]
    operations: list[int]
    warnings: list[tuple[str, str]]


@pytest.fixture(autouse=True)
def quiet_host(host_folder, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")  # a busy machine is no operation of the test
    discord.Client(intents=discord.Intents.none())  # the first one of a process warns of missing voice libraries


@pytest.mark.parametrize("name", EXAMPLES)
async def test_discord_receives_the_same_from_an_example_with_the_monitor_and_without_it(name, caplog):
    plain = await play(name, None, caplog)
    assert plain.requests
    ways = ["attach", "extension"] if isinstance(EXAMPLES[name].make(Loopback()), commands.Bot) else ["attach"]
    for way in ways:
        assert await play(name, way, caplog) == plain


async def play(name: str, way: str | None, caplog: pytest.LogCaptureFixture) -> Played:
    """Run an example in a Discord of its own, by a way of adding the monitor, until everything has ended."""
    example = EXAMPLES[name]
    random.seed(name)
    caplog.clear()
    tasks_before, threads_before = asyncio.all_tasks(), set(threading.enumerate())
    async with Loopback() as server:
        client = example.make(server)
        wrapped_before = set(wrapped(client))
        attachment = cogmeter.attach(client) if way == "attach" else None
        if way == "extension":
            await client.load_extension("cogmeter.cog")
        async with server.running(client):
            monitor = attachment.monitor if attachment else way and client.get_cog("cogmeter").monitor
            await example.play(server, client)
            await server.settled()
            if monitor:
                await monitor.flusher.flush()
                stored = {(one.service, one.operation) for one in await monitor.store.series()}
                assert example.recorded <= stored, example.recorded - stored
                assert not monitor.faults
        assert server.violations.total == 0, list(server.violations)
        requests = received(server)
        operations = [sent.op for sent in server.ops if sent.op != HEARTBEAT]
    assert set(wrapped(client)) <= wrapped_before
    await ended(tasks_before, threads_before)
    logs = [(one.name, one.getMessage()) for one in caplog.records if one.levelno >= logging.WARNING]
    own = [text for name, text in logs if name.startswith("cogmeter") and "is not registered with Discord" not in text]
    assert own == []
    warnings = [(name, CHANGING.sub("#", text)) for name, text in logs if not name.startswith("cogmeter")]
    return Played(requests, operations, warnings)


def received(server: Loopback) -> dict[str, list[Any]]:
    """The requests of the host by their channel or interaction, in order, without what changes from run to run."""
    names: dict[str, str] = {}

    def stable(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: "#" if key in RANDOM else stable(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [stable(inner) for inner in value]
        if isinstance(value, str | int) and not isinstance(value, bool):
            text = CHANGING.sub(lambda found: names.setdefault(found[0], f"#{len(names)}"), str(value))
            return text if isinstance(value, str) else text or value
        return value

    found: dict[str, list[Any]] = {}
    for request in server.requests:
        if request.route.startswith("GET /applications/{application_id}/"):
            continue  # the monitor's look whether its commands are registered
        entry = (request.route, request.status, stable(_body(request)), [file.name for file in request.files])
        found.setdefault(stable(_place(request)), []).append(entry)
    return found


def _place(request: Request) -> str:
    """The channel, guild or interaction of a request."""
    parts = request.path.split("/")
    return "/".join(parts[1:3])


def _body(request: Request) -> Any:
    """The body, without the command group of the monitor."""
    if request.route.startswith("PUT /applications/") and request.body:
        return [command for command in request.body if command["name"] != GROUP]
    return request.body


def wrapped(client: discord.Client) -> Iterator[str]:
    """What the monitor wraps now in discord.py's classes, or on the client and what belongs to it."""
    owners = {owner.__qualname__: vars(owner) for owner in HOOKED}
    owners |= {"client": vars(client), "connection": vars(client._connection), "parsers": client._connection.parsers}
    owners["tree"] = vars(getattr(client, "tree", object))
    for owner, attributes in owners.items():
        for name, value in attributes.items():
            if getattr(getattr(value, "__code__", None), "co_filename", "").startswith(OURS):
                yield f"{owner}.{name}"


def is_open_view(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "").endswith(OPEN_VIEW)


async def ended(tasks_before: set[Any], threads_before: set[threading.Thread]) -> None:
    """Wait until every task and thread of the run has ended, but for those that discord.py leaves for open views."""
    async with asyncio.timeout(60):
        while any(not is_open_view(task) for task in asyncio.all_tasks() - tasks_before) or any(
            thread.name.startswith("cogmeter") for thread in set(threading.enumerate()) - threads_before
        ):
            await asyncio.sleep(0.01)
    for task in asyncio.all_tasks() - tasks_before:
        task.cancel()
