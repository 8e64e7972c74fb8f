"""The health check: one line and an exit code, from what the bot wrote."""

from __future__ import annotations

import asyncio
import time

import pytest
from click.testing import CliRunner

from cogmeter_bot.cli import main
from cogmeter_bot.cli.doctor import health_text
from cogmeter_bot.cli.exits import Failure
from cogmeter_bot.sources.freshness import CONNECTED_SHARDS, max_age_s
from cogmeter_storage import open_store

NOW = 1_750_075_200_000_000
SECOND = 1_000_000


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def write(store, at_us):
    (number,) = await store.series_ids([("alpha", "one")])
    await store.append([[(number, at_us, 1000, 0, None, None)]], now_us=at_us)


async def test_a_connected_bot_without_work_is_healthy(store):
    await store.add_samples(NOW - 100 * SECOND, {CONNECTED_SHARDS: 1.0})
    assert await health_text(store, 120, now_us=NOW) == "Running: the last record is 1 min 40 s old; 1 shard connected"


async def test_a_bot_whose_gateway_is_not_followed_is_judged_by_its_operations(store):
    await write(store, NOW - 20 * SECOND)
    assert "20 s old" in await health_text(store, 120, now_us=NOW)


async def test_a_bot_that_writes_nothing_any_more_is_not_well(store):
    await write(store, NOW - 130 * SECOND)
    await store.add_samples(NOW - 121 * SECOND, {CONNECTED_SHARDS: 1.0})
    with pytest.raises(Failure, match=r"Unhealthy: the last record is 2 min 10 s old\. The bot does not run"):
        await health_text(store, 120, now_us=NOW)


async def test_a_bot_that_lost_discord_is_not_well(store):
    await write(store, NOW - SECOND)
    await store.add_samples(NOW - 20 * SECOND, {CONNECTED_SHARDS: 1.0})
    await store.add_samples(NOW - 5 * SECOND, {CONNECTED_SHARDS: 0.0})
    with pytest.raises(Failure, match="not connected"):
        await health_text(store, 120, now_us=NOW)


def test_rare_samples_are_waited_for():
    assert max_age_s(15) == 120
    assert max_age_s(600) == 2400


def invoke(*arguments):
    return CliRunner().invoke(main, ["health", *arguments])


async def test_the_command_reads_the_database_of_the_settings_while_its_writer_runs(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_DATABASE_URL", "sqlite:///performance.db")
    await store.add_samples(time.time_ns() // 1000, {CONNECTED_SHARDS: 1.0})
    result = await asyncio.to_thread(invoke)
    assert (result.exit_code, result.output.splitlines()[0][:8]) == (0, "Running:")


async def test_an_interval_of_samples_that_was_changed_in_chat_is_in_effect(store, tmp_path, monkeypatch):
    """The image's health check would otherwise restart a bot that runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_DATABASE_URL", "sqlite:///performance.db")
    now_us = time.time_ns() // 1000
    await store.add_samples(now_us - 200 * SECOND, {CONNECTED_SHARDS: 1.0})
    assert (await asyncio.to_thread(invoke)).exit_code == 1
    await store.alerting.override({"setting:sample_interval": "60"}, now_us=now_us, actor="ada")
    result = await asyncio.to_thread(invoke)
    assert (result.exit_code, result.output.splitlines()[0][:8]) == (0, "Running:")


async def test_another_database_can_be_named(store, tmp_path):
    await store.add_samples(time.time_ns() // 1000, {CONNECTED_SHARDS: 1.0})
    result = await asyncio.to_thread(invoke, "--database", str(tmp_path / "performance.db"))
    assert (result.exit_code, result.output.splitlines()[0][:8]) == (0, "Running:")


def test_an_address_without_a_bot_is_unhealthy_in_words(monkeypatch):
    monkeypatch.setenv("COGMETER_URL", "http://127.0.0.1:2")  # has no effect
    result = invoke("--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.output.startswith(
        "Error: http://127.0.0.1:1 does not answer: nothing listens on port 1. Start the bot"
    )


@pytest.mark.parametrize("url", ["sqlite:///none.db", "sqlite:///"])
def test_what_is_wrong_is_one_line_and_the_exit_code_one(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_DATABASE_URL", url)
    result = invoke()
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert len(result.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())
