"""Killed at every await between breach and delivery, and started again: the alert is told once, to everybody."""

import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from aiohttp import web

CRASHING = Path(__file__).with_name("crashing.py")
KILLED = 9


@pytest.fixture
async def receiver():
    """An endpoint that keeps the body and the id of each request, by its path: the number of the run."""
    seen = defaultdict(list)

    async def take(request):
        seen[request.path.strip("/")].append((request.headers["Idempotency-Key"], await request.json()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/{run}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


@pytest.mark.timeout(600)
async def test_killed_anywhere_between_breach_and_delivery_everybody_is_told_once(tmp_path, receiver):
    url, seen = receiver
    driver = await asyncio.create_subprocess_exec(
        sys.executable, CRASHING, tmp_path, url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await driver.communicate()
    assert driver.returncode == 0
    runs = [json.loads(line) for line in out.splitlines()]
    killed = [run for run in runs if run["code"] == KILLED]
    places = " ".join(run["spot"][0] for run in killed)
    for needed in (
        "engine.py",
        "lane.py",
        "webhook.py",
        "http.py",
        "crashing.py",
        "alerting.py",
        "cogmeter-alerts-log",
    ):
        assert needed in places
    assert len(killed) > 100
    assert {run["code"] for run in runs} <= {0, KILLED}  # a place may be missed when threads are quicker than before
    for run in runs:
        assert run["after"] == 0, (run, (tmp_path / str(run["number"]) / "log").read_text())
        once(tmp_path / str(run["number"]), seen[str(run["number"])], run)


def once(folder, posted, run):
    stored = json.loads((folder / "stored").read_text())
    assert stored == {"changes": ["fired", "resolved"], "states": ["resolved"]}, run
    # The channel can be looked at, so that there is one message, and it shows how the alert ended.
    board = [json.loads(line) for line in (folder / "board").read_text().splitlines()]
    assert [line["new"] for line in board].count(True) == 1, run
    assert (len({line["message"] for line in board}), board[-1]["state"]) == (1, "resolved"), run
    # An endpoint may get the same again, and knows it by its id; no event is missing, and the last is the last.
    ids = {key: body["kind"] for key, body in posted}
    assert sorted(ids.values()) == ["fired", "resolved"], run
    assert all(body["id"] == key for key, body in posted)
    assert len({json.dumps(body, sort_keys=True) for _, body in posted}) == 2, run
    kinds = [body["kind"] for _, body in posted]
    assert kinds == sorted(kinds), run
    # A line of the log cannot be looked for: it stands there once, or was lost in the moment of the crash.
    lines = [line for line in (folder / "log").read_text().splitlines() if "[ALERT]" in line]
    assert len(lines) == len(set(lines)), run
