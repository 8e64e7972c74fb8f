"""Images: size and mean colour from their bytes, however broken."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.services.images import MAX_PIXELS, describe, mean_colour, measure


def picture(kind: str, size: tuple[int, int] = (37, 21), **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 40, 40)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WebP", {}),
        ("WebP", {"lossless": True}),
    ],
)
def test_the_size_is_in_the_header(kind, options):
    assert measure(picture(kind, **options)) == (kind, 37, 21)


def test_the_size_of_an_extended_webp_is_its_canvas():
    buffer = io.BytesIO()
    Image.new("RGBA", (300, 2)).save(buffer, "WebP", exif=b"Exif\0\0")
    assert b"VP8X" in buffer.getvalue()
    assert measure(buffer.getvalue()) == ("WebP", 300, 2)


def test_the_mean_colour_of_a_plain_picture_is_its_colour():
    facts = describe(picture("PNG"))
    assert (facts.width, facts.height, facts.colour) == (37, 21, 0xC82828)


def test_a_picture_whose_pixels_are_broken_still_has_a_size():
    facts = describe(picture("PNG", (200, 100))[:60])
    assert (facts.width, facts.height, facts.colour) == (200, 100, None)


def test_a_picture_that_would_unpack_too_large_is_refused():
    bomb = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (MAX_PIXELS).to_bytes(4, "big") + (2).to_bytes(4, "big")
    with pytest.raises(UserInputError, match="pixels"):
        describe(bomb)


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"RIFF....WEBPVP8X"]), st.binary(max_size=60)
)
def test_any_bytes_are_measured_or_refused(start, rest):
    try:
        kind, width, height = measure(start + rest)
    except UserInputError:
        return
    assert kind
    assert 0 < width * height <= MAX_PIXELS


@given(st.binary(max_size=200))
def test_bytes_that_are_no_picture_have_no_colour(data):
    assert mean_colour(b"no picture" + data) is None
