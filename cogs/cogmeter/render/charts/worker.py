"""The chart process: ``python -m cogmeter.render.charts.worker`` reads requests from stdin and answers on stdout.

A request is its length (4 bytes, big endian) and JSON: a Chart, or one of ``KINDS``, which begins with its kind. An
answer is one byte (``P`` for a picture, ``E`` for an error), the length of the rest, and the PNG or the error's text.
When more characters without a font were found, a frame ``L`` with all of them precedes the answer. The process ends
when stdin ends: it never outlives the bot, even if the bot is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import struct
import sys
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

from cogmeter.render.charts.chart import Chart

if TYPE_CHECKING:
    from types import ModuleType

    from cogmeter.render.charts.painter import Painter

REQUEST = struct.Struct(">I")
ANSWER = struct.Struct(">cI")
PICTURE, ERROR, MISSING_GLYPHS = b"P", b"E", b"L"
_KIND = re.compile(rb'\{"kind":"([a-z_]+)",')
NICENESS = 19  # the host bot comes first

# The kinds of pictures besides a Chart: the class of their requests, and that of their painter, which gets the fonts.
KINDS: Final[dict[str, tuple[str, str]]] = {
    "costs": ("cogmeter.render.charts.cost_chart:CostChart", "cogmeter.render.charts.cost_painter:CostPainter"),
    "bars": ("cogmeter.render.charts.bar_chart:BarChart", "cogmeter.render.charts.bar_painter:BarPainter"),
    "state": ("cogmeter.render.charts.state:StateChart", "cogmeter.render.charts.state_painter:StatePainter"),
    "resources": (
        "cogmeter.render.charts.resources:ResourcesChart",
        "cogmeter.render.charts.resources_painter:ResourcesPainter",
    ),
}


def main() -> None:
    """Answer requests until stdin ends."""
    with contextlib.suppress(AttributeError, OSError):  # not on every platform or in every sandbox
        os.nice(NICENESS)
    requests = sys.stdin.buffer
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        painter: _Painters | _Unavailable = _Painters()
    except Exception as error:  # noqa: BLE001 - the first answer reports it to the bot
        painter = _Unavailable(f"matplotlib cannot be used: {type(error).__name__}: {error}")
    _serve(requests, answers, painter)


class _Draws(Protocol):
    """The part of a painter that is used here."""

    def draw(self, chart: Any) -> bytes: ...


class _Painters:
    """The painters of all kinds of pictures, each built when it is first used. They share their fonts."""

    def __init__(self) -> None:
        self._charts = _chart_painter()
        self._others: dict[str, tuple[Any, _Draws]] = {}  # with the class of the requests

    @property
    def missing_glyphs(self) -> frozenset[str]:
        return self._charts.missing_glyphs

    def draw(self, request: bytes) -> bytes:
        found = _KIND.match(request)
        if found is None:
            return self._charts.draw(Chart.from_json(request))
        kind = found[1].decode()
        if kind not in self._others:
            self._others[kind] = self._other(kind)
        request_class, painter = self._others[kind]
        return painter.draw(request_class.from_json(request))

    def _other(self, kind: str) -> tuple[Any, _Draws]:
        (of_request, request_class), (of_painter, painter_class) = (name.split(":") for name in KINDS[kind])
        painter = getattr(importlib.import_module(of_painter), painter_class)(self._charts.fonts)
        return getattr(importlib.import_module(of_request), request_class), painter


class _Unavailable:
    """A painter that raises the reason why nothing can be drawn."""

    missing_glyphs: frozenset[str] = frozenset()

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def draw(self, request: bytes) -> bytes:  # noqa: ARG002 - the signature of _Painters
        raise RuntimeError(self._reason)


def _chart_painter() -> Painter:
    # matplotlib imports its three-dimensional axes only if it can, and warns if it cannot.
    sys.modules["mpl_toolkits.mplot3d"] = cast("ModuleType", None)
    warnings.filterwarnings("ignore", "Unable to import Axes3D")
    import matplotlib as mpl

    from cogmeter.render.charts.painter import Painter

    mpl.rcdefaults()  # a ``matplotlibrc`` of the machine or of the host has no effect
    return Painter()


def _serve(requests: BinaryIO, answers: BinaryIO, painter: _Painters | _Unavailable) -> None:
    known: frozenset[str] = frozenset()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        frames = [_answer(requests.read(*REQUEST.unpack(head)), painter)]
        if painter.missing_glyphs != known:
            known = painter.missing_glyphs
            frames.insert(0, (MISSING_GLYPHS, "".join(sorted(known)).encode()))
        try:
            answers.writelines(ANSWER.pack(kind, len(body)) + body for kind, body in frames)
            answers.flush()
        except BrokenPipeError:  # the bot is gone
            os._exit(0)  # a normal exit would flush to the broken pipe and print an error


def _answer(request: bytes, painter: _Painters | _Unavailable) -> tuple[bytes, bytes]:
    try:
        return PICTURE, painter.draw(request)
    except Exception as error:  # noqa: BLE001 - one bad request must not end the process
        return ERROR, f"{type(error).__name__}: {error}".encode(errors="replace")[:2000]


if __name__ == "__main__":
    main()
