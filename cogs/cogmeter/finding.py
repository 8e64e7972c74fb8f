"""What a doctor says of one part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a doctor page: what was looked at, how it is, and what to do if it is not well."""

    name: str
    well: bool
    text: str
    advice: str = ""
