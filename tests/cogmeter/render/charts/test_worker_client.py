"""A real worker process: it draws, it is restarted, it leaves nothing behind, and trouble is one kind of error."""

import asyncio
import contextvars
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from cogmeter.render.charts import worker_process
from cogmeter.render.charts.chart import Chart
from cogmeter.render.charts.worker_client import ChartError, ChartWorker

PNG = b"\x89PNG\r\n\x1a\n"


def workers():
    """The chart processes of this test run."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "cogmeter.render.charts.worker" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


async def until(condition):
    """Waits for what other processes and threads do in their own time."""
    for _ in range(3_000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within a minute")


@pytest.fixture
async def worker():
    made = ChartWorker()
    yield made
    await made.close()


@pytest.fixture
def chart(timeline):
    return Chart(timeline())


def titled(chart, title):
    return dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, title=title))


async def test_the_process_starts_with_the_first_chart_and_is_used_again(worker, chart):
    assert workers() == []
    assert worker.state == "not running, 0 charts drawn"
    assert (await worker.draw(chart)).startswith(PNG)
    (process,) = workers()
    assert process.nice() == 19
    assert (await worker.draw(titled(chart, "another"))).startswith(PNG)
    assert workers() == [process]
    assert worker.state == f"running (process {process.pid}), 2 charts drawn"


async def test_the_same_request_within_seconds_gets_the_same_picture(worker, chart):
    first, same, other = await asyncio.gather(*map(worker.draw, (chart, chart, titled(chart, "other"))))
    assert first == same != other
    assert await worker.draw(chart) is first
    assert "2 charts drawn" in worker.state


async def test_a_remembered_picture_grows_old(chart):
    worker = ChartWorker(cache_s=0.0)
    await worker.draw(chart)
    await worker.draw(chart)
    assert "2 charts drawn" in worker.state
    await worker.close()


async def test_a_killed_process_is_replaced_at_the_next_request(worker, chart):
    await worker.draw(chart)
    (process,) = workers()
    process.kill()
    assert (await worker.draw(titled(chart, "after"))).startswith(PNG)
    (successor,) = workers()
    assert successor != process


async def test_a_process_that_dies_while_it_draws_is_a_chart_error_and_then_replaced(worker, chart):
    drawing = asyncio.create_task(worker.draw(chart))
    await until(workers)
    workers()[0].kill()
    with pytest.raises(ChartError, match="ended \\(code -9\\)"):
        await drawing
    assert "last error" in worker.state
    assert (await worker.draw(chart)).startswith(PNG)
    assert "last error" not in worker.state


async def test_a_hung_process_is_replaced_after_the_timeout(chart):
    worker = ChartWorker(timeout_s=30)
    await worker.draw(chart)
    (process,) = workers()
    process.suspend()
    worker._timeout_s = 0.3
    with pytest.raises(ChartError, match=r"not drawn within 0\.3 s"):
        await worker.draw(titled(chart, "waits"))
    await until(lambda: not workers())
    worker._timeout_s = 30
    assert (await worker.draw(titled(chart, "waits"))).startswith(PNG)
    await worker.close()


async def test_a_request_that_cannot_be_drawn_is_an_error_and_costs_no_process(worker, chart):
    await worker.draw(chart)
    (process,) = workers()
    broken = dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, p50_us=[1.0]))
    with pytest.raises(ChartError, match="could not be drawn: ValueError"):
        await worker.draw(broken)
    assert (await worker.draw(titled(chart, "next"))).startswith(PNG)
    assert workers() == [process]


async def test_what_cannot_be_written_as_json_is_a_chart_error(worker, chart):
    with pytest.raises(ChartError, match="JSON"):
        await worker.draw(titled(chart, object()))
    assert workers() == []


async def test_a_cancelled_caller_costs_no_process_and_the_picture_is_kept(worker, chart):
    await worker.draw(chart)
    caller = asyncio.create_task(worker.draw(titled(chart, "kept")))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await worker.draw(titled(chart, "kept"))
    assert "2 charts drawn" in worker.state


async def test_the_process_ends_when_it_is_idle(chart):
    worker = ChartWorker(idle_s=0.05)
    await worker.draw(chart)
    await until(lambda: not workers())
    assert worker.state == "not running, 1 charts drawn"
    assert (await worker.draw(titled(chart, "again"))).startswith(PNG)
    await worker.close()


async def test_closing_leaves_no_process_thread_task_or_file(chart):
    process = psutil.Process()
    await asyncio.to_thread(int)  # the loop's own threads exist before the count
    files, threads, tasks = process.num_fds(), set(threading.enumerate()), asyncio.all_tasks()
    worker = ChartWorker()
    await worker.draw(chart)
    await worker.close()
    await worker.close()
    assert workers() == []
    # The thread in which asyncio waits for the process ends just after it, as may that of an earlier test.
    await until(
        lambda: process.num_fds() <= files and set(threading.enumerate()) <= threads and asyncio.all_tasks() <= tasks
    )
    with pytest.raises(ChartError, match="closed"):
        await worker.draw(chart)


async def test_closing_while_it_draws_is_a_chart_error_for_those_who_wait(chart):
    worker = ChartWorker()
    callers = [asyncio.create_task(worker.draw(titled(chart, str(number)))) for number in range(3)]
    await until(workers)
    late = asyncio.create_task(worker.draw(titled(chart, "late")))
    await asyncio.sleep(0)
    await worker.close()
    outcomes = await asyncio.gather(*callers, late, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ChartError] * 4
    assert {str(outcome) for outcome in outcomes} == {"The chart worker was closed."}
    assert workers() == []


async def test_no_interpreter_is_a_chart_error(worker, chart, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ChartError, match=r"sys\.executable"):
        await worker.draw(chart)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ChartError, match=r"sys\.executable=/nowhere/python does not exist"):
        await worker.draw(chart)


async def test_a_process_that_cannot_start_reports_its_last_output(worker, chart, monkeypatch):
    monkeypatch.setattr(worker_process, "import_path", lambda: ["/nowhere"])
    # The interpreter behind the environment has none of its packages.
    monkeypatch.setattr(sys, "executable", sys._base_executable)
    with pytest.raises(ChartError, match=r"ended \(code 1\)\. Its last output: .*No module named 'cogmeter'"):
        await worker.draw(chart)


async def test_tasks_carry_no_context_of_the_caller(worker, chart):
    mark = contextvars.ContextVar("mark")
    mark.set("an interaction")
    seen = []
    original = worker_process.WorkerProcess.request

    async def asked(self, request):
        seen.append(mark.get("nothing"))
        return await original(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process.WorkerProcess, "request", asked)
        await worker.draw(chart)
    assert seen == ["nothing"]


def test_one_worker_serves_event_loops_that_come_one_after_the_other(chart):
    worker = ChartWorker()

    async def used(title):
        png = await worker.draw(titled(chart, title))
        assert worker._process
        await worker._process.end()  # what a loop leaves open is a warning of its own
        return png

    assert asyncio.run(used("one")).startswith(PNG)
    assert asyncio.run(used("two")).startswith(PNG)
    asyncio.run(worker.close())
    assert workers() == []


HOST = """
    import asyncio, sys
    from cogmeter.query.records import Range, Timeline
    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.worker_client import ChartWorker

    async def main():
        line = Timeline("x", Range(0, 60_000_000, "last minute"), 60_000_000, [0], [1.0], [0.0], [1.0], [2.0], [3.0])
        worker = ChartWorker()
        png = await worker.draw(Chart(line))
        print(worker._process.pid, len(png), "matplotlib" in sys.modules, flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


def test_the_process_dies_with_a_killed_bot_and_never_imports_its_modules(tmp_path):
    for name in ("bot.py", "storage.py", "cogs.py", "PIL.py"):  # the last one is a name that matplotlib imports
        (tmp_path / name).write_text("raise SystemExit('the host was imported')\n")
    host = tmp_path / "main.py"
    host.write_text(textwrap.dedent(HOST))
    with subprocess.Popen([sys.executable, host], stdout=subprocess.PIPE, cwd=tmp_path, text=True) as bot:
        assert bot.stdout is not None
        pid, size, has_matplotlib = bot.stdout.readline().split()
        assert int(size) > 10_000
        assert has_matplotlib == "False"
        os.kill(bot.pid, signal.SIGKILL)
    for _ in range(3_000):
        if not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} outlived its bot")


@pytest.mark.slow
def test_the_process_works_where_matplotlib_can_write_nothing(tmp_path, day_chart):
    blocked = tmp_path / "file"
    blocked.write_text("")
    environment = {**os.environ, "MPLCONFIGDIR": str(blocked / "x"), "HOME": str(blocked)}
    request = day_chart.to_json()
    answer = subprocess.run(
        [sys.executable, "-P", "-m", "cogmeter.render.charts.worker"],
        input=len(request).to_bytes(4, "big") + request,
        capture_output=True,
        env=environment,
        check=True,
    ).stdout
    assert answer[:1] == b"P"
    assert answer[5:].startswith(PNG)
    assert int.from_bytes(answer[1:5], "big") == len(answer) - 5


def test_importing_starts_nothing():
    code = (
        "import sys, threading, cogmeter.render.charts.worker_client\n"
        "assert threading.active_count() == 1\n"
        "assert not {'matplotlib', 'discord'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
