"""``cogmeter config``: the settings that hold, and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.error_output import told
from cogmeter_bot.cli.terminal_text import echo, safe_json

if TYPE_CHECKING:
    from cogmeter_bot.effective_settings import EffectiveSetting

NOT_SET: Final = "(not set)"


@click.command()
@click.option("--changed", is_flag=True, help="Only those that are not at their defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(changed: bool, as_json: bool) -> None:
    """Print the settings that hold, and where each comes from.

    That is the environment, .env or the default. Tokens, keys and webhook addresses are not shown, only whether they
    are set.
    """
    from cogmeter_bot.effective_settings import effective

    with told():
        found = effective()
    shown = [one for one in found if not changed or one.origin != "default"]
    if as_json:
        import json

        documents = [{"name": one.name, "value": one.value, "origin": one.origin} for one in shown]
        echo(safe_json(json.dumps(documents, indent=2)))
        return
    _show(shown)


def _show(found: list[EffectiveSetting]) -> None:
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import DIM, Column, OutputPage, Table, show

    columns = [Column("setting"), Column("value", flexible=True), Column("from")]
    rows = [
        (
            one.name,
            (guide_format.line(one.value or NOT_SET), "" if one.value else DIM),
            (one.origin, _colour(one.origin)),
        )
        for one in found
    ]
    show(OutputPage("Settings", [Table(columns, rows)] if rows else ["All at their defaults."]))


def _colour(origin: str) -> str:
    return {"default": "dim", ".env": "cyan"}.get(origin, "green")
