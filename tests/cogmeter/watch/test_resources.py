"""The process's resources: cheap figures that move when they should."""

from __future__ import annotations

import gc
import math
import threading
import time

import discord
import psutil
import pytest
from discord.ext import commands

from cogmeter.watch.resources import Resources, container_limit

LINUX = pytest.mark.skipif(not psutil.LINUX, reason="reads what Linux alone tells")


@pytest.fixture
def bot():
    return commands.Bot(command_prefix="!", intents=discord.Intents.none())


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        (["536870912\n"], 536_870_912),
        (["max\n"], math.inf),
        (["max\n", "536870912"], 536_870_912),
        ([None, "9223372036854771712"], 9_223_372_036_854_771_712),  # no limit in version 1
        (["\xff", ""], math.inf),
        ([None, None], math.inf),
    ],
)
def test_the_limit_of_a_container_is_read(tmp_path, texts, limit):
    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        if text is not None:
            file.write_text(text, "latin-1")
    assert container_limit(files) == limit


async def test_the_limit_of_memory_is_that_of_the_setting_but_never_more_than_the_machine_has(bot, watching):
    machine = psutil.virtual_memory().total
    async with watching(bot, Resources, memory_limit_mb=64) as surface:
        assert surface.sample()["resources.memory_limit_bytes"] == 64e6
    async with watching(bot, Resources, memory_limit_mb=10_000_000) as surface:
        gauges = surface.sample()
    assert gauges["resources.memory_bytes"] < gauges["resources.memory_limit_bytes"] <= machine


async def test_cpu_memory_threads_and_files_are_reported(bot, watching, tmp_path):
    async with watching(bot, Resources) as surface:
        before = surface.sample()
        until = time.process_time() + 0.05
        held = bytearray(b"x" * 100_000_000)  # other tests in this process give memory back meanwhile
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait)
        thread.start()
        with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
            while time.process_time() < until:
                pass
            after = surface.sample()
        ended.set()
        thread.join()
    assert after["resources.cpu_percent"] > 0
    assert after["resources.memory_bytes"] > before["resources.memory_bytes"] + len(held) / 2
    assert after["resources.threads"] >= before["resources.threads"] + 1
    assert after["resources.open_files"] >= before["resources.open_files"] + 2
    assert after["resources.machine_network_bytes_sent"] >= before["resources.machine_network_bytes_sent"]
    assert after.keys() == before.keys()


async def test_garbage_collections_are_timed_and_the_callback_leaves_no_trace(bot, watching):
    before = list(gc.callbacks)
    async with watching(bot, Resources) as surface:
        first = surface.sample()
        gc.collect()
        second = surface.sample()
    assert gc.callbacks == before
    assert second["resources.gc_pauses"] > first["resources.gc_pauses"]
    assert second["resources.gc_pause_ms_sum"] > first["resources.gc_pause_ms_sum"]
    assert 0 < second["resources.gc_pause_ms_max"] <= second["resources.gc_pause_ms_sum"]


async def test_a_value_that_the_platform_does_not_report_is_left_out(bot, watching, monkeypatch):
    def denied(*args, **kwargs):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "num_threads", denied)
    monkeypatch.setattr(psutil, "net_io_counters", denied)
    async with watching(bot, Resources) as surface:
        sample = surface.sample()
        assert all(finding.well for finding in surface.findings())
    assert "resources.threads" not in sample
    assert "resources.machine_network_bytes_sent" not in sample
    assert "resources.memory_bytes" in sample


@LINUX
async def test_a_process_that_runs_out_of_files_is_reported(bot, watching, monkeypatch):
    async with watching(bot, Resources) as surface:
        (finding,) = surface.findings()
        assert finding.well
        open_files = int(surface.sample()["resources.open_files"])
        monkeypatch.setattr(Resources, "_most_files", lambda self: open_files + 1.0)
        (finding,) = surface.findings()
    assert not finding.well
    assert f"open files of {open_files + 1}" in finding.text
    assert "ulimit" in finding.advice
