"""Settings: each invalid one gives one line that names it, its value and the fix."""

import logging
import os
import re
import socket
from pathlib import Path

import discord
import pytest
from discord.ext import commands

from cogmeter.settings import Settings, SettingsError, env_name, fault_of, load_settings, text_file
from cogmeter.settings.env_file import MOST_BYTES

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
    monkeypatch.delenv("PERFORMANCE_TIMEZONE", raising=False)
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
        ("PERFORMANCE_DIGEST", "hourly"),
        ("PERFORMANCE_DIGEST_TIME", "9:00"),
        ("PERFORMANCE_DIGEST_TIME", "24:00"),
        ("PERFORMANCE_TIME_ZONE", "Europe/Nowhere"),
        ("PERFORMANCE_TIME_ZONE", "Europe"),
        ("PERFORMANCE_TIME_ZONE", "../UTC"),
        ("PERFORMANCE_EXPORT_FORMAT", "xml"),
        ("PERFORMANCE_EXPORT_INTERVAL", "1"),
        ("PERFORMANCE_DASHBOARD_REFRESH_INTERVAL", "0"),
        ("PERFORMANCE_EXPORT_DATADOG", "2"),
        ("ENABLE_PERFORMANCE_MONITORING", "maybe"),
        ("ENABLE_ANALYTICS_DASHBOARD", "maybe"),
    ],
)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_an_invalid_value_makes_one_line_with_its_name_its_value_and_the_fix(monkeypatch, name, value, where):
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
    assert re.fullmatch(
        rf"{name}=\(hidden\): it is not an http or https URL \(URL\); for example {name}=https://.+", text
    )
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("https://h/s3cret?ping={latency}", "has the unknown placeholder {latency}, use {ping} or {status}"),
        ("https://h/s3cret/{}", "has the unknown placeholder {}, use {ping} or {status}"),
        ("https://{status}.h/s3cret", "has a placeholder in its host, use {ping} or {status} in path and query only"),
    ],
)
def test_an_unknown_placeholder_of_the_heartbeat_is_refused_without_showing_the_url(monkeypatch, value, words):
    monkeypatch.setenv("PERFORMANCE_HEARTBEAT_URL", value)
    text = complaint()
    assert text.startswith(f"PERFORMANCE_HEARTBEAT_URL=(hidden): it {words} (URL); for example ")
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "value", ["https://h/a?status={status}&ping={ping}", "https://h/{status}", "https://h/{a:1}/{"]
)
def test_known_placeholders_and_other_braces_are_accepted(monkeypatch, value):
    monkeypatch.setenv("PERFORMANCE_HEARTBEAT_URL", value)
    assert load_settings().heartbeat_url.get_secret_value() == value


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://Perf.example.com", "https://perf.example.com"),
        ("https://perf.example.com/", "https://perf.example.com"),
        ("https://perf.example.com:8443/performance/", "https://perf.example.com:8443"),
        ("http://[::1]:3001/performance", "http://[::1]:3001"),
    ],
)
def test_the_address_of_the_dashboard_is_kept_without_a_path(monkeypatch, value, origin):
    monkeypatch.setenv("PERFORMANCE_DASHBOARD_URL", value)
    assert load_settings().dashboard_url == origin


@pytest.mark.parametrize(
    "value",
    [
        *(
            "perf.example.com",
            "ftp://perf.example.com",
            "https://perf.example.com/bot",
            "https://perf.example.com/?a=1",
        ),
        *("https://a:b@perf.example.com", "https://perf.example.com#x", "https://", "https://host:port"),
    ],
)
def test_another_address_of_the_dashboard_is_refused(monkeypatch, value):
    monkeypatch.setenv("PERFORMANCE_DASHBOARD_URL", value)
    assert "it is not an http or https URL without path, query and password (URL); for example" in complaint()


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
        "PERFORMANCE_RETENTON_HOURS in .env is not a setting; did you mean PERFORMANCE_RETENTION_HOURS?"
    )


def test_an_unknown_name_in_the_environment_is_a_warning(monkeypatch, caplog):
    monkeypatch.setenv("PERFORMANCE_RETENTON_HOURS", "5")
    with caplog.at_level(logging.WARNING, logger="cogmeter"):
        load_settings()
    assert "did you mean PERFORMANCE_RETENTION_HOURS?" in caplog.text


def test_names_of_others_in_the_file_are_left_alone():
    written("DISCORD_TOKEN=abc\nMY_BOT_PREFIX=!\nLOG_LEVEL=5\n")
    load_settings()


def test_the_environment_has_precedence_over_the_file(monkeypatch):
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


def test_the_error_for_a_short_token_names_the_least_length(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_HTTP_TOKEN", "s3cret")
    assert complaint().startswith("PERFORMANCE_HTTP_TOKEN=(hidden): it should have at least 32 characters, not 6 (")


def test_a_secret_is_never_shown(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_ALERT_WEBHOOK_URL", "https://example.com/very-secret")
    assert "very-secret" not in repr(load_settings())


# Secrets in the wrong place

WEBHOOK = "https://discord.com/api/webhooks/123456789012345678/s3cret-s3cret"
BOT_TOKEN = ".".join(("MTIzNDU2Nzg5MDEyMzQ1Njc4", "GhIjKl", "s3cret" * 6))
UNPARSED = [
    field
    for field, info in Settings.model_fields.items()
    if "Secret" not in str(info.annotation)
    and field not in {"version", "process_name", "spool_path", "database_url", "http_host", "metrics_namespace"}
]


@pytest.mark.parametrize("secret", [WEBHOOK, BOT_TOKEN, "https://up.example.com/push/s3cret", "s3cret0" * 5])
@pytest.mark.parametrize("field", UNPARSED)
def test_a_secret_in_a_setting_of_another_kind_is_not_repeated(monkeypatch, field, secret):
    monkeypatch.setenv(env_name(field), secret)
    text = complaint()
    assert text.startswith(f"{env_name(field)}='")
    assert "s3cret" not in text
    assert "s3cret" not in fault_of(field, secret)


def test_a_value_of_any_length_makes_a_readable_line(monkeypatch):
    written("PERFORMANCE_ALERT_CHANNEL_ID=" + "no id " * 20_000)
    assert len(complaint()) < 400


@pytest.mark.parametrize("text", [f"PERFORMANCE_ALERT_DISCORD_WEBHOOK:{WEBHOOK}", "PERFORMANCE_HTTP_TOKEN:s3cret0000"])
def test_a_name_with_its_secret_behind_a_colon_is_shown_without_it(text):
    written(f"{text}\n")
    name = text.partition(":")[0]
    assert complaint() == f"{name}... in .env is not a setting; did you mean {name}?"


def test_what_is_wrong_with_an_answer_is_not_what_is_wrong_in_the_environment(monkeypatch):
    monkeypatch.setenv("PERFORMANCE_RETENTION_HOURS", "abc")
    assert fault_of("alert_window", "300") == ""
    assert fault_of("alert_window", "1").startswith("PERFORMANCE_ALERT_WINDOW='1': ")


# Files and values that cannot be read

SAYS = "PERFORMANCE_HTTP_PORT=3005\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_file_in_utf_8_or_in_utf_16_with_its_mark_is_read(encoding):
    Path(".env").write_bytes((("\ufeff" if encoding == "utf-16-be" else "") + SAYS).encode(encoding))
    assert load_settings().http_port == 3005


def cp1252():
    Path(".env").write_bytes(f"{SAYS}# caf\u00e9\n".encode("cp1252"))


def nul_bytes():
    Path(".env").write_bytes(b"PERFORMANCE_VERSION=1\0\n")


def huge():
    Path(".env").write_bytes(b"# " + b"x" * MOST_BYTES)


def blanks():
    written(f"A=1\nB=2{' ' * 200_000}\n")


def folder():
    Path(".env").mkdir()


def pipe():
    os.mkfifo(".env")


def unix_socket():
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(".env")


def circle():
    Path(".env").symlink_to(".env")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (cp1252, ".env line 2 is not UTF-8 (byte 0xe9, perhaps Windows-1252). Save the file as UTF-8."),
        (nul_bytes, ".env line 1 contains a NUL byte. Save the file as UTF-8 text."),
        (huge, ".env has more than 256 KiB. Keep only settings in it."),
        (blanks, ".env line 2 has more than 1,000 blanks in a row. Remove them."),
        (folder, ".env is a folder, not a text file. Remove it, or replace it by a text file."),
        (pipe, ".env is a pipe, and its text did not arrive within 0.05 s. Use a file."),
        (unix_socket, ".env is a socket, not a text file. Remove it, or replace it by a text file."),
        (circle, ".env cannot be read: Too many levels of symbolic links. Replace the links by the file itself."),
    ],
)
async def test_a_file_that_cannot_be_read_fails_the_load_with_one_line(make, said, monkeypatch):
    monkeypatch.setattr(text_file, "PIPE_S", 0.05)
    make()
    assert complaint() == said
    bot = commands.Bot("!", intents=discord.Intents.none())
    with pytest.raises(commands.ExtensionFailed) as raised:
        await bot.load_extension("cogmeter.cog")
    assert str(raised.value.original) == said
    await bot.close()


def test_a_virtual_environment_of_that_name_is_no_settings_file():
    Path(".env").mkdir()
    Path(".env/pyvenv.cfg").touch()
    assert load_settings().http_port is None


def test_many_unknown_names_are_counted_and_the_first_ones_listed(monkeypatch, caplog):
    written("".join(f"PERFORMANCE_X{number}=1\n" for number in range(5_000)))
    lines = complaint().splitlines()
    assert lines[0] == "PERFORMANCE_X0 in .env is not a setting; remove it"
    assert (len(lines), lines[-1]) == (21, "and 4,980 more")


def test_names_are_replaced_by_their_values_as_before(monkeypatch):
    written("HOURS=72\nPERFORMANCE_RETENTION_HOURS=${HOURS}\n")
    assert load_settings().retention_hours == 72


@pytest.mark.parametrize("name", ["PERFORMANCE_VERSION", "PERFORMANCE_RETENTION_HOURS", "PERFORMANCE_DATABASE_URL"])
def test_bytes_in_the_environment_that_are_not_text_are_reported(monkeypatch, name):
    monkeypatch.setitem(os.environ, name, os.fsdecode(b"caf\xe9"))
    assert complaint().startswith(rf"{name}='caf\udce9': it contains bytes that are not UTF-8 text (")


def test_a_secret_of_bytes_that_are_no_text_stays_hidden(monkeypatch):
    monkeypatch.setitem(os.environ, "PERFORMANCE_HTTP_TOKEN", os.fsdecode(b"s3cret\xe9" * 8))
    assert complaint().startswith("PERFORMANCE_HTTP_TOKEN=(hidden): it contains bytes that are not UTF-8 text (")


def test_a_name_in_the_environment_of_bytes_that_are_no_text_is_logged_as_text(monkeypatch, caplog):
    monkeypatch.setitem(os.environ, os.fsdecode(b"PERFORMANCE_caf\xe9"), "1")
    with caplog.at_level(logging.WARNING, logger="cogmeter"):
        load_settings()
    assert caplog.messages == ["PERFORMANCE_caf... in the environment is not a setting; remove it"]


# The other name of the time zone ------------------------------------------------------------------------------------


def test_the_time_zone_is_also_read_under_its_other_name(monkeypatch):
    written("PERFORMANCE_TIMEZONE=Europe/Berlin\n")
    assert load_settings().time_zone == "Europe/Berlin"
    monkeypatch.setenv("PERFORMANCE_TIMEZONE", "Asia/Tokyo")  # the environment precedes the file
    assert load_settings().time_zone == "Asia/Tokyo"
    monkeypatch.delenv("PERFORMANCE_TIMEZONE")
    written("PERFORMANCE_TIMEZONE=Europe/Berlin\nPERFORMANCE_TIME_ZONE=America/New_York\n")
    assert load_settings().time_zone == "America/New_York"


def test_a_bad_value_is_reported_under_the_name_that_it_was_read_from():
    written("PERFORMANCE_TIMEZONE=Mars/Base\n")
    assert complaint() == (
        "PERFORMANCE_TIMEZONE='Mars/Base': it is not a time zone of this machine, such as Europe/Berlin; without time"
        " zone data, pip install tzdata (IANA time zone); for example PERFORMANCE_TIMEZONE=UTC"
    )
