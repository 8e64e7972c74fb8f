"""Killed at every await between breach and delivery, and started again: each target receives the alert once."""

import asyncio
import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from aiohttp import web

pytestmark = pytest.mark.slow

CRASHING = Path(__file__).with_name("crashing.py")
KILLED = 9


@pytest.fixture
async def receiver():
    """An endpoint that stores the body and the id of each request, by its path: the number of the run."""
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


async def crashed(folder, *arguments):
    """Return each run: where it was killed, and how its successor ended."""
    driver = await asyncio.create_subprocess_exec(
        sys.executable, CRASHING, folder, *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await driver.communicate()
    assert driver.returncode == 0
    runs = [json.loads(line) for line in out.splitlines()]
    assert {run["code"] for run in runs} <= {0, KILLED}  # a place may be missed when threads are quicker than before
    for run in runs:
        assert run["after"] == 0, (run, (folder / str(run["number"]) / "log").read_text())
    return runs


def places(runs):
    """Return the places where processes were killed, in one text."""
    return " ".join(run["spot"][0] for run in runs if run["code"] == KILLED)


@pytest.mark.timeout(600)
async def test_killed_anywhere_between_breach_and_delivery_each_target_receives_the_alert_once(tmp_path, receiver):
    url, seen = receiver
    runs = await crashed(tmp_path, url)
    for needed in (
        "engine.py",
        "target_worker.py",
        "webhook.py",
        "http.py",
        "crashing.py",
        "alert_store.py",
        "cogmeter-alerts-log",
    ):
        assert needed in places(runs)
    assert sum(run["code"] == KILLED for run in runs) > 100
    for run in runs:
        once(tmp_path / str(run["number"]), seen[str(run["number"])], run)


@pytest.mark.timeout(600)
async def test_killed_anywhere_before_discord_the_alert_is_one_message_that_shows_its_resolution(
    tmp_path, discord_server, monkeypatch
):
    """The real notifier over the real transport: what was posted is found again, and brought up to date."""
    # Discord remembers a nonce for minutes; a bot may be down for longer.
    monkeypatch.setattr("loopback.messages.of_nonce", lambda *_: None)
    channel = discord_server.world.channel["id"]
    runs = await crashed(tmp_path, "", discord_server.url, discord_server.token, channel)
    for needed in ("client_reqrep.py", "http.py", "notifier.py", "message.py", "attempts.py"):
        assert needed in places(runs)
    assert sum(run["code"] == KILLED for run in runs) > 30
    messages = list(discord_server.world.messages[channel].values())
    shown = [(one["embeds"][0]["footer"]["text"], one["embeds"][0]["title"]) for one in messages]
    for run in runs:
        uid = (tmp_path / str(run["number"]) / "uids").read_text()
        (title,) = [title for footer, title in shown if uid[-8:] in footer]
        assert "Resolved" in title, run
    assert len(messages) == len(runs) + 1  # the first run was killed nowhere
    assert list(discord_server.violations) == []


def once(folder, posted, run):
    stored = json.loads((folder / "stored").read_text())
    assert stored == {"changes": ["fired", "resolved"], "states": ["resolved"]}, run
    # The channel can be searched, so there is one message, and it shows how the alert ended.
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
    # The log cannot be searched: the line is there once, or was lost in the crash.
    lines = [line for line in (folder / "log").read_text().splitlines() if "[ALERT]" in line]
    assert len(lines) == len(set(lines)), run
