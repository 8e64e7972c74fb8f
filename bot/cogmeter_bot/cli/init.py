"""``cogmeter init``: writes ``.env`` by asking."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from cogmeter_bot.cli.error_output import WRONG_USAGE, Failure
from cogmeter_bot.cli.terminal_text import echo

QUESTIONS: Final = (  # fields of the settings
    ("alert_channel_id", "Id of the channel for alerts (empty: none)"),
    ("alert_threshold_error_rate", "Alert above this error rate, 0 to 1"),
    ("alert_threshold_response_time", "Alert above this response time, in milliseconds"),
    ("alert_threshold_operations_per_minute", "Alert above this many operations a minute of one service"),
)


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
    """Write .env by asking.

    It asks for the bot's token, the channel for alerts and their thresholds. Every answer is checked. A file that
    exists is replaced only after a yes, and kept beside the new one as .env.bak.
    """
    if not os.access(path.absolute().parent, os.W_OK):
        said = f"{path} cannot be written: {path.parent} is no folder that you may write in."
        raise Failure(said, WRONG_USAGE)
    if path.exists() and not click.confirm(f"{path} exists already. Replace it (it is kept as {path}.bak)?"):
        raise Failure(f"{path} was left as it is.")
    hidden = sys.stdin.isatty()  # elsewhere nothing is echoed, and hiding it would warn
    token = click.prompt("The bot's token (empty: none)", default="", hide_input=hidden, show_default=False)
    lines = [f"DISCORD_TOKEN={_token(token)}"] if token.strip() else ["# DISCORD_TOKEN="]
    for field, question in QUESTIONS:
        lines.append(_asked(field, question))
    try:
        _write(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}.") from error
    echo(f"Wrote {path}. Start the bot by `cogmeter run`; all other settings are in .env.example.")


def _token(text: str) -> str:
    plain = text.strip()
    if not (plain.isascii() and plain.isprintable()) or set(plain) & set(" \"'#$\\"):
        raise Failure("That is no token: it holds blanks or signs that none has. Nothing was written.")
    return plain


def _asked(field: str, question: str) -> str:
    """The line of one setting; asked again until it can be."""
    from cogmeter.settings import env_name, example

    default = "" if field == "alert_channel_id" else example(field)
    text: str = click.prompt(
        question, default=default, show_default=bool(default), value_proc=lambda given: _checked(field, given)
    )
    return f"{env_name(field)}={text}" if text else f"# {env_name(field)}="


def _checked(field: str, given: Any) -> str:
    """The answer, if the setting takes it; click asks again after a UsageError."""
    from cogmeter.settings import fault_of

    text = str(given).strip()
    if text and (fault := fault_of(field, text)):
        raise click.UsageError(f"{fault}.")
    return text


def _write(path: Path, text: str) -> None:
    """Write it for this user's eyes alone; the file before is kept beside it."""
    number, part = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")  # readable by its owner alone
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(text)
    if path.exists():
        path.replace(path.with_name(f"{path.name}.bak"))
    Path(part).replace(path)
