"""The wheel as a host gets it: what is in it, and what it does in the host's process and leaves there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "cogmeter_storage": ROOT / "storage" / "cogmeter_storage",
    "cogmeter": ROOT / "cogs" / "cogmeter",
    "cogmeter_bot": ROOT / "bot" / "cogmeter_bot",
}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


ASSETS = (
    ".html",
    ".js",
    ".css",
    ".svg",
    ".png",
    ".ico",
    ".tcss",
    ".json",
    ".mplstyle",
)  # of pages, charts, terminal


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_contains_the_three_packages_with_their_types_and_the_licence_and_nothing_else(wheel):
    sources = {
        PurePosixPath(name) / path.relative_to(folder).as_posix()
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.suffix in {".py", *ASSETS} or path.name in {"py.typed", "LICENSE"}
    }
    names = names_in(wheel)
    info = {name for name in names if name.parts[0].endswith(".dist-info")}
    assert names - info == sources
    assert {name.relative_to(name.parts[0]).as_posix() for name in info} == METADATA
    assert {PurePosixPath(name, "py.typed") for name in PACKAGES} <= names


def test_the_wheel_says_its_name_licence_python_and_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(info).decode())
        commands = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert (metadata["Name"], metadata["License-Expression"], metadata["Requires-Python"]) == (
        "cogmeter",
        "MIT",
        ">=3.11",
    )
    assert commands.split() == ["[console_scripts]", "cogmeter", "=", "cogmeter_bot.cli:main"]


def test_the_source_archive_builds_the_same_wheel_and_contains_no_secrets(wheel, tmp_path):
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", tmp_path]
    subprocess.run([*hatch, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path / "source", filter="data")
    (folder,) = (tmp_path / "source").iterdir()
    assert not [path for path in folder.rglob("*") if path.name == ".env" or path.suffix in {".db", ".lock"}]
    subprocess.run([*hatch, "-t", "wheel"], cwd=folder, check=True, capture_output=True, timeout=60)
    (again,) = tmp_path.glob("*.whl")
    assert names_in(again) == names_in(wheel)


@pytest.mark.parametrize("kind", ["bot", "sharded"])
def test_a_hundred_reloads_lose_no_operation_and_the_unload_leaves_no_trace(host, kind):
    assert "are stored" in host("reloads", kind)


@pytest.mark.parametrize("kind", ["bot", "sharded"])
def test_a_bot_that_is_online_gets_its_summary_with_a_chart_and_is_left_without_a_trace(host, kind):
    assert "are stored" in host("online", kind)


def test_a_host_that_only_closes_its_bot_loses_nothing(host):
    assert "10 calls" in host("closing")


def test_a_host_with_its_own_perf_gets_one_line_and_can_choose_another_name(host):
    host("own_group")


def test_switched_off_it_starts_nothing_and_keeps_nothing(host):
    host("switched_off")


def test_each_bad_setting_fails_the_load_alone_and_names_itself(host):
    host("bad_settings")
