"""Names REST requests by method and route template: no id, no token, no emoji, and so a bounded number of names."""

from __future__ import annotations

import functools
import re
from typing import Final

MAX_NAME: Final = 100

_RAW = re.compile(
    r"(?P<hook>/(?:webhooks|interactions)/)(?:\d+|(?P<hook_id>\{\w+\}))/[^/{]+"  # the address's next part is a token
    r"|(?P<emoji>/reactions/)[^/{@]+"
    r"|(?P<code>/(?:invites|templates)/)[^/{]+"
    r"|/\d{15,21}(?=/|$)"
)


@functools.lru_cache(maxsize=2048)
def operation_name(method: str, path: str) -> str:
    """``POST /channels/{channel_id}/messages`` from discord.py's template, or from a path with ids and tokens in it."""
    return f"{method} {_RAW.sub(_placeholder, path)}"[:MAX_NAME]


def _placeholder(found: re.Match[str]) -> str:
    if found["hook"]:
        return f"{found['hook']}{found['hook_id'] or '{id}'}/{{token}}"
    if found["emoji"]:
        return f"{found['emoji']}{{emoji}}"
    return f"{found['code']}{{code}}" if found["code"] else "/{id}"
