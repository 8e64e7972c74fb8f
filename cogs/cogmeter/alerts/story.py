"""What is told of an alert beside its figures: whom it touched, the commonest error, an example, what changed before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogmeter_storage.model import Marker, Operation


@dataclass(frozen=True, slots=True)
class Story:
    """The circumstances of a breach, from its window's beginning on. Counts are None where nothing is known."""

    since_us: int
    until_us: int
    operations: int
    failures: int
    users: int | None = None  # different people whose interactions were touched (failed, or for slowness: slow)
    guilds: int | None = None
    commonest_error: str | None = None
    commonest_count: int = 0
    example: Operation | None = None  # the newest failure, or the slowest operation
    example_url: str | None = None  # leads to its place in Discord; kept in memory only, never stored
    markers: tuple[Marker, ...] = ()  # what changed shortly before, newest first
