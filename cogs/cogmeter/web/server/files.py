"""The files that pages load: read and packed once, and sent to browsers that have not got them yet."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from aiohttp import ETag, web

from cogmeter.web.server.html import STATIC, STATIC_FOLDER
from cogmeter.web.server.negotiation import takes_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

MEDIA: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", "": "text/plain"}


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent. The tag changes with what is in it."""

    body: bytes
    packed: bytes  # by gzip
    media: str
    tag: ETag

    @classmethod
    def read(cls, path: Traversable) -> File:
        """That at this path.

        Raises:
            OSError: it cannot be read.
        """
        body = path.read_bytes()
        tag = ETag(hashlib.sha256(body).hexdigest()[:16])
        return cls(body, gzip.compress(body, 9, mtime=0), MEDIA[PurePosixPath(path.name).suffix], tag)

    def answer(self, request: web.Request) -> web.Response:
        """All of it, or that the browser has it already."""
        known = request.if_none_match or ()
        if any(one.value in {self.tag.value, "*"} for one in known):
            response = web.Response(status=304)
        else:
            packs = takes_gzip(request.headers.get("Accept-Encoding", ""))
            response = web.Response(body=self.packed if packs else self.body, content_type=self.media, charset="utf-8")
            if packs:
                response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        response.etag = self.tag
        return response


def files(folder: Traversable) -> dict[str, File]:
    """Every file to be sent, by its path in the folder; none where there is no folder. Slow: call it in a thread.

    Raises:
        OSError: one cannot be read.
    """
    return {name: File.read(path) for name, path in sorted(_below(folder)) if PurePosixPath(name).suffix in MEDIA}


def _below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """Every file in a folder and the folders inside it, with its path in the folder."""
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.is_dir():
            yield from _below(one, f"{prefix}{one.name}/")
        else:
            yield f"{prefix}{one.name}", one


@cache
def _own_files() -> dict[str, File]:
    """Those of the pages, read once: an application outlives its server in a cache of aiohttp's."""
    return files(STATIC_FOLDER)


def add_files(app: web.Application) -> None:
    """Let the application send the files of the pages; nothing else is to be had below their address."""
    known = _own_files()

    async def send(request: web.Request) -> web.Response:
        file = known.get(request.match_info["path"])
        if file is None:
            raise web.HTTPNotFound
        return file.answer(request)

    app.router.add_get(f"{STATIC}/{{path:.+}}", send)
