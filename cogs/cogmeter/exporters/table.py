"""The table of export formats. It names each format's module and imports none of them before it is needed."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePath
from typing import Final

from cogmeter.exporters.base import Exporter

EXPORTERS: Final = {
    "json": "json_document",
    "ndjson": "ndjson",
    "csv": "csv_table",
    "prometheus": "prometheus",
}


def exporter(name: str) -> Exporter:
    """Return the exporter of a format."""
    member = import_module(f"cogmeter.exporters.{EXPORTERS[name]}").EXPORTER
    assert isinstance(member, Exporter)
    return member


def format_of(file_name: str) -> str | None:
    """Return the format that has the suffix of this file name; None if no format has it."""
    suffix = PurePath(file_name).suffix.removeprefix(".")
    return next((name for name in EXPORTERS if suffix in exporter(name).suffixes), None)
