"""Colours by meaning, from the theme, readable on dark and on light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual.color import Color

from cogmeter_bot.cli.output import BAD, DIM, GOOD, WARN
from cogmeter_bot.cli.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter_bot.cli.output import Cell

THEME_COLOURS: Final[Mapping[str, str]] = {  # by the styles of the command line
    GOOD: "text-success",
    WARN: "text-warning",
    BAD: "text-error",
    DIM: "foreground-muted",
    "main": "text-primary",
}


def colour_of(variables: Mapping[str, str], style: str) -> Color | None:
    """Return the theme's colour for a style; None for plain text."""
    name = THEME_COLOURS.get(style)
    value = variables.get(name) if name is not None else None
    return None if value is None else Color.parse(value)


def rich_style(variables: Mapping[str, str], style: str) -> str:
    """Return the theme's style, for rich, of a style of the command line."""
    colour = colour_of(variables, style)
    bold = "bold" if style in {BAD, "bold"} else ""
    # The theme's muted text is the plain text, half transparent.
    dim = "dim" if style == DIM else ""
    shade = "" if colour is None or colour.a < 1 else colour.hex6
    return " ".join(part for part in (bold, dim, shade) if part)


def styled_text(variables: Mapping[str, str], *cells: Cell, justify_right: bool = False, wrap: bool = False) -> Text:
    """Return the cells as one text, each in its colour, without markup."""
    text = Text(no_wrap=not wrap, overflow="ellipsis", justify="right" if justify_right else "left", end="")
    for cell in cells:
        words, style = (cell, "") if isinstance(cell, str) else cell
        text.append(safe(words), style=rich_style(variables, style))
    return text
