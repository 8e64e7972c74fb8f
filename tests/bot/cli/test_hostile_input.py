"""Files, values and recorded texts that are made to break the command, or the terminal that it runs on."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re

import pytest

from cogmeter_storage import open_store

COMMANDS = (
    ("summary",),
    ("doctor",),
    ("health",),
    ("config",),
    ("run",),
    ("run", "--or-demo"),
    ("export", "-o", "-"),
    ("import", "-"),
    ("backup", "x.db"),
    ("vacuum",),
    ("forget", "--user", "123456789012345678", "--yes"),
    ("live", "--count", "1"),
    ("stats", "core"),
)
TOKEN = ".".join(("MTIzNDU2Nzg5MDEyMzQ1Njc4", "GhIjKl", "s3cret" * 6))
ATTACK = "a\x1b]0;owned\x07\x1b[31m\x9b31m\u202egnp\u2066\x7f\nb"
LINE = {
    "operationId": "op_1",
    "service": "core",
    "operation": "go",
    "endTime": "2025-08-17T10:00:00Z",
    "duration": 1,
    "outcome": "error",
}


def one_line(answer, said):
    code, out, err = answer
    assert code in {1, 2}, answer
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("Error: ")
    assert said in err


# .env


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_names_an_env_file_that_it_cannot_read(cogmeter, tmp_path, arguments):
    (tmp_path / ".env").write_bytes("# caf\u00e9\nPERFORMANCE_HTTP_PORT=3000\n".encode("cp1252"))
    said = ".env line 1 is not UTF-8 (byte 0xe9, perhaps Windows-1252). Save the file as UTF-8."
    one_line(cogmeter(*arguments), said)


def test_an_env_file_without_the_right_to_read_it_is_named(cogmeter, tmp_path):
    (tmp_path / ".env").touch(mode=0o000)
    for command in ("config", "run"):
        said = ".env cannot be read: Permission denied. Let the user that runs the bot read it."
        one_line(cogmeter(command, powerless=True), said)


def test_the_token_is_read_from_a_file_in_utf_16(cogmeter, tmp_path):
    (tmp_path / ".env").write_text("DISCORD_TOKEN=abc\r\nPERFORMANCE_ALERT_WINDOW=600\r\n", encoding="utf-16")
    found = {one["name"]: one for one in json.loads(cogmeter("config", "--json")[1])}
    assert found["DISCORD_TOKEN"] == {"name": "DISCORD_TOKEN", "value": "(set, hidden)", "origin": ".env"}
    assert found["PERFORMANCE_ALERT_WINDOW"]["value"] == "600"


def test_a_token_of_bytes_that_are_no_text_is_not_sent_to_discord(cogmeter):
    one_line(cogmeter("run", DISCORD_TOKEN=os.fsdecode(b"caf\xe9")), "DISCORD_TOKEN=(hidden): it contains characters")


def test_init_replaces_a_pipe_and_keeps_what_was_there(cogmeter, tmp_path):
    os.mkfifo(tmp_path / ".env")
    assert cogmeter("init", stdin="y\n" + "\n" * 10)[0] == 0
    assert (tmp_path / ".env").read_text().startswith("# DISCORD_TOKEN=")


# Secrets


@pytest.mark.parametrize(
    "arguments",
    [
        ("summary", "--top", TOKEN),
        ("summary", "--since", TOKEN),
        ("summary", "--url", TOKEN),
        ("summary", "--url", "http://me:s3cret@host/?a"),
        ("summary", "--period", "0123456789abcdef" + "s3cret" * 3),
        ("summary", TOKEN),
        ("summary", "--database", TOKEN),
        ("stats", TOKEN),
        ("forget", "--yes", "--user", TOKEN),
        ("import", TOKEN),
        ("export", "-o", f"{TOKEN}/x.json"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_secret_in_the_wrong_option_is_not_repeated(cogmeter, seed, some, arguments):
    seed(some)
    code, out, err = cogmeter(*arguments)
    assert code in {2, 3}
    assert "[redacted]" in err
    assert "s3cret" not in out + err


@pytest.mark.parametrize("value", [TOKEN, "s3cret", "postgres+x://me:s3cret@db/x", "sqlite:///x.db?key=s3cret"])
def test_a_secret_in_the_databases_address_is_not_repeated(cogmeter, value):
    code, out, err = cogmeter("summary", PERFORMANCE_DATABASE_URL=value)
    assert (code, out) == (3, "")
    assert err.startswith("Error: ")
    assert "PERFORMANCE_DATABASE_URL" in err
    assert "s3cret" not in err


def test_config_shows_no_secret_in_a_setting_of_text(cogmeter):
    out = cogmeter("config", PERFORMANCE_VERSION=TOKEN[:79])[1] + cogmeter("config", PERFORMANCE_HTTP_HOST=TOKEN)[1]
    assert out.count("[redacted]") == 2
    assert "s3cret" not in out


# Imports


def imported(path):
    async def read():
        store = await open_store(f"sqlite:///{path}", read_only=True)
        try:
            return [one async for chunk in store.stream(None, 0, 2**62) for one in chunk]
        finally:
            await store.close()

    return asyncio.run(read())


def test_half_a_surrogate_pair_in_an_import_becomes_a_sign_that_can_be_stored(cogmeter, tmp_path):
    line = json.dumps({**LINE, "error": "a\ud800b\0c", "metadata": {"k\udfff": "v\ud800"}})
    (tmp_path / "x.ndjson").write_text(line)
    code, _, err = cogmeter("import", "x.ndjson", "--database", "new.db")
    assert (code, err) == (0, "")
    (found,) = imported(tmp_path / "new.db")
    assert found.error == "a?b\ufffdc"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_an_import_in_utf_16_or_with_a_mark_is_read(cogmeter, tmp_path, encoding, packed):
    data = json.dumps({**LINE, "error": "caf\u00e9"}, ensure_ascii=False).encode(encoding)
    (tmp_path / "x").write_bytes(gzip.compress(data) if packed else data)
    assert cogmeter("import", "x", "--database", "new.db")[0] == 0
    assert imported(tmp_path / "new.db")[0].error == "caf\u00e9"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            json.dumps({**LINE, "service": "a\ud800"}),
            r"line 1: 'a\ud800' is not a name of 1 to 100 printable characters",
        ),
        (json.dumps({**LINE, "duration": 10**4_000}), "duration=1000"),
        (json.dumps({**LINE, "outcome": "x" * 100_000}), "KeyError: 'xxx"),
        (f"timestamp,service,operation,duration,success,error\n,a,b,1,{TOKEN},\n", "success='[redacted]' is neither"),
        ('{"operationId":' + "[" * 1_100_000, "line 1: "),
        ('{"operationId":"op_1"}\n' + " " * 1_100_000, "is not an operation of an export"),
        ("timestamp,service,operation,duration,success,error\n" + '"' * 1_100_001, "has a line of more than 1,000,000"),
        ("\u00e9", "is not an export"),
    ],
)
def test_what_an_import_cannot_take_is_one_line_of_readable_length(cogmeter, tmp_path, data, said):
    (tmp_path / "x.ndjson").write_text(data)
    answer = cogmeter("import", "x.ndjson", "--database", "new.db")
    one_line(answer, said)
    assert len(answer[2]) < 400
    assert "s3cret" not in answer[2]


def test_an_import_in_another_encoding_names_it_and_what_to_do(cogmeter, tmp_path):
    (tmp_path / "x").write_bytes(json.dumps({**LINE, "error": "caf\u00e9"}, ensure_ascii=False).encode("cp1252"))
    one_line(cogmeter("import", "x", "--database", "new.db"), "save it as UTF-8")
    (tmp_path / "y").mkdir()
    one_line(cogmeter("import", "y", "--database", "new.db"), "y cannot be read: Is a directory")


# The terminal

CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def attacked(seed, now_us):
    seed([("core", "go", now_us - 5_000_000, 5, 1, ATTACK, {"text": ATTACK})])


@pytest.mark.parametrize(
    "arguments",
    [
        ("errors", "--json"),
        ("stats", "core", "--json"),
        ("live", "--count", "1", "--json"),
        ("errors",),
        ("stats", "core"),
        ("live", "--count", "1"),
        ("export", "-o", "-", "--format", "csv"),
        ("export", "-o", "/dev/stdout", "--format", "csv"),
        ("export", "-o", "-", "--format", "ndjson"),
    ],
    ids=" ".join,
)
def test_no_recorded_text_gives_orders_to_a_terminal(attacked, terminal, arguments):
    said, code = terminal(*arguments, NO_COLOR="1", columns=200)
    assert code == 0
    assert "owned" in said
    assert not CONTROLS.search(said)
    assert not re.search("\x1b(?!\\[[0-9;?]*[a-zA-Z])|\x1b\\[31m", said)  # rich and the live view move the cursor


@pytest.mark.parametrize(
    "command", [("errors", "--json"), ("stats", "core", "--json"), ("live", "--count", "1", "--json")]
)
def test_json_means_the_same_and_has_no_controls_in_it(attacked, cogmeter, command):
    out = cogmeter(*command)[1]
    assert not CONTROLS.search(out)
    assert r"\u009b31m\u202egnp\u2066" in out
    assert json.dumps(ATTACK)[1:-1] in json.dumps(json.loads(out))


def test_csv_in_a_pipe_stays_as_it_is(attacked, cogmeter):
    assert ATTACK in cogmeter("export", "-o", "-", "--format", "csv")[1]


def test_a_database_is_not_written_to_a_terminal(attacked, terminal):
    said, code = terminal("backup", "-")
    assert code == 2
    assert "Name a file, or use a pipe" in said


def test_a_path_gives_no_orders_to_a_terminal(attacked, cogmeter, tmp_path):
    err = cogmeter("export", "-o", "a\x1b[31m\x9b.json")[2]
    assert err.startswith(r"Wrote a\x1b[31m\x9b.json (1 operations")
    assert (tmp_path / "a\x1b[31m\x9b.json").exists()
