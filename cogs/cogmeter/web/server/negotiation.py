"""What a client accepts, by its Accept and Accept-Encoding headers (RFC 9110, 12.4 and 12.5)."""

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
    """Return the members of a header, in their order. A weight that is none counts as 1."""
    found = []
    for member in header.split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        if name:
            found.append(Accepted(member.strip(), name.lower(), _weight(parameters)))
    return found


def weight_of(header: str, *names: str, ranges: bool = True) -> float:
    """Return how much one of these names is wanted, 0 to 1; 0 where it is refused or not named.

    With ``ranges``, ``*``, ``*/*`` and ``text/*`` stand for what is not named itself.
    """
    members = accepted(header)
    groups = tuple(f"{name.partition('/')[0]}/*" for name in names if "/" in name)
    for wanted in (names, groups, _ANY) if ranges else (names,):
        weights = [one.weight for one in members if one.name in wanted]
        if weights:
            return max(weights)
    return 0.0


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip, and does not prefer what is not packed."""
    packed, plain = weight_of(accept_encoding, "gzip", "x-gzip"), weight_of(accept_encoding, "identity", ranges=False)
    return packed > 0 and packed >= plain


def prefers_html(accept: str) -> bool:
    """Whether a client names HTML, as browsers do, and does not prefer JSON."""
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
