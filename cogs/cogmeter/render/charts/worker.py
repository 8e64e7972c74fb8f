"""The chart process: ``python -m cogmeter.render.charts.worker`` reads requests from stdin and answers on stdout.

A request is its length (4 bytes, big endian) and a Chart or BarChart as JSON. An answer is one byte (``P`` for a
picture, ``E`` for an error), the length of the rest, and the PNG or the error's text. When more characters without a
font were found, a frame ``L`` with all of them precedes the answer. The process ends when stdin ends: it never outlives
the bot, even if the bot is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import warnings
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from cogmeter.render.charts.bar_chart import KIND, BarChart
from cogmeter.render.charts.chart import Chart

if TYPE_CHECKING:
    from types import ModuleType

REQUEST = struct.Struct(">I")
ANSWER = struct.Struct(">cI")
PICTURE, ERROR, MISSING_GLYPHS = b"P", b"E", b"L"
NICENESS = 19  # the host bot comes first


def main() -> None:
    """Answer requests until stdin ends."""
    with contextlib.suppress(AttributeError, OSError):  # not on every platform or in every sandbox
        os.nice(NICENESS)
    requests = sys.stdin.buffer
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        painter = _painter()
    except Exception as error:  # noqa: BLE001 - the first answer reports it to the bot
        painter = _Unavailable(f"matplotlib cannot be used: {type(error).__name__}: {error}")
    _serve(requests, answers, painter)


class _Draws(Protocol):
    """The part of painter.Painter that is used here."""

    @property
    def missing_glyphs(self) -> frozenset[str]: ...

    def draw(self, chart: Chart | BarChart) -> bytes: ...


class _Unavailable:
    """A painter that raises the reason why nothing can be drawn."""

    missing_glyphs: frozenset[str] = frozenset()

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def draw(self, chart: Chart | BarChart) -> bytes:  # noqa: ARG002 - the protocol's signature
        raise RuntimeError(self._reason)


def _painter() -> _Draws:
    # matplotlib imports its three-dimensional axes only if it can, and warns if it cannot.
    sys.modules["mpl_toolkits.mplot3d"] = cast("ModuleType", None)
    warnings.filterwarnings("ignore", "Unable to import Axes3D")
    import matplotlib as mpl

    from cogmeter.render.charts.painter import Painter

    mpl.rcdefaults()  # a ``matplotlibrc`` of the machine or of the host has no effect
    return Painter()


def _serve(requests: BinaryIO, answers: BinaryIO, painter: _Draws) -> None:
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


def _chart_of(request: bytes) -> Chart | BarChart:
    values = json.loads(request)
    return BarChart.from_json(values) if values.get("kind") == KIND else Chart.from_values(values)


def _answer(request: bytes, painter: _Draws) -> tuple[bytes, bytes]:
    try:
        return PICTURE, painter.draw(_chart_of(request))
    except Exception as error:  # noqa: BLE001 - one bad request must not end the process
        return ERROR, f"{type(error).__name__}: {error}".encode(errors="replace")[:2000]


if __name__ == "__main__":
    main()
