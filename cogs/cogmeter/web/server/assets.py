"""Templates and static files: read and compiled once, when a server starts.

Jinja escapes every value in a template, whatever the template's name. Static files are compressed once.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ETag, web
from markupsafe import Markup

from cogmeter.web.server.negotiation import accepts_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from jinja2 import Environment

WEB: Final = resources.files("cogmeter.web")  # not a folder but part of a file when the bot is a zip application
TEMPLATE_FOLDERS: Final = (WEB / "templates", WEB / "pages" / "templates")
STATIC: Final = "/performance/static"  # URL of the style sheet and scripts
STATIC_FOLDER: Final = WEB / "pages" / "static"
MEDIA_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", "": "text/plain"}

_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|\N{MICRO SIGN}s|ms|s|min|h|d|k|M|G|B|kB|MB|GB)(?!\w))")


@cache
def environment() -> Environment:
    """Return the template environment with all templates compiled. Slow: call it in a thread first."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    files = [file for folder in reversed(TEMPLATE_FOLDERS) for file in folder.iterdir() if file.is_file()]
    env = Environment(
        loader=DictLoader({file.name: file.read_text("utf-8") for file in files}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals["static"] = STATIC
    env.filters["unbroken"] = unbroken
    for template in env.list_templates():
        env.get_template(template)  # compiled here, and not at the first visit, on the bot's loop
    return env


def unbroken(text: object) -> str:
    """Keep every number on one line with its unit."""
    kept = Markup if isinstance(text, Markup) else str
    return kept(_BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", str(text)))


def render(template: str, **values: Any) -> str:
    """Return a rendered template."""
    return environment().get_template(template).render(**values)


def html_response(template: str, *, status: int = 200, **values: Any) -> web.Response:
    """Return a rendered template as a response."""
    return web.Response(text=render(template, **values), status=status, content_type="text/html", charset="utf-8")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One static file as it is sent; its tag changes with its content."""

    body: bytes
    gzipped: bytes
    media_type: str
    tag: ETag

    @classmethod
    def read(cls, path: Traversable) -> StaticFile:
        """Read a file.

        Raises:
            OSError: the file cannot be read.
        """
        body = path.read_bytes()
        tag = ETag(hashlib.sha256(body).hexdigest()[:16])
        return cls(body, gzip.compress(body, 9, mtime=0), MEDIA_TYPES[PurePosixPath(path.name).suffix], tag)

    def response(self, request: web.Request) -> web.Response:
        """Return the file, or 304 if the browser's copy is current."""
        known_tags = request.if_none_match or ()
        if any(tag.value in {self.tag.value, "*"} for tag in known_tags):
            response = web.Response(status=304)
        else:
            compress = accepts_gzip(request.headers.get("Accept-Encoding", ""))
            body = self.gzipped if compress else self.body
            response = web.Response(body=body, content_type=self.media_type, charset="utf-8")
            if compress:
                response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        response.etag = self.tag
        return response


def static_files(folder: Traversable) -> dict[str, StaticFile]:
    """Read every static file in a folder, by its path; a missing folder is empty. Slow: call it in a thread.

    Raises:
        OSError: a file cannot be read.
    """
    return {
        name: StaticFile.read(path)
        for name, path in sorted(_files_below(folder))
        if PurePosixPath(name).suffix in MEDIA_TYPES
    }


def _files_below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    """Yield every file in a folder and its subfolders, with its path in the folder."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            yield from _files_below(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


@cache
def _own_files() -> dict[str, StaticFile]:
    """Read the files of the pages once, because aiohttp's cache keeps an application alive after its server."""
    return static_files(STATIC_FOLDER)


def add_static_files(app: web.Application) -> None:
    """Serve the files of the pages; nothing else is served below their URL."""
    known = _own_files()

    async def send(request: web.Request) -> web.Response:
        file = known.get(request.match_info["path"])
        if file is None:
            raise web.HTTPNotFound
        return file.response(request)

    app.router.add_get(f"{STATIC}/{{path:.+}}", send)
