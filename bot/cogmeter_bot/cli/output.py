"""The output of a command: a page of blocks, shown as plain text, or with tables and colours on a terminal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from cogmeter_bot.cli.text import echo, safe, safe_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel
    from rich.console import Console, RenderableType

UNDERLINE: Final = "=" * 35  # the guide draws it in this length under every title
MIN_TERMINAL_WIDTH: Final = 60  # columns
MIN_COLUMN_WIDTH: Final = 6  # the least width to which a column is cut, when no other column can be hidden
GOOD, WARN, BAD, DIM = "green", "yellow", "bold red", "dim"


@dataclass(frozen=True, slots=True)
class LabelledValue:
    """A line ``label: value``, with the colour of the value."""

    label: str
    value: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list with a title; its items include their numbers or dashes."""

    title: str
    items: Sequence[str]
    cut: bool = False  # on a terminal, cut each item to one line


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    hides: int = 0  # where columns do not fit, the one with the highest number is hidden first; 0: never
    style: str = ""
    flexible: bool = False  # gets the remaining width, and is cut to it
    least: int = 12  # of a flexible column: with less width than this, other columns are hidden
    wraps: bool = False  # continues on the next line instead of being cut


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


Cell: TypeAlias = "str | tuple[str, str]"  # a text, or a text and its colour
Block: TypeAlias = "LabelledValue | Listing | Table | str"  # a plain text is a paragraph


@dataclass(frozen=True, slots=True)
class OutputPage:
    """A title and the blocks below it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def is_rich() -> bool:
    """Return whether standard output is a terminal that can show tables and colours."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Return the terminal, without markup in text; it honours NO_COLOR."""
    from rich.console import Console

    terminal = Console(markup=False, highlight=False, emoji=False, soft_wrap=False)
    terminal.width = max(terminal.width, MIN_TERMINAL_WIDTH)
    return terminal


def show(page: OutputPage) -> None:
    """Print a page."""
    if not is_rich():
        echo("\n".join(plain(page)))
        return
    terminal = console()
    terminal.print(rich(page, terminal.width))


def show_json(*documents: BaseModel) -> None:
    """Print a document as JSON; several documents as a list."""
    texts = [safe_json(document.model_dump_json(indent=2)) for document in documents]
    echo(texts[0] if len(texts) == 1 else "[\n" + ",\n".join(texts) + "\n]")


def plain(page: OutputPage) -> Iterator[str]:
    """Yield the lines of a page as plain text."""
    yield page.title
    yield UNDERLINE
    previous: Block | None = None
    for block in page.blocks:
        if _is_separated(block, previous):
            yield ""
        yield from _plain(block)
        previous = block


def _is_separated(block: Block, previous: Block | None) -> bool:
    """Return whether an empty line precedes the block: not between two labelled values."""
    return previous is not None and not (isinstance(block, LabelledValue) and isinstance(previous, LabelledValue))


def _plain(block: Block) -> Iterator[str]:
    if isinstance(block, str):
        yield block
        return
    if isinstance(block, LabelledValue):
        yield f"{block.label}: {block.value}"
        return
    if block.title:
        yield f"{block.title}:"
    yield from block.items if isinstance(block, Listing) else _plain_table(block)


def _plain_table(table: Table) -> Iterator[str]:
    from rich.cells import cell_len

    table = _filled(table)
    rows = [[column.title for column in table.columns], *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, table.columns, strict=True)
        yield "  ".join(_padded(*cell) for cell in cells).rstrip()


def _filled(table: Table) -> Table:
    """Return the table without columns that may be hidden and are empty in every row."""
    kept = [
        index
        for index, column in enumerate(table.columns)
        if not column.hides or not table.rows or any(_text(row[index]) for row in table.rows)
    ]
    rows = [[row[index] for index in kept] for row in table.rows]
    return Table([table.columns[index] for index in kept], rows, table.title)


def _padded(text: str, width: int, column: Column) -> str:
    from rich.cells import cell_len

    padding = " " * (width - cell_len(text))  # wide characters take two columns each
    return padding + text if column.right else text + padding


def rich(page: OutputPage, width: int) -> RenderableType:
    """Return a page with tables and colours for a terminal of this width."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(safe(page.title), "bold"), Text(UNDERLINE, DIM)]
    previous: Block | None = None
    for block in page.blocks:
        if _is_separated(block, previous):
            parts.append(Text())
        parts.append(_rich(block, width))
        previous = block
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
        layout: Any = {"no_wrap": True, "overflow": "ellipsis"} if block.cut else {}
        return Group(*head, *(Text(safe(item), **layout) for item in block.items))
    return Group(*head, _rich_table(block, width))


def _rich_table(table: Table, width: int) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = _filled(table)
    visible, widths = fit_columns(table.columns, table.rows, width - 1, gap=2)
    layout: Any = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    rich_table: Any = RichTable(header_style="bold", **layout)
    for index, cells in zip(visible, widths, strict=True):
        column = table.columns[index]
        overflow: Any = {"no_wrap": not column.wraps, "overflow": "fold" if column.wraps else "ellipsis"}
        justify: Any = "right" if column.right else "left"
        rich_table.add_column(column.title, justify=justify, style=column.style, width=cells, **overflow)
    for row in table.rows:
        rich_table.add_row(*(Text(_text(row[index]), _style(row[index])) for index in visible))
    return rich_table  # type: ignore[no-any-return]  # Any, because rich types a table only as something to render


def fit_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, *, gap: int
) -> tuple[list[int], list[int]]:
    """Return the indexes of the columns that fit into ``width``, ``gap`` included, and their widths.

    While the flexible columns have less than their least widths, the least important column is hidden.
    """
    from rich.cells import cell_len

    natural = [
        max(cell_len(column.title), *(cell_len(_text(row[index])) for row in rows), 0)
        for index, column in enumerate(columns)
    ]
    needed = [
        min(size, column.least) if column.flexible else size for size, column in zip(natural, columns, strict=True)
    ]
    visible = list(range(len(columns)))
    while sum(needed[index] + gap for index in visible) > width:
        least_important = max(visible, key=lambda index: columns[index].hides)
        if not columns[least_important].hides:
            break
        visible.remove(least_important)
    widths = [needed[index] for index in visible]
    if sum(widths) + gap * len(visible) > width:  # no other column can be hidden
        widths = [
            min(needed[index], MIN_COLUMN_WIDTH) if columns[index].flexible else needed[index] for index in visible
        ]
    return visible, _shared([natural[index] for index in visible], widths, width - gap * len(visible))


def _shared(natural: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Return the widths of columns that share ``width`` equally, from their least widths up to their natural ones.

    A column that needs less leaves the rest to the others. An inflexible column has its natural width from the start:
    a number or a time without its end would be wrong.
    """
    widths, remaining = list(least), width - sum(least)
    waiting = sorted(range(len(widths)), key=lambda index: natural[index] - widths[index])
    for position, index in enumerate(waiting):
        extra = max(min(natural[index] - widths[index], remaining // (len(waiting) - position)), 0)
        widths[index] += extra
        remaining -= extra
    return widths


def _text(cell: Cell) -> str:
    return safe(cell if isinstance(cell, str) else cell[0])


def _style(cell: Cell) -> str:
    return "" if isinstance(cell, str) else cell[1]


class ProgressStep(Protocol):
    """A callback that updates a progress bar."""

    def __call__(self, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` are done; None if the total is not known."""
        ...


@contextmanager
def progress(title: str, unit: str) -> Iterator[ProgressStep]:
    """Show a progress bar on standard error while the block runs, if it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005 - nothing to update
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def step(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=None if total is None else max(done, total))

        yield step
