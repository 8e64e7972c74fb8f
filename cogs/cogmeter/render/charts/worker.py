"""The chart process: ``python -m cogmeter.render.charts.worker`` reads requests on stdin and answers on stdout.

A request is its length (4 bytes, big endian) and a Chart as JSON. An answer is one byte, ``P`` for a picture or ``E``
for an error, the length of what follows, and the PNG or the error's text. Before a picture, ``L`` comes with the
characters that no font has, whenever there are more of them. It ends when stdin does, so it never outlives the bot, not
even a killed one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from typing import BinaryIO, Protocol

from cogmeter.render.charts.chart import Chart

REQUEST = struct.Struct(">I")
ANSWER = struct.Struct(">cI")
PICTURE, ERROR, LACKING = b"P", b"E", b"L"
NICENESS = 19  # the host bot comes first


def main() -> None:
    """Answers until stdin ends."""
    with contextlib.suppress(AttributeError, OSError):  # not everywhere, not in every sandbox
        os.nice(NICENESS)
    requests = sys.stdin.buffer
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        painter = _painter()
    except Exception as error:  # noqa: BLE001 - said to the bot with the first answer, whatever is wrong here
        painter = _Refusing(f"matplotlib cannot be used: {type(error).__name__}: {error}")
    _serve(requests, answers, painter)


class _Draws(Protocol):
    """What draws: figures.Painter."""

    @property
    def lacking(self) -> frozenset[str]: ...

    def draw(self, chart: Chart) -> bytes: ...


class _Refusing:
    """Draws nothing, and says why."""

    lacking: frozenset[str] = frozenset()

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def draw(self, chart: Chart) -> bytes:  # noqa: ARG002 - it is refused, whatever it is
        raise RuntimeError(self._reason)


def _painter() -> _Draws:
    from cogmeter.render.charts.figures import Painter
    from cogmeter.render.charts.pen import use_own_style

    use_own_style()
    return Painter()


def _serve(requests: BinaryIO, answers: BinaryIO, painter: _Draws) -> None:
    known: frozenset[str] = frozenset()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        frames = [_answer(requests.read(*REQUEST.unpack(head)), painter)]
        if painter.lacking != known:
            known = painter.lacking
            frames.insert(0, (LACKING, "".join(sorted(known)).encode()))
        try:
            answers.writelines(ANSWER.pack(kind, len(body)) + body for kind, body in frames)
            answers.flush()
        except BrokenPipeError:  # the bot is gone
            os._exit(0)  # the usual way out would flush to the broken pipe once more, and complain


def _answer(request: bytes, painter: _Draws) -> tuple[bytes, bytes]:
    try:
        return PICTURE, painter.draw(Chart.from_json(request))
    except Exception as error:  # noqa: BLE001 - one bad request must not cost the next one its process
        return ERROR, f"{type(error).__name__}: {error}".encode(errors="replace")[:2000]


if __name__ == "__main__":
    main()
