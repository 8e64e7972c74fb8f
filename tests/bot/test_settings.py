"""What our own bot switches on by itself, and what the image does with a token."""

import os

import pytest

from cogmeter.settings import Settings, env_name, load_settings
from cogmeter_bot.settings import NO_TOKEN, set_own_defaults

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """None of the person's own settings, and everything put back afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in (*map(env_name, Settings.model_fields), "SERVER_PORT", "PORT", "COGMETER_IN_CONTAINER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_our_own_bot_serves_the_web_on_loopback_and_registers_its_commands():
    assert set_own_defaults() == ""
    settings = load_settings()
    assert (settings.http_port, settings.analytics_dashboard, settings.sync_commands) == (3000, True, True)
    assert settings.http_host == "127.0.0.1"


def test_what_a_person_has_set_stays(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("ENABLE_ANALYTICS_DASHBOARD=false\nPERFORMANCE_HTTP_PORT=8080\n")
    monkeypatch.setenv("PERFORMANCE_SYNC_COMMANDS", "false")
    set_own_defaults()
    settings = load_settings()
    assert (settings.http_port, settings.analytics_dashboard, settings.sync_commands) == (8080, False, False)


@pytest.mark.parametrize("name", ["SERVER_PORT", "PORT"])
def test_the_port_that_a_bot_host_gives_is_not_hidden_by_ours(monkeypatch, name):
    monkeypatch.setenv(name, "25565")
    set_own_defaults()
    assert "PERFORMANCE_HTTP_PORT" not in os.environ
    assert load_settings().analytics_dashboard


def test_a_container_without_a_token_stays_closed_and_says_how_it_is_opened(monkeypatch):
    monkeypatch.setenv("COGMETER_IN_CONTAINER", "1")
    assert set_own_defaults() == NO_TOKEN
    assert load_settings().http_host == "127.0.0.1"


def test_a_container_with_a_token_listens_on_every_address(monkeypatch):
    monkeypatch.setenv("COGMETER_IN_CONTAINER", "1")
    monkeypatch.setenv("PERFORMANCE_HTTP_TOKEN", TOKEN)
    assert set_own_defaults() == ""
    assert load_settings().http_host == "0.0.0.0"


def test_a_configured_address_is_kept_in_a_container_with_a_warning(monkeypatch):
    monkeypatch.setenv("COGMETER_IN_CONTAINER", "1")
    monkeypatch.setenv("PERFORMANCE_HTTP_TOKEN", TOKEN)
    monkeypatch.setenv("PERFORMANCE_HTTP_HOST", "127.0.0.1")
    assert "PERFORMANCE_HTTP_HOST=127.0.0.1" in set_own_defaults()
    assert load_settings().http_host == "127.0.0.1"
