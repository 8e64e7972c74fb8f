"""The process that draws charts: ``python -m cogmeter.render.worker`` reads requests on stdin and answers on stdout.

A request is its length (4 bytes, big endian) and a Chart as JSON. An answer is one byte, ``P`` for a picture or ``E``
for an error, the length of what follows, and the PNG or the error's text. It ends when stdin does, so it never
outlives the bot, not even a killed one.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from typing import TYPE_CHECKING, BinaryIO

from cogmeter.render.chart import Chart

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = struct.Struct(">I")
ANSWER = struct.Struct(">cI")
PICTURE, ERROR = b"P", b"E"
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
        draw = _painter()
    except Exception as error:  # noqa: BLE001 - said to the bot with the first answer, whatever is wrong here
        draw = _refusing(f"matplotlib cannot be used: {type(error).__name__}: {error}")
    _serve(requests, answers, draw)


def _painter() -> Callable[[Chart], bytes]:
    from cogmeter.render.figures import Painter
    from cogmeter.render.pen import use_own_style

    use_own_style()
    return Painter().draw


def _refusing(reason: str) -> Callable[[Chart], bytes]:
    def draw(_chart: Chart) -> bytes:
        raise RuntimeError(reason)

    return draw


def _serve(requests: BinaryIO, answers: BinaryIO, draw: Callable[[Chart], bytes]) -> None:
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        kind, body = _answer(requests.read(*REQUEST.unpack(head)), draw)
        try:
            answers.write(ANSWER.pack(kind, len(body)) + body)
            answers.flush()
        except BrokenPipeError:  # the bot is gone
            os._exit(0)  # the usual way out would flush to the broken pipe once more, and complain


def _answer(request: bytes, draw: Callable[[Chart], bytes]) -> tuple[bytes, bytes]:
    try:
        return PICTURE, draw(Chart.from_json(request))
    except Exception as error:  # noqa: BLE001 - one bad request must not cost the next one its process
        return ERROR, f"{type(error).__name__}: {error}".encode(errors="replace")[:2000]


if __name__ == "__main__":
    main()
