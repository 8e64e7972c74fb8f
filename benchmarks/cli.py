"""Measure the command line: its start, an export's memory, and the delay that it causes to a writing bot.

Run ``python benchmarks/cli.py [--short]``. The start is compared with an empty click program in the same rounds. The
export of a million operations (``--operations`` changes that) is a process of its own, whose peak resident memory is
compared with that of an export of a thousand. While ``summary``, ``export`` or ``dashboard`` runs against a database,
each on a terminal of its own, this process appends to it as a bot's flusher does. The waits of these appends are
compared with the waits without the commands, in the same rounds.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from query import build
from timing import Goal, Spread, at_most, interleaved, parser, percentile, ratio, row, seconds, sized

from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter_storage import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COGMETER = (sys.executable, "-m", "cogmeter_bot")
EMPTY = "import click\n@click.command()\ndef main():\n    '''Nothing.'''\nmain()"
FEW = 1_000
WRITE_PAUSE_S = 0.05
WRITE_ROWS = 50
# Starts a command, and prints the kilobytes that it had resident at most.
MEASURED = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def start(rounds: int) -> None:
    """Measure ``cogmeter --help`` and an empty click program, both as whole processes."""

    def run(*command: str) -> float:
        return seconds(lambda: subprocess.run([*command, "--help"], stdout=subprocess.DEVNULL, check=True))

    cases = {"ours": lambda: run(*COGMETER), "empty": lambda: run(sys.executable, "-c", EMPTY)}
    taken = interleaved(cases, rounds)
    ours, empty = (Spread.of(1e3 * one for one in taken[name]) for name in ("ours", "empty"))
    times = ratio(taken["ours"], taken["empty"])
    row(
        "cogmeter --help, the whole process",
        f"{ours:.0f} ms",
        peer=f"an empty click program {empty.median:.0f} ms",
        ratio=f"{times:.2f}",
        goal=Goal("< 2", times.median < 2),
    )


def environment(database: Path) -> dict[str, str]:
    return {**os.environ, "PERFORMANCE_DATABASE_URL": f"sqlite:///{database.absolute()}"}


def exported(database: Path, file: Path) -> tuple[float, int]:
    """Return the seconds of an export and the peak resident memory in kilobytes."""
    began = time.perf_counter()
    command = [sys.executable, "-c", MEASURED, *COGMETER, "export", "--force", "-o", str(file)]
    done = subprocess.run(command, env=environment(database), check=True, capture_output=True, text=True)
    return time.perf_counter() - began, int(done.stdout)


async def compare(database: Path, file: Path) -> int:
    """Return how many operations of an NDJSON export equal the stored ones; the first difference ends the run."""
    store = await open_store(f"sqlite:///{database.absolute()}", read_only=True)
    count = 0
    with file.open(encoding="utf-8") as lines:
        async for chunk in store.stream(None, 0, 2**62):
            for one in chunk:
                said = json.loads(next(lines))
                wanted = (f"op_{one.id}", one.service, one.operation, one.duration_us, one.outcome.label, one.error)
                found = (said["operationId"], said["service"], said["operation"], round(said["duration"] * 1000))
                if (*found, said["outcome"], said["error"]) != wanted or said["metadata"] != one.metadata:
                    raise SystemExit(f"exported {said} where {one} is stored")
                count += 1
        if next(lines, None) is not None:
            raise SystemExit("exported more than is stored")
    await store.close()
    return count


def exports(folder: Path, large: Path, count: int) -> None:
    small = folder / "small.db"
    asyncio.run(build(small, FEW))
    for kind in EXPORTERS:
        file = folder / f"export.{exporter(kind).suffixes[0]}"
        _, little = exported(small, file)
        taken, much = exported(large, file)
        row(
            f"export of {count:,} as {kind}",
            f"{taken:.1f} s, {much / 1024:.0f} MB at most, the file {file.stat().st_size / 1e6:.0f} MB",
            peer=f"of {FEW:,}: {little / 1024:.0f} MB",
            ratio=f"{much / little:.2f}",
            goal=at_most(much / little, 1.25),
        )
    equal = asyncio.run(compare(large, folder / "export.ndjson"))
    row("exported operations that equal the stored ones", f"{equal:,}", goal=Goal(f"{count:,}", equal == count))


@contextmanager
def terminal() -> Iterator[int]:
    """Open a terminal of 160 x 50; another process reads and drops its output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    taker = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(ours)
    try:
        yield theirs
    finally:
        os.close(theirs)
        taker.kill()
        taker.wait()


async def read(database: Path, command: Sequence[str] | None, over: asyncio.Event) -> None:
    """Run the command again and again until the end; stop one that does not end by itself."""
    while command is not None and not over.is_set():
        with terminal() as screen:
            process = await asyncio.create_subprocess_exec(
                *COGMETER, *command, env=environment(database), stdin=screen, stdout=screen, stderr=screen
            )
            ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(over.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            endless = not ended.done() and command[0] == "dashboard"
            if endless:
                process.terminate()
            # On a busy machine the signal may come before the dashboard handles it.
            if await ended not in ((128 + signal.SIGTERM, -signal.SIGTERM) if endless else (0,)):
                raise SystemExit(f"{command} failed")


async def waits(database: Path, length_s: float, command: Sequence[str] | None) -> list[float]:
    """Return the milliseconds of each append to the database while the command runs repeatedly, or nothing."""
    store = await open_store(f"sqlite:///{database.absolute()}")
    series = [one.id for one in await store.series()]
    taken: list[float] = []
    over = asyncio.Event()
    reading = asyncio.create_task(read(database, command, over))
    until = time.perf_counter() + length_s
    while time.perf_counter() < until:
        now_us = time.time_ns() // 1_000
        batch = [(series[place % len(series)], now_us, 12_300, 0, None, None) for place in range(WRITE_ROWS)]
        began = time.perf_counter()
        await store.append([batch], now_us=now_us)
        taken.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(WRITE_PAUSE_S)
    over.set()
    await reading
    await store.close()
    return taken


def undisturbed(folder: Path, database: Path, rounds: int, length_s: float) -> None:
    """Print what the readers cost the writer; a process that only computes shows the cost of sharing the processors."""
    kinds: dict[str, Sequence[str] | None] = {
        "nothing": None,
        "summary": ("summary", "--period", "7d"),
        "export": ("export", "--force", "-o", str(folder / "x.json")),
        "dashboard": ("dashboard", "--interval", "1", "--period", "7d"),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, command in kinds.items():
            found[name] += asyncio.run(waits(database, length_s, command))
    busy: list[float] = []
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for _ in range(rounds):
            busy += asyncio.run(waits(database, length_s, None))
    finally:
        spin.kill()
        spin.wait()
    quiet = found.pop("nothing")
    peer = f"alone {formatted(quiet)}; with a computing process {formatted(busy)}"
    for name, taken in found.items():
        times = Spread.of(taken).median / Spread.of(quiet).median
        row(
            f"a writer's waits during `{name}`",
            formatted(taken),
            peer=peer,
            ratio=f"{times:.2f}",
            goal=at_most(times, 1.5),
        )


def formatted(taken: Sequence[float]) -> str:
    return f"{Spread.of(taken).median:.2f} ms, p99 {percentile(taken, 0.99):.1f}"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--operations", type=int, help="in the large database; 1,000,000, or 100,000 in short")
    given = options.parse_args()
    count = given.operations or sized(given, 1_000_000, 100_000, 2_000)
    start(sized(given, 40, 10, 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = folder / "large.db"
        asyncio.run(build(large, count))
        exports(folder, large, count)
        undisturbed(folder, large, rounds=sized(given, 6, 2, 1), length_s=sized(given, 5.0, 2.0, 2.0))


if __name__ == "__main__":
    main()
