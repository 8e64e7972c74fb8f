"""``/perf export``: operations as a file that only the user sees, or the command line's way if it is too large."""

from __future__ import annotations

import contextlib
import logging
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, Autocomplete, period_of, require_service
from cogmeter.cog.responder import CommandAnswer, UserError
from cogmeter.exporters.base import Export
from cogmeter.exporters.limited_file import ExportTooLargeError, write_limited
from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter.query.query import now_us
from cogmeter.render import formatting
from cogmeter.render.embeds.export import export_embed, too_large_embed
from cogmeter.times import iso

if TYPE_CHECKING:
    from cogmeter.cog.responder import Responder
    from cogmeter.query.records import Period

DEFAULT_LIMIT: Final = 10_000_000  # bytes of an upload where Discord names no limit
MOST_SERVICES: Final = 20
DISK_FAILED: Final = "The export could not be written to the disk of the bot; the log says why."

_logger = logging.getLogger("cogmeter.cog")


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The file that a user requested."""

    kind: str  # a key of EXPORTERS
    period: Period
    services: tuple[str, ...]  # empty: all
    limit: int  # bytes

    @property
    def command_line(self) -> str:
        """The command that writes the same export on the bot's machine."""
        words = ["cogmeter", "export", "--format", self.kind, "--period", self.period.key]
        if self.services:
            words += ["--services", ",".join(self.services)]
        return shlex.join(words)


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""
    names = Autocomplete(responder)
    formats = [app_commands.Choice(name=name, value=name) for name in EXPORTERS]

    @group.command(name="export", description="Operations as a file that only you see")
    @app_commands.describe(
        kind="Format of the file (the one of the settings)",
        period="How far to look back (24 hours)",
        services="Only these services, separated by commas (all)",
    )
    @app_commands.rename(kind="format")
    @app_commands.choices(kind=formats, period=CHOICES)
    @app_commands.autocomplete(services=names.services)
    async def export(
        interaction: discord.Interaction, kind: str | None = None, period: str = DEFAULT, services: str | None = None
    ) -> None:
        async def checked() -> ExportRequest:
            limit = getattr(interaction, "filesize_limit", None) or DEFAULT_LIMIT
            chosen = await _services(responder, services)
            name = kind or responder.monitor.settings.export_format
            return ExportRequest(name, period_of(period), chosen, limit)

        with contextlib.ExitStack() as stack:  # the file exists until it is sent
            await responder.answer_checked(
                interaction, checked, lambda request: _export(responder, request, stack), ephemeral=True
            )


async def _services(responder: Responder, typed: str | None) -> tuple[str, ...]:
    """Return the services of a list; one service's name may contain commas.

    Raises:
        UserError: one of them is not stored, or there are too many.
    """
    if not typed:
        return ()
    if typed in await responder.monitor.query.names():
        return (typed,)
    chosen = tuple(dict.fromkeys(name.strip() for name in typed.split(",") if name.strip()))
    if len(chosen) > MOST_SERVICES:
        raise UserError(f"{len(chosen)} services are too many. Name at most {MOST_SERVICES}, or none for all.")
    for name in chosen:
        await require_service(responder, name)
    return chosen


async def _export(responder: Responder, request: ExportRequest, stack: contextlib.ExitStack) -> CommandAnswer:
    monitor, at_us = responder.monitor, now_us()
    span, writer = monitor.query.span(request.period), exporter(request.kind)
    export = Export(
        since_us=span.since_us,
        until_us=span.until_us,
        at_us=at_us,
        services=request.services or None,
        namespace=monitor.settings.metrics_namespace,
    )
    name = f"performance-{iso(at_us)[:10]}-{request.period.key}.{writer.suffixes[0]}"
    try:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cogmeter-export-")))
        path = await write_limited(writer.write(monitor.store, export), folder / name, limit=request.limit)
        file = discord.File(path, description=f"{writer.label}, {formatting.clean(span.label)}")
    except ExportTooLargeError:
        return CommandAnswer(too_large_embed(writer, span, request.limit, request.command_line))
    except OSError as error:
        _logger.warning("An export could not be written: %s", error)
        raise UserError(DISK_FAILED) from None
    stack.callback(file.close)
    return CommandAnswer(export_embed(writer, span, request.services, path.stat().st_size), file=file)
