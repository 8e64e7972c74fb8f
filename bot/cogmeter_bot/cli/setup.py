"""``cogmeter init``, ``config`` and ``completion``: the settings of the bot, and the completion of the shell."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cogmeter_bot.cli.exits import Failure, reporting_errors
from cogmeter_bot.cli.output import DIM, Column, OutputPage, Table, show
from cogmeter_bot.cli.text import echo, one_line, safe_json
from cogmeter_bot.errors import WRONG_USAGE

if TYPE_CHECKING:
    from cogmeter_bot.settings import EffectiveSetting

QUESTIONS: Final = (  # fields of the settings
    ("alert_channel_id", "Id of the channel for alerts (empty: none)"),
    ("alert_threshold_error_rate", "Alert above this error rate, 0 to 1"),
    ("alert_threshold_response_time", "Alert above this response time in milliseconds (empty: learned)"),
    ("alert_threshold_operations_per_minute", "Alert above this many operations/min of one service (empty: learned)"),
)
WITH_DEFAULT: Final = {"alert_threshold_error_rate"}  # others are left out where the answer is empty
ORIGIN_COLOURS: Final = {"default": "dim", ".env": "cyan", "environment": "green"}


@click.command()
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".env"),
    show_default=True,
    help="The file to write.",
)
def init(path: Path) -> None:
    """Create .env interactively.

    The command prompts for the bot's token, the alert channel and the alert thresholds, and checks every answer. An
    existing file is replaced only after a confirmation, and kept as .env.bak.
    """
    if not os.access(path.absolute().parent, os.W_OK):
        raise Failure(f"{path} cannot be written: {path.parent} is not a writable folder.", WRONG_USAGE)
    if path.exists() and not click.confirm(f"{path} already exists. Replace it (and keep it as {path}.bak)?"):
        raise Failure(f"{path} was not changed.")
    hidden = sys.stdin.isatty()  # elsewhere nothing is echoed, and hiding would print a warning
    token = click.prompt("The bot's token (empty: none)", default="", hide_input=hidden, show_default=False)
    lines = [f"DISCORD_TOKEN={_check_token(token)}"] if token.strip() else ["# DISCORD_TOKEN="]
    lines += [_prompt(field, question) for field, question in QUESTIONS]
    try:
        _write(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}.") from error
    echo(f"Wrote {path}. Start the bot with `cogmeter run`. All other settings are in .env.example.")


def _check_token(text: str) -> str:
    token = text.strip()
    if not (token.isascii() and token.isprintable()) or set(token) & set(" \"'#$\\"):
        raise Failure("The token contains characters that no token has. Nothing was written.")
    return token


def _prompt(field: str, question: str) -> str:
    """Return the line of one setting; prompt again until the answer is valid."""
    from cogmeter.settings import env_name, example

    default = example(field) if field in WITH_DEFAULT else ""
    value: str = click.prompt(
        question, default=default, show_default=bool(default), value_proc=lambda answer: _check_value(field, answer)
    )
    return f"{env_name(field)}={value}" if value else f"# {env_name(field)}="


def _check_value(field: str, answer: Any) -> str:
    """Return a valid answer; click prompts again after a UsageError."""
    from cogmeter.settings import fault_of

    value = str(answer).strip()
    if value and (fault := fault_of(field, value)):
        raise click.UsageError(f"{fault}.")
    return value


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, and keep the previous file."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.bak"))
    Path(temporary).replace(path)


@click.command()
@click.option("--changed", is_flag=True, help="Show only settings that differ from their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(changed: bool, as_json: bool) -> None:
    """Show the configured settings and their origin.

    The origin is the environment, .env or the default. What `/perf setup` changed is in the bot's database and not
    shown. Tokens, keys and webhook addresses are hidden.
    """
    from cogmeter_bot.settings import effective_settings

    with reporting_errors():
        settings = [setting for setting in effective_settings() if not changed or setting.origin != "default"]
    if as_json:
        import json

        echo(safe_json(json.dumps([setting._asdict() for setting in settings], indent=2)))
    else:
        show(_config_page(settings))


def _config_page(settings: list[EffectiveSetting]) -> OutputPage:
    if not settings:
        return OutputPage("Settings", ["All settings have their defaults."])
    columns = [Column("setting"), Column("value", flexible=True), Column("origin")]
    rows = [
        (
            setting.name,
            (one_line(setting.value or "(not set)"), "" if setting.value else DIM),
            (setting.origin, ORIGIN_COLOURS[setting.origin]),
        )
        for setting in settings
    ]
    return OutputPage("Settings", [Table(columns, rows)])


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the script that completes commands and names in SHELL.

    \b
    bash: cogmeter completion bash > ~/.local/share/bash-completion/completions/cogmeter
    zsh:  cogmeter completion zsh > "${fpath[1]}/_cogmeter"
    fish: cogmeter completion fish > ~/.config/fish/completions/cogmeter.fish
    """  # noqa: D301 - click reads the character \b and does not wrap the lines below it
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    command = click.get_current_context().find_root().command
    script = completion_class(command, {}, "cogmeter", "_COGMETER_COMPLETE")
    click.echo(script.source_template % script.source_vars())  # source() would start the shell to check its version
