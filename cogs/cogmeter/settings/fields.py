"""What the definitions of settings share: a field with its unit and example, and the checks of URLs."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field

PREFIX = "PERFORMANCE_"
PING: Final = "{ping}"  # placeholders of the heartbeat URL
STATUS: Final = "{status}"
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})  # of this machine
PLACEHOLDERS: Final = (PING, STATUS)
_PLACEHOLDER: Final = re.compile(r"\{[\w.-]*\}")


def setting(
    default: Any,
    unit: str,
    text: str,
    *,
    name: str | None = None,
    other_name: str | None = None,
    example: str = "",
    in_chat: bool = True,
    **limits: Any,
) -> Any:
    """Return a field with its unit, and an example of its value if it has no default.

    ``name`` is its environment variable if that lacks the common prefix; ``other_name`` is read where that is not set.
    ``in_chat`` is False if only ``.env`` and the environment can set it, because it is read once at the start, or
    protects the machine or stored data.
    """
    extra: dict[str, Any] = {"unit": unit, "example": example, "in_chat": in_chat, "other_name": other_name}
    if name is not None:
        limits["validation_alias"] = name
    return Field(default=default, description=text, json_schema_extra=extra, **limits)


def is_http(address: str) -> bool:
    """Return whether an address is a valid URL of http or https."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:
        return False
    return address.isprintable() and " " not in address and parts.scheme in {"http", "https"} and bool(parts.hostname)


def origin_of(address: str) -> str | None:
    """Return scheme, host and port of a dashboard's URL; None if it has more than the dashboard's own path."""
    if not is_http(address):
        return None
    parts = urlsplit(address)
    if parts.path.rstrip("/") not in {"", "/performance"} or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return f"{parts.scheme}://{parts.netloc}".lower()


def placeholder_fault(address: str) -> str:
    """Return what is wrong with the placeholders of a heartbeat URL, without the URL; empty if nothing is."""
    parts = urlsplit(address)
    known = " or ".join(PLACEHOLDERS)
    for placeholder in _PLACEHOLDER.findall(address):
        if placeholder not in PLACEHOLDERS:
            return f"has the unknown placeholder {placeholder[:30]}, use {known}"
    if _PLACEHOLDER.search(parts.netloc):
        return f"has a placeholder in its host, use {known} in path and query only"
    return ""
