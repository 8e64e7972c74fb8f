"""Draws lines, areas and words in pixels with matplotlib's Agg, and hands out the picture as PNG.

Everything is placed in pixels from the lower left corner: without axes, locators and tight layout a picture costs
less than half. At 72 dots an inch a point is a pixel, so sizes of type and widths of lines are pixels too.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform

from cogmeter.render.charts.fonts import Fonts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from numpy.typing import NDArray

DPI = 72
_COMPRESSION = 3  # of zlib: 6 takes half as long again for a sixth less
_REMEMBERED = 500  # widths of words


class Pen:
    """A figure of a fixed size that is cleared and drawn again for each picture."""

    def __init__(self, width: int, height: int, background: str) -> None:
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=background)
        self._canvas: Any = FigureCanvasAgg(self._figure)  # its methods have no annotations
        self.fonts = Fonts()
        self._background = background
        self._widths: dict[tuple[str, float, bool], float] = {}
        self._order = 0

    def clear(self) -> None:
        """An empty picture."""
        self._figure.clear()
        self._order = 0

    def line(
        self, xs: Sequence[float], ys: Sequence[float], colour: str, width: float, *, dash: tuple[float, ...] = ()
    ) -> None:
        """A line through these points; the dash is pixels drawn and left out in turn."""
        # A dash is given in pixels, but matplotlib takes it in line widths.
        style: Any = (0, tuple(part / width for part in dash)) if dash else "-"
        self._add(
            Line2D(
                *(xs, ys),
                color=colour,
                linewidth=width,
                linestyle=style,
                solid_joinstyle="round",
                dash_capstyle="butt",
            )
        )

    def dots(self, xs: Sequence[float], ys: Sequence[float], colour: str, size: float) -> None:
        """Round marks of this diameter."""
        self._add(Line2D(xs, ys, color=colour, linestyle="", marker="o", markersize=size, markeredgewidth=0))

    def rules(self, segments: Sequence[tuple[tuple[float, float], tuple[float, float]]], colour: str) -> None:
        """Thin straight lines, all of one colour: the grid."""
        self._add(LineCollection(list(segments), colors=colour, linewidths=2))

    def area(self, points: Sequence[tuple[float, float]], colour: str, alpha: float) -> None:
        """A filled polygon."""
        self._add(Polygon(points, closed=True, facecolor=colour, alpha=alpha, edgecolor="none"))

    def boxes(self, boxes: Sequence[tuple[float, float, float, float]], colour: str, alpha: float = 1.0) -> None:
        """Filled rectangles (left, bottom, width, height), on whole pixels so that bars look alike."""
        if not boxes:
            return
        left, bottom, width, height = np.asarray(boxes, dtype=float).T
        xs = np.stack([left, left, left + width, left + width, left], axis=1).round()
        ys = np.stack([bottom, bottom + height, bottom + height, bottom, bottom], axis=1)
        codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(boxes))
        path = Path(np.stack([xs.ravel(), ys.ravel()], axis=1), codes)
        self._add(PathPatch(path, facecolor=colour, alpha=alpha, edgecolor="none", antialiased=False))

    def write(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        colour: str,
        *,
        at: Literal["left", "center", "right"] = "left",
        bold: bool = False,
    ) -> None:
        """Words on the baseline ``y``, with ``x`` at their left, center or right."""
        self._add(
            Text(
                *(x, y, words),
                color=colour,
                fontproperties=self._font(words, size, bold=bold),
                horizontalalignment=at,
                verticalalignment="baseline",
                parse_math=False,  # names come from users: "$" is a dollar
            )
        )

    def note(self, x: float, y: float, words: str, size: float, colour: str) -> None:
        """Words on a ground that hides what they stand on."""
        ground = (x - 6, y - size * 0.32, self.width_of(words, size) + 12, size * 1.24)
        self.boxes([ground], self._background, 0.8)
        self.write(x, y, words, size, colour)

    def width_of(self, words: str, size: float, *, bold: bool = False) -> float:
        """How wide these words are, in pixels."""
        key = (words, size, bold)
        if key not in self._widths:
            if len(self._widths) >= _REMEMBERED:
                self._widths.clear()
            self._widths[key] = self._measured(words, self._font(words, size, bold=bold)) if words else 0.0
        return self._widths[key]

    def _measured(self, words: str, font: FontProperties) -> float:
        with _quiet():
            width, _, _ = self._canvas.get_renderer().get_text_width_height_descent(words, font, ismath=False)
        return float(width)

    def png(self) -> bytes:
        """The picture, 24 bits a pixel."""
        with _quiet():
            self._canvas.draw()
        return encode_png(np.asarray(self._canvas.buffer_rgba()))

    def _font(self, words: str, size: float, *, bold: bool) -> FontProperties:
        return FontProperties(family=self.fonts.families(words), weight="bold" if bold else "normal", size=size)

    def _add(self, artist: Artist) -> None:
        artist.set_transform(IdentityTransform())
        artist.set_zorder(self._order)  # what is drawn later lies above
        self._order += 1
        self._figure.add_artist(artist)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels [height, width, 4], RGBA, as an opaque PNG of 24 bits a pixel.

    Flat colours need no row filter (PNG specification, section 9), and choosing one for each row is what takes most
    of the time in an encoder of photographs: without it a chart takes half as long and is no larger.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:].reshape(height, width, 3)[...] = pixels[:, :, :3]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, _COMPRESSION)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def use_own_style() -> None:
    """Matplotlib's built-in settings, whatever a ``matplotlibrc`` of the machine or of the host says."""
    mpl.rcdefaults()


def _quiet() -> warnings.catch_warnings[None]:
    """Silence warnings of missing glyphs: ``Fonts.legible`` has replaced them, and no one reads a worker's stderr."""
    return warnings.catch_warnings(action="ignore")
