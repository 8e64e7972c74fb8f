"""Exports and imports: whole files or none, and the same operations back."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cogmeter_bot.errors import OutputFileError
from cogmeter_bot.files import output
from cogmeter_storage import open_store


def stored(path):
    """All operations of a database, without their ids."""

    async def read():
        store = await open_store(f"sqlite:///{path}", read_only=True)
        try:
            chunks = [chunk async for chunk in store.stream(None, 0, 2**62)]
        finally:
            await store.close()
        return [
            (one.service, one.operation, one.end_us, one.duration_us, one.outcome.label, one.error, dict(one.metadata))
            for chunk in chunks
            for one in chunk
        ]

    return asyncio.run(read())


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_an_import_of_an_export_has_the_same_operations(cogmeter, seed, some, tmp_path, kind, packed):
    path = seed(some)
    assert cogmeter("export", "-o", f"x.{kind}{packed}")[0] == 0
    code, out, _ = cogmeter("import", f"x.{kind}{packed}", "--database", "new.db")
    assert code == 0
    assert out.startswith("Imported 200 operations of 2 series, ")
    assert stored(tmp_path / "new.db") == stored(path)


def test_an_import_of_csv_keeps_all_that_csv_contains(cogmeter, seed, some, tmp_path):
    path = seed(some)
    cogmeter("export", "-o", "x.csv")
    assert cogmeter("import", "x.csv", "--database", "new.db")[0] == 0
    halves = [(*row[:4], "error" if row[4] in {"error", "upstream"} else "ok", row[5], {}) for row in stored(path)]
    assert stored(tmp_path / "new.db") == halves
    cogmeter("export", "--database", "new.db", "-o", "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "x.csv").read_bytes()


def test_json_that_another_program_wrote_again_is_read_too(cogmeter, seed, some, tmp_path):
    path = seed(some)
    _, out, _ = cogmeter("export", "--format", "json", "-o", "-")
    (tmp_path / "pretty.json").write_text(json.dumps(json.loads(out), indent=4))
    assert cogmeter("import", "pretty.json", "--database", "new.db")[0] == 0
    assert stored(tmp_path / "new.db") == stored(path)


def test_standard_input_is_read_and_extends_an_older_database(cogmeter, seed, some, tmp_path, now_us):
    early = [row for row in some if row[2] < now_us - 50 * 60_000_000]
    late = [row for row in some if row[2] >= now_us - 50 * 60_000_000]
    seed(early, "early.db")
    seed(late, "late.db")
    _, out, _ = cogmeter("export", "--database", "late.db", "-o", "-", "--format", "ndjson")
    code, _, err = cogmeter("import", "-", "--database", "early.db", stdin=out)
    assert (code, err) == (0, "")
    assert stored(tmp_path / "early.db") == [
        *stored(seed(early, "again.db")),
        *stored(tmp_path / "late.db"),
    ]


def test_two_exports_that_overlap_are_sorted_and_nothing_is_doubled_or_lost(cogmeter, seed, some, tmp_path):
    path = seed(some)
    _, out, _ = cogmeter("export", "--format", "ndjson", "-o", "-")
    lines = out.splitlines(keepends=True)
    other = lines[6].replace('"service":"knowledge-graph"', '"service":"another-bot"').replace('"query"', '"q"')
    (tmp_path / "both.ndjson").write_text("".join([*lines[120:], *lines[:150], other]))
    code, out, _ = cogmeter("import", "both.ndjson", "--database", "new.db")
    assert code == 0
    assert out.startswith("Imported 201 operations of ")
    assert out.endswith("; skipped 30 duplicates in the file\n")
    found = stored(tmp_path / "new.db")
    assert sorted(map(str, found)) == sorted(map(str, [*stored(path), next(one for one in found if one[1] == "q")]))
    assert [one[2] for one in found] == sorted(one[2] for one in found)


def refused(answer, said):
    assert answer[0] == 2, answer
    assert answer[2].count("\n") == 1
    assert said in answer[2]


@pytest.mark.slow
def test_an_invalid_import_changes_nothing(cogmeter, seed, some, tmp_path, now_us):
    path = seed(some)
    cogmeter("export", "-o", "x.ndjson")
    cogmeter("export", "-o", "x.json")
    cogmeter("export", "-o", "x.prom")
    refused(cogmeter("import", "x.ndjson"), "Import it into a new database (--database FILE)")
    assert len(stored(path)) == 200
    lines = (tmp_path / "x.ndjson").read_text().splitlines()
    cases = {
        "cut": ("\n".join(lines[:5]) + "\n" + lines[5][:40], "line 6"),
        "cut document": ("\n".join((tmp_path / "x.json").read_text().splitlines()[:9]), "is incomplete"),
        "no name": (lines[0].replace("knowledge-graph", "a\\nb"), "is not a name"),
        "no duration": (lines[0].replace('"duration":', '"duration":-1,"x":'), "is not a duration"),
        "no outcome": (lines[0].replace('"outcome":"ok"', '"outcome":"fine"'), "is not an operation of an export"),
        "later": (lines[0].replace('"endTime":"2', '"endTime":"3'), "in the future. Correct its times."),
        "metrics": ((tmp_path / "x.prom").read_text(), "is not an export"),
        "nothing": ("", "is not an export"),
        "text": ("\x00\x01", "is not an export"),
        "columns": ("timestamp,service,operation,duration,success,error\n1,2,3\n", "line 2: it has 3 columns"),
        "no csv": ('timestamp,service,operation,duration,success,error\n"a', "line 2"),
    }
    for name, (text, said) in cases.items():
        (tmp_path / "bad").write_text(text)
        refused(cogmeter("import", "bad", "--database", "new.db"), said)
        assert not (tmp_path / "new.db").exists() or not stored(tmp_path / "new.db"), name
    packed = gzip.compress((tmp_path / "x.ndjson").read_bytes())
    (tmp_path / "bad.gz").write_bytes(packed[: len(packed) // 2])
    refused(cogmeter("import", "bad.gz", "--database", "new.db"), "cannot be read to its end")
    (tmp_path / "bad").write_bytes(b"\xff\x00")
    refused(cogmeter("import", "bad", "--database", "new.db"), "is not UTF-8 text")
    (tmp_path / "bad").write_bytes(b"\xff\xfe\x00")
    refused(cogmeter("import", "bad", "--database", "new.db"), "is not UTF-16 text")


def test_an_import_while_a_bot_runs_on_the_database_is_refused(cogmeter, seed, some, tmp_path):
    path = seed(some)
    cogmeter("export", "-o", "x.ndjson")

    async def with_a_writer():
        store = await open_store(f"sqlite:///{path}")
        try:
            return [
                await asyncio.to_thread(cogmeter, *one)
                for one in (("import", "x.ndjson"), ("vacuum",), ("forget", "--user", "123456789012345678", "--yes"))
            ]
        finally:
            await store.close()

    for code, out, err in asyncio.run(with_a_writer()):
        assert (code, out) == (3, "")
        assert "is being written by another bot" in err
        assert err.count("\n") == 1


def test_a_file_that_exists_is_kept_unless_it_is_forced(cogmeter, seed, some, tmp_path):
    seed(some)
    (tmp_path / "mine.csv").write_text("precious")
    code, _, err = cogmeter("export", "-o", "mine.csv")
    assert (code, err) == (2, "Error: mine.csv already exists. Use another name, or replace it with --force.\n")
    assert (tmp_path / "mine.csv").read_text() == "precious"
    assert cogmeter("export", "-o", "mine.csv", "--force")[0] == 0
    assert (tmp_path / "mine.csv").read_text().startswith("timestamp,")


@pytest.fixture
def large(seed, now_us):
    """Enough to be at it for a while: 150,000 operations."""
    rows = [("big", "one", now_us - (150_000 - place) * 1_000, 5_000, 1, "x" * 100, None) for place in range(150_000)]
    return seed(rows)


def only_the_database(folder):
    return sorted(one.name for one in folder.iterdir()) == ["data"]


@pytest.mark.parametrize("command", [("export", "-o", "x.json"), ("export", "-o", "x.ndjson.gz"), ("backup", "x.db")])
def test_a_disk_without_room_leaves_no_half_file(environment, large, tmp_path, command):
    limit = 300_000 if command[-1].endswith(".gz") else 3_000_000
    done = subprocess.run(
        [sys.executable, "-m", "cogmeter_bot", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode in {1, 3}, done
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert only_the_database(tmp_path)


def test_a_full_device_is_reported(cogmeter, seed, some):
    seed(some)
    code, _, err = cogmeter("export", "-o", "/dev/full")
    assert (code, err.count("\n")) == (1, 1)
    assert "No space left for the file" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_export_leaves_no_half_file(environment, large, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "cogmeter_bot", "export", "-o", "x.json"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # The tests may run under nohup, which ignores one of these signals.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - it calls one function of C
    )
    deadline = time.perf_counter() + 60
    while not [one for one in tmp_path.glob(".x.json.*.part") if one.stat().st_size > 100_000]:
        assert process.poll() is None
        assert time.perf_counter() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert only_the_database(tmp_path)


def test_a_reader_that_goes_away_ends_the_export_without_a_word(environment, large, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "cogmeter_bot", "export", "--format", "csv"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().startswith(b"timestamp")
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    "command",
    [("summary", "--json"), ("errors",), ("config",), ("--help",), ("export", "--help"), ("completion", "zsh")],
)
def test_standard_output_that_takes_nothing_is_reported_or_ends_the_command_silently(
    environment, seed, some, tmp_path, command
):
    seed(some)

    def ended(stdout):
        done = subprocess.run(
            [sys.executable, "-m", "cogmeter_bot", *command],
            cwd=tmp_path,
            env=environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=100,
            check=False,
        )
        return done.returncode, done.stderr.decode()

    with Path("/dev/full").open("w") as full:
        code, err = ended(full)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("Error: No space left for the file")
    ours, theirs = os.pipe()
    os.close(ours)
    code, err = ended(theirs)
    os.close(theirs)
    assert err == ""
    assert code == (1 if command == ("--help",) else 141)


@pytest.mark.slow
def test_an_export_has_every_stored_row_and_its_memory_does_not_grow_with_them(
    environment, large, seed, now_us, tmp_path
):
    few = seed([("big", "one", now_us - place, 5, 0, None, None) for place in range(10)], "few.db")

    def peak(path):
        """Kilobytes of resident memory that one export took at most."""
        script = (
            "import resource; from cogmeter_bot.cli import main\n"
            f"try: main(['export', '--database', {str(path)!r}, '-o', 'x.json', '--force'])\n"
            "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    little, much = peak(few), peak(large)
    operations = json.loads((tmp_path / "x.json").read_text())["metrics"]["services"]["big"]["operations"]
    assert [one["operationId"] for one in operations] == [f"op_{number}" for number in range(1, 150_001)]
    assert much < little + 30_000  # the file has 40 MB
    assert (tmp_path / "x.json").stat().st_size > 35_000_000


def test_a_file_that_appears_while_an_export_runs_is_kept(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(OutputFileError, match="was created in the meantime"), output(path, force=False) as file:
        file.write(b"ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]
