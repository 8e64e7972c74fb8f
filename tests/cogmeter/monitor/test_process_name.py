"""How a process is called among those that share a database."""

from __future__ import annotations

import os
import socket

import discord
import pytest

from cogmeter.monitor.process_name import process_of
from cogmeter.settings import Settings

INTENTS = discord.Intents.none()


@pytest.mark.parametrize(
    ("given", "name", "shards"),
    [
        ({"shard_ids": [4, 5, 6, 7], "shard_count": 16}, "shards 4-7", "4, 5, 6, 7"),
        ({"shard_ids": [9, 2, 5], "shard_count": 16}, "shards 2, 5, 9", "2, 5, 9"),
        ({"shard_id": 3, "shard_count": 4}, "shard 3", "3"),
        ({}, None, ""),
    ],
)
def test_a_process_is_called_by_its_shards_else_by_host_and_process_id(given, name, shards):
    kind = discord.AutoShardedClient if "shard_ids" in given else discord.Client
    process = process_of(kind(intents=INTENTS, **given), Settings(), "1.4")
    assert process.name == (name or f"{socket.gethostname()}-{os.getpid()}")
    assert (process.shards, process.version) == (shards, "1.4")


def test_a_name_from_the_settings_comes_first():
    bot = discord.Client(intents=INTENTS, shard_id=3, shard_count=4)
    assert process_of(bot, Settings(process_name="blue"), "").name == "blue"
