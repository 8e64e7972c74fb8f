"""Hosts that are no plain interpreter: their own program is never started as a chart process."""

import shutil
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest

import cogmeter
import cogmeter_storage
from cogmeter.render.charts import worker_process
from cogmeter.render.charts.chart import Chart
from cogmeter.render.charts.worker_client import ChartError, ChartWorker


@pytest.fixture
def program(tmp_path):
    """``program(name)``: a program of that name that notes each of its starts; ``program.starts`` is the note."""

    def make(name="bot", *, script=False):
        path = tmp_path / name
        if script:
            path.write_text(f'#!/bin/sh\necho "$*" >> {make.starts}\n')
        else:  # a binary: Python itself, which would do what it is told
            shutil.copy(Path(sys.executable).resolve(), path)
        path.chmod(0o755)
        return str(path)

    make.starts = tmp_path / "starts"
    return make


def as_frozen(monkeypatch, _program):
    monkeypatch.setattr(sys, "frozen", True, raising=False)


def as_pyinstaller(monkeypatch, program):
    monkeypatch.setattr(sys, "_MEIPASS", str(program), raising=False)


def as_mac_app(monkeypatch, _program):
    monkeypatch.setattr(sys, "frozen", "macosx_app", raising=False)


def as_nuitka(monkeypatch, _program):
    monkeypatch.setattr(sys.modules["__main__"], "__compiled__", "2.8", raising=False)


def as_nuitka_library(monkeypatch, _program):
    monkeypatch.setattr(worker_process, "__compiled__", "2.8", raising=False)


def as_oxidized(monkeypatch, _program):
    monkeypatch.setattr(sys, "oxidized", True, raising=False)


def as_embedded(monkeypatch, program):
    monkeypatch.setattr(sys, "executable", program("uwsgi"))


def as_script(monkeypatch, program):
    monkeypatch.setattr(sys, "executable", program("python3", script=True))


def as_relative(monkeypatch, program):
    monkeypatch.setattr(sys, "executable", Path(program("python")).name)


def as_link_to_a_program(monkeypatch, program):
    link = Path(program("launcher")).with_name("python3.11")
    link.symlink_to("launcher")
    monkeypatch.setattr(sys, "executable", str(link))


def as_nameless(monkeypatch, _program):
    monkeypatch.setattr(sys, "executable", None)


def as_folder(monkeypatch, program):
    monkeypatch.setattr(sys, "executable", str(Path(program()).parent))


def as_nonsense(monkeypatch, _program):
    monkeypatch.setattr(sys, "executable", "/bin/python\0")


HOSTS = {
    as_frozen: "sys.frozen",
    as_pyinstaller: "made by PyInstaller",
    as_mac_app: "sys.frozen",
    as_nuitka: "made by Nuitka",
    as_nuitka_library: "made by Nuitka",
    as_oxidized: "made by PyOxidizer",
    as_embedded: "uwsgi is not Python",
    as_script: "python3 is a script",
    as_relative: "is not an absolute path",
    as_link_to_a_program: "python3.11 is not Python",
    as_nameless: "names none",
    as_folder: "does not exist",
    as_nonsense: "cannot be read",
}


@pytest.mark.parametrize("host", HOSTS, ids=lambda one: one.__name__)
async def test_no_process_is_started_from_a_host_that_is_not_python_and_the_reason_is_reported(
    host, program, monkeypatch, timeline
):
    async def started(*_arguments, **_options):
        raise AssertionError("a process was started")

    monkeypatch.setattr(worker_process.asyncio, "create_subprocess_exec", started)
    host(monkeypatch, program)
    worker = ChartWorker()
    with pytest.raises(ChartError) as said:
        await worker.draw(Chart(timeline()))
    assert HOSTS[host] in str(said.value)
    assert str(said.value) == worker.unavailable_reason
    await worker.close()


async def test_a_frozen_bot_is_not_started_a_second_time(program, monkeypatch, timeline):
    monkeypatch.setattr(sys, "executable", program("bot.exe", script=True))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    worker = ChartWorker(timeout_s=2)
    with pytest.raises(ChartError):
        await worker.draw(Chart(timeline()))
    await worker.close()
    assert not program.starts.exists()


@pytest.mark.parametrize(
    "name", ["python", "python3", "python3.11", "python3.13t", "python3.12-dbg", "Python", "pypy3.11", "python.exe"]
)
def test_every_name_of_a_python_is_one(name, program, monkeypatch):
    monkeypatch.setattr(sys, "executable", program(name))
    assert worker_process.unavailable_reason() == ""


def test_a_link_to_a_python_is_one_whatever_its_name(program, monkeypatch):
    link = Path(program("python3.11")).with_name("music-bot")
    link.symlink_to("python3.11")
    monkeypatch.setattr(sys, "executable", str(link))
    assert worker_process.unavailable_reason() == ""


@pytest.mark.parametrize("name", ["bot", "uwsgi", "mod_wsgi-express", "python-bot", "pythonbot.exe", "blender", "py"])
def test_another_program_is_no_python(name, program, monkeypatch):
    monkeypatch.setattr(sys, "executable", program(name))
    assert worker_process.unavailable_reason()


async def test_modules_that_name_no_file_are_found_by_their_packages(monkeypatch, timeline):
    for module in (cogmeter, cogmeter_storage, worker_process):
        monkeypatch.delattr(module, "__file__")
    worker = ChartWorker()
    assert (await worker.draw(Chart(timeline()))).startswith(b"\x89PNG")
    await worker.close()


def test_a_zip_application_has_charts_and_a_dashboard_and_starts_once(tmp_path, timeline):
    folder = tmp_path / "app"
    for package in (cogmeter, cogmeter_storage):
        home = Path(package.__path__[0])
        shutil.copytree(home, folder / home.name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "chart.json").write_bytes(Chart(timeline()).to_json())
    (folder / "__main__.py").write_text(
        textwrap.dedent("""
        import asyncio, sys
        with open("starts", "a") as note:
            note.write("bot\\n")
        # Only what is in the zip file, as where the bot's packages are installed nowhere else.
        sys.meta_path[:] = [one for one in sys.meta_path if "__editable__" not in str(one)]
        sys.path[:] = [one for one in sys.path if one.endswith((".pyz", ".zip")) or "python3" in one]
        import cogmeter
        assert ".pyz" in cogmeter.__file__, cogmeter.__file__
        from cogmeter.render.charts.chart import Chart
        from cogmeter.render.charts.worker_client import ChartWorker
        from cogmeter.web.server.assets import STATIC_FOLDER, environment, static_files

        async def main():
            worker = ChartWorker()
            png = await worker.draw(Chart.from_json(open("chart.json", "rb").read()))
            await worker.close()
            print(png[:4], "app.css" in static_files(STATIC_FOLDER), "overview.html" in environment().list_templates())

        asyncio.run(main())
        """)
    )
    zipapp.create_archive(folder, tmp_path / "bot.pyz")
    done = subprocess.run(
        [sys.executable, "bot.pyz"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "b'\\x89PNG' True True", done.stderr
    assert (tmp_path / "starts").read_text() == "bot\n"
