"""The command line as a person starts it: a process of its own, in an empty folder."""

import socket
from pathlib import Path

import pytest

from cogmeter import __version__

ROOT = Path(__file__).parents[3]


def test_without_arguments_it_shows_the_help(cogmeter):
    code, out, _ = cogmeter()
    assert code == 0
    assert "run " in out
    assert "demo " in out


def test_it_says_its_version(cogmeter):
    assert cogmeter("--version")[:2] == (0, f"cogmeter, version {__version__}\n")


@pytest.mark.parametrize("command", ["run", "demo", "health"])
def test_each_command_and_option_has_help(cogmeter, command):
    code, out, _ = cogmeter(command, "--help")
    assert code == 0
    options = [line for line in out.splitlines() if line.startswith("  -")]
    assert options
    assert all(len(line.split("  ")) > 2 or line.endswith(("RANGE", "FILE", "INTEGER")) for line in options)


def test_the_help_starts_without_discord_or_numpy(cogmeter):
    heavy = {"aiohttp", "asyncio", "discord", "numpy", "pydantic", "rich", "simcord", "textual"}
    script = f"import sys, cogmeter_bot.cli; print(sorted({heavy} & set(sys.modules)))"
    assert cogmeter(program=("-c", script))[1] == "[]\n"


USER = "123456789012345678"
READING = ("summary", "stats knowledge-graph", "alerts", "errors", "slow", "doctor", "export -o x.json")


def test_reading_a_database_starts_without_discord_and_the_web_libraries(cogmeter, seed, some):
    database = seed(some)
    heavy = {"aiohttp", "apscheduler", "discord", "jinja2", "matplotlib", "simcord", "textual"}
    script = (
        "import sys, cogmeter_bot.cli as cli\n"
        f"for command in {READING}:\n"
        f"    sys.argv = ['cogmeter', *command.split(), '--database', {str(database)!r}]\n"
        "    try:\n"
        "        cli.main()\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, command\n"
        f"    print(command, 'imported', sorted({heavy} & set(sys.modules)))\n"
    )
    code, out, _ = cogmeter(program=("-c", script))
    assert code == 0
    assert [line for line in out.splitlines() if " imported " in line] == [f"{name} imported []" for name in READING]


ALONE = (
    *READING,
    "compare",
    "selection",
    "state",
    "resources",
    "usage",
    "cost",
    "live --count 1",
    "config",
    "backup copy.db",
    "vacuum",
    f"forget --yes --user {USER}",
    "import x.json --database other.db",
)


def test_each_command_imports_what_it_needs(cogmeter, seed, some):
    """Most tests run commands in a process that has the modules which they have in common."""
    seed(some)
    ends = {command: cogmeter(*command.split(), program=("-m", "cogmeter_bot")) for command in ALONE}
    assert {command: err for command, (code, _, err) in ends.items() if code} == {}


def test_without_a_token_one_line_says_what_to_do(cogmeter):
    code, _, err = cogmeter("run")
    assert code == 1
    assert err.startswith("Error: DISCORD_TOKEN is not set")
    assert err.count("\n") == 1


def test_python_dash_m_bot_in_a_checkout_is_the_same_command(cogmeter):
    code, out, _ = cogmeter("run", "--help", program=("-m", "bot"), PYTHONPATH=str(ROOT))
    assert code == 0
    assert out.startswith("Usage: python -m bot run")


def test_the_token_is_also_read_from_the_env_file(cogmeter, tmp_path):
    (tmp_path / ".env").write_text('DISCORD_TOKEN="  "\nPERFORMANCE_LOG_LEVEL=info\n')
    assert cogmeter("run")[2].startswith("Error: DISCORD_TOKEN is not set")


@pytest.mark.parametrize("option", ["--port", "--dashboard-port"])
def test_a_port_in_use_is_reported_in_one_line(cogmeter, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = cogmeter("demo", option, str(port))
    assert code == 1
    assert err.startswith(f"Error: Port {port} cannot be used")
    assert err.endswith(f"Use another with {option}.\n")
    assert err.count("\n") == 1


def test_a_database_that_exists_is_never_filled_with_made_up_operations(cogmeter, tmp_path):
    (tmp_path / "mine.db").write_bytes(b"precious")
    code, _, err = cogmeter("demo", "--database", "mine.db")
    assert code == 1
    assert "already exists" in err
    assert (tmp_path / "mine.db").read_bytes() == b"precious"


def test_the_demo_without_its_extra_says_how_to_install_it(cogmeter):
    script = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'simcord' else find(name, *a);"
        "from cogmeter_bot.cli import main; main(['demo'])"
    )
    code, _, err = cogmeter(program=("-c", script))
    assert (code, err) == (1, 'Error: The demo needs the simulated Discord: pip install "cogmeter[demo]"\n')
