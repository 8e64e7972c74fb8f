"""Settings that are changed in chat: which, how their values are checked and stored, and how they are merged."""

import pytest

from cogmeter.settings import Settings, SettingsError, checked_setting, is_setting, merged, settable, setting_key
from cogmeter.settings import stored_text as text_of


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_ALERT_WINDOW", "600")
    monkeypatch.delenv("PERFORMANCE_ALERT_CHANNEL_ID", raising=False)


@pytest.mark.parametrize(
    ("field", "text", "stored"),
    [
        ("alert_channel_id", "123456789012345678", "123456789012345678"),
        ("ops_role_ids", "3, 1,2", "1,2,3"),
        ("watch_tasks", "no", "false"),
        ("alert_window", "60", "60"),
        ("sample_interval", "2.50", "2.5"),
        ("export_format", "csv", "csv"),
    ],
)
def test_a_value_is_stored_in_one_form(field, text, stored):
    assert checked_setting(field, text) == stored
    changed = merged(Settings(), {setting_key(field): stored})
    assert text_of(getattr(changed.settings, field)) == stored
    assert changed.changed == {field: stored}
    assert changed.left_out == {}


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("alert_channel_id", "here", ["PERFORMANCE_ALERT_CHANNEL_ID='here'", "for example"]),
        ("alert_channel_id", "", ["PERFORMANCE_ALERT_CHANNEL_ID=''"]),
        ("alert_window", "5", ["PERFORMANCE_ALERT_WINDOW='5'", "10", "for example PERFORMANCE_ALERT_WINDOW=300"]),
        ("alert_window", "\ud800", ["not UTF-8"]),
        ("database_url", "sqlite:///x.db", ["PERFORMANCE_DATABASE_URL cannot be changed in chat", ".env"]),
        ("enabled", "false", ["ENABLE_PERFORMANCE_MONITORING cannot be changed in chat"]),
        ("http_host", "0.0.0.0", ["PERFORMANCE_HTTP_HOST cannot be changed in chat"]),
        ("retention_hours", "1", ["PERFORMANCE_RETENTION_HOURS cannot be changed in chat"]),
        ("chart_idle", "5", ["PERFORMANCE_CHART_IDLE cannot be changed in chat"]),
        ("usage", "false", ["PERFORMANCE_USAGE cannot be changed in chat"]),
        ("status_page", "true", ["PERFORMANCE_STATUS_PAGE cannot be changed in chat"]),
        ("export_datadog", "true", ["cannot be changed in chat"]),
        ("alert_threshold_stall", "100", ["PERFORMANCE_ALERT_THRESHOLD_STALL is a threshold", "thresholds set"]),
        ("of_tomorrow", "1", ["'of_tomorrow' is not a setting of this version"]),
    ],
)
def test_what_cannot_be_is_refused_with_name_value_and_fix(field, text, words):
    with pytest.raises(SettingsError) as refused:
        checked_setting(field, text)
    assert all(word in str(refused.value) for word in words), refused.value
    result = merged(Settings(), {setting_key(field): text})
    assert result.left_out == {setting_key(field): str(refused.value)}
    assert result.changed == {}
    assert result.settings == Settings()


@pytest.mark.parametrize("field", [field for field, info in Settings.model_fields.items() if "Secret" in str(info)])
def test_no_secret_can_be_changed_in_chat_and_none_is_shown(field):
    with pytest.raises(SettingsError, match="is secret and cannot be changed in chat") as refused:
        checked_setting(field, "https://example.com/hunter2-hunter2-hunter2-hunter2")
    assert "hunter2" not in str(refused.value)
    assert field not in set(settable())


def test_keys_of_thresholds_are_no_settings():
    assert not is_setting("error_rate@knowledge-graph")
    assert merged(Settings(), {"error_rate": "0.1"}).settings is not None
    assert merged(Settings(), {"error_rate": "0.1"}).left_out == {}


def test_what_is_changed_wins_over_the_environment_and_leaves_the_rest():
    configured = Settings(alert_cooldown=60)
    result = merged(configured, {"setting:alert_window": "30", "error_rate": "0.1"})
    assert (configured.alert_window, result.settings.alert_window) == (600, 30)
    assert result.settings.alert_cooldown == 60
    assert result.settings.model_fields_set >= {"alert_window", "alert_cooldown"}


def test_every_other_setting_can_be_written_and_read_back():
    defaults = Settings()
    for field in settable():
        value = getattr(defaults, field)
        if value is not None and value != frozenset():
            assert checked_setting(field, text_of(value)) == text_of(value), field
