"""Exports, streamed in every format of ``exporters.table``."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from cogmeter.exporters.base import Export
from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter.query.query import now_us
from cogmeter.recording.background import Slicer
from cogmeter.times import iso
from cogmeter.web.api.params import RangeParams, Services
from cogmeter.web.api.routing import Route, Stream
from cogmeter.web.server.negotiation import takes_gzip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from cogmeter.monitor.monitor import Monitor

GZIP_LEVEL: Final = 3  # compression blocks the loop
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS  # zlib's code for gzip


if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[tuple(EXPORTERS)]


class ExportParams(RangeParams):
    """The query parameters of an export."""

    format: Annotated[Format | None, Field(description="The default is PERFORMANCE_EXPORT_FORMAT")] = None
    services: Services | None = None


async def export_operations(monitor: Monitor, ask: ExportParams, request: web.Request) -> Stream:
    """Stream the operations of a time range in one of the formats."""
    if ask.services is not None:
        await monitor.query.known(ask.services)
    at_us = now_us()
    asked = ask.asked(at_us)
    writer = exporter(ask.format or monitor.settings.export_format)
    export = Export(
        since_us=asked.since_us,
        until_us=asked.until_us,
        at_us=at_us,
        services=ask.services,
        namespace=monitor.settings.metrics_namespace,
    )
    pieces = writer.write(monitor.store, export)
    made = iso(at_us)[:10]
    headers = {
        "Content-Disposition": f'attachment; filename="performance-{made}.{writer.suffixes[0]}"',
        "Vary": "Accept-Encoding",
    }
    if takes_gzip(request.headers.get("Accept-Encoding", "")):
        headers["Content-Encoding"] = "gzip"
        pieces = _packed(pieces)
    return Stream(pieces, writer.media_type, headers)


async def _packed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces as one gzip file, some kilobytes at a time."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)
    try:
        slicer = Slicer()
        async for piece in pieces:
            packed = packer.compress(piece)
            if packed:
                yield packed
            await slicer.pause()  # many pieces are packed before one is yielded
        yield packer.flush()
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/export",
        export_operations,
        "All operations of a time range (the last 24 hours by default) as a file",
        query=ExportParams,
        media={
            one.media_type: f"{one.label} (format={one.name}): {one.description}" for one in map(exporter, EXPORTERS)
        },
        problems=(404,),
    ),
)
