"""The documents agree with the code: configuration.md, .env.example and the settings model."""

import importlib.util
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from cogmeter.settings import Settings, env_name, load_settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_settings", ROOT / "docs" / "write_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_file_is_what_the_settings_model_says(writer):
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == writer.env_example()


def test_the_configuration_page_is_what_the_settings_model_says(writer):
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert text == writer.page(text)


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_the_example_file_names_every_setting(writer):
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert all(f"{env_name(field)}=" in text for field in Settings.model_fields)


def test_the_example_file_loads_and_gives_the_defaults_with_the_web_switched_on(monkeypatch):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    switched_on = {"analytics_dashboard": True, "http_port": 3000}
    assert load_settings(ROOT / ".env.example") == load_settings(None).model_copy(update=switched_on)
    assert dotenv_values(ROOT / ".env.example")
