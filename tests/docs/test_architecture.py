"""docs/architecture.md names the real layers and files, and its walks stay short."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = {int(number): body for number, body in re.findall(r"## Walk (\d):.*?\n(.*?)(?=\n## |\Z)", TEXT, re.DOTALL)}
PAGES = ["CONTRIBUTING.md", "README.md", "SECURITY.md"]
PAGES += [page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")]
FILE = re.compile(r"`((?:bot|cogs|storage)/[\w/]+\.py)`")


def test_the_picture_shows_the_layers_that_import_linter_checks():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["cogmeter"])
    picture = TEXT.split("## The layers of `cogmeter`")[1].split("```")[1]
    assert [line.split("  ")[0] for line in picture.strip().splitlines()] == layers


def test_every_package_of_the_monitor_is_in_the_table():
    packages = {folder.name for folder in (ROOT / "cogs" / "cogmeter").iterdir() if (folder / "__init__.py").exists()}
    named = set(re.findall(r"\| `cogs/cogmeter/(\w+)` \|", TEXT))
    assert packages - named <= {"settings"}
    assert named <= packages


@pytest.mark.parametrize(("walk", "most"), [(1, 8), (2, 20), (3, 25), (4, 15), (5, 12)])
def test_a_walk_names_existing_files_and_few_of_them(walk, most):
    files = FILE.findall(WALKS[walk])
    assert 0 < len(set(files)) <= most
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_monitor_has_few_modules_outside_of_its_packages():
    modules = {file.stem for file in (ROOT / "cogs" / "cogmeter").glob("*.py")} - {"__init__"}
    assert len(modules) <= 4, modules


@pytest.mark.parametrize("package", ["alerts", "watch", "web", "render", "../../storage/cogmeter_storage"])
def test_a_packages_readme_is_short_and_names_files_that_exist(package):
    folder = (ROOT / "cogs" / "cogmeter" / package).resolve()
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    named = re.findall(r"`([\w/]+\.py|[\w/]+/)`", text)
    assert named
    assert [name for name in named if not (folder / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_code_that_a_page_names_exists(page):
    named = set(re.findall(r"`([\w/]+/[\w]+\.py)`", (ROOT / page).read_text(encoding="utf-8")))
    files = [path.as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
