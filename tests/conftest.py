"""Shared fixtures: the loopback Discord (importable by tests as `loopback`), a headless browser (`browser`), and disks
that fail (`disk_faults`)."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

# Appended, never put first: the folders here bear the names of the real packages, and those must win.
sys.path.append(str(Path(__file__).parent))

from browser import Browser, Page, found
from disk_faults import DiskFaults, build, compiler
from loopback import Loopback
from postgres_server import PROGRAMS, Server, server

import cogmeter
from cogmeter.recording.buffer import DEFAULT_CAPACITY

# A timing is never asserted in a test: machines are busy with others.
hypothesis.settings.register_profile(
    "cogmeter", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("cogmeter")


@pytest.fixture(autouse=True)
def empty_recorder() -> Iterator[None]:
    """Empty the package's own recorder around each test: what one test records never counts in another."""
    _empty(cogmeter.default_recorder)
    yield
    _empty(cogmeter.default_recorder)


def _empty(recorder: cogmeter.Recorder) -> None:
    recorder.buffer.capacity = DEFAULT_CAPACITY
    recorder.forked()  # everything that waits, its errors and users, too


@pytest.fixture
async def discord_server() -> AsyncIterator[Loopback]:
    """A Discord on 127.0.0.1 that discord.py is pointed at for the time of one test."""
    async with Loopback() as server:
        yield server


@pytest.fixture
def needed() -> Callable[[object, str], None]:
    """Skip a test, with the reason, when a program is missing; with COGMETER_TEST_ALL=1 fail it."""

    def need(is_there: object, what: str) -> None:
        if not is_there:
            report = pytest.fail if os.environ.get("COGMETER_TEST_ALL") == "1" else pytest.skip
            report(f"{what} is not on this machine")

    return need


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server of the whole run; see ``postgres_url``."""
    with server() as running:
        yield running


@pytest.fixture
def postgres_url(needed, request) -> str:
    """The URL of an empty PostgreSQL database."""
    needed(PROGRAMS, "PostgreSQL")
    running: Server = request.getfixturevalue("postgres_server")
    running.clear("postgres")
    return running.url("postgres")


@pytest.fixture(scope="session")
def running_browser(tmp_path_factory) -> Iterator[Callable[[], Browser]]:
    """A headless Chromium of the whole run, started again if it has ended."""
    browsers: list[Browser] = []

    def running() -> Browser:
        if not (browsers and browsers[-1].runs):
            browsers.append(Browser(found() or "", tmp_path_factory.mktemp("chromium")))
        return browsers[-1]

    yield running
    for one in browsers:
        one.close()


@pytest.fixture
def browser(needed, running_browser) -> Iterator[Page]:
    """A tab of a headless Chromium that remembers nothing from before."""
    needed(found(), "Chromium")
    with running_browser().tab() as page:
        yield page


@pytest.fixture(scope="session")
def once_per_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """``once_per_run(name, fill)``: a folder that the first worker fills, and that all workers share."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, fill: Callable[[Path], None]) -> Path:
        folder, filled = shared / name, shared / f"{name}.filled"
        with FileLock(shared / f"{name}.lock"):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory) -> Path | None:
    """The library that makes calls fail; None without a C compiler, or where no library can be preloaded."""
    return build(tmp_path_factory.mktemp("faults")) if compiler() and sys.platform == "linux" else None


@pytest.fixture
def disk_faults(needed, fault_library, tmp_path) -> DiskFaults:
    """Makes calls of a child fail: start it with ``disk_faults.environment``, then ``disk_faults.on(...)``."""
    needed(fault_library, "a C compiler on Linux")
    return DiskFaults(fault_library, tmp_path)


def pytest_configure() -> None:
    """Let processes of the tests end by ctrl-c: those of a run in the background of a shell would ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every whole-product test as slow, and run files with slow tests first, those with the longest timeout ahead.

    Each whole-product test builds a wheel, starts processes or waits for the wall clock. A long file that starts last
    would leave the other worker without work at the end.
    """
    product = Path(__file__).parent / "product"
    for item in items:
        if product in item.path.parents:
            item.add_marker(pytest.mark.slow)
    lengths: dict[Path, float] = {}
    for item in items:
        timeout = item.get_closest_marker("timeout")
        length = timeout.args[0] if timeout and timeout.args else 1 if item.get_closest_marker("slow") else 0
        lengths[item.path] = max(length, lengths.get(item.path, 0))
    items.sort(key=lambda item: -lengths[item.path])


def pytest_collection_finish() -> None:
    """Leave all that was imported and collected out of garbage collections: with eight thousand tests they are slow."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such hook
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run two workers for each core for all tests: many slow ones wait for a process or the wall clock."""
    return None if config.option.markexpr else 2 * (os.cpu_count() or 1)
