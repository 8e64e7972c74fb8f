"""Content negotiation by the headers Accept and Accept-Encoding (RFC 9110, 12.4 and 12.5)."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_ANY: Final = ("*", "*/*")


class Accepted(NamedTuple):
    """One member of a header: a media type or range, or an encoding, in lower case."""

    text: str  # as it was sent
    name: str
    weight: float  # 0: refused, 1: preferred


def accepted(header: str) -> list[Accepted]:
    """Return the members of a header, in their order. An invalid weight counts as 1."""
    members = []
    for member in header.split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        if name:
            members.append(Accepted(member.strip(), name.lower(), _weight(parameters)))
    return members


def weight_of(header: str, *names: str, ranges: bool = True) -> float:
    """Return the weight of the best of these names, 0 to 1; 0 if it is refused or missing.

    With ``ranges``, ``*``, ``*/*`` and ``text/*`` match names that are not listed themselves.
    """
    members = accepted(header)
    groups = tuple(f"{name.partition('/')[0]}/*" for name in names if "/" in name)
    for candidates in (names, groups, _ANY) if ranges else (names,):
        weights = [member.weight for member in members if member.name in candidates]
        if weights:
            return max(weights)
    return 0.0


def accepts_gzip(accept_encoding: str) -> bool:
    """Return True if a client accepts gzip and does not prefer uncompressed responses."""
    gzip, plain = weight_of(accept_encoding, "gzip", "x-gzip"), weight_of(accept_encoding, "identity", ranges=False)
    return gzip > 0 and gzip >= plain


def prefers_html(accept: str) -> bool:
    """Return True if a client lists HTML, as browsers do, and does not prefer JSON."""
    html, json = (weight_of(accept, name, ranges=False) for name in ("text/html", "application/json"))
    return html > 0 and html >= json


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 1.0
            return min(max(weight, 0.0), 1.0) if math.isfinite(weight) else 1.0
    return 1.0
