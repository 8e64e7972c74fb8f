"""The service ``multimodal-processing``: format, size and colour of an image file."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Final

import cogmeter
from cogmeter_bot.errors import UserInputError

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000  # a small file could decompress to gigabytes
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG start-of-frame segments


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Format, size in pixels and, if pillow is installed, mean colour of an image."""

    kind: str
    width: int
    height: int
    colour: int | None  # 0xRRGGBB


def describe(data: bytes) -> ImageFacts:
    """Return the facts of a PNG, GIF, JPEG or WebP image. It may take a second: call it in a thread.

    Raises:
        UserInputError: the data is not such an image, or is too large.
    """
    with cogmeter.operation("multimodal-processing", "describe", size_bytes=len(data)) as op:
        try:
            kind, width, height = measure(data)
        except UserInputError:
            op.outcome = "user"  # a mistake of the user: recorded, but not counted as a failure
            raise
        op.annotate(kind=kind, pixels=width * height)
        return ImageFacts(kind, width, height, mean_colour(data))


def measure(data: bytes) -> tuple[str, int, int]:
    """Return format, width and height from the file's header.

    Raises:
        UserInputError: the format is unknown, the file is truncated, or the image has too many pixels.
    """
    kind, width, height = _header(data)
    if not 0 < width * height <= MAX_PIXELS:
        raise UserInputError(f"The image has {width} x {height} pixels. Use one with 1 to {MAX_PIXELS:,} pixels.")
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
        raise UserInputError("The image is truncated: its size is missing.") from None
    raise UserInputError("The file is not a PNG, GIF, JPEG or WebP image.")


@cogmeter.track("multimodal-processing", "thumbnail")
def mean_colour(data: bytes) -> int | None:
    """Return the mean colour as 0xRRGGBB; None without pillow, or for an image that pillow cannot decode."""
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
    """Return width and height from the first frame header (ITU-T T.81, B.2.2); skip the segments before it."""
    offset = 2
    while True:
        marker, length = struct.unpack_from(">xBH", data, offset)
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, offset + 5)
            return width, height
        offset += 2 + length


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk, which is one of three kinds (RFC 9649, section 2)."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        width_1, height_1 = struct.unpack_from("<I", data, 24)[0] & 0xFFFFFF, struct.unpack_from("<I", data, 26)[0] >> 8
        return width_1 + 1, height_1 + 1  # stored minus one
    if chunk == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
