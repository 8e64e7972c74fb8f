"""The command ``cogmeter`` itself, and the table of its subcommands."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from cogmeter_bot.cli.alerts import alerts
from cogmeter_bot.cli.completion import completion
from cogmeter_bot.cli.config import config
from cogmeter_bot.cli.dashboard import dashboard
from cogmeter_bot.cli.demo import demo
from cogmeter_bot.cli.doctor import doctor
from cogmeter_bot.cli.error_output import INTERRUPTED, WRONG_USAGE, printed, usage_line
from cogmeter_bot.cli.errors import errors
from cogmeter_bot.cli.export import export
from cogmeter_bot.cli.health import health
from cogmeter_bot.cli.import_file import import_file
from cogmeter_bot.cli.init import init
from cogmeter_bot.cli.live import live
from cogmeter_bot.cli.maintenance import backup, forget, vacuum
from cogmeter_bot.cli.run import run
from cogmeter_bot.cli.slow import slow
from cogmeter_bot.cli.stats import stats
from cogmeter_bot.cli.summary import summary
from cogmeter_bot.cli.terminal_text import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

# Every module here imports click alone: a help page must not wait for numpy. What a command needs, it imports itself.
COMMANDS: Final = (
    summary,
    stats,
    alerts,
    errors,
    slow,
    live,
    dashboard,
    doctor,
    export,
    import_file,
    run,
    demo,
    health,
    init,
    config,
    backup,
    vacuum,
    forget,
    completion,
)


class Cogmeter(click.Group):
    """A group that tells what is wrong in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """In the table's order, which is by use, and not by the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand. A reader that goes away is click's error 1, which means something else here."""
        with printed():
            return super().invoke(ctx)

    def main(  # type: ignore[override]  # click promises by overloads that it ends the process; so does this
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command; standing alone, it ends the process."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding does not know
        try:
            with printed():  # as a page of help is
                code = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.UsageError as error:
            echo(f"Error: {usage_line(error)}", err=True)
            sys.exit(WRONG_USAGE)
        except click.ClickException as error:
            echo(f"Error: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from cogmeter import __version__

        click.echo(f"cogmeter, version {__version__}")
        context.exit()


# Without arguments click shows the help and ends with 2, wrong usage; asking for nothing is not wrong.
@click.group(cls=Cogmeter, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Performance monitoring that lives inside a discord.py bot."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in COMMANDS:
    main.add_command(_command)
