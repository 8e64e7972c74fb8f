"""docs/cli.md names every command and option, and each has help."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import click
import pytest

from cogmeter_bot.cli import main

ROOT = Path(__file__).parents[3]
EVERY = sorted(main.commands)


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_cli", ROOT / "docs" / "write_cli.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_commands_say(writer):
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert text == writer.page(text), "run `make docs`"


@pytest.mark.parametrize("name", EVERY)
def test_each_command_and_each_option_has_help(name):
    command = main.commands[name]
    assert command.help
    assert command.get_short_help_str(200)
    assert [one.name for one in command.params if isinstance(one, click.Option) and not one.help] == []
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"### `cogmeter {name}" in page
    for one in command.params:
        assert all(f"{option}" in page for option in one.opts if option.startswith("-"))


def test_the_list_of_commands_describes_each_in_words_that_are_not_cut(cogmeter):
    lines = cogmeter("--help", COLUMNS="80")[1].split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(main.commands)
    assert [line for line in lines if not line.endswith(".") or "..." in line] == []


@pytest.mark.parametrize("name", ["summary", "stats", "alerts", "errors", "slow", "live", "doctor"])
def test_every_reading_command_has_the_common_options(name):
    known = {option for one in main.commands[name].params for option in one.opts}
    assert known >= {"--since", "--until", "--period", "--services", "--json", "--check", "--url", "--token"}
