"""Colours stay apart for every eye, and a state follows from the error rate."""

import itertools

import pytest

from cogmeter.diagnosis import Status
from cogmeter.render import palette
from cogmeter.render.palette import DisplayState, state_of

# Linear RGB as red-blind and green-blind people see it: Machado, Oliveira and Fernandes 2009, severity 1.0.
EYES = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "grey": ((0.2126, 0.7152, 0.0722),) * 3,
}


def linear(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(colour):
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def contrast(one, other):
    """By WCAG 2.2, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [palette.TEXT, palette.MUTED, palette.P50, palette.P95, palette.P99, palette.FAILED])
def test_words_are_readable_on_the_ground(colour):
    assert contrast(colour, palette.BACKGROUND) >= 4.5


@pytest.mark.parametrize("eye", EYES)
def test_the_lines_and_the_failed_bars_stay_apart_for_every_eye(eye):
    pairs = [
        *itertools.pairwise((palette.P50, palette.P95)),
        (palette.P50, palette.P99),
        (palette.BARS, palette.FAILED),
    ]
    for pair in pairs:
        seen = [
            [sum(weight * part for weight, part in zip(row, linear(colour), strict=True)) for row in EYES[eye]]
            for colour in pair
        ]
        assert max(abs(one - other) for one, other in zip(*seen, strict=True)) > 0.12


def test_every_status_has_a_word_and_a_colour():
    states = [state_of(status) for status in Status]
    assert len({state.word for state in states}) == len({state.colour for state in states}) == len(Status)
    assert state_of(Status.UNHEALTHY) is DisplayState.UNHEALTHY
