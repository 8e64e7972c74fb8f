"""Every export format by name."""

from __future__ import annotations

from typing import Final

from cogmeter.exporters import csv_table, json_document, ndjson, prometheus
from cogmeter.exporters.base import Exporter

EXPORTERS: Final[dict[str, Exporter]] = {
    exporter.name: exporter
    for exporter in (
        Exporter("json", "application/json", "json", json_document.write),
        Exporter("ndjson", "application/x-ndjson", "ndjson", ndjson.write),
        Exporter("csv", "text/csv; charset=utf-8", "csv", csv_table.write),
        Exporter("prometheus", "text/plain; version=0.0.4; charset=utf-8", "prom", prometheus.write),
    )
}
