"""Input that is not valid is refused in one line that names it and the next step, with the right exit code."""

from __future__ import annotations

import sqlite3

import pytest

WRONG = [
    (
        ("stats", "knowledge-grpah"),
        2,
        "No service or command 'knowledge-grpah' has been recorded. Did you mean knowledge-graph",
    ),
    (("stats", "zzz"), 2, "`cogmeter summary --top 1000` lists the commands and services"),
    (("stats", "knowledge-graph", "--operation", "qurey"), 2, "Did you mean query?"),
    (("stats", "knowledge-graph", "--operation", "zzz"), 2, "`cogmeter stats SERVICE --json` lists the operations"),
    (("stats", "x" * 5_000), 2, f"'{'x' * 100}...' has been recorded. `cogmeter summary --top 1000`"),
    (("stats", "a\nb"), 2, "No service or command 'a\\nb'"),
    (("alerts", "--services", "knowledge-grpah", "--check"), 2, "Did you mean knowledge-graph?"),
    (("doctor", "--services", "knowledge-grpah", "--check"), 2, "Did you mean knowledge-graph?"),
    (("live", "--count", "1", "--services", "nobody"), 2, "No service or command 'nobody'"),
    (("live", "--interval", "nan"), 2, "'nan' is not a number"),
    (("summary", "--services", "nobody,knowledge-graph"), 2, "No service 'nobody'"),
    (("summary", "--services", " , "), 2, "name one or more services"),
    (("export", "--services", "nobody", "-o", "-"), 2, "No service 'nobody'"),
    (("slow", "--operation", "nothing"), 2, "No operation 'nothing'"),
    (("errors", "--operation", "query"), 2, "--services NAME"),
    (("summary", "--since", "2025-08-17", "--until", "2025-08-16"), 2, "is not before --until 2025-08-16. Swap them"),
    (("summary", "--since", "2025-02-30"), 2, "--since '2025-02-30' is not a valid time"),
    (("summary", "--until", "soon"), 2, "Use 2025-08-16"),
    (("summary", "--since", "2999-01-01"), 2, "is in the future"),
    (("summary", "--since", "2d", "--until", "1d", "--period", "1h"), 2, "Remove one of the three"),
    (("summary", "--period", "2h"), 2, "'1h', '6h', '24h', '7d', '30d'"),
    (("export", "--format", "xml"), 2, "'json'"),
    (("export", "-o", "nowhere/x.json"), 2, "nowhere is not a folder"),
    (("export", "-o", "."), 2, "is a folder"),
    (("stats",), 2, "Missing argument 'SERVICE'"),
    (("nonsense",), 2, "nonsense"),
    (("summary", "--nonsense"), 2, "--nonsense"),
    (("summary", "--url", "host:3000"), 2, "Use one like http://"),
    (("summary", "--url", "http://host:99999"), 2, "Use one like http://"),
    (("summary", "--url", "http://host/?a=b#c"), 2, "Use one like http://"),
    (("summary", "--url", "http://[::1"), 2, "Use one like http://"),
    (("summary", "--url", ""), 2, "Use one like http://"),
    (("summary", "--database", ""), 2, "is not a valid name of a database file"),
    (("summary", "--database", "a?b.db"), 2, "'a?b.db' is not a valid name of a database file"),
    (("summary", "--database", "data"), 2, "is a directory"),
    (("backup", "/dev/null"), 2, "/dev/null is a device or a pipe"),
    (("backup", "data/performance.db", "--force"), 2, "is the database itself"),
    (("init", "--file", "nowhere/.env"), 2, "nowhere is not a writable folder"),
    (("import", "/dev/zero"), 2, "is not an export"),
    (("summary", "--url", "http://127.0.0.1:9", "--database", "x.db"), 2, "Remove one of them"),
    (("summary", "--url", "http://127.0.0.1:9"), 3, "http://127.0.0.1:9 does not answer"),
    (("summary", "--database", "none.db"), 3, "does not exist. To fix it: start the bot once"),
    (("live", "--count", "1", "--database", "none.db"), 3, "does not exist"),
    (("backup", "x.db", "--database", "none.db"), 3, "does not exist"),
    (("vacuum", "--database", "none.db"), 3, "does not exist"),
    (("forget", "--user", "42", "--yes"), 2, "is not a Discord id"),
    (("import", "none.json"), 2, "none.json cannot be read: No such file"),
    (("completion", "tcsh"), 2, "'bash', 'zsh', 'fish'"),
]


def one_line(answer, code, said):
    assert answer[0] == code, answer
    assert answer[1] == ""
    assert answer[2].startswith("Error: ")
    assert answer[2].count("\n") == 1
    assert said in answer[2]
    assert "Traceback" not in answer[2]


@pytest.fixture
def database(seed, some):
    return seed(some)


@pytest.mark.parametrize(("arguments", "code", "said"), WRONG, ids=[" ".join(one[0]) for one in WRONG])
def test_one_line_says_it(cogmeter, database, arguments, code, said):
    one_line(cogmeter(*arguments), code, said)


def test_a_file_that_is_no_database(cogmeter, tmp_path):
    (tmp_path / "x.db").write_bytes(b"hello")
    one_line(cogmeter("summary", "--database", "x.db"), 3, "is not an SQLite database")


@pytest.fixture
def untouchable(seed, some, tmp_path):
    """A folder that cannot be written, with a finished database in it, and the answers of commands there."""
    path = seed(some, "locked/backup.db")
    path.with_name("backup.db.lock").unlink()
    path.parent.chmod(0o555)
    yield path
    path.parent.chmod(0o755)


def test_a_finished_database_is_read_where_nothing_can_be_written(cogmeter, untouchable):
    code, out, err = cogmeter("summary", "--database", "locked/backup.db", powerless=True)
    assert (code, err) == (0, "")
    assert "Total Operations: 200" in out
    assert [one.name for one in untouchable.parent.iterdir()] == ["backup.db"]


def test_a_folder_that_is_not_writable_is_reported(cogmeter, untouchable):
    one_line(cogmeter("export", "-o", "locked/x.json", powerless=True), 2, "is not writable. Use a file")
    one_line(cogmeter("init", "--file", "locked/.env", powerless=True), 2, "is not a writable folder")
    one_line(cogmeter("vacuum", "--database", "locked/backup.db", powerless=True), 3, "its lock backup.db.lock cannot")
    untouchable.chmod(0o000)
    one_line(cogmeter("summary", "--database", "locked/backup.db", powerless=True), 2, "is not readable")


def test_a_log_that_cannot_be_read_is_reported_and_the_database_not_read_without_it(cogmeter, untouchable):
    untouchable.parent.chmod(0o755)
    untouchable.with_name("backup.db-wal").write_bytes(b"what a bot has written meanwhile")
    untouchable.parent.chmod(0o555)
    one_line(
        cogmeter("summary", "--database", "locked/backup.db", powerless=True), 3, "the bot may read and write in it"
    )


def test_a_database_that_is_an_empty_file(cogmeter, tmp_path):
    (tmp_path / "x.db").touch()
    one_line(cogmeter("summary", "--database", "x.db"), 3, "is empty: no bot has written to it yet")


def test_a_database_of_a_later_version(cogmeter, database):
    raw = sqlite3.connect(database)
    raw.execute("PRAGMA user_version = 999")
    raw.close()
    one_line(cogmeter("summary"), 3, "install that later version")


def test_a_database_that_is_damaged(cogmeter, database):
    size = database.stat().st_size
    database.write_bytes(database.read_bytes()[:4096] + b"\x55" * (size - 4096))
    one_line(cogmeter("summary"), 3, "is damaged")


def test_a_database_without_anything_in_it(cogmeter, seed):
    seed([])
    for arguments in (("summary",), ("stats", "x"), ("errors",), ("slow",), ("export", "-o", "-")):
        one_line(cogmeter(*arguments), 3, "Nothing has been recorded in data/performance.db yet")


def test_a_setting_that_cannot_be(cogmeter, database):
    one_line(cogmeter("summary", PERFORMANCE_ALERT_WINDOW="soon"), 2, "PERFORMANCE_ALERT_WINDOW='soon'")


def test_a_quiet_stretch_is_no_error(cogmeter, database):
    code, out, _ = cogmeter("summary", "--since", "2020-01-01", "--until", "2020-01-02")
    assert code == 0
    assert out.startswith("Performance Summary (2020-01-01 to 2020-01-02)\n")
    assert "\nTotal Operations: 0\n" in out
    assert "\nSuccess Rate: \N{EN DASH}\n" in out
