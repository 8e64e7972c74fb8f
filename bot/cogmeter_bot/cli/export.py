"""``cogmeter export``: operations and figures as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from cogmeter_bot.cli.error_output import told
from cogmeter_bot.cli.options import ReadingOptions, exporting
from cogmeter_bot.cli.terminal_text import echo

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from cogmeter.query.records import Range
    from cogmeter_bot.cli.progress import ProgressStep
    from cogmeter_bot.sources.base import Source

NAME: Final = "performance-export"


class ExportFormat(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has it without arguments
    """A format of ``exporters.table``, which is imported for a value or for this command's help only."""

    name = "format"

    @property
    def choice(self) -> click.Choice[str]:
        """The formats."""
        from cogmeter.exporters.table import EXPORTERS

        return click.Choice(tuple(EXPORTERS))

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002 - see click
        """See Choice."""
        return f"[{'|'.join(self.choice.choices)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See Choice."""
        return self.choice.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """See Choice."""
        return self.choice.shell_complete(ctx, param, incomplete)


@click.command()
@click.option(
    "--format",
    "kind",
    type=ExportFormat(),
    help="Without it, by the ending of FILE; else that of PERFORMANCE_EXPORT_FORMAT.",
)
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to FILE; - is standard output, and .gz at the end packs it. Without it: performance-export.<ending>.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@exporting
def export(ask: ReadingOptions, kind: str | None, path: Path | None, force: bool) -> None:
    """Export operations and figures to a file, or to a pipe.

    It holds all that is kept, or the stretch and services asked for. FILE is there when it is finished, and not before.
    """
    from cogmeter.exporters.table import exporter, format_of
    from cogmeter_bot.cli.progress import ended_by_signals, progress
    from cogmeter_bot.files import STDOUT, output, refuse_existing

    span = ask.span(None)
    kind = kind or (path and format_of(path.name.removesuffix(".gz"))) or ask.settings.export_format
    path = path or Path(f"{NAME}.{exporter(kind).suffixes[0]}")
    with told(), ended_by_signals():
        if str(path) != STDOUT:
            refuse_existing(path, force=force)
        # An API does not say how many operations it sends, and some formats contain none.
        counted = exporter(kind).streams and not ask.url
        with progress("Exporting", "operations" if counted else "kB") as step, output(path, force=force) as file:
            written = ask.answer(lambda source: _write(source, file, step, kind=kind, span=span, services=ask.services))
    if str(path) != STDOUT:
        size = path.stat().st_size if path.is_file() else 0
        said = f"{written:,} operations, " if written else ""
        echo(f"Wrote {path} ({said}{size:,} bytes)", err=True)


async def _write(
    source: Source, file: BinaryIO, step: ProgressStep, *, kind: str, span: Range, services: tuple[str, ...] | None
) -> int:
    export = await source.export(kind, span, services)
    size = 0
    async for piece in export.pieces:
        file.write(piece)
        size += len(piece)
        step(export.done() if export.operations is not None else size // 1_000, export.operations)
    return export.done()
