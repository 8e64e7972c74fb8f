"""The service ``multimodal-processing``: what an image file is, from its own bytes."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final

import cogmeter
from cogmeter_bot.errors import UserInputError

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000  # beyond that a small file could unpack into gigabytes
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG start-of-frame segments


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image is: its format, its size in pixels, and its mean colour if pillow is there to unpack it."""

    kind: str
    width: int
    height: int
    colour: int | None  # 0xRRGGBB


def describe(data: bytes) -> ImageFacts:
    """The facts of a PNG, GIF, JPEG or WebP image. May take a second: call it in a thread.

    Raises:
        UserInputError: the data is no such image, or too large.
    """
    with cogmeter.operation("multimodal-processing", "describe", size_bytes=len(data)) as op:
        try:
            kind, width, height = measure(data)
        except UserInputError:
            op.outcome = "user"  # a person's mistake: recorded, but no failure of ours
            raise
        op.annotate(kind=kind, pixels=width * height)
        return ImageFacts(kind, width, height, mean_colour(data))


def measure(data: bytes) -> tuple[str, int, int]:
    """Format, width and height, read from the file's header.

    Raises:
        UserInputError: it is none of the known formats, ends too early, or has more pixels than are looked at.
    """
    kind, width, height = _header(data)
    if not 0 < width * height <= MAX_PIXELS:
        raise UserInputError(f"The image is {width} x {height} pixels; from 1 to {MAX_PIXELS:,} pixels are looked at.")
    return kind, width, height


def _header(data: bytes) -> tuple[str, int, int]:
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ("PNG", *struct.unpack_from(">II", data, 16))
        if data[:6] in {b"GIF87a", b"GIF89a"}:
            return ("GIF", *struct.unpack_from("<HH", data, 6))
        if data.startswith(b"\xff\xd8"):
            return ("JPEG", *_jpeg_size(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return ("WebP", *_webp_size(data))
    except struct.error:
        raise UserInputError("The image ends before it says how large it is.") from None
    raise UserInputError("That is no PNG, GIF, JPEG or WebP image.")


@cogmeter.track("multimodal-processing", "thumbnail")
def mean_colour(data: bytes) -> int | None:
    """The mean colour as 0xRRGGBB; None without pillow, or for an image that pillow cannot unpack."""
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail((64, 64))
            pixel = image.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what pillow raises for broken files
        return None
    return int.from_bytes(pixel, "big")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first frame header (ITU-T T.81, B.2.2), past the segments before it."""
    place = 2
    while True:
        marker, length = struct.unpack_from(">xBH", data, place)
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + length


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the first chunk, which is one of three kinds (RFC 9649, section 2)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        wide, high = struct.unpack_from("<I", data, 24)[0] & 0xFFFFFF, struct.unpack_from("<I", data, 26)[0] >> 8
        return wide + 1, high + 1
    if chunk == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
