"""The family of export formats: each member has every fact, and every surface lists what the table lists."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

import cogmeter.exporters
from cogmeter.exporters.base import Exporter
from cogmeter.exporters.table import EXPORTERS, exporter, format_of
from cogmeter.settings import Settings
from cogmeter.web.api.routes.operations import ROUTES, ExportParams
from cogmeter_bot.cli.options import TableChoice
from cogmeter_bot.cli.transfer import export

ROOT = Path(__file__).parents[3]
OTHERS = {"__init__", "base", "table", "reading", "limited_file", "gauge_names"}  # modules that are no format


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_format_has_every_fact(name):
    one = exporter(name)
    assert one.name == name
    assert all(getattr(one, field.name) for field in fields(Exporter) if field.name != "streams")
    assert all(suffix.isalnum() for suffix in one.suffixes)
    assert len(one.description) < 100
    assert not one.description.endswith(".")


def test_every_module_of_the_package_is_a_format_of_the_table():
    modules = {file.stem for file in Path(cogmeter.exporters.__file__).parent.glob("*.py")} - OTHERS
    assert modules == set(EXPORTERS.values())


def test_no_two_formats_share_a_suffix_a_label_or_a_media_type():
    members = [exporter(name) for name in EXPORTERS]
    suffixes = [suffix for one in members for suffix in one.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert len({one.label for one in members}) == len({one.media_type for one in members}) == len(members)


@pytest.mark.parametrize("name", EXPORTERS)
def test_the_suffix_of_a_file_leads_to_its_format(name):
    assert {format_of(f"monday.{suffix}") for suffix in exporter(name).suffixes} == {name}
    assert format_of("monday") is format_of("monday.txt") is format_of(".json") is None


def test_the_api_the_command_line_and_the_documents_list_the_table():
    schema = ExportParams.model_json_schema()["properties"]["format"]
    assert schema["anyOf"][0]["enum"] == list(EXPORTERS)
    assert set(next(route for route in ROUTES if route.path.endswith("/export")).media) == {
        exporter(name).media_type for name in EXPORTERS
    }
    (option,) = (one for one in export.params if one.name == "kind")
    assert isinstance(option.type, TableChoice)
    assert tuple(option.type.choice.choices) == tuple(EXPORTERS)
    choices = r"\|".join(EXPORTERS)
    assert f"--format [{choices}]" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_default_format_of_the_settings_is_a_format():
    assert set(get_args(Settings.model_fields["export_format"].annotation)) <= set(EXPORTERS)


def test_the_table_imports_no_format():
    code = (
        "import sys; import cogmeter.exporters.table as table;"
        "assert not {f'cogmeter.exporters.{one}' for one in table.EXPORTERS.values()} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
