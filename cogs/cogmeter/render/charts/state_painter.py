"""Draws the picture of the bot's state: verdict, problems, and each area with an item for each part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cogmeter.diagnosis import Status
from cogmeter.render import formatting, palette
from cogmeter.render.charts.chart import zone_or_utc, zone_text
from cogmeter.render.charts.painter import chart_style, draw_png, no_warnings
from cogmeter.render.charts.state import PROBLEMS, SQUARES, columns_of, counts_text, rows_of, shown_squares
from cogmeter.render.palette import state_of

if TYPE_CHECKING:
    from matplotlib.text import Text

    from cogmeter.diagnosis import StateArea, StateItem
    from cogmeter.render.charts.fonts import Fonts
    from cogmeter.render.charts.state import StateChart

WIDTH: Final = 1600
_ROW: Final = 52  # pixels
_LEFT: Final = 40
_RIGHT: Final = WIDTH - 40
_DPI: Final = 100
_TITLE_PT: Final = 34.5
_GAP: Final = 22  # pixels above an area
_BULLET: Final = 40  # pixels from a marker's middle to its text
_CHARACTER: Final = 20.5  # pixels of an average character of the normal size
# The marker, its size in points, and whether it is hollow: states differ in shape, too.
_MARKERS: Final[dict[Status, tuple[str, float, bool]]] = {
    Status.UNHEALTHY: ("X", 20, False),
    Status.DEGRADED: ("^", 18, False),
    Status.HEALTHY: ("o", 14, False),
    Status.UNKNOWN: ("o", 12, True),
}


class StatePainter:
    """Draws states one after the other into one figure, whose height fits the state."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts
        # Many texts: hinting takes a quarter of the time, and makes no visible difference at this size.
        self._style = {**chart_style(), "text.hinting": "no_hinting"}
        with mpl.rc_context(self._style):
            self._figure = Figure()
            FigureCanvasAgg(self._figure)
            self._axes: Any = self._figure.add_axes((0, 0, 1, 1))
            self._axes.axis("off")

    def draw(self, chart: StateChart) -> bytes:
        """Return the state as a PNG, 1600 pixels wide."""
        with mpl.rc_context(self._style), no_warnings():
            for artist in (*self._axes.lines, *self._axes.texts):
                artist.remove()
            self._points: dict[Status, list[tuple[float, float]]] = {}
            self._set_height(WIDTH)  # texts are measured while they are written
            end = self._write(chart)
            self._set_height(end + _ROW // 2)
            self._draw_markers()
            return draw_png(self._figure)

    def _set_height(self, height: int) -> None:
        self._figure.set_size_inches(WIDTH / _DPI, height / _DPI)
        self._axes.set_xlim(0, WIDTH)
        self._axes.set_ylim(height, 0)

    def _write(self, chart: StateChart) -> int:
        """Write everything from the top, and return where it ends."""
        state = chart.state
        top = self._heading(chart)
        problems = state.problems
        for of_area, item in problems[:PROBLEMS]:
            self._mark(item.status, _LEFT + 12, top)
            self._name_and_text(item, f"{item.text} ({of_area})", _LEFT + 12 + _BULLET, _RIGHT, top)
            top += _ROW
        if len(problems) > PROBLEMS:
            self._text(_LEFT + 12 + _BULLET, top, f"and {len(problems) - PROBLEMS} more problems", color=palette.MUTED)
            top += _ROW
        for area in state.areas:
            top = self._area(area, top + _GAP)
        return top

    def _heading(self, chart: StateChart) -> int:
        verdict = chart.state.verdict
        look = state_of(verdict.status)
        top = _ROW
        self._mark(verdict.status, _LEFT + 12, top)
        colour = f"#{look.colour:06x}" if look is not palette.DisplayState.NEUTRAL else palette.MUTED
        word = look.word.capitalize()
        self._text(_LEFT + 12 + _BULLET, top, word, size=_TITLE_PT, weight="bold", color=colour)
        at = formatting.clock_time(chart.state.at_us, with_date=True, zone=zone_or_utc(chart.zone))
        self._text(_RIGHT, top, f"{at} {zone_text(chart.zone)}", color=palette.MUTED, ha="right")
        top += _ROW
        text = self._legible(verdict.text or "nothing to judge yet", int((_RIGHT - _LEFT) / _CHARACTER) + 14)
        self._fit(self._text(_LEFT, top, text, color=palette.MUTED), _RIGHT)
        return top + _ROW + _GAP // 2

    def _area(self, area: StateArea, top: int) -> int:
        name = self._text(_LEFT, top, area.name, weight="bold")
        end = float(name.get_window_extent().x1)
        self._text(end + 24, top, counts_text(area), color=palette.MUTED)
        top += _ROW
        columns = columns_of(area)
        if columns:
            self._named(area, columns, top)
        else:
            self._squares(area, top)
        return top + rows_of(area) * _ROW

    def _named(self, area: StateArea, columns: int, top: int) -> None:
        width = (_RIGHT - _LEFT) // columns
        for number, item in enumerate(area.items):
            row, column = divmod(number, columns)
            left, middle = _LEFT + column * width, top + row * _ROW
            self._mark(item.status, left + 12, middle)
            text = item.text if columns <= 2 else ""
            self._name_and_text(item, text, left + 12 + _BULLET, left + width - 16, middle)

    def _squares(self, area: StateArea, top: int) -> None:
        items, others = shown_squares(area.items)
        step = (_RIGHT - _LEFT) / SQUARES
        for number, item in enumerate(items):
            row, column = divmod(number, SQUARES)
            self._mark(item.status, _LEFT + 12 + column * step, top + row * _ROW)
        if others:
            row, column = divmod(len(items), SQUARES)
            self._text(_LEFT + column * step, top + row * _ROW, f"+{others}", color=palette.MUTED)

    def _name_and_text(self, item: StateItem, text: str, left: float, right: float, middle: float) -> None:
        """Write a name, and in the rest of the width a text."""
        room = int((right - left) / _CHARACTER)
        name = self._legible(item.name, room if not text else max(room * 3 // 5, 8))
        written = self._text(left, middle, name, families=self._fonts.families(name))
        end = self._fit(written, right)
        rest = int((right - end - 20) / _CHARACTER * 1.12)
        if text and rest >= 6:
            shown = self._text(end + 20, middle, self._legible(text, rest), color=palette.MUTED)
            self._fit(shown, right)

    def _fit(self, text: Text, right: float) -> float:
        """Cut a text until it ends before ``right``; return where it ends."""
        end = float(text.get_window_extent().x1)
        while end > right and len(text.get_text()) > 2:
            start = float(text.get_window_extent().x0)
            content = text.get_text()
            limit = int(len(content) * (right - start) / (end - start))
            text.set_text(formatting.cut(content, min(len(content) - 1, limit)))
            end = float(text.get_window_extent().x1)
        return end

    def _legible(self, text: str, limit: int) -> str:
        return formatting.cut(self._fonts.legible(formatting.clean(text), "(name)"), max(limit, 2))

    def _text(self, x: float, y: float, text: str, *, families: list[str] | None = None, **look: Any) -> Text:
        if families is not None:
            look["fontfamily"] = families
        written: Text = self._axes.text(x, y, text, **{"va": "center_baseline", **look})
        return written

    def _mark(self, status: Status, x: float, y: float) -> None:
        self._points.setdefault(status, []).append((x, y))

    def _draw_markers(self) -> None:
        """Draw the markers of each status at once."""
        for status, points in self._points.items():
            marker, size, hollow = _MARKERS[status]
            colour = f"#{state_of(status).colour:06x}"
            xs, ys = zip(*points, strict=True)
            face = "none" if hollow else colour
            edge = {"markeredgewidth": 3.0, "markeredgecolor": palette.MUTED} if hollow else {}
            self._axes.plot(xs, ys, marker, color=colour, markersize=size, markerfacecolor=face, **edge)
