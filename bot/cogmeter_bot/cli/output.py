"""What a command shows, and the two ways to show it: plain text, or tables and colours on a terminal."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cogmeter_bot.cli.terminal_text import echo, safe, safe_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel
    from rich.console import Console, RenderableType

UNDERLINE: Final = "=" * 35  # as long as the guide draws it, under every title
LEAST_WIDTH: Final = 60  # columns
LEAST_CELLS: Final = 6  # of a column that is cut
GOOD, WARN, BAD, DIM = "green", "yellow", "bold red", "dim"


@dataclass(frozen=True, slots=True)
class LabelledValue:
    """``label: value``, and the colour of the value."""

    label: str
    value: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A headed list; its items bear their own numbers or dashes."""

    title: str
    items: Sequence[str]
    cut: bool = False  # on a terminal, so that each stays on its line


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; it is left out where the terminal has fewer columns than it ``needs``."""

    title: str
    right: bool = False
    needs: int = 0
    style: str = ""
    flexible: bool = False  # takes what room is left, and is cut
    wraps: bool = False  # or goes on in the next line


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; a cell may come with its colour."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


Cell: TypeAlias = "str | tuple[str, str]"
Block: TypeAlias = "LabelledValue | Listing | Table | str"  # a plain text is a paragraph


@dataclass(frozen=True, slots=True)
class OutputPage:
    """A title and what stands below it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def is_rich() -> bool:
    """Whether to show tables and colours: on a terminal that can."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """The terminal; it takes nothing of what it is given for markup, and honours NO_COLOR."""
    from rich.console import Console

    made = Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
    made.width = max(made.width, LEAST_WIDTH)
    return made


def show(page: OutputPage) -> None:
    """Print a page."""
    if not is_rich():
        echo("\n".join(plain(page)))
        return
    screen = console()
    screen.print(rich(page, screen.width))


def show_json(*answers: BaseModel) -> None:
    """Print an answer as JSON; several of them as a list."""
    texts = [safe_json(one.model_dump_json(indent=2)) for one in answers]
    if len(texts) == 1:
        echo(texts[0])
        return
    echo("[\n" + ",\n".join(texts) + "\n]")


def plain(page: OutputPage) -> Iterator[str]:
    """The lines of a page as text alone."""
    yield page.title
    yield UNDERLINE
    before: Block | None = None
    for block in page.blocks:
        if isinstance(block, LabelledValue):
            yield from [""] if before is not None and not isinstance(before, LabelledValue) else []
            yield f"{block.label}: {block.value}"
        else:
            yield from [""] if before is not None else []
            yield from _plain(block)
        before = block


def _plain(block: Listing | Table | str) -> Iterator[str]:
    from rich.cells import cell_len

    if isinstance(block, str):
        yield block
        return
    if block.title:
        yield f"{block.title}:"
    if isinstance(block, Listing):
        yield from block.items
        return
    rows = [[column.title for column in block.columns], *([_text(cell) for cell in row] for row in block.rows)]
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(block.columns))]
    for row in rows:
        cells = zip(row, widths, block.columns, strict=True)
        yield "  ".join(_padded(*cell) for cell in cells).rstrip()


def _padded(cell: str, width: int, column: Column) -> str:
    from rich.cells import cell_len

    room = " " * (width - cell_len(cell))  # wide letters take two columns each
    return room + cell if column.right else cell + room


def rich(page: OutputPage, width: int) -> RenderableType:
    """A page for a terminal of so many columns."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(safe(page.title), "bold"), Text(UNDERLINE, DIM)]
    before: Block | None = None
    for block in page.blocks:
        facts = isinstance(block, LabelledValue) and (before is None or isinstance(before, LabelledValue))
        if before is not None and not facts:
            parts.append(Text())
        parts.append(_rich(block, width))
        before = block
    return Group(*parts)


def _rich(block: Block, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if isinstance(block, str):
        return Text(safe(block))
    if isinstance(block, LabelledValue):
        return Text.assemble((f"{safe(block.label)}: ", ""), (safe(block.value), block.style or "bold"))
    head = [Text(f"{block.title}:", "bold")] if block.title else []
    if isinstance(block, Listing):
        kept: Any = {"no_wrap": True, "overflow": "ellipsis"} if block.cut else {}
        return Group(*head, *(Text(safe(one), **kept) for one in block.items))
    return Group(*head, _table(block, width))


def _table(block: Table, width: int) -> RenderableType:
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = [place for place, column in enumerate(block.columns) if column.needs <= width]
    looks: Any = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    made: Any = RichTable(header_style="bold", **looks)
    texts = [[block.columns[place].title, *(_text(row[place]) for row in block.rows)] for place in shown]
    natural = [max(map(cell_len, column)) for column in texts]
    room = fitted(natural, [block.columns[place].flexible for place in shown], width - 2 * len(shown) - 1)
    for place, cells in zip(shown, room, strict=True):
        column = block.columns[place]
        align: Any = "right" if column.right else "left"
        kept = {"no_wrap": not column.wraps, "overflow": "fold" if column.wraps else "ellipsis"}
        made.add_column(column.title, justify=align, style=column.style, width=cells, **kept)
    for row in block.rows:
        made.add_row(*(Text(_text(row[place]), _style(row[place])) for place in shown))
    return made  # type: ignore[no-any-return]  # rich's table is typed by what it is shown as


def fitted(natural: Sequence[int], flexible: Sequence[bool], width: int) -> list[int]:
    """How many columns of the terminal each column of a table gets.

    What is not flexible is never cut: figures and times without their ends would tell something else. What is left is
    shared by the others; who needs less than an equal share leaves the rest to those that need more.
    """
    given = list(natural)
    left = width - sum(size for size, cut in zip(natural, flexible, strict=True) if not cut)
    waiting = sorted((place for place, cut in enumerate(flexible) if cut), key=natural.__getitem__)
    while waiting:
        place = waiting.pop(0)
        given[place] = max(min(natural[place], left // (len(waiting) + 1)), LEAST_CELLS)
        left -= given[place]
    return given


def _text(cell: Cell) -> str:
    return safe(cell if isinstance(cell, str) else cell[0])


def _style(cell: Cell) -> str:
    return "" if isinstance(cell, str) else cell[1]
