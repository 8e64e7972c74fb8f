"""Renders templates: everything that stands in one is escaped, whatever its name."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from jinja2 import Environment

HERE: Final = resources.files("cogmeter.web")  # no folder, but a part of a file, where the bot is a zip application
FOLDERS: Final = (HERE / "templates", HERE / "pages" / "templates")
STATIC: Final = "/performance/static"  # where pages find their style sheet and scripts
STATIC_FOLDER: Final = HERE / "pages" / "static"
_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=(?:%|\N{MICRO SIGN}s|ms|s|min|h|d|k|M|G|B|kB|MB|GB)(?!\w))")


@cache
def environment() -> Environment:
    """The templates' surroundings, made once, all of them compiled: that takes long, so make them in a thread."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    found = [file for folder in reversed(FOLDERS) for file in folder.iterdir() if file.is_file()]
    made = Environment(
        loader=DictLoader({file.name: file.read_text("utf-8") for file in found}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["static"] = STATIC
    made.filters["whole"] = whole
    for template in made.list_templates():
        made.get_template(template)  # compiled here, and not at the first visit, on the bot's loop
    return made


def whole(words: object) -> str:
    """The words with every number on one line with its unit."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", str(words))


def render(template: str, **values: Any) -> str:
    """The text of a template."""
    return environment().get_template(template).render(**values)


def page(template: str, *, status: int = 200, **values: Any) -> web.Response:
    """The page as an answer."""
    return web.Response(text=render(template, **values), status=status, content_type="text/html", charset="utf-8")
