"""The demo's environment: a person's own settings are kept, without those that lead outside."""

import os
from pathlib import Path

import pytest

from cogmeter.settings import load_settings
from cogmeter_bot.demo.environment import demo_environment, post_alerts_to


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PERFORMANCE_")]:
        monkeypatch.delenv(name)


def test_what_leads_outside_is_not_taken_from_the_persons_own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_DATABASE_URL", "sqlite:///precious.db")
    monkeypatch.setenv("PERFORMANCE_GUILD_ID", "42")
    monkeypatch.setenv("ENABLE_PERFORMANCE_MONITORING", "false")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("PERFORMANCE_ALERT_WEBHOOK_URL=https://example.org/pager\n")
    (tmp_path / "demo").mkdir()
    with demo_environment(tmp_path / "demo", "sqlite:///demo.db", 8123):
        post_alerts_to(7)
        settings = load_settings()
    assert settings.database_url == "sqlite:///demo.db"
    assert (settings.guild_id, settings.alert_webhook_url, settings.alert_channel_id) == (None, None, 7)
    assert settings.enabled
    assert settings.sync_commands  # else the monitor warns that /perf is not registered yet


def test_a_threshold_of_the_persons_own_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE", "0.5")
    monkeypatch.setenv("PERFORMANCE_ALERT_COOLDOWN", "7")
    with demo_environment(tmp_path, "sqlite:///demo.db", 8123):
        settings = load_settings()
    assert (settings.alert_threshold_error_rate, settings.alert_cooldown) == (0.5, 7)


def test_everything_is_put_back(tmp_path):
    before, place = dict(os.environ), Path.cwd()
    with demo_environment(tmp_path, "sqlite:///demo.db", 8123):
        post_alerts_to(7)
    assert dict(os.environ) == before
    assert Path.cwd() == place
