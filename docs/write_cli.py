"""Writes the commands and options into ``docs/cli.md`` from the command line itself: ``make docs``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent / "cli.md"
BEGIN, END = "<!-- commands: begin -->", "<!-- commands: end -->"


def section(name: str, command: click.Command) -> Iterator[str]:
    """Yield the section of one command: its usage, help text and options."""
    with click.Context(command, info_name=name) as context:
        arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
        options = [param for param in command.params if isinstance(param, click.Option)]
        yield f"### `{' '.join(['cogmeter', name, *arguments])}`\n"
        yield _text(command.help or "")
        if options:
            yield "| Option | Description |\n| --- | --- |"
            for option in options:
                yield _row(*(option.get_help_record(context) or ("", "")))
            yield ""


def _text(help_text: str) -> str:
    """Return a help text as Markdown: a paragraph that click must not rewrap becomes a code block."""
    parts = inspect.cleandoc(help_text).split("\n\n")
    return "\n\n".join(_block(part) if part.startswith("\b") else part for part in parts) + "\n"


def _block(part: str) -> str:
    return "```text\n" + part.removeprefix("\b").strip() + "\n```"


def _row(names: str, description: str) -> str:
    cells = (f"`{names}`", description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def commands() -> str:
    """Return all sections, in the order of the table of commands."""
    return "\n".join(line for name, command in main.commands.items() for line in section(name, command)).rstrip()


def page(text: str) -> str:
    """Return the page's text with its commands updated."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{commands()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
