"""Formats the counts of damaged stored data, for the doctors and for health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.diagnosis import Finding
from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter_storage.model import Damage


def damage_text(damage: Damage) -> str:
    """Return the counts as text: ``damaged: 2 slots rebuilt, 1 slot lost, 3 rows skipped``."""
    return f"damaged: {', '.join(_counts(damage))}" if damage else "no damage was found"


def damage_finding(damage: Damage) -> Finding:
    """Return the line of a doctor page about damaged data."""
    advice = (
        "The log names what is damaged. Check the disk and keep a backup. The counts are cleared after "
        "PERFORMANCE_RETENTION_HOURS"
    )
    return Finding("stored data", not damage, damage_text(damage), advice)


def _counts(damage: Damage) -> Iterator[str]:
    for count, noun, result in (
        (damage.rebuilt_slots, "slot", "rebuilt"),
        (damage.lost_slots, "slot", "lost"),
        (damage.rows, "row", "skipped"),
    ):
        if count:
            yield f"{formatting.counted(count, noun)} {result}"
