"""Exports, streamed in every format there is."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from cogmeter.exporters.base import Export
from cogmeter.exporters.table import EXPORTERS
from cogmeter.query.query import now_us
from cogmeter.recording.background import Slicer
from cogmeter.web.api.params import RangeParams, Services
from cogmeter.web.api.routing import Route, Stream
from cogmeter.web.server.negotiation import takes_gzip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor

GZIP_LEVEL: Final = 3  # the loop is held while it packs
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # zlib's way to say gzip


class ExportParams(RangeParams):
    """What to export, and how."""

    format: Annotated[
        Literal["json", "csv", "prometheus", "ndjson"] | None,
        Field(description="Without it, that of PERFORMANCE_EXPORT_FORMAT"),
    ] = None
    services: Services | None = None


async def export_operations(monitor: Monitor, ask: ExportParams, request: web.Request) -> Stream:
    """All operations of a stretch of time."""
    if ask.services is not None:
        await monitor.query.known(ask.services)
    at_us = now_us()
    asked = ask.asked(at_us)
    exporter = EXPORTERS[ask.format or monitor.settings.export_format]
    export = Export(
        since_us=asked.since_us,
        until_us=asked.until_us,
        at_us=at_us,
        services=ask.services,
        namespace=monitor.settings.metrics_namespace,
    )
    pieces = exporter.write(monitor.store, export)
    made = datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d")
    headers = {
        "Content-Disposition": f'attachment; filename="performance-{made}.{exporter.ending}"',
        "Vary": "Accept-Encoding",
    }
    if takes_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        pieces = _packed(pieces)
    return Stream(pieces, exporter.media_type, headers)


async def _packed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces as one gzip file; what is packed already is given as soon as it is some kilobytes."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    try:
        pace = Slicer()
        async for piece in pieces:
            packed = packer.compress(piece)
            if packed:
                yield packed
            await pace.pause()  # many pieces are packed before one is yielded
        yield packer.flush()
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/export",
        export_operations,
        "All operations of a stretch of time (the last 24 hours) as a file",
        query=ExportParams,
        media={one.media_type: f"format={one.name}" for one in EXPORTERS.values()},
        problems=(404,),
    ),
)
