"""The options that the reading commands share, and shell completion of recorded names."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from cogmeter_bot.cli.exits import reporting_errors
from cogmeter_bot.errors import FAILED
from cogmeter_bot.zones import LOCAL, use_zone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from click.shell_completion import CompletionItem

    from cogmeter.query.records import Range
    from cogmeter.settings import Settings
    from cogmeter_bot.sources.base import Source

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

PERIODS: Final = ("1h", "6h", "24h", "7d", "30d")  # as query.records.Period, which a help page must not import


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """The values of the common options."""

    since: str | None
    until: str | None
    period: str | None
    services: tuple[str, ...] | None
    as_json: bool
    check: bool
    url: str | None
    token: str | None
    database: Path | None
    process: str | None = None

    @property
    def has_range(self) -> bool:
        """Return whether --since, --until or --period is set."""
        return any((self.since, self.until, self.period))

    def time_range(self, default: str | None) -> Range:
        """Return the requested range, else the ``default`` period; all stored data if that is None."""
        from cogmeter.query.query import now_us
        from cogmeter_bot.sources.ranges import parse_range

        with reporting_errors():
            return parse_range(self.since, self.until, self.period, now_us=now_us(), default=default)

    async def open_source(self) -> Source:
        """Open the source that the options name."""
        from cogmeter_bot.sources.factory import open_source

        return await open_source(self.url, self.token, self.database, self.process)

    def query(self, request: Callable[[Source], Awaitable[T]], *, present: bool = False) -> T:
        """Open the source, return the result of ``request``, and close the source.

        If the result shows what is ``present``, and not a range that has ended, a line on standard error says that the
        bot has stopped.

        Raises:
            Failure: the source cannot answer.
        """
        from cogmeter_bot.sources.factory import run_query

        async def answer(source: Source) -> tuple[T, str]:
            return await request(source), await source.stopped() if present and self.until is None else ""

        with reporting_errors():
            result, stopped = run_query(self.open_source, answer)
        if stopped:
            click.echo(f"Note: {stopped}", err=True)
        return result

    @property
    def settings(self) -> Settings:
        """The settings of this machine."""
        from cogmeter_bot.sources.factory import quiet_settings

        with reporting_errors():
            return quiet_settings()

    def exit_unless(self, healthy: bool) -> None:
        """With --check, end with exit code 1 unless everything is healthy."""
        if self.check and not healthy:
            raise click.exceptions.Exit(FAILED)


def complete_services(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the recorded services that complete the last name of a list; none if the source does not answer."""
    head, comma, last = incomplete.rpartition(",")
    names = _complete(context, lambda source: source.service_names())
    return [f"{head}{comma}{name}" for name in names if name.startswith(last)]


def complete_subjects(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the recorded commands and services that complete a name; none if the source does not answer."""
    return [name for name in _complete(context, lambda source: source.subjects()) if name.startswith(incomplete)]


def complete_processes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the processes that complete a name; none if the source does not answer."""

    async def process_names(source: Source) -> list[str]:
        return [one.name for one in (await source.fleet()).processes]

    return [name for name in _complete(context, process_names) if name.startswith(incomplete)]


def complete_operations(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the recorded operations of the services that are in the command line already."""
    # click leaves arguments unread before an option that still waits for its value.
    candidates = (context.params.get("service"), *context.args, *(context.params.get("services") or ()))

    async def operation_names(source: Source) -> list[str]:
        from cogmeter.query.query import now_us
        from cogmeter.query.records import Period

        month = Period.MONTH.range_at(now_us())
        services = [await source.service(service, None, month) for service in candidates if service]
        return [name for service in services for name in service.operations]

    return [name for name in _complete(context, operation_names) if name.startswith(incomplete)]


def _complete(context: click.Context, request: Callable[[Source], Awaitable[list[str]]]) -> list[str]:
    from cogmeter_bot.sources.factory import open_source, run_query

    options = (context.params.get(name) for name in ("url", "token", "database"))
    try:
        names = run_query(lambda: open_source(*options), request)
    except Exception:  # noqa: BLE001 - a shell shows only names here
        return []
    return [name for name in names if name.isprintable()]  # a shell writes them to the terminal unescaped


class TableChoice(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has it without arguments
    """A key of a table, whose module is imported only for a value or for the help of its command."""

    def __init__(self, name: str, module: str, table: str) -> None:
        self.name = name
        self._module = module
        self._table = table

    @property
    def choice(self) -> click.Choice[str]:
        """The keys."""
        return click.Choice(tuple(getattr(import_module(self._module), self._table)))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002 - see click
        """Implement click.Choice.get_metavar."""
        return f"[{'|'.join(self.choice.choices)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Implement click.Choice.convert."""
        return self.choice.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Implement click.Choice.shell_complete."""
        return self.choice.shell_complete(ctx, param, incomplete)


class Finite(click.FloatRange):
    """A number in a range; click accepts ``nan``, this does not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Implement click.FloatRange.convert."""
        number = super().convert(value, param, ctx)
        if number != number:  # noqa: PLR0124 - true only of nan
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def _parse_database(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is None:
        return None
    from cogmeter.redaction import quoted
    from cogmeter_storage import StorageError
    from cogmeter_storage.factory import sqlite_path

    try:
        return sqlite_path(f"sqlite:///{value}" if value.name else "")
    except StorageError:
        raise click.BadParameter(f"{quoted(value)} is not a valid name of a database file") from None


def _parse_services(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names:
        raise click.BadParameter("name one or more services, separated by commas")
    return names


def _use_zone(_context: click.Context, _parameter: click.Parameter, value: str) -> None:
    try:
        use_zone(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}. Use local, UTC, or a name such as Europe/Berlin.") from None


def _complete_zones(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from zoneinfo import available_timezones

    return [name for name in (LOCAL, *sorted(available_timezones())) if name.startswith(incomplete)]


database_option: Final = click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_parse_database,
    help="Use this SQLite file instead of PERFORMANCE_DATABASE_URL.",
)
operation_option: Final = click.option(
    "--operation", metavar="NAME", shell_complete=complete_operations, help="Show only this operation."
)
_RANGE: Final = (
    click.option("--since", metavar="TIME", help="Start of the range: 2025-08-16, 2025-08-16T10:30:00Z, 6h, 2d."),
    click.option("--until", metavar="TIME", help="End of the range; a date without a time includes that day."),
    click.option("--period", type=click.Choice(PERIODS), help="Length of the range; it ends now without --until."),
)
_ZONE: Final = click.option(
    "--tz",
    metavar="ZONE",
    default=LOCAL,
    show_default=True,
    expose_value=False,
    is_eager=True,
    callback=_use_zone,
    shell_complete=_complete_zones,
    help="Time zone of printed times, and of times without an offset: local, UTC, or a name such as Europe/Berlin.",
)
_SERVICES: Final = click.option(
    "--services",
    metavar="NAMES",
    callback=_parse_services,
    shell_complete=complete_services,
    help="Show only these services, separated by commas.",
)
_PROCESS: Final = click.option(
    "--process", metavar="NAME", shell_complete=complete_processes, help="Show only operations of this process."
)
_URL_HELP: Final = "Read from the API of a running bot, for example http://host:3000."
_SOURCE: Final = (
    click.option("--url", envvar="COGMETER_URL", metavar="URL", help=_URL_HELP),
    click.option(
        "--token",
        envvar="COGMETER_TOKEN",
        metavar="TOKEN",
        help="Token of the API; set COGMETER_TOKEN instead to keep it out of the process list.",
    ),
    database_option,
)
_FORMAT: Final = (
    click.option("--json", "as_json", is_flag=True, help="Print the JSON of the API."),
    click.option("--check", is_flag=True, help="Exit with code 1 if something is unhealthy."),
)
_ABSENT: Final = {"as_json": False, "check": False}


def reading_options(command: F) -> F:
    """Add all common options to a command; it receives them as its first parameter."""
    return _add_options(command, (*_RANGE, _ZONE, _SERVICES, _PROCESS, *_FORMAT, *_SOURCE))


def live_options(command: F) -> F:
    """Add the output and source options, for a command about the present."""
    return _add_options(command, (*_FORMAT, *_SOURCE))


def zone_options(command: F) -> F:
    """Add the zone, output and source options, for a command with its own periods."""
    return _add_options(command, (_ZONE, _PROCESS, *_FORMAT, *_SOURCE))


def export_options(command: F) -> F:
    """Add the common options without --json and --check, for a command with its own output format."""
    return _add_options(command, (*_RANGE, _ZONE, _SERVICES, _PROCESS, *_SOURCE))


def health_options(command: F) -> F:
    """Add the source options. COGMETER_URL has no effect: the image's health check is about its own bot."""
    url = click.option("--url", metavar="URL", help=f"{_URL_HELP} COGMETER_URL has no effect.")
    return _add_options(command, (url, *_SOURCE[1:]))


def dashboard_options(command: F) -> F:
    """Add the range and source options, for a screen with its own filter."""
    return _add_options(command, (*_RANGE, _ZONE, _PROCESS, *_SOURCE))


def _add_options(command: F, options: Iterable[Callable[[Any], Any]]) -> F:
    @functools.wraps(command)
    def run(**values: Any) -> Any:
        url_source = click.get_current_context().get_parameter_source("url")
        if url_source is ParameterSource.ENVIRONMENT and values.get("database") is not None:
            values["url"] = None  # a typed --database overrides COGMETER_URL
        names = [option.name for option in fields(ReadingOptions)]
        common = ReadingOptions(**{name: values.pop(name, _ABSENT.get(name)) for name in names})
        return command(common, **values)

    decorated: Any = run
    for option in reversed(tuple(options)):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators keep the type of the function
