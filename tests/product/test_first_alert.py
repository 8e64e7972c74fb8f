"""From an empty folder to the first alert with its chart in the channel, as a person does it: the steps are counted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

TIMEOUT_S = 240  # the rules are checked twice a minute, and a busy machine draws slowly
MOST_STEPS = 6
NEWCOMER = Path(__file__).parent / "newcomer.py"


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_a_newcomer_has_the_first_alert_within_six_steps(installed_python, tools, tmp_path, clean_environment):
    folder = tmp_path / "bot"
    folder.mkdir()
    done = subprocess.run(
        [installed_python, NEWCOMER],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(tools)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # The first step is the environment: pip has installed the wheel.
    assert len(report["steps"]) + 1 <= MOST_STEPS, report["steps"]
    assert report["refused"].startswith("This is for the bot's owner and team")
    assert "Error rate of" in report["alert"]["title"]
    assert report["alert"]["image"] == report["alert"]["attachment"]
    assert "About this rule" in report["alert"]["fields"]
    assert report["violations"] == []
    assert list(folder.iterdir()) == [folder / "data"]
