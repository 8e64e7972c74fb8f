"""The command ``cogmeter`` and the table of its subcommands."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from cogmeter_bot.cli.alerts import alerts
from cogmeter_bot.cli.compare import compare
from cogmeter_bot.cli.cost import cost
from cogmeter_bot.cli.dashboard import dashboard
from cogmeter_bot.cli.doctor import doctor, health
from cogmeter_bot.cli.errors import errors
from cogmeter_bot.cli.exits import INTERRUPTED, reporting_os_errors, usage_line
from cogmeter_bot.cli.fleet import fleet
from cogmeter_bot.cli.live import live
from cogmeter_bot.cli.maintenance import backup, forget, vacuum
from cogmeter_bot.cli.migrate import migrate
from cogmeter_bot.cli.push import push
from cogmeter_bot.cli.resources import resources
from cogmeter_bot.cli.run import demo, run
from cogmeter_bot.cli.running import running
from cogmeter_bot.cli.selection import selection
from cogmeter_bot.cli.setup import completion, config, init
from cogmeter_bot.cli.slow import slow
from cogmeter_bot.cli.state import state
from cogmeter_bot.cli.summary import stats, summary
from cogmeter_bot.cli.text import echo
from cogmeter_bot.cli.transfer import export, import_file
from cogmeter_bot.cli.usage import usage
from cogmeter_bot.errors import WRONG_USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

# All commands, in the order of the help. Their modules import only click and each other at the top, so that a help page
# does not wait for numpy; a command imports what it needs when it runs.
COMMANDS: Final = (
    summary,
    stats,
    compare,
    alerts,
    errors,
    slow,
    selection,
    running,
    state,
    resources,
    fleet,
    usage,
    cost,
    live,
    dashboard,
    doctor,
    export,
    import_file,
    push,
    run,
    demo,
    health,
    init,
    config,
    backup,
    migrate,
    vacuum,
    forget,
    completion,
)


class Cogmeter(click.Group):
    """A group that reports errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click names it
        """Return the commands in the order of the table."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; report a closed pipe before click does, which uses exit code 1 for it."""
        with reporting_os_errors():
            return super().invoke(ctx)

    def main(  # type: ignore[override]  # click has overloads for standalone mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command; in standalone mode, end the process."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # for names that the terminal cannot encode
        try:
            with reporting_os_errors():  # a help page is printed here
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


def _print_version(context: click.Context, _parameter: click.Parameter, requested: bool) -> None:
    if requested:
        from cogmeter import __version__

        click.echo(f"cogmeter, version {__version__}")
        context.exit()


# By default, click treats a call without arguments as wrong usage; here it shows the help.
@click.group(cls=Cogmeter, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Performance monitoring that lives inside a discord.py bot."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in COMMANDS:
    main.add_command(_command)
