"""Groups failures by what they say: texts that differ in numbers and ids alone are of one kind. For every back end."""

from __future__ import annotations

import asyncio
import heapq
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from cogmeter_storage.model import FAILURES, ErrorGroup, Operation, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import TypeAlias

    from cogmeter_storage.base import Store

    Key: TypeAlias = tuple[str, str, str, Outcome]  # service, operation, kind of text, outcome

MOST: Final = 20_000  # failures that one question looks at
_PAGE: Final = 500  # of them at once: what is converted in one go on the store's thread, and grouped in one turn

_CHANGING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b(?:-[0-9a-f]+)*|\d+", re.IGNORECASE)  # addresses, ids, numbers


def kind_of(error: str) -> str:
    """The error's text with each number, id and address in it replaced by ``#``."""
    return _CHANGING.sub("#", error)


class Groups:
    """Groups that grow failure by failure, the newest first."""

    def __init__(self) -> None:
        self._kinds: dict[str | None, str] = {None: ""}  # most texts come again, and masking costs most
        # How many, when the newest ended, its id, the newest and the oldest: in the order in which groups are ranked.
        self._found: dict[Key, tuple[int, int, int, Operation, Operation]] = {}

    def add(self, failures: Iterable[Operation]) -> None:
        """Count them; none may be newer than those before it."""
        for one in failures:
            kind = self._kinds.get(one.error)
            if kind is None:
                kind = self._kinds[one.error] = kind_of(one.error or "")
            key = (one.service, one.operation, kind, one.outcome)
            count, last_us, number, newest, _ = self._found.get(key, (0, one.end_us, one.id, one, one))
            self._found[key] = (count + 1, last_us, number, newest, one)

    def clearing(self) -> Iterator[None]:
        """Forget all groups, some at each step."""
        while self._found:
            for _ in range(min(_PAGE, len(self._found))):
                self._found.popitem()
            yield

    def largest(self, limit: int, *, truncated: bool) -> list[ErrorGroup]:
        """The groups that hold most failures, of equal ones the one last seen."""
        ranked = heapq.nlargest(max(limit, 0), self._found.items(), key=itemgetter(1))
        return [
            ErrorGroup(
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
            for (service, operation, kind, outcome), (count, last_us, _, newest, oldest) in ranked
        ]


async def group(
    store: Store, series: Collection[int] | None, since_us: int, until_us: int, *, limit: int, most: int = MOST
) -> list[ErrorGroup]:
    """See Store.error_groups; page by page, so that other questions and the caller's loop get their turns."""
    groups = Groups()
    truncated = await _collect(groups, store, (series, since_us, until_us), most)
    found = groups.largest(limit, truncated=truncated)
    for _ in groups.clearing():  # thousands of operations that are freed at once would hold the loop
        await asyncio.sleep(0)
    return found


async def _collect(groups: Groups, store: Store, at: tuple[Collection[int] | None, int, int], room: int) -> bool:
    """Add the newest failures to the groups, ``room`` at most; returns whether there are older ones."""
    before_id: int | None = None
    while room:
        asked = min(_PAGE, room)
        page = await store.page(*at, limit=asked, before_id=before_id, outcomes=FAILURES)
        groups.add(page)
        await asyncio.sleep(0)  # grouping a page, and ranking the groups, are turns of their own
        if len(page) < asked:
            return False
        room -= asked
        before_id = page[-1].id
    return bool(await store.page(*at, limit=1, before_id=before_id, outcomes=FAILURES))
