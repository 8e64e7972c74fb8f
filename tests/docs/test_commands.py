"""docs/commands.md has a section with a picture for each command of the tree, and none for others."""

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs"))

from command_tree import all_commands, picture_of  # noqa: E402 - a module of the scripts next to the documents

PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `/([^`]+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
MAX_BYTES = 300_000
COMMANDS = all_commands()


def test_the_page_has_a_section_for_each_command_and_no_other():
    assert len(COMMANDS) > 20
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_the_options_and_shows_a_picture(name):
    section = SECTIONS[name]
    usage = re.search(r"^`/(.*)`$", section, re.MULTILINE)[1]
    options = [one.display_name if one.required else f"[{one.display_name}]" for one in COMMANDS[name].parameters]
    assert usage == " ".join([name, *options])
    assert f"(pictures/commands/{picture_of(name)})" in section


@pytest.mark.parametrize("name", COMMANDS)
def test_the_picture_exists_and_is_small(name):
    path = ROOT / "docs" / "pictures" / "commands" / picture_of(name)
    assert path.stat().st_size <= MAX_BYTES
    with Image.open(path) as picture:
        assert (picture.format, picture.width > 400) == ("PNG", True)
