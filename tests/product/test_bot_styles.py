"""Four bots in the styles of public bots, on the loopback Discord: each use is stored once, with its true outcome."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
STYLES = Path(__file__).parent / "styles"
TIMEOUT_S = 100
COMMANDS, AUTOCOMPLETE, COMPONENTS = "discord.commands", "discord.autocomplete", "discord.components"
ACKNOWLEDGEMENT, LISTENERS, TASKS = "discord.acknowledgement", "discord.listeners", "discord.tasks"
REPLIES = "discord.replies"
INTERACTIONS = (COMMANDS, AUTOCOMPLETE, COMPONENTS)


class Played(NamedTuple):
    """What is stored of a bot, by service and by name and outcome, and what the bot itself counted."""

    stored: dict[str, Counter]
    counted: dict[str, int]
    loop: str


@pytest.fixture
def play(tmp_path, clean_environment):
    """``play(NAME, expected, acknowledged)``: run that bot until as much is stored as is expected."""

    def run(name: str, expected: dict[str, dict], acknowledged: dict, *options: str, python=sys.executable) -> Played:
        records = sum(sum(expected[service].values()) for service in expected) + sum(acknowledged.values())
        done = subprocess.run(
            [python, STYLES / "play.py", name, str(records), *options],
            cwd=tmp_path,
            env=clean_environment(PYTHONPATH=os.pathsep.join(paths(python))),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["hooks"] == []
        assert report["violations"] == []
        connection = sqlite3.connect(tmp_path / "data" / "performance.db")
        stored: dict[str, Counter] = {}
        for service, operation, outcome in connection.execute("SELECT service, operation, outcome FROM operations"):
            stored.setdefault(service, Counter())[operation, outcome] += 1
        connection.close()
        assert {service: stored.get(service, {}) for service in INTERACTIONS if service in expected} == expected
        assert stored[ACKNOWLEDGEMENT] == acknowledged
        return Played(stored, report["counted"], report["loop"])

    return run


def paths(python: str) -> list[str]:
    """Where the bots find the loopback Discord, and, on an interpreter other than the tests', the monitor."""
    tests = [str(ROOT / "tests")]
    return tests if python == sys.executable else [*tests, *(str(ROOT / part) for part in ("storage", "cogs", "bot"))]


def acknowledged(expected: dict[str, dict]) -> dict:
    """One first response for each interaction; all of these were answered in time."""
    names: Counter = Counter()
    for service in INTERACTIONS:
        for (name, _), count in expected.get(service, {}).items():
            names[name, "ok"] += count
    return dict(names)


FINE = (
    *("ban", "warn", "silence", "purge", "case show", "case list", "bank balance", "bank deposit", "bank pay"),
    *("bank top", "roll", "coin", "tag", "poll", "shop", "ping", "about", "remind", "tickets", "config set"),
    *("config channel add", "config channel remove", "bank daily", "kick", "Profile"),
)
SHARDED = {
    COMMANDS: {
        **{(name, "ok"): 1 for name in FINE},
        ("feedback", "ok"): 2,
        ("case close", "error"): 1,
        ("bank withdraw", "error"): 1,
        ("trivia", "error"): 1,
        ("Report message", "error"): 1,
        ("bank daily", "user"): 1,
        ("kick", "user"): 1,
    },
    AUTOCOMPLETE: {("tag name", "ok"): 1, ("case show number", "ok"): 1},
    COMPONENTS: {
        ("Poll.yes", "ok"): 2,
        ("Poll.no", "ok"): 1,
        ("Poll.finish", "ok"): 1,
        ("Shop.buy", "ok"): 1,
        ("Shop.buy", "error"): 1,
        ("Shop.buy", "user"): 1,
        ("Feedback", "ok"): 1,
        ("Feedback", "error"): 1,
        ("Tickets.open", "ok"): 1,
        ("CloseTicket", "ok"): 1,
    },
}


def test_a_bot_of_28_commands_on_two_shards_records_each_use_once(play):
    played = play("sharded_bot", SHARDED, acknowledged(SHARDED))
    names = {name for name, _ in SHARDED[COMMANDS]} - {"Profile", "Report message"}
    assert len(names) == 28
    completed = sum(count for (_, outcome), count in SHARDED[COMMANDS].items() if outcome == "ok")
    assert played.counted["completed"] == completed
    assert played.stored[LISTENERS] == {
        ("on_app_command_completion Utility.on_app_command_completion", "ok"): completed,
        ("on_member_join Utility.welcome", "error"): 1,
    }
    assert played.stored[TASKS] == {("Utility.save", "ok"): 3}
    assert played.stored["bank"] == {("read", "ok"): 1, ("write", "ok"): 4, ("write", "error"): 1}
    assert played.stored["reminders"] == {("send", "ok"): 1}


PREFIX = {
    COMMANDS: {
        ("(unknown)", "user"): 1,
        ("add", "ok"): 1,
        ("add", "user"): 1,
        ("ask", "ok"): 1,
        ("block", "ok"): 1,
        ("block none", "ok"): 1,
        ("block none", "user"): 1,
        ("crash", "error"): 2,
        ("divide", "ok"): 1,
        ("divide", "error"): 1,
        ("greet", "ok"): 2,
        ("greet", "user"): 1,
        ("help", "ok"): 1,
        ("old", "user"): 1,
        ("paint", "ok"): 1,
        ("paint", "user"): 1,
        ("ping", "ok"): 3,
        ("ping", "user"): 1,
        ("rebuild", "ok"): 1,
        ("rebuild", "user"): 1,
        ("tag", "ok"): 1,
        ("tag", "error"): 1,
        ("tag create", "ok"): 1,
        ("tag get", "ok"): 1,
        ("twice", "ok"): 1,
        ("work", "ok"): 1,
        ("work", "user"): 1,
    },
    AUTOCOMPLETE: {("tag get name", "ok"): 1},
}
PREFIX_ACKNOWLEDGED = {("crash", "ok"): 1, ("greet", "ok"): 2, ("tag get", "ok"): 1, ("tag get name", "ok"): 1}


def test_a_prefix_bot_with_its_own_context_and_error_handler_records_each_use_once(play):
    played = play("prefix_bot", PREFIX, PREFIX_ACKNOWLEDGED)
    ends = Counter(outcome for (_, outcome), count in PREFIX[COMMANDS].items() for _ in range(count))
    listeners = played.stored[LISTENERS]
    assert played.stored[REPLIES] == {("on_message Veteran.on_message", "ok"): 1}  # "hello bot"
    assert listeners["on_message Veteran.on_message", "ok"] + 1 == played.counted["messages"]
    completions = listeners["on_command_completion Veteran.on_command_completion", "ok"]
    assert completions == played.counted["completed"] == ends["ok"]
    handled = {outcome: count for (name, outcome), count in listeners.items() if name.startswith("on_command_error")}
    assert sum(handled.values()) == played.counted["errors"] == ends["user"] + ends["error"]
    # The handler raises again what it does not know, after it has answered: that is its own outcome.
    assert handled["error"] + handled["user"] == played.counted["on_error on_command_error"] == 5
    assert len(listeners) == 5
    assert TASKS not in played.stored


FRAMEWORK = {
    COMMANDS: {
        **{(name, "ok"): 1 for name in ("hello", "sum", "choose", "panel")},
        ("form", "ok"): 2,
        ("broken", "error"): 1,
        ("stop_here", "error"): 1,
        ("guarded", "user"): 1,
        ("hello", "user"): 1,
    },
    AUTOCOMPLETE: {("choose word", "ok"): 1, ("choose word", "error"): 1},
    COMPONENTS: {
        ("Panel.save", "ok"): 3,
        ("Panel.save", "user"): 1,
        ("Panel.break_", "error"): 1,
        ("Panel.later", "ok"): 1,
        ("Panel.who", "ok"): 1,
        ("route:home", "ok"): 1,
        ("Form", "ok"): 1,
        ("Form", "error"): 1,
    },
}


@pytest.mark.parametrize("python", [sys.executable, "python3.13"], ids=["this Python", "Python 3.13"])
def test_a_framework_with_its_own_tree_dispatch_and_task_factory_records_each_use_once(
    play, needed_interpreter, python
):
    answers = acknowledged(FRAMEWORK) | {("choose word", "ok"): 1, ("choose word", "error"): 1}
    played = play("framework_bot", FRAMEWORK, answers, python=needed_interpreter(python))
    interactions = sum(sum(counts.values()) for counts in FRAMEWORK.values())
    assert played.counted["interactions"] == interactions
    assert played.stored[LISTENERS] == {
        ("on_interaction FrameworkBot.on_interaction", "ok"): interactions,
        ("on_interaction Metrics.on_interaction", "ok"): interactions,
    }
    assert played.stored[TASKS] == {
        ("Metrics.collect", "ok"): 4,
        ("Metrics.collect", "error"): 1,
        ("Metrics.flaky", "error"): 1,
    }


@pytest.fixture
def needed_interpreter():
    """The path of an interpreter; the test is skipped where the machine has it not, or not with discord.py."""

    def find(name: str) -> str:
        if name == sys.executable:
            return name
        found = shutil.which(name)
        if found is None or not has_dependencies(found):
            pytest.skip(f"{name} with cogmeter's dependencies is not on this machine")
        return found

    return find


@functools.cache
def has_dependencies(python: str) -> bool:
    looked = subprocess.run(
        [python, "-c", "import cogmeter.cog"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths(python))},
        capture_output=True,
        check=False,
    )
    return looked.returncode == 0


PLUGINS = {
    COMMANDS: {
        ("(unknown)", "user"): 1,
        ("play", "ok"): 3,
        ("plugins load", "ok"): 3,
        ("plugins load", "error"): 1,
        ("plugins reload", "ok"): 2,
        ("plugins sync", "ok"): 1,
        ("plugins unload", "ok"): 2,
        ("round", "ok"): 3,
        ("round", "error"): 1,
        ("temperature", "ok"): 6,
        ("weather", "ok"): 4,
    },
    COMPONENTS: {("Refresh.refresh", "ok"): 4, ("weather:refresh", "user"): 1},
}
PLUGINS_ACKNOWLEDGED = {
    ("Refresh.refresh", "ok"): 4,
    ("round", "ok"): 3,
    ("round", "error"): 1,
    ("temperature", "ok"): 3,
    ("weather", "ok"): 4,
}


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
def test_a_bot_on_uvloop_with_plugins_that_come_and_go_records_each_use_once(play, needed):
    needed(importlib.util.find_spec("uvloop"), "uvloop")
    played = play("plugin_bot", PLUGINS, PLUGINS_ACKNOWLEDGED, "uvloop")
    assert played.loop == "uvloop"
    # The plugin's loop runs twice for each time that it is loaded or reloaded.
    assert played.counted["fetched"] == 6
    assert played.stored["http.weather"] == {("GET /now", "ok"): 6}
    assert played.stored[TASKS] == {("Weather.fetch", "ok"): 6, ("tidy", "ok"): 2}
    listeners = played.stored[LISTENERS]
    assert REPLIES not in played.stored
    assert listeners["on_message Weather.on_message", "ok"] == played.counted["weather heard"]
    assert listeners["on_message", "error"] == played.counted["on_error on_message"] == 3
    assert listeners["on_message", "ok"] + 3 == played.counted["games heard"]
    assert listeners["on_command_error PluginBot.on_command_error", "ok"] == played.counted["errors"] == 2
    assert len(listeners) == 4
