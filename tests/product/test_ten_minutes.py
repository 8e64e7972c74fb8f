"""After ten minutes, each surface shows a bot's commands or replies by name, and a chart that fills its width.

Four bots as people write them, without own instrumentation, are used on the loopback Discord in virtual time.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from datetime import datetime
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cogmeter.render import palette

SCRIPT = Path(__file__).with_name("ten_minutes.py")
MINUTE_S = 60
PLOT = (0.1075, 0.9625)  # the chart's axes from left to right, as shares of the picture
# Of the axes' width. A bot that starts in the last seconds of a minute has one empty bin of eleven before its first
# operation, and a line begins in the middle of its first bin.
WITHIN = 0.15
NAMES = {
    "template": ["/ping", "/8ball", "/coinflip", "/serverinfo", "button Choice.heads", "/warning list"],
    "chat": ["reply ChatBot.on_message"],
    "client": ["/hello", "/add", "/note write", "/note find", "button Todo.done", "command Show Join Date"],
    "sharded": ["/play", "/queue", "button Player.skip", "/lyrics"],
}
ACTIVE = {
    "template": "5 commands, 1 component",
    "chat": "1 reply listener",
    "client": "5 commands, 1 component",
    "sharded": "3 commands, 1 component",
}
LISTED = 5  # in the embed
LISTED_CLI = 3


@pytest.fixture
def used(clean_environment, tmp_path):
    """``used(name)``: what the surfaces show of that bot after its ten minutes."""

    def run(name):
        folder = SCRIPT.parent
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = clean_environment(
            PYTHONPATH=f"{folder.parent}:{folder}",
            ENABLE_ANALYTICS_DASHBOARD="true",
            PERFORMANCE_DASHBOARD_PORT=str(port),
            PERFORMANCE_SYNC_COMMANDS="true",
            PERFORMANCE_ALERT_CHECK_INTERVAL="3600",  # checks and samples are made by the script
            PERFORMANCE_SAMPLE_INTERVAL="3600",
            PERFORMANCE_WATCH_STALLS="false",  # each step of the clock would be one
            PERFORMANCE_ALERT_THRESHOLD_GATEWAY_LATENCY="0",  # a heartbeat may be on its way during a step
        )
        command = [sys.executable, str(SCRIPT), name]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", NAMES)
def test_after_ten_minutes_each_surface_shows_names_and_a_chart_that_fills_its_width(used, name, tmp_path):
    shown = used(name)
    names, began_s, ended_s = NAMES[name], shown["began_s"], shown["ended_s"]
    embed, page, terminal = shown["embed"], shown["page"], shown["terminal"]
    fields = {field["name"]: field["value"].replace("\\", "") for field in embed["fields"]}
    (top,) = [value for title, value in fields.items() if re.fullmatch("Top (Commands|Replies)", title)]
    assert [re.match(r"\d\. (.*): \d+\sops", line)[1] for line in top.splitlines()] == names[:LISTED]
    assert "Top Services by Volume" not in fields
    assert ACTIVE[name] in embed["description"]
    assert drawn(tmp_path / "chart.png")

    assert names_in(page, "commands-table") == names
    assert 'data-key="services-table"' not in page
    series = shown["series"]
    fills([to_s(one) for one in series["timestamps"]], series["operationsPerMinute"], began_s, ended_s)
    assert began_s - 2 * MINUTE_S < to_s(series["timeRange"]["since"])  # of the axis, not 24 hours ago

    assert terminal["names"] == names
    fills(terminal["times"], terminal["values"], began_s, ended_s)

    listed = re.findall(r"^\d\. (.*): [\d,]+ ops", shown["cli"], re.MULTILINE)
    assert listed == names[:LISTED_CLI]
    assert f"Active: {ACTIVE[name]}" in shown["cli"]


def to_s(text):
    return datetime.fromisoformat(text).timestamp()


def names_in(page, key):
    table = re.search(rf'data-key="{key}".*?</table>', page, re.DOTALL)[0]
    return [unescape(one) for one in re.findall(r'<th scope="row"[^>]*><a [^>]*>(.*?)</a>', table)]


def fills(starts_s, values, began_s, ended_s):
    """Each minute from the first use to the last has a bin with operations: the chart has no empty part."""
    assert began_s - 2 * MINUTE_S < starts_s[0] <= began_s + MINUTE_S
    assert ended_s - 2 * MINUTE_S < starts_s[-1] <= ended_s
    assert len(starts_s) >= int(ended_s - began_s) // MINUTE_S
    assert all(values[1:-1])


def drawn(picture):
    """Return whether the bars and the line of the picture reach from its left to its right side."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    left, right = (share * pixels.shape[1] for share in PLOT)
    for colour in (palette.BARS, palette.P50):
        rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        columns = np.flatnonzero((pixels == rgb).all(axis=2).any(axis=0))
        columns = columns[(columns >= left) & (columns <= right)]
        first, last = (columns[0] - left) / (right - left), (right - columns[-1]) / (right - left)
        if first > WITHIN or last > WITHIN:
            return False
    return True
