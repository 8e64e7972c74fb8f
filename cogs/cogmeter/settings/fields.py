"""What the definitions of settings share: a field with its unit and example, and the check of a URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

PREFIX = "PERFORMANCE_"


def setting(default: Any, unit: str, text: str, *, name: str | None = None, example: str = "", **limits: Any) -> Any:
    """Return a field with its unit, and an example of its value if it has no default.

    ``name`` is its environment variable if that lacks the common prefix.
    """
    extra: dict[str, Any] = {"unit": unit, "example": example}
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
