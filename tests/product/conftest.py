"""The built wheel, installed in a fresh environment with nothing but its declared dependencies, next to a host bot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HOST = Path(__file__).parent / "host"
WARNINGS = ("-W", "error", "-W", "ignore:'audioop' is deprecated:DeprecationWarning")
SETTINGS = ("PERFORMANCE_", "ENABLE_", "DISCORD_", "DATADOG_")
TIMEOUT_S = 110


@pytest.fixture(scope="session")
def wheel(once_per_run: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The wheel, built from this tree."""

    def build(folder: Path) -> None:
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT)

    (built,) = once_per_run("dist", build).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def environment(wheel: Path, once_per_run: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The folder of a fresh virtual environment: the wheel is installed in it by pip, without the network.

    Its declared dependencies, and theirs, and nothing else, are linked into it from the environment of the tests.
    """

    def install(folder: Path) -> None:
        venv.create(folder, with_pip=True, symlinks=True)
        packages = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
        run([python_of(folder), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel], cwd=folder)
        (metadata,) = packages.glob("cogmeter-*.dist-info")
        link_dependencies(Distribution.at(metadata), packages)

    return once_per_run("environment", install)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what scenarios look with, and no host has."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "loopback").symlink_to(ROOT / "tests" / "loopback")
    link_files(distribution("psutil"), folder)
    return folder


@pytest.fixture
def installed_python(environment: Path) -> Path:
    """The interpreter of an environment in which pip has installed the wheel."""
    return python_of(environment)


@pytest.fixture
def host(environment: Path, tmp_path: Path, tools: Path) -> Callable[..., str]:
    """Runs a scenario of the host bot, in its own folder; gives what it printed.

    A scenario that fails, warns, or leaves an exception unhandled fails the test.
    """
    folder = tmp_path / "host"
    shutil.copytree(HOST, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def scenario(*arguments: str) -> str:
        command = [python_of(environment), *WARNINGS, "scenarios.py", *arguments]
        done = run(command, cwd=folder, env=without_settings(PYTHONPATH=str(tools)))
        assert "Traceback" not in done.stderr, done.stderr
        assert "never" not in done.stderr, done.stderr  # asyncio's words for what nobody awaited or retrieved
        return done.stdout

    return scenario


@pytest.fixture
def needed() -> Callable[[object, str], None]:
    """Skip a test, with the reason, when the machine lacks something; with COGMETER_TEST_ALL=1 fail it."""

    def need(found: object, what: str) -> None:
        if not found:
            report = pytest.fail if os.environ.get("COGMETER_TEST_ALL") == "1" else pytest.skip
            report(f"{what} is not to be had on this machine")

    return need


@pytest.fixture
def clean_environment() -> Callable[..., dict[str, str]]:
    """``clean_environment(NAME="value")``: what a program that a test starts gets as its environment."""
    return without_settings


@pytest.fixture
def host_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without our settings."""
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: list[object], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output is in the test's report when it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def without_settings(**more: str) -> dict[str, str]:
    """The environment of the tests without our settings, and without what would lead Python elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*SETTINGS, "PYTHON"))}
    return kept | more


def python_of(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return next(folder.glob("bin/python"), folder / "Scripts" / "python.exe")


def link_dependencies(root: Distribution, target: Path) -> None:
    """Link all that a distribution requires, directly or not, into a folder."""
    waiting, done = [(root, frozenset[str]())], set[str]()
    while waiting:
        one, extras = waiting.pop()
        for required in map(Requirement, one.requires or []):
            if not wanted(required, extras) or required.name in done:
                continue
            done.add(required.name)
            found = distribution(required.name)
            link_files(found, target)
            waiting.append((found, frozenset(required.extras)))


def wanted(required: Requirement, extras: frozenset[str]) -> bool:
    """Whether a requirement holds on this machine, with these extras."""
    marker = required.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""}))


def link_files(one: Distribution, target: Path) -> None:
    """Link a distribution's packages and modules into a folder."""
    if one.files is None:
        raise PackageNotFoundError(one.name)
    for name in {file.parts[0] for file in one.files} - {"..", "__pycache__"}:
        link = target / name
        if not link.exists():
            link.symlink_to(Path(str(one.locate_file(name))).resolve())
