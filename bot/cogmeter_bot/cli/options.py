"""The options that all reading commands have."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from cogmeter_bot.cli.error_output import UNHEALTHY, told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from cogmeter.query.records import Period, Range
    from cogmeter.settings import Settings
    from cogmeter_bot.sources.base import Source

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

PERIODS: Final = ("1h", "6h", "24h", "7d", "30d")  # records.Period, which is not imported for a help page


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """What the common options say."""

    since: str | None
    until: str | None
    period: str | None
    services: tuple[str, ...] | None
    as_json: bool
    check: bool
    url: str | None
    token: str | None
    database: Path | None

    def span(self, default: Period | None) -> Range:
        """The range that was asked for; without a default and a question, all that is kept."""
        from cogmeter.query.query import now_us
        from cogmeter_bot.sources.ranges import span_of

        with told():
            return span_of(self.since, self.until, self.period, now_us=now_us(), default=default)

    async def open(self) -> Source:
        """The source, opened."""
        from cogmeter_bot.sources.opening import open_source

        return await open_source(self.url, self.token, self.database)

    def answer(self, question: Callable[[Source], Awaitable[T]]) -> T:
        """What the source answers.

        Raises:
            Failure: it cannot; the text says why.
        """
        with told():
            from cogmeter_bot.sources.opening import ask

            return ask(self.open, question)

    @property
    def settings(self) -> Settings:
        """The settings of this machine."""
        from cogmeter_bot.sources.opening import quiet_settings

        with told():
            return quiet_settings()

    def checked(self, *, well: bool) -> None:
        """With --check, end with 1 if something is not well."""
        if self.check and not well:
            raise click.exceptions.Exit(UNHEALTHY)


def service_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Recorded services for the shell's completion, also behind a comma; none where nobody answers."""
    head, comma, last = incomplete.rpartition(",")
    names = _completing(context, lambda source: source.names())
    return [f"{head}{comma}{name}" for name in names if name.startswith(last)]


def operation_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Recorded operations of the services that stand in the line already, for the shell's completion."""
    # click leaves arguments unread before an option that still waits for its value.
    first = (context.params.get("service"), *context.args)
    services = [one for one in (*first, *(context.params.get("services") or ())) if one]

    async def names(source: Source) -> list[str]:
        from cogmeter.query.query import now_us
        from cogmeter.query.records import Period

        month = Period.MONTH.range_at(now_us())
        return [name for one in services for name in (await source.service(one, None, month)).operations]

    return [name for name in _completing(context, names) if name.startswith(incomplete)]


def _completing(context: click.Context, question: Callable[[Source], Awaitable[list[str]]]) -> list[str]:
    from cogmeter_bot.sources.opening import ask, open_source

    given = context.params
    try:
        names = ask(lambda: open_source(given.get("url"), given.get("token"), given.get("database")), question)
    except Exception:  # noqa: BLE001 - a shell shows nothing but names here
        return []
    return [name for name in names if name.isprintable()]  # a shell writes them to the terminal as they are


class Finite(click.FloatRange):
    """A number in a range; ``nan`` is in none, though click lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See FloatRange."""
        made = super().convert(value, param, ctx)
        if made != made:  # noqa: PLR0124 - true of nan alone
            self.fail(f"{value!r} is no number.", param, ctx)
        return made


def _file(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is None:
        return None
    from cogmeter.redaction import quoted
    from cogmeter_storage import StorageError
    from cogmeter_storage.factory import sqlite_path

    try:
        return sqlite_path(f"sqlite:///{value}" if value.name else "")
    except StorageError:
        raise click.BadParameter(f"{quoted(value)} is no name for a database's file") from None


def _listed(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names:
        raise click.BadParameter("name one service or more, with commas between")
    return names


database_option: Final = click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_file,
    help="This SQLite file instead of that of PERFORMANCE_DATABASE_URL.",
)
_RANGE: Final = (
    click.option("--since", metavar="TIME", help="From then on: 2025-08-16, 2025-08-16T10:30:00Z, 90m, 6h, 2d (UTC)."),
    click.option("--until", metavar="TIME", help="Up to then; a plain day is included."),
    click.option(
        "--period", type=click.Choice(PERIODS), help="How long a stretch; without --since and --until, up to now."
    ),
    click.option(
        "--services",
        metavar="NAMES",
        callback=_listed,
        shell_complete=service_names,
        help="Of these services alone, with commas between.",
    ),
)
_SOURCE: Final = (
    click.option(
        "--url", envvar="COGMETER_URL", metavar="URL", help="Ask the API of a bot elsewhere, like http://host:3000."
    ),
    click.option(
        "--token", envvar="COGMETER_TOKEN", metavar="TOKEN", help="The API's token; better by COGMETER_TOKEN."
    ),
    database_option,
)
_FORM: Final = (
    click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API answers it."),
    click.option("--check", is_flag=True, help="End with 1 when something is unhealthy."),
)
_NEVER: Final = {"as_json": False, "check": False}


def reading(command: F) -> F:
    """Give a command all common options, as the one parameter ``ask``."""
    return _with(command, (*_RANGE, *_FORM, *_SOURCE))


def exporting(command: F) -> F:
    """The same without --json and --check, for a command whose output is a format of its own."""
    return _with(command, (*_RANGE, *_SOURCE))


def browsing(command: F) -> F:
    """The same without --services, for a screen that has a filter of its own."""
    return _with(command, (*_RANGE[:3], *_SOURCE))


def _with(command: F, options: Iterable[Callable[[Any], Any]]) -> F:
    @functools.wraps(command)
    def packed(**given: Any) -> Any:
        source = click.get_current_context().get_parameter_source("url")
        if source is ParameterSource.ENVIRONMENT and given.get("database") is not None:
            given["url"] = None  # what is typed goes before what is set for all commands
        asked = ReadingOptions(
            **{one.name: given.pop(one.name, _NEVER.get(one.name)) for one in fields(ReadingOptions)}
        )
        return command(asked, **given)

    made: Any = packed
    for option in reversed(tuple(options)):
        made = option(made)
    return made  # type: ignore[no-any-return]  # click's decorators keep the kind of what they are given
