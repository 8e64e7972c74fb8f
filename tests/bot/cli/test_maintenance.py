"""backup, vacuum, forget, init, config, completion."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import stat
import subprocess
import sys

import pytest

from cogmeter.watch.interactions.people import KEY, People, Who
from cogmeter_storage import open_store

USER = "123456789012345678"
TOKEN = ".".join(("x" * 24, "y" * 6, "z" * 38))  # the shape of a bot's token


def test_a_backup_is_a_whole_database_and_never_replaces_one(cogmeter, seed, some, tmp_path):
    seed(some)
    code, out, _ = cogmeter("backup", "copy.db")
    assert code == 0
    assert out.startswith("Wrote copy.db (")
    assert (
        cogmeter("export", "--format", "ndjson", "-o", "-", "--database", "copy.db")[1]
        == (cogmeter("export", "--format", "ndjson", "-o", "-")[1])
    )
    assert cogmeter("backup", "copy.db")[0] == 2
    assert cogmeter("backup", "copy.db", "--force")[0] == 0
    assert sorted(one.name for one in tmp_path.glob("copy*")) == ["copy.db"]
    raw = sqlite3.connect(tmp_path / "copy.db")
    assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()


def test_a_backup_runs_while_a_bot_writes(cogmeter, seed, some, now_us):
    path = seed(some)

    async def beside():
        store = await open_store(f"sqlite:///{path}")
        try:
            done = asyncio.ensure_future(asyncio.to_thread(cogmeter, "backup", "copy.db"))
            count = 0
            while not done.done():
                await store.append([[(1, now_us + count, 5, 0, None, None)]], now_us=now_us)
                count += 1
                await asyncio.sleep(0.01)
            return await done
        finally:
            await store.close()

    assert asyncio.run(beside())[0] == 0
    assert cogmeter("summary", "--database", "copy.db")[0] == 0


def test_a_backup_never_replaces_a_database_in_use(cogmeter, seed, some, now_us):
    path = seed(some)

    async def onto_it():
        store = await open_store(f"sqlite:///{path}")
        try:
            await store.append([[(1, now_us, 5, 0, None, None)]], now_us=now_us)
            return await asyncio.to_thread(cogmeter, "backup", path, "--force", "--database", other)
        finally:
            await store.close()

    other = seed(some, "other.db")
    code, _, err = asyncio.run(onto_it())
    assert (code, err) == (2, f"Error: {path} is a database in use. Name another file.\n")


def test_a_backup_never_replaces_a_database_that_a_bot_has_open_though_it_has_written_nothing(cogmeter, seed, some):
    path, other = seed(some), seed(some, "other.db")

    async def onto_it():
        store = await open_store(f"sqlite:///{path}")
        try:
            path.with_name(f"{path.name}-wal").unlink()  # as empty as after a checkpoint
            return await asyncio.to_thread(cogmeter, "backup", path, "--force", "--database", other)
        finally:
            await store.close()

    code, _, err = asyncio.run(onto_it())
    assert (code, err) == (2, f"Error: {path} is a database in use. Name another file.\n")
    assert cogmeter("backup", path, "--force", "--database", other)[0] == 0


def test_a_backup_goes_through_a_pipe(seed, some, tmp_path, environment):
    path = seed(some)
    with (tmp_path / "copy.db").open("wb") as file:
        command = [sys.executable, "-m", "cogmeter_bot", "backup", "-"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=file, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    raw, copy = sqlite3.connect(path), sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len({tuple(one.execute("SELECT * FROM operation")) for one in (raw, copy)}) == 1
    raw.close()
    copy.close()


def test_vacuum_says_what_it_gave_back(cogmeter, seed, some):
    seed(some)
    code, out, _ = cogmeter("vacuum")
    assert code == 0
    assert " bytes before, " in out


def test_forget_removes_the_hash_that_the_watch_stored_and_asks_before(cogmeter, seed, now_us):
    people = People(slow_ms=0)
    people.key = b"k" * 16
    hashes = people.of(Who(int(USER), None, None, 1))
    rows = [
        ("discord.commands", "ask", now_us - 2, 5, 1, f"no right for {USER}", {**hashes, "command": "ask"}),
        ("discord.commands", "ask", now_us - 1, 5, 1, None, {"user": "ffffffff"}),
    ]
    seed(rows, work=lambda store: store.set_value(KEY, people.key))
    code, out, _ = cogmeter("forget", "--user", USER, stdin="n\n")
    assert code == 130
    assert "Permanently remove" in out
    code, out, _ = cogmeter("forget", "--user", USER, "--yes")
    assert (code, out) == (0, "Removed from 1 row (1 operation)\n")
    lines = cogmeter("export", "--format", "ndjson", "-o", "-")[1].splitlines()
    first, second = map(json.loads, lines)
    assert (first["metadata"], first["error"]) == ({"command": "ask"}, "no right for (forgotten)")
    assert second["metadata"] == {"user": "ffffffff"}


def test_init_writes_what_the_bot_can_read_for_its_owner_alone(cogmeter, tmp_path):
    code, out, err = cogmeter("init", stdin=f"{TOKEN}\n123456789012345678\nabc\n0.1\n\n200\n")
    assert (code, err) == (0, "")
    assert "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE='abc': it should be a valid number" in out  # and is asked again
    assert "Leave the token empty: your bot has its own." in out
    assert 'await bot.load_extension("cogmeter.cog")' in out
    assert "cogmeter.attach(client)" in out
    assert "`cogmeter run`" in out
    assert ".env.example" not in out  # an installed package has no such file
    file = tmp_path / ".env"
    assert file.read_text() == (
        f"DISCORD_TOKEN={TOKEN}\n"
        "PERFORMANCE_ALERT_CHANNEL_ID=123456789012345678\n"
        "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE=0.1\n"
        "# PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME=\n"
        "PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE=200\n"
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, out, _ = cogmeter("config", "--changed", "--json")
    found = {one["name"]: (one["value"], one["origin"]) for one in json.loads(out)}
    assert found == {
        "DISCORD_TOKEN": ("(set, hidden)", ".env"),
        "PERFORMANCE_ALERT_CHANNEL_ID": ("123456789012345678", ".env"),
        "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE": ("0.1", ".env"),
        "PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE": ("200", ".env"),
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("123456789012345678", "is a number (18 characters, hidden)"),
        ("ab" * 32, "the application's public key"),
        ("x" * 32, "the client secret"),
        (f"Bot {'x' * 20}", 'starts with "Bot "'),
        ("to.ken-1", "is not three parts with dots between them"),
    ],
)
def test_init_says_what_a_wrong_token_is_without_showing_it(cogmeter, tmp_path, answer, words):
    code, out, err = cogmeter("init", stdin=f"{answer}\n")
    assert code == 1
    assert words in err
    assert "button Reset Token" in err
    assert answer not in out + err
    assert not list(tmp_path.iterdir())


def test_init_never_overwrites_without_a_yes(cogmeter, tmp_path):
    (tmp_path / ".env").write_text("precious")
    code, _, err = cogmeter("init", stdin="n\n")
    assert (code, err) == (1, "Error: .env was not changed.\n")
    assert (tmp_path / ".env").read_text() == "precious"
    assert cogmeter("init", stdin="y\n\n\n\n\n\n")[0] == 0
    assert (tmp_path / ".env.bak").read_text() == "precious"
    assert (tmp_path / ".env").read_text().startswith("# DISCORD_TOKEN=\n")


def test_an_interrupted_init_leaves_the_file_as_it_was(cogmeter, tmp_path):
    (tmp_path / ".env").write_text("precious")
    assert cogmeter("init", stdin="y\n\n")[0] == 130
    assert [one.name for one in tmp_path.iterdir()] == [".env"]
    assert (tmp_path / ".env").read_text() == "precious"


def test_config_and_doctor_list_what_was_changed_in_chat(cogmeter, seed, some, now_us):
    async def change(store):
        await store.alerting.override(
            {"setting:digest": "weekly", "setting:alert_channel_id": "42"}, now_us=now_us, actor="ada"
        )

    seed(some, work=change)
    found = {one["name"]: one for one in json.loads(cogmeter("config", "--changed", "--json")[1])}
    assert found == {
        "PERFORMANCE_ALERT_CHANNEL_ID": {"name": "PERFORMANCE_ALERT_CHANNEL_ID", "value": "42", "origin": "chat"},
        "PERFORMANCE_DIGEST": {"name": "PERFORMANCE_DIGEST", "value": "weekly", "origin": "chat"},
    }
    line = "[ok] settings: 2 changed in chat: PERFORMANCE_ALERT_CHANNEL_ID=42, PERFORMANCE_DIGEST=weekly\n"
    assert line in cogmeter("doctor")[1]


def test_config_shows_every_setting_and_no_secret(cogmeter, tmp_path):
    secrets = {
        "DISCORD_TOKEN": "secret-1",
        "PERFORMANCE_HTTP_TOKEN": "secret-2" * 5,
        "PERFORMANCE_ALERT_DISCORD_WEBHOOK": "https://discord.com/api/webhooks/1/secret-3",
        "PERFORMANCE_DATABASE_URL": "postgresql://bot:secret-4@db/perf",
    }
    (tmp_path / ".env").write_text("PERFORMANCE_ALERT_WINDOW=600\nPERFORMANCE_LOG_LEVEL=debug\n")
    code, out, _ = cogmeter("config", PERFORMANCE_LOG_LEVEL="error", **secrets)
    assert code == 0
    assert "secret" not in out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:]}
    assert lines["PERFORMANCE_ALERT_WINDOW"] == ["600", ".env"]
    assert lines["PERFORMANCE_LOG_LEVEL"] == ["error", "environment"]
    assert lines["PERFORMANCE_ALERT_FOR"] == ["0", "default"]
    assert lines["PERFORMANCE_HTTP_TOKEN"] == ["(set,", "hidden)", "environment"]
    assert lines["PERFORMANCE_DATABASE_URL"] == ["postgresql://bot:[redacted]@db/perf", "environment"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_and_recorded_names(cogmeter, seed, some, shell):
    seed(some)
    code, out, _ = cogmeter("completion", shell)
    assert code == 0
    assert "_COGMETER_COMPLETE" in out
    words = {
        "bash": ("cogmeter stats know", "2"),
        "zsh": ("cogmeter stats know", "2"),
        "fish": ("cogmeter stats", "know"),
    }
    more = {"COMP_WORDS": words[shell][0], "COMP_CWORD": words[shell][1], "_COGMETER_COMPLETE": f"{shell}_complete"}
    script = "from cogmeter_bot.cli import main; main(prog_name='cogmeter')"
    assert "knowledge-graph" in cogmeter(program=("-c", script), **more)[1]


def test_commands_are_proposed_by_their_labels(cogmeter, seed, now_us):
    seed([("discord.commands", "ask", now_us - 5, 5, 0, None, None), ("graph", "query", now_us - 4, 5, 0, None, None)])
    script = "from cogmeter_bot.cli import main; main(prog_name='cogmeter')"
    more = {"COMP_WORDS": "cogmeter stats /", "COMP_CWORD": "2", "_COGMETER_COMPLETE": "bash_complete"}
    assert cogmeter(program=("-c", script), **more)[1] == "plain,/ask\n"


LINES = [  # what is typed, and what the shell proposes for its last word
    ("cogmeter su", {"summary"}),
    ("cogmeter export --format n", {"ndjson"}),
    ("cogmeter stats know", {"knowledge-graph"}),
    ("cogmeter summary --services knowledge-graph,kn", {"knowledge-graph,knowledge-graph"}),
    ("cogmeter stats knowledge-graph --operation q", {"query"}),
    ("cogmeter errors --services knowledge-graph --operation q", {"query"}),
    ("cogmeter stats --database none.db know", set()),
    ("cogmeter errors --operation q", set()),
]


@pytest.mark.slow
def test_the_bash_script_completes_in_bash(cogmeter, needed, seed, some, tmp_path, environment):
    needed(shutil.which("bash"), "bash")
    seed(some)
    (tmp_path / "script").write_text(cogmeter("completion", "bash")[1])
    (tmp_path / "cogmeter").write_text(f"#!{sys.executable}\nfrom cogmeter_bot.cli import main\nmain()\n")
    (tmp_path / "cogmeter").chmod(0o755)
    lines = "\n".join(
        f"COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=();"
        ' _cogmeter_completion cogmeter; (IFS=" "; echo "${COMPREPLY[*]}")'
        for line, _ in LINES
    )
    done = subprocess.run(
        ["bash", "-c", f". ./script\ncomplete -p cogmeter\n{lines}"],
        cwd=tmp_path,
        env={**environment, "PATH": f"{tmp_path}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    known, *proposed = done.stdout.splitlines()
    assert known.endswith("-F _cogmeter_completion cogmeter")
    assert [set(one.split()) for one in proposed] == [wanted for _, wanted in LINES]
