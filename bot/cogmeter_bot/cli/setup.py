"""``cogmeter init``, ``config`` and ``completion``: the settings of the bot, and the completion of the shell."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cogmeter_bot.cli.exits import Failure, reporting_errors
from cogmeter_bot.cli.options import database_option
from cogmeter_bot.cli.output import DIM, Column, OutputPage, Table, show
from cogmeter_bot.cli.text import echo, one_line, safe_json
from cogmeter_bot.errors import WRONG_USAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.settings import Settings
    from cogmeter_bot.settings import EffectiveSetting

QUESTIONS: Final = (  # fields of the settings
    ("alert_channel_id", "Id of the channel for alerts (empty: none)"),
    ("alert_threshold_error_rate", "Alert above this error rate, 0 to 1"),
    ("alert_threshold_response_time", "Alert above this response time in milliseconds (empty: learned)"),
    ("alert_threshold_operations_per_minute", "Alert above this many operations/min of one service (empty: learned)"),
)
INTRODUCTION: Final = """\
There are two ways to use cogmeter:
1. In your own bot, which loads it with one line. Leave the token empty: your bot has its own.
2. In the example bot of this package, which needs the token of a bot.
Enter keeps the value in brackets, or leaves a setting out."""
NEXT_STEPS: Final = """
1. Your own bot: start it in the folder of this file, with one more line:
     await bot.load_extension("cogmeter.cog")   # in setup_hook of a commands.Bot
     cogmeter.attach(client)                    # before client.run(), for a discord.Client
2. The example bot: start it with `cogmeter run`.

Then use /perf setup in Discord. `cogmeter config` lists all settings, and `cogmeter doctor` checks the running bot."""
WITH_DEFAULT: Final = {"alert_threshold_error_rate"}  # others are left out where the answer is empty
ORIGIN_COLOURS: Final = {"chat": "yellow", "default": "dim", ".env": "cyan", "environment": "green"}


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
    existing file is replaced only after a confirmation, and kept as .env.bak. The file is for the example bot, or for
    your own bot, which loads the extension cogmeter.cog.
    """
    if not os.access(path.absolute().parent, os.W_OK):
        raise Failure(f"{path} cannot be written: {path.parent} is not a writable folder.", WRONG_USAGE)
    if path.exists() and not click.confirm(f"{path} already exists. Replace it (and keep it as {path}.bak)?"):
        raise Failure(f"{path} was not changed.")
    echo(INTRODUCTION)
    token = _prompt_token()
    lines = [f"DISCORD_TOKEN={token}"] if token else ["# DISCORD_TOKEN="]
    lines += [_prompt(field, question) for field, question in QUESTIONS]
    try:
        _write(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}.") from error
    echo(f"\nWrote {path}, which only you can read.\n{NEXT_STEPS}")


def _prompt_token() -> str:
    """Return a token of the right shape, or an empty text. On a terminal, prompt again until it is one."""
    from cogmeter_bot.settings import token_fault

    hidden = sys.stdin.isatty()  # elsewhere nothing is echoed, and hiding would print a warning
    while True:
        answer = click.prompt("Token of the example bot (empty: none)", "", hide_input=hidden, show_default=False)
        token: str = answer.strip()
        fault = token_fault(token) if token else ""
        if not fault:
            return token
        if not hidden:
            raise Failure(f"{fault} Nothing was written.")
        echo(f"{fault} Or leave it empty.", err=True)


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
@database_option
def config(changed: bool, as_json: bool, database: Path | None) -> None:
    """Show the settings in effect and their origin.

    The origin is chat (`/perf setup`, stored in the bot's database), the environment, .env or the default. Tokens,
    keys and webhook addresses are hidden.
    """
    from cogmeter.settings import load_settings
    from cogmeter_bot.settings import effective_settings

    with reporting_errors():
        configured = load_settings()
        in_chat, problem = _changed_in_chat(configured, database)
        settings = [
            setting for setting in effective_settings(configured, in_chat) if not changed or setting.origin != "default"
        ]
    if problem:
        echo(problem, err=True)
    if as_json:
        import json

        echo(safe_json(json.dumps([setting._asdict() for setting in settings], indent=2)))
    else:
        show(_config_page(settings))


def _changed_in_chat(settings: Settings, database: Path | None) -> tuple[Mapping[str, str], str]:
    """Return the settings that were changed in chat, and why they are not known; the bot may not have started yet."""
    import asyncio

    from cogmeter.settings import merged
    from cogmeter_bot.sources.factory import database_url
    from cogmeter_storage import StorageError, open_store
    from cogmeter_storage.factory import database_file

    url = database_url(settings, database)

    async def read() -> Mapping[str, str]:
        store = await open_store(url, read_only=True)
        try:
            return merged(settings, await store.alerting.overrides()).changed
        finally:
            await store.close()

    try:
        file = database_file(url)
        if database is None and file is not None and not file.exists():
            return {}, ""
        return asyncio.run(read()), ""
    except StorageError as error:
        return {}, f"Settings that were changed in chat are not shown: {error}"


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
