"""Groups failures by error group and text: texts that differ only in numbers and ids form one group."""

from __future__ import annotations

import asyncio
import heapq
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from cogmeter_storage.model import FAILURES, FailureGroup, OperationRecord, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import TypeAlias

    from cogmeter_storage.base import Store

    Key: TypeAlias = tuple[str, str, str, Outcome, str | None]  # service, operation, kind of text, outcome, error group

MAX_FAILURES: Final = 20_000  # failures that one call reads
_PAGE: Final = 500  # failures per page: converted in one call on the store's thread, grouped in one turn

_CHANGING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b(?:-[0-9a-f]+)*|\d+", re.IGNORECASE)  # addresses, ids, numbers


def kind_of(error: str) -> str:
    """Return the error's text with each number, id and address replaced by ``#``."""
    return _CHANGING.sub("#", error)


class FailureGrouper:
    """Groups that grow failure by failure, newest first."""

    def __init__(self) -> None:
        self._kinds: dict[str | None, str] = {None: ""}  # a cache: most texts repeat, and masking is the slowest part
        # Count, end time and id of the newest, the newest, the oldest: the order by which groups are ranked.
        self._found: dict[Key, tuple[int, int, int, OperationRecord, OperationRecord]] = {}

    def add(self, failures: Iterable[OperationRecord]) -> None:
        """Count failures; none may be newer than an earlier one."""
        for failure in failures:
            kind = self._kinds.get(failure.error)
            if kind is None:
                kind = self._kinds[failure.error] = kind_of(failure.error or "")
            key = (failure.service, failure.operation, kind, failure.outcome, failure.error_group)
            count, last_us, number, newest, _ = self._found.get(key, (0, failure.end_us, failure.id, failure, failure))
            self._found[key] = (count + 1, last_us, number, newest, failure)

    def clear_in_steps(self) -> Iterator[None]:
        """Delete all groups, some at each step."""
        while self._found:
            for _ in range(min(_PAGE, len(self._found))):
                self._found.popitem()
            yield

    def largest(self, limit: int, *, truncated: bool) -> list[FailureGroup]:
        """Return the groups with the most failures; of equal ones, the last seen first."""
        ranked = heapq.nlargest(max(limit, 0), self._found.items(), key=itemgetter(1))
        return [
            FailureGroup(
                service=service,
                operation=operation,
                kind=kind,
                outcome=outcome,
                count=count,
                first_us=oldest.end_us,
                last_us=last_us,
                example=newest,
                truncated=truncated,
            )
            for (service, operation, kind, outcome, _), (count, last_us, _, newest, oldest) in ranked
        ]


async def group_failures(
    store: Store,
    series: Collection[int] | None,
    since_us: int,
    until_us: int,
    *,
    limit: int,
    max_failures: int = MAX_FAILURES,
) -> list[FailureGroup]:
    """Implement Store.failure_groups page by page, so that other queries and the caller's loop get their turns."""
    groups = FailureGrouper()
    truncated = await _collect(groups, store, (series, since_us, until_us), max_failures)
    largest = groups.largest(limit, truncated=truncated)
    for _ in groups.clear_in_steps():  # freeing thousands of operations at once would block the loop
        await asyncio.sleep(0)
    return largest


async def _collect(
    groups: FailureGrouper, store: Store, at: tuple[Collection[int] | None, int, int], rest: int
) -> bool:
    """Add the newest ``rest`` failures to the groups; return True if there are older ones."""
    before_id: int | None = None
    while rest:
        page_size = min(_PAGE, rest)
        page = await store.page(*at, limit=page_size, before_id=before_id, outcomes=FAILURES)
        groups.add(page)
        await asyncio.sleep(0)  # give other tasks a turn between pages
        if len(page) < page_size:
            return False
        rest -= page_size
        before_id = page[-1].id
    return bool(await store.page(*at, limit=1, before_id=before_id, outcomes=FAILURES))
