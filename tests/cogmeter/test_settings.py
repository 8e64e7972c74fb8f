"""Settings: each bad one gives one line that names it, its value and the mend."""

import logging
import re
from pathlib import Path

import pytest

from cogmeter.settings import Settings, SettingsError, env_name, load_settings

GUIDE = (
    "ENABLE_PERFORMANCE_MONITORING",
    "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE",
    "PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME",
    "PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE",
    "PERFORMANCE_RETENTION_HOURS",
    "PERFORMANCE_CLEANUP_INTERVAL_MINUTES",
    "PERFORMANCE_MAX_OPERATIONS_IN_MEMORY",
    "PERFORMANCE_EXPORT_FORMAT",
    "PERFORMANCE_DASHBOARD_REFRESH_INTERVAL",
    "PERFORMANCE_LOG_LEVEL",
    "ENABLE_ANALYTICS_DASHBOARD",
    "PERFORMANCE_ALERT_COOLDOWN",
    "PERFORMANCE_ALERT_DISCORD_WEBHOOK",
    "PERFORMANCE_ALERT_WEBHOOK_URL",
    "PERFORMANCE_EXPORT_INTERVAL",
    "DATADOG_API_KEY",
    "DATADOG_APP_KEY",
    "PERFORMANCE_EXPORT_DATADOG",
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No setting of the machine, and no .env of the checkout, gets into a test."""
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)


def written(text):
    Path(".env").write_text(text, encoding="utf-8")


def complaint():
    with pytest.raises(SettingsError) as raised:
        load_settings()
    return str(raised.value)


def test_the_defaults_are_the_guides():
    settings = load_settings()
    assert settings.enabled
    assert settings.retention_hours == 168
    assert settings.cleanup_interval_minutes == 60
    assert settings.max_operations_in_memory is None  # the guide's name, when it is set; the default is in MB
    assert settings.alert_threshold_error_rate == 0.05
    assert settings.alert_threshold_response_time == 5_000
    assert settings.alert_threshold_operations_per_minute == 100
    assert settings.alert_cooldown == 300


@pytest.mark.parametrize("name", GUIDE)
def test_every_setting_of_the_guide_is_known(name):
    assert name in {env_name(field) for field in Settings.model_fields}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PERFORMANCE_RETENTION_HOURS", "abc"),
        ("PERFORMANCE_RETENTION_HOURS", "nan"),
        ("PERFORMANCE_RETENTION_HOURS", "0"),
        ("PERFORMANCE_RETENTION_HOURLY_DAYS", "inf"),
        ("PERFORMANCE_RETENTION_DAILY_DAYS", "-1"),
        ("PERFORMANCE_CLEANUP_INTERVAL_MINUTES", "0"),
        ("PERFORMANCE_MAX_OPERATIONS_IN_MEMORY", "1.5"),
        ("PERFORMANCE_LOG_LEVEL", "loud"),
        ("PERFORMANCE_COMMAND_GROUP", "My Perf"),
        ("PERFORMANCE_GUILD_ID", "home"),
        ("PERFORMANCE_OPS_ROLE_IDS", "1,x"),
        ("PERFORMANCE_SYNC_COMMANDS", "perhaps"),
        ("PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE", "5"),
        ("PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME", "-1"),
        ("PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE", "many"),
        ("PERFORMANCE_ALERT_RESPONSE_TIME_STATISTIC", "p90"),
        ("PERFORMANCE_ALERT_WINDOW", "1"),
        ("PERFORMANCE_ALERT_MIN_OPERATIONS", "0"),
        ("PERFORMANCE_ALERT_CHECK_INTERVAL", "0"),
        ("PERFORMANCE_ALERT_COOLDOWN", "-5"),
        ("PERFORMANCE_ALERT_CHANNEL_ID", "-4"),
        ("PERFORMANCE_EXPORT_FORMAT", "xml"),
        ("PERFORMANCE_EXPORT_INTERVAL", "1"),
        ("PERFORMANCE_DASHBOARD_REFRESH_INTERVAL", "0"),
        ("PERFORMANCE_EXPORT_DATADOG", "2"),
        ("ENABLE_PERFORMANCE_MONITORING", "maybe"),
        ("ENABLE_ANALYTICS_DASHBOARD", "maybe"),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_bad_value_gives_one_line_with_its_name_its_value_and_the_mend(monkeypatch, name, value, where):
    if where == "environment":
        monkeypatch.setenv(name, value)
    else:
        written(f"{name}={value}\n")
    text = complaint()
    shown = "x" if name.endswith("ROLE_IDS") else value
    assert re.fullmatch(rf"{name}='{re.escape(shown)}': it .+; for example {name}=.+", text)


@pytest.mark.parametrize(
    "name", ["PERFORMANCE_ALERT_WEBHOOK_URL", "PERFORMANCE_ALERT_DISCORD_WEBHOOK", "PERFORMANCE_HEARTBEAT_URL"]
)
@pytest.mark.parametrize(
    "value", ["s3cret", "ftp://host/s3cret", "https:///s3cret", "http://host:port/s3cret", "https://ho st/s3cret"]
)
def test_what_is_no_address_is_refused_without_being_shown(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    text = complaint()
    assert re.fullmatch(rf"{name}=\(hidden\): it is no http or https URL \(URL\); for example {name}=https://.+", text)
    assert "s3cret" not in text


def test_each_bad_setting_has_its_own_line(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "abc")
    written("PERFORMANCE_ALERT_WINDOW=1\nPERFORMANCE_RETENTON_HOURS=5\n")
    assert sorted(line.split("=")[0].split()[0] for line in complaint().splitlines()) == [
        "PERFORMANCE_ALERT_WINDOW",
        "PERFORMANCE_RETENTION_HOURS",
        "PERFORMANCE_RETENTON_HOURS",
    ]


def test_an_unknown_name_in_the_file_is_an_error_with_the_near_name():
    written("PERFORMANCE_RETENTON_HOURS=5\n")
    assert complaint() == (
        "PERFORMANCE_RETENTON_HOURS in .env is no setting; did you mean PERFORMANCE_RETENTION_HOURS?"
    )


def test_an_unknown_name_in_the_environment_is_a_warning(monkeypatch, caplog):
    monkeypatch.setenv("PERFORMANCE_RETENTON_HOURS", "5")
    with caplog.at_level(logging.WARNING, logger="cogmeter"):
        load_settings()
    assert "did you mean PERFORMANCE_RETENTION_HOURS?" in caplog.text


def test_names_of_others_in_the_file_are_left_alone():
    written("DISCORD_TOKEN=abc\nMY_BOT_PREFIX=!\nLOG_LEVEL=5\n")
    load_settings()


def test_the_environment_stands_above_the_file(monkeypatch):
    written("PERFORMANCE_RETENTION_HOURS=72   # three days\nPERFORMANCE_ALERT_COOLDOWN=60\n")
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "24")
    settings = load_settings()
    assert (settings.retention_hours, settings.alert_cooldown) == (24, 60)


def test_an_empty_value_is_the_default(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "")
    assert load_settings().retention_hours == 168


def test_role_ids_are_written_with_commas(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_OPS_ROLE_IDS", "12, 34,")
    assert load_settings().ops_role_ids == {12, 34}


def test_a_token_that_is_too_short_is_told_how_long_it_has_to_be(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_HTTP_TOKEN", "s3cret")
    assert complaint().startswith("PERFORMANCE_HTTP_TOKEN=(hidden): it should have at least 32 characters, not 6 (")


def test_a_secret_is_never_shown(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_ALERT_WEBHOOK_URL", "https://example.com/very-secret")
    assert "very-secret" not in repr(load_settings())


def test_a_setting_whose_part_comes_later_is_said_to_do_nothing(monkeypatch, caplog):
    monkeypatch.setenv("PERFORMANCE_EXPORT_DATADOG", "true")
    with caplog.at_level(logging.WARNING, logger="cogmeter"):
        load_settings()
    assert caplog.messages == ["PERFORMANCE_EXPORT_DATADOG is set, and has no effect in this version"]
