"""Suggests stored names for what somebody typed, without blocking the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


async def suggest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Return the names most like this one, best first; see ``likeness.near``, which runs in a thread."""
    return await asyncio.to_thread(_near, name, tuple(names), limit)


def _near(name: str, names: tuple[str, ...], limit: int) -> list[str]:
    # Imported at the first use: most bots never need it.
    from cogmeter.query.name_matching import near

    return near(name, names, limit)
