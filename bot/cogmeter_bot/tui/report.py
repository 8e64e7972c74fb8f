"""A text over the view: what happened in an interval, why a service is slow, a comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from cogmeter_bot.cli.output import BAD, DIM, LabelledValue, OutputPage, Table, rich
from cogmeter_bot.tui.styles import rich_style, styled_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from textual.app import ComposeResult

    from cogmeter_bot.cli.output import Block, Cell
    from cogmeter_bot.sources.base import Source


class ReportScreen(ModalScreen[None]):
    """A page of the command line, which can be scrolled; the application reads its data."""

    BINDINGS: ClassVar = [Binding("escape,q", "dismiss", "Close")]

    def __init__(self, read: Callable[[Source], Awaitable[OutputPage]]) -> None:
        """``read`` returns the page; it may raise a SourceError."""
        super().__init__()
        self.read = read
        self.complete = False  # the page was read, or cannot be read
        self._page: OutputPage | None = None

    def compose(self) -> ComposeResult:
        """Yield the text."""
        with VerticalScroll(id="report") as box:
            box.border_subtitle = "arrows scroll, Esc closes"
            yield Static("loading ...", id="report-text", markup=False)

    def on_mount(self) -> None:
        """Send keys to the text."""
        self.query_one("#report").focus()

    def on_resize(self) -> None:
        """Fit the tables to the new width."""
        self.call_after_refresh(self._draw)

    def show_page(self, page: OutputPage) -> None:
        """Show the page."""
        self._page, self.complete = page, True
        self._draw()

    def show_problem(self, text: str, *, final: bool) -> None:
        """Show why there is no page; ``final`` if another attempt would be in vain."""
        self.complete = final
        self.query_one("#report-text", Static).update(styled_text(self.app.theme_variables, (text, BAD), wrap=True))

    def _draw(self) -> None:
        if self._page is None:
            return
        colours, width = self.app.theme_variables, self.query_one("#report").scrollable_content_region.width
        page = OutputPage(self._page.title, [_themed(block, colours) for block in self._page.blocks])
        self.query_one("#report-text", Static).update(rich(page, width))


def _themed(block: Block, colours: Mapping[str, str]) -> Block:
    """Return a block with the theme's colours instead of the terminal's, which a light theme may make unreadable."""
    if isinstance(block, LabelledValue):
        return replace(block, style=rich_style(colours, block.style)) if block.style else block
    if isinstance(block, Table):
        return replace(block, rows=[[_themed_cell(cell, colours) for cell in row] for row in block.rows])
    return block


def _themed_cell(cell: Cell, colours: Mapping[str, str]) -> Cell:
    return cell if isinstance(cell, str) or cell[1] == DIM else (cell[0], rich_style(colours, cell[1]))
