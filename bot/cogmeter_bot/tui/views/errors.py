"""The view of errors: groups by type and place, and failed operations of unknown place by their text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.containers import VerticalScroll
from textual.widgets import Static

from cogmeter.recording.frames import frame_text
from cogmeter.render.error_text import happened_text
from cogmeter_bot.cli.errors import NO_ERRORS, error_line, error_report, people_text, place_text, state_text
from cogmeter_bot.cli.output import BAD, DIM, Column
from cogmeter_bot.cli.text import duration, one_line, short_timestamp, zoned
from cogmeter_bot.errors import RequestError
from cogmeter_bot.tui.grid import Grid, GridRow
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.tui.views.base import DashboardView
from cogmeter_storage.errors import headline
from cogmeter_storage.model import ERROR_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.errors import ErrorGroupAnswer, ErrorGroupDetail, ErrorGroupSummary, ErrorReport
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source

MAX_GROUPS: Final = 500


class ErrorsData(NamedTuple):
    """All groups, and the details of the selected one."""

    report: ErrorReport
    detail: ErrorGroupDetail | None


class ErrorsView(DashboardView[ErrorsData]):
    """The table of groups: those with a place first, then failures by text; each part the largest first."""

    NAME: ClassVar[str] = "Errors"

    def compose(self) -> ComposeResult:
        """Yield the table, and the stack or the newest failure of the selected group."""
        yield Grid("Errors", _columns(), empty=NO_ERRORS, id="error-groups")
        with VerticalScroll(id="error-details", classes="details"):
            yield Static(id="example")

    async def read(self, source: Source, time_range: Range) -> ErrorsData:
        """Implement DashboardView.read."""
        report = await error_report(source, None, None, time_range)
        number = self._selected_number()
        if number is None and report.error_groups:
            number = report.error_groups[0].id
        try:
            return ErrorsData(report, None if number is None else await source.error_group(number))
        except RequestError:  # it was removed since the last refresh
            return ErrorsData(report, None)

    def draw(self, data: ErrorsData) -> None:
        """Implement DashboardView.draw."""
        groups, failures = self._groups(data), self._failures(data)
        errors = sum(group.count for group in groups) + sum(group.count for group in failures)
        truncated = ", of the newest 20,000 failures" if data.report.truncated else ""
        grid = self.query_one(Grid)
        grid.set_title(f"Errors ({errors:,} in {len(groups) + len(failures)} groups{truncated})")
        grid.set_rows([*(_group_row(group, data.report) for group in groups), *map(_failure_row, failures)])
        self._show_selected()

    def on_data_table_row_highlighted(self) -> None:
        """Show the selected group; read its details if they are not known."""
        self._show_selected()
        number = self._selected_number()
        if number is not None and self._data is not None and _number(self._data.detail) != number:
            self.app.action_refresh_now()  # type: ignore[attr-defined]  # the application is a DashboardApp

    def _selected_number(self) -> int | None:
        """Return the id of the selected error group; None for failures by text."""
        selected = self.query_one(Grid).selected
        return None if selected is None or not selected.key.isdecimal() else int(selected.key)

    def _groups(self, data: ErrorsData) -> list[ErrorGroupSummary]:
        return [
            group
            for group in data.report.error_groups
            if self.matches(
                group.kind,
                error_line(group),
                place_text(group),
                *(name for place in group.operations for name in (place.service, place.operation)),
            )
        ]

    def _failures(self, data: ErrorsData) -> list[ErrorGroupAnswer]:
        return [
            group
            for group in data.report.groups
            if group.group_id is None and self.matches(group.service, group.operation, group.outcome, group.error)
        ]

    def _show_selected(self) -> None:
        selected, data = self.query_one(Grid).selected, self._data
        cells: list[Cell] = []
        if data is not None and selected is not None:
            failures = next((group for group in self._failures(data) if _key(group) == selected.key), None)
            group = next((group for group in self._groups(data) if str(group.id) == selected.key), None)
            if failures is not None:
                cells = _failure_cells(failures)
            elif group is not None:
                known = data.detail is not None and data.detail.group.id == group.id
                cells = [*_group_cells(group, data.report), *(_stack_cells(data.detail) if known else ())]
        self.query_one("#error-details").set_class(selected is not None and selected.key.isdecimal(), "stack")
        self.query_one("#example", Static).update(styled_text(self.app.theme_variables, *cells, wrap=True))


def _number(detail: ErrorGroupDetail | None) -> int | None:
    return None if detail is None else detail.group.id


def _columns() -> list[Column]:
    return [
        Column("count", right=True),
        Column("first", hides=4),
        Column("last"),
        Column("kind", hides=2),
        Column("state", hides=3),
        Column("service / operation", flexible=True, hides=1),
        Column("error", flexible=True, least=44),
    ]


def _group_row(group: ErrorGroupSummary, report: ErrorReport) -> GridRow:
    first = group.operations[0] if group.operations else None
    more = f" and {len(group.operations) - 1} more" if len(group.operations) > 1 else ""
    cells: list[Cell] = [
        (f"{group.count:,}", BAD),
        short_timestamp(group.first_seen),
        short_timestamp(group.last_seen),
        group.kind,
        state_text(group, report.deploy),
        one_line("" if first is None else f"{first.service} / {first.operation}{more}"),
        f"{place_text(group)}: {error_line(group, 300)}",
    ]
    return GridRow(str(group.id), "" if first is None else first.service, cells)


def _group_cells(group: ErrorGroupSummary, report: ErrorReport) -> Iterator[Cell]:
    """Yield two lines: the error with its place, then its id, state, people and versions."""
    yield one_line(headline(group.type, group.message), 300), BAD
    yield f" at {place_text(group)}", "bold"
    facts = [f"error {group.id}", state_text(group, report.deploy), people_text(group)]
    facts += [f"first seen in version {one_line(group.first_version)}"] if group.first_version else []
    if group.kind == "unhandled":
        yield f"\n{happened_text(group.kind, [(one.service, one.operation) for one in group.operations])}", DIM
    yield f"\n{', '.join(fact for fact in facts if fact)}. All stacks: cogmeter errors {group.id}", DIM


def _stack_cells(detail: ErrorGroupDetail | None) -> Iterator[Cell]:
    """Yield the frames of the newest error, innermost first, with the host's own emphasised."""
    for link in () if detail is None or not detail.examples else detail.examples[0].chain[:1]:
        for frame in reversed(link.frames):
            yield f"\n{'>' if frame.own else ' '} {one_line(frame_text(frame))}", "bold" if frame.own else DIM


def _key(group: ErrorGroupAnswer) -> str:
    fingerprint = group.example.metadata.get(ERROR_GROUP)  # several places can have one text
    return f"{group.service}\0{group.operation}\0{group.outcome}\0{group.error}\0{fingerprint}"


def _failure_row(group: ErrorGroupAnswer) -> GridRow:
    cells: list[Cell] = [
        (f"{group.count:,}", BAD),
        short_timestamp(group.first_at),
        short_timestamp(group.last_at),
        group.outcome,
        "",
        one_line(f"{group.service} / {group.operation}"),
        one_line(group.example.error, 300) or "(no text)",
    ]
    return GridRow(_key(group), group.service, cells)


def _failure_cells(group: ErrorGroupAnswer) -> list[Cell]:
    example = group.example
    head = f"{zoned(example.end_time)}, {example.operation_id}, after {duration(example.duration)}: "
    return [(head, DIM), one_line(example.error, 1000) or "(no text)"]
