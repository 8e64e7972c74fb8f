"""``cogmeter dashboard`` as a person starts it."""

import os
import pty
import signal
import subprocess
import sys
import termios

import pytest


def environment(kind="xterm-256color"):
    return {**os.environ, "TERM": kind}


def on_a_terminal(path, *arguments, program=("-m", "cogmeter_bot"), stderr_too=True, kind="xterm-256color"):
    """Exit code and what stood on the terminal, or on standard error if that is redirected."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, *program, "dashboard", *arguments],
            cwd=path,
            env=environment(kind),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if stderr_too else subprocess.PIPE,
            timeout=100,
            check=False,
        )
        said = os.read(ours, 10_000).decode() if stderr_too else done.stderr.decode()
    finally:
        os.close(theirs)
        os.close(ours)
    return done.returncode, said.replace("\r\n", "\n")


@pytest.mark.parametrize("library", ["textual", "textual_plotext"])
def test_without_the_extra_one_line_says_how_to_get_it(tmp_path, library):
    script = (
        "import importlib.util as u, sys; find = u.find_spec;"
        f"u.find_spec = lambda name, *a: None if name == '{library}' else find(name, *a);"
        "from cogmeter_bot.cli import main; main()"
    )
    said = on_a_terminal(tmp_path, program=("-c", script))
    assert said == (2, 'Error: The dashboard needs more libraries: pip install "cogmeter[tui]"\n')


def test_in_a_pipe_one_line_says_what_to_use_instead(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cogmeter_bot", "dashboard"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The dashboard needs a terminal. In a pipe")
    assert done.stderr.count("\n") == 1


def test_a_dumb_terminal_gets_the_same_error(tmp_path):
    code, said = on_a_terminal(tmp_path, kind="dumb")
    assert code == 2
    assert said.startswith("Error: The dashboard needs a terminal")


def test_a_redirected_standard_error_is_reported(tmp_path):
    code, said = on_a_terminal(tmp_path, stderr_too=False)
    assert code == 2
    assert said.startswith("Error: The dashboard is drawn on standard error, which is redirected")


def test_a_database_that_is_not_there_ends_it_with_one_line(tmp_path):
    code, said = on_a_terminal(tmp_path, "--database", "none.db")
    assert code == 3
    assert "none.db" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_gives_the_terminal_back(database, number):
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "cogmeter_bot", "dashboard", "--database", str(database)]
    process = subprocess.Popen(command, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        said = b""
        while b"Overview" not in said:
            said += os.read(ours, 65_536)
        assert termios.tcgetattr(theirs) != before
        process.send_signal(number)
        while b"\x1b[?1049l" not in said:
            said += os.read(ours, 65_536)
        assert process.wait(60) == 128 + number
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        os.close(theirs)
        os.close(ours)
