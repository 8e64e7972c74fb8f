"""What cannot be is said in one line that names what and how to mend it, with the right exit code."""

from __future__ import annotations

import sqlite3

import pytest

WRONG = [
    (("stats", "knowledge-grpah"), 2, "No service 'knowledge-grpah' has been recorded. Did you mean knowledge-graph?"),
    (("stats", "zzz"), 2, "`cogmeter summary --top 1000` lists the services"),
    (("stats", "knowledge-graph", "--operation", "qurey"), 2, "Did you mean query?"),
    (("summary", "--services", "nobody,knowledge-graph"), 2, "No service 'nobody'"),
    (("summary", "--services", " , "), 2, "name one service or more"),
    (("export", "--services", "nobody", "-o", "-"), 2, "No service 'nobody'"),
    (("slow", "--operation", "nothing"), 2, "No operation 'nothing'"),
    (("errors", "--operation", "query"), 2, "--services NAME"),
    (("summary", "--since", "2025-08-17", "--until", "2025-08-16"), 2, "is not before --until 2025-08-16; swap them"),
    (("summary", "--since", "2025-02-30"), 2, "--since '2025-02-30' is no time"),
    (("summary", "--until", "soon"), 2, "write 2025-08-16"),
    (("summary", "--since", "2999-01-01"), 2, "has not come yet"),
    (("summary", "--since", "2d", "--until", "1d", "--period", "1h"), 2, "leave one of the three out"),
    (("summary", "--period", "2h"), 2, "'1h', '6h', '24h', '7d', '30d'"),
    (("export", "--format", "xml"), 2, "'json'"),
    (("export", "-o", "nowhere/x.json"), 2, "nowhere is no folder"),
    (("export", "-o", "."), 2, "is a folder"),
    (("stats",), 2, "Missing argument 'SERVICE'"),
    (("nonsense",), 2, "nonsense"),
    (("summary", "--nonsense"), 2, "--nonsense"),
    (("summary", "--url", "host:3000"), 2, "write it like http://"),
    (("summary", "--url", "http://127.0.0.1:9", "--database", "x.db"), 2, "leave one of them out"),
    (("summary", "--url", "http://127.0.0.1:9"), 3, "http://127.0.0.1:9 does not answer"),
    (("summary", "--database", "none.db"), 3, "does not exist. To mend it: run the bot once"),
    (("live", "--count", "1", "--database", "none.db"), 3, "does not exist"),
    (("backup", "x.db", "--database", "none.db"), 3, "does not exist"),
    (("vacuum", "--database", "none.db"), 3, "does not exist"),
    (("forget", "--user", "42", "--yes"), 2, "no Discord id"),
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
    one_line(cogmeter("summary", "--database", "x.db"), 3, "is no SQLite database")


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
