"""The Dockerfile, as far as it can be checked without Docker: what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cogmeter.settings import Settings, env_name
from cogmeter_bot.cli import main
from cogmeter_bot.settings import IN_CONTAINER
from cogmeter_storage.factory import sqlite_path

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def instructions():
    """Each instruction with its text, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


def said(instructions, name):
    return [text for one, text in instructions if one == name]


def test_all_that_is_copied_exists_and_is_let_into_the_build(instructions):
    let_in = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = {name for text in said(instructions, "COPY") if "--from" not in text for name in text.split()[:-1]}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_its_variables_are_settings_and_the_database_lies_in_the_volume(instructions):
    variables = dict(part.split("=", 1) for text in said(instructions, "ENV") for part in text.split())
    ours = {name for name in variables if name.startswith("PERFORMANCE_")}
    assert ours <= {env_name(field) for field in Settings.model_fields}
    (volume,) = said(instructions, "VOLUME")
    assert sqlite_path(variables["PERFORMANCE_DATABASE_URL"]).parent == Path(volume)


def test_its_web_is_on_and_the_ports_that_it_names_are_those_that_are_served(instructions):
    variables = dict(part.split("=", 1) for text in said(instructions, "ENV") for part in text.split())
    assert variables["ENABLE_ANALYTICS_DASHBOARD"] == "true"
    served = {int(variables["PERFORMANCE_HTTP_PORT"]), Settings.model_fields["dashboard_port"].default}
    (ports,) = said(instructions, "EXPOSE")
    assert {int(port) for port in ports.split()} == served
    assert variables[IN_CONTAINER] == "1"
    assert env_name("http_host") not in variables  # open to others only with a token


def test_it_runs_and_checks_with_commands_that_there_are_and_not_as_root(instructions):
    (start,), (program,) = said(instructions, "CMD"), said(instructions, "ENTRYPOINT")
    (check,) = said(instructions, "HEALTHCHECK")
    assert json.loads(program) == ["cogmeter"]
    assert json.loads(start)[0] in main.commands
    assert json.loads(check.partition("CMD ")[2])[1] in main.commands
    assert said(instructions, "USER")[-1] not in {"root", "0"}


def test_every_reading_command_works_in_it_the_dashboard_too(instructions):
    installed = next(text for text in said(instructions, "RUN") if "pip install" in text)
    assert "[otlp,postgres,tui]" in installed
    (place,) = re.findall(r"python -m venv (\S+)", installed)
    variables = dict(part.split("=", 1) for text in said(instructions, "ENV") for part in text.split())
    assert variables["PATH"].split(":")[0] == f"{place}/bin"
    assert f"--from=build {place} {place}" in said(instructions, "COPY")
