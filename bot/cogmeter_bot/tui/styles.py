"""Colours by meaning, from the theme, so that they hold on dark and on light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual.color import Color

from cogmeter_bot.cli.output import BAD, DIM, GOOD, WARN
from cogmeter_bot.cli.terminal_text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter_bot.cli.output import Cell

# What the command line's styles are in a theme.
TONES: Final[Mapping[str, str]] = {
    GOOD: "text-success",
    WARN: "text-warning",
    BAD: "text-error",
    DIM: "foreground-muted",
    "main": "text-primary",
}


def tone(variables: Mapping[str, str], style: str) -> Color | None:
    """The theme's colour for a style; None for plain text."""
    name = TONES.get(style)
    found = variables.get(name) if name is not None else None
    return None if found is None else Color.parse(found)


def painted(variables: Mapping[str, str], *cells: Cell, justify_right: bool = False) -> Text:
    """Texts one behind the other, each in its colour. Nothing in them is taken for markup."""
    made = Text(no_wrap=True, overflow="ellipsis", justify="right" if justify_right else "left", end="")
    for cell in cells:
        words, style = (cell, "") if isinstance(cell, str) else cell
        colour = tone(variables, style)
        bold = "bold" if style in {BAD, "bold"} else ""
        # The theme's muted text is the plain one, half seen through.
        dim = "dim" if style == DIM else ""
        shade = "" if colour is None or colour.a < 1 else colour.hex6
        made.append(safe(words), style=" ".join(part for part in (bold, dim, shade) if part))
    return made
