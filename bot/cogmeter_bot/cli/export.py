"""``cogmeter export``: operations and figures as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from cogmeter_bot.cli.error_output import told
from cogmeter_bot.cli.options import ReadingOptions, exporting
from cogmeter_bot.cli.terminal_text import echo

if TYPE_CHECKING:
    from cogmeter.query.records import Range
    from cogmeter_bot.cli.progress import ProgressStep
    from cogmeter_bot.sources.base import Source

FORMATS: Final = ("json", "ndjson", "csv", "prometheus")  # exporters.table, which is not imported for a help page
ENDINGS: Final = {".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".prom": "prometheus"}
NAME: Final = "performance-export"


@click.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
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
    from cogmeter.exporters.table import EXPORTERS
    from cogmeter_bot.cli.progress import ended_by_signals, progress
    from cogmeter_bot.files import STDOUT, output, refuse_existing

    span = ask.span(None)
    kind = kind or _by_ending(path) or ask.settings.export_format
    path = path or Path(f"{NAME}.{EXPORTERS[kind].ending}")
    with told(), ended_by_signals():
        if str(path) != STDOUT:
            refuse_existing(path, force=force)
        # Only the bot itself knows how many operations an API sends.
        with progress("Exporting", "kB" if ask.url else "operations") as step, output(path, force=force) as file:
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


def _by_ending(path: Path | None) -> str | None:
    if path is None:
        return None
    name = path.with_suffix("") if path.suffix == ".gz" else path
    return ENDINGS.get(name.suffix)
