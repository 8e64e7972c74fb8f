"""Names in every script: drawn with the fonts of the machine, replaced where none has them, never as boxes."""

import contextlib
import dataclasses
import os
import unicodedata
import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from cogmeter.render.charts import fonts, painter
from cogmeter.render.charts.chart import Chart
from cogmeter.render.charts.fonts import MAIN, Fonts
from cogmeter.render.charts.painter import Painter
from cogmeter.render.charts.scripts import packages_for
from cogmeter.render.charts.worker_client import ChartWorker

NAMES = {
    "Chinese": "音乐播放器",
    "Japanese": "おんがくプレイヤー",
    "Korean": "음악 재생기",
    "decomposed Korean": unicodedata.normalize("NFD", "음악"),
    "Arabic": "قاعدة البيانات",
    "Hebrew": "מסד נתונים",
    "Hindi": "संगीत",
    "Thai": "เพลง",
    "Georgian": "მუსიკა",
    "emoji": "🎵 music 🎧",
    "emoji alone": "🎵🎧",
    "a family": "👩\u200d👩\u200d👧 home",
    "a flag and a keycap": "🇯🇵 top 1\ufe0f\u20e3",
    "a heart": "love ❤️",
    "mixed": "音楽🎵 / play ▶️",
    "ideographic space": "all\u3000services",
    "private use": "nerd \ue0b0 font",
    "not assigned": "x\u0378y",
    "mathematical": "𝓶𝓾𝓼𝓲𝓬",
    "Latin": "musée, Łódź",
}


def made_font(path, characters, family="Made Sans"):
    """A font that has these characters alone, each a black square."""
    square = TTGlyphPen(None)
    square.moveTo((100, 0))
    square.lineTo((100, 700))
    square.lineTo((800, 700))
    square.lineTo((800, 0))
    square.closePath()
    names = {ord(one): f"u{ord(one):04X}" for one in characters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf(dict.fromkeys([".notdef", *names.values()], square.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def no_fonts():
    return Fonts(list)


@pytest.fixture
def shouting(monkeypatch):
    """Matplotlib's warnings of glyphs that no font has are errors."""
    monkeypatch.setattr(painter, "no_warnings", contextlib.nullcontext)
    with warnings.catch_warnings(action="error"):
        yield


@pytest.mark.parametrize("paths", [list, None], ids=["no fonts", "this machine's"])
@pytest.mark.parametrize("script", NAMES)
def test_no_name_is_drawn_as_boxes(script, paths, timeline, shouting, monkeypatch):
    name = NAMES[script]
    chart_painter = Painter()
    if paths is not None:
        chart_painter.fonts = Fonts(paths)
    line = dataclasses.replace(timeline(title=name), alias="service 3")
    chart = Chart(line, markers=((line.edges_us[20], name), (line.edges_us[60], f"{name} again")))
    assert chart_painter.draw(chart).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("Chinese", "service 3"),
        ("Japanese", "service 3"),
        ("Korean", "service 3"),
        ("decomposed Korean", "service 3"),
        ("Hindi", "service 3"),
        ("Thai", "service 3"),
        ("emoji", "music"),
        ("emoji alone", "service 3"),
        ("mixed", "service 3"),
        ("ideographic space", "all services"),
        ("private use", "nerd font"),
        ("Arabic", NAMES["Arabic"]),  # DejaVu Sans has them
        ("Hebrew", NAMES["Hebrew"]),
        ("Georgian", NAMES["Georgian"]),
        ("Latin", NAMES["Latin"]),
    ],
)
def test_a_name_that_no_font_has_is_replaced_and_symbols_are_left_out(script, said, no_fonts):
    assert no_fonts.legible(NAMES[script], "service 3") == said
    assert (said == NAMES[script] or script == "ideographic space") == (not no_fonts.missing_glyphs)


def test_an_installed_font_is_used_for_what_it_has_and_only_there(tmp_path):
    font = made_font(tmp_path / "made.ttf", "音楽再")
    found = Fonts(lambda: [font])
    assert found.legible("音楽 / play", "service 3") == "音楽 / play"
    assert found.families("音楽 / play") == [MAIN, "Made Sans"]
    assert found.families("play") == [MAIN]
    assert found.legible("音楽器", "service 3") == "service 3"
    assert found.missing_glyphs == {"器"}


def test_several_fonts_are_used_for_one_name(tmp_path):
    paths = [made_font(tmp_path / "a.ttf", "音", "Made A"), made_font(tmp_path / "b.ttf", "🎵", "Made B")]
    found = Fonts(lambda: paths)
    assert found.legible("音🎵", "service 3") == "音🎵"
    assert found.families("音🎵") == [MAIN, "Made A", "Made B"]


def test_fonts_are_looked_at_when_a_name_first_needs_them(tmp_path):
    looks = []

    def paths():
        looks.append(1)
        return [made_font(tmp_path / "made.ttf", "音")]

    found = Fonts(paths)
    found.legible("knowledge-graph", "x")
    found.legible("קו", "x")
    assert not looks
    for _ in range(3):
        found.legible("音器", "x")
    assert len(looks) == 1


def test_fonts_that_cannot_be_used_are_passed_over(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    boxes = made_font(tmp_path / "boxes.ttf", "音楽", "LastResort HE")
    paths = [str(tmp_path / "broken.ttf"), str(tmp_path / "gone.ttf"), str(tmp_path), boxes]
    assert Fonts(lambda: paths).legible("音楽", "service 3") == "service 3"
    good = made_font(tmp_path / "good.ttf", "音楽")
    assert Fonts(lambda: [*paths, good]).legible("音楽", "service 3") == "音楽"


def test_letters_that_must_be_joined_are_not_drawn_one_by_one(no_fonts, monkeypatch):
    monkeypatch.setattr(fonts, "_HAS_SHAPING", False)  # as matplotlib 3.10
    assert no_fonts.legible(NAMES["Arabic"], "service 3") == "service 3"
    assert no_fonts.legible(NAMES["Hebrew"], "service 3") == "service 3"


def test_what_no_font_has_does_not_grow_without_bound(no_fonts):
    no_fonts.legible("".join(map(chr, range(0x4E00, 0x5E00))), "x")
    assert len(no_fonts.missing_glyphs) == fonts.MISSING_LIMIT


@pytest.mark.parametrize(
    ("characters", "packages"),
    [
        ("音", "fonts-noto-cjk"),
        ("あア한ㄅ", "fonts-noto-cjk"),
        ("🎵", "fonts-symbola"),
        ("เ", "fonts-noto-core"),
        ("音🎵เ", "fonts-noto-cjk fonts-noto-core fonts-symbola"),
    ],
)
def test_the_package_with_the_fonts_is_named(characters, packages):
    assert packages_for(characters) == packages


async def test_the_worker_process_uses_the_users_fonts_and_says_what_it_lacks(tmp_path, timeline, monkeypatch):
    (tmp_path / ".fonts").mkdir()
    made_font(tmp_path / ".fonts" / "made.ttf", "\U00013000\U00013001")  # hieroglyphs: hardly any machine has them
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(tmp_path / "mpl")))
    here = Fonts()
    here.legible("\U00013456", "")
    worker = ChartWorker()
    drawn = await worker.draw(Chart(dataclasses.replace(timeline(title="\U00013000\U00013001"), alias="service 1")))
    assert worker.missing_glyphs == ""
    assert drawn != await worker.draw(Chart(dataclasses.replace(timeline(title="service 1"))))
    await worker.draw(Chart(dataclasses.replace(timeline(title="\U00013000\U00013456"), alias="service 1")))
    assert worker.missing_glyphs == "".join(here.missing_glyphs)
    await worker.close()
