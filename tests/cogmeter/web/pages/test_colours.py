"""The style sheet's colours: the charts' own in the dark, and readable ones in both."""

import re

import pytest

from cogmeter.render import palette
from cogmeter.web.server.assets import STATIC_FOLDER

SHEET = (STATIC_FOLDER / "app.css").read_text()
BLOCKS = {
    "dark": re.search(r"^:root \{(.*?)^\}", SHEET, re.DOTALL | re.MULTILINE)[1],
    "light by the system": re.search(r":root:not\(\[data-theme=\"dark\"\]\) \{(.*?)\}", SHEET, re.DOTALL)[1],
    "light by choice": re.search(r":root\[data-theme=\"light\"\] \{(.*?)\}", SHEET, re.DOTALL)[1],
}


def colours(block):
    return {name: value.lower() for name, value in re.findall(r"--([\w-]+): (#[0-9a-fA-F]{6});", BLOCKS[block])}


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_in_the_dark_they_are_those_of_the_charts_and_embeds_in_discord():
    found = colours("dark")
    assert {
        name: found[name]
        for name in ("surface", "text", "muted", "grid", "mean", "p50", "p95", "p99", "bars", "failed")
    } == {
        "surface": palette.BACKGROUND,
        "text": palette.TEXT,
        "muted": palette.MUTED,
        "grid": palette.GRID,
        "mean": palette.MEAN,
        "p50": palette.P50,
        "p95": palette.P95,
        "p99": palette.P99,
        "bars": palette.BARS,
        "failed": palette.FAILED,
    }
    states = {
        "healthy": palette.DisplayState.HEALTHY,
        "degraded": palette.DisplayState.DEGRADED,
        "critical": palette.DisplayState.UNHEALTHY,
    }
    assert {name: found[name] for name in states} == {name: f"#{state.colour:06x}" for name, state in states.items()}


def test_light_is_the_same_whoever_wants_it_and_names_every_colour_that_dark_does():
    assert colours("light by the system") == colours("light by choice")
    assert colours("light by choice").keys() == colours("dark").keys()


@pytest.mark.parametrize("block", ["dark", "light by choice"])
def test_words_can_be_read_on_every_ground(block):
    found = colours(block)
    for word in ("text", "muted", "link", "healthy", "degraded", "critical", "info"):
        for ground in ("page", "surface"):
            assert contrast(found[word], found[ground]) >= 4.5, (word, ground)
    for ground in ("raised",):
        assert contrast(found["text"], found[ground]) >= 4.5
        assert contrast(found["muted"], found[ground]) >= 4.5
    assert contrast(found["on"], found["p50"]) >= 4.5


@pytest.mark.parametrize("block", ["dark", "light by choice"])
def test_lines_bars_and_the_focus_have_contrast_with_their_background(block):
    found = colours(block)
    for line in ("p50", "p95", "p99", "bars", "failed"):
        assert contrast(found[line], found["surface"]) >= 3, line
    assert contrast(found["p50"], found["page"]) >= 3
