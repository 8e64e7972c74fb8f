"""Measure what counting users and guilds adds: CPU time of recording and flushing, and bytes on the disk.

Run ``python benchmarks/usage.py [--short]``. The CPU part finishes interactions as the watched surfaces do, and flushes
them; each round does so with and without usage. The disk part stores a week of operations of 100 commands by people who
come back (Zipf). It compares the file with the sketches of hours and days with the file without them.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import at_most, difference, interleaved, parser, ratio, row, sized

from cogmeter.recording.buffer import Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, Retention
from cogmeter_storage.sketch import Sketches
from cogmeter_storage.usage import UsageBatch

INTERACTIONS, FLUSHES = 200, 10  # of a busy bot: 200 in a second, and usage every ten seconds
COMMANDS, USERS = 100, 50_000
START_US = 20_000 * DAY_US


def arrivals(first: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(first + number),
            "type": 2,
            "data": {"name": f"command{number % COMMANDS}"},
            "member": {"user": {"id": str(10**17 + number * number % 7919)}},
            "guild_id": str(10**18 + number % 50),
            "channel_id": "5",
            "locale": "de",
            "context": 0,
            "authorizing_integration_owners": {"0": "1"},
        }
        for number in range(INTERACTIONS)
    ]


class Bot:
    """A recorder with its store, for interactions with or without usage."""

    def __init__(self, flusher: Flusher, *, usage: bool) -> None:
        self.flusher = flusher
        self.tracker = InteractionTracker(flusher.recorder, slow_ms=1000)
        self.next_id = 1
        self._acknowledgement = flusher.recorder.series("discord.acknowledgement", "command0")
        self._request = flusher.recorder.series("discord.rest", "POST /interactions/{id}/{token}/callback")
        if usage:
            flusher.recorder.usage.begin(bytes(range(16)))

    async def seconds(self, *, last: bool) -> float:
        """Return the CPU seconds of all threads from the arrival of interactions to their rows; ``last`` of ten."""
        batch = arrivals(self.next_id)
        self.next_id += INTERACTIONS
        began = time.process_time()
        for data in batch:
            pending = self.tracker.arrive(data)
            assert pending is not None
            self.tracker.finish(pending, "discord.commands", pending.label)
            # The other operations of a command that answers: its first response, and the request.
            end_ns = time.perf_counter_ns()
            self.flusher.recorder.add(self._acknowledgement, end_ns, 90_000_000, 0, (None, {"http_ms": 88.2}))
            self.flusher.recorder.add(self._request, end_ns, 88_000_000, 0, (None, {"command": pending.label}))
            self.tracker.forget(pending)
        await self.flusher.flush(usage=last)
        return time.process_time() - began


async def cpu(rounds: int) -> None:
    """Compare the CPU time of two bots that take turns second by second, so that a slow moment hits both."""
    with tempfile.TemporaryDirectory() as folder:
        bots = {}
        stores = []
        for name in ("with usage", "without"):
            store = await open_store(f"sqlite:///{Path(folder, name)}.db")
            stores.append(store)
            bots[name] = Bot(Flusher(Recorder(Buffer(10_000)), store), usage=name == "with usage")
        results: dict[str, list[float]] = {name: [] for name in bots}
        for number in range(rounds + 1):
            taken = dict.fromkeys(bots, 0.0)
            for flush in range(FLUSHES):
                for name, bot in sorted(bots.items(), reverse=(number + flush) % 2 == 0):
                    taken[name] += await bot.seconds(last=flush == FLUSHES - 1) / (INTERACTIONS * FLUSHES)
            for name in bots if number else ():  # the first round warms up
                results[name].append(taken[name])
        for store in stores:
            await store.close()
    added = difference(results["with usage"], results["without"])
    found = ratio(results["with usage"], results["without"])
    row(
        "CPU of a command with its response and request, recorded and flushed",
        f"{np.median(results['with usage']) * 1e6:.1f} µs, {added.median * 1e6:+.2f} µs by usage",
        peer=f"{np.median(results['without']) * 1e6:.1f} µs without",
        ratio=f"{found:.3f}",
        goal=at_most(found.median, 1.03),
    )
    # A median is without the merging of parts, which happens in one of 33 rounds.
    mean = np.mean(results["with usage"]) / np.mean(results["without"])
    row("the same with the merging of parts, mean", "as above", peer="as above", ratio=f"{mean:.3f}")


def seen(number: int) -> float:
    """Return the seconds of one call."""
    usage = Recorder(Buffer(10)).usage
    usage.begin(bytes(16))
    began = time.perf_counter()
    for _ in range(number):
        usage.seen(3, "80351110224678912", "197038439483310086", "guild", "de")
    return (time.perf_counter() - began) / number


async def disk(operations: int) -> None:
    """Print bytes for each operation of a week: of the whole database, and of the sketches in it."""
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, USERS, dtype=np.uint64)
    by_hour = operations // (7 * 24)
    hours = []
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(f"sqlite:///{Path(folder, 'week')}.db")
        ids = np.array(await store.series_ids([("discord.commands", f"command{number}") for number in range(COMMANDS)]))
        for hour in range(7 * 24):
            series = ids[np.minimum(rng.zipf(1.3, by_hour) - 1, COMMANDS - 1)]
            users = np.minimum(rng.zipf(1.2, by_hour) - 1, USERS - 1)
            hours.append((series, users))
            ends = np.sort(rng.integers(0, HOUR_US, by_hour)) + START_US + hour * HOUR_US
            durations = rng.lognormal(12, 1, by_hour).astype(int)
            rows = [(int(s), int(e), int(d), 0, None, None) for s, e, d in zip(series, ends, durations, strict=True)]
            await store.append((rows[at : at + 250] for at in range(0, by_hour, 250)), now_us=int(ends[-1]))
        await store.fold(now_us=START_US + 7 * DAY_US)
        await store.vacuum()
        sizes.append((await store.status()).size_bytes)
        for hour, (series, users) in enumerate(hours):
            keys = np.concatenate([series * 2, series * 2 + 1])
            people = np.concatenate([hashes[users], hashes[users // 20]])
            await store.usage.add(UsageBatch(START_US + hour * HOUR_US, keys, people))
        await store.fold(now_us=START_US + 7 * DAY_US)
        await store.clean(Retention(), now_us=START_US + 7 * DAY_US)
        await store.vacuum()
        sizes.append((await store.status()).size_bytes)
        groups = {int(one): place for place, one in enumerate(ids)}
        began = time.perf_counter()
        await store.usage.distinct(START_US, START_US + 7 * DAY_US, groups=groups)
        whole_days = time.perf_counter() - began
        began = time.perf_counter()
        await store.usage.distinct(START_US + HOUR_US, START_US + 7 * DAY_US - HOUR_US, groups=groups)
        rolling = time.perf_counter() - began
        await store.close()
    before, after = (size / (by_hour * 7 * 24) for size in sizes)
    row(
        f"disk, {by_hour * 7 * 24:,} operations of {COMMANDS} commands in a week",
        f"+{after - before:.2f} B/operation",
        peer=f"{before:.1f} B/operation without",
        ratio=f"{(after - before) / before:.3f}",
        goal=at_most((after - before) / before, 0.1),
    )
    row(
        "distinct people of each command, 7 days",
        f"{whole_days * 1e3:.0f} ms",
        ratio=f"rolling: {rolling * 1e3:.0f} ms",
    )


def sketch_bytes() -> None:
    for people in (1, 10, 60, 512, 1_000, 10_000, 1_000_000):
        hashes = np.random.default_rng(2).integers(0, 2**64, people, dtype=np.uint64)
        size = len(Sketches.of(np.zeros(people, np.int64), hashes).encode((1, 0)))
        row(f"a slot with one sketch of {people:,} people", f"{size:,} B")


def main() -> None:
    options = parser(__doc__).parse_args()
    asyncio.run(cpu(sized(options, 200, 60, 2)))
    calls = interleaved({"seen()": lambda: seen(5_000)}, sized(options, 30, 10, 2))
    row("recorder.usage.seen()", f"{np.median(calls['seen()']) * 1e9:.0f} ns")
    for operations in sized(options, (100_000, 1_000_000), (100_000,), (20_000,)):
        asyncio.run(disk(operations))
    sketch_bytes()


if __name__ == "__main__":
    main()
