"""Samples the live objects three times an hour, and names what grew within the last hour."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import GrownObjects
from cogmeter.diagnosis import Finding
from cogmeter.recording.background import detached
from cogmeter.recording.operation import now_ns
from cogmeter.watch.memory.heap import ITEMS, LEAST, OWN_ITEMS, RESOURCES, TASKS, TEXT_BYTES, HeapWalk
from cogmeter.watch.memory.owners import LOOP, TASK_PREFIX, walk_all
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter.watch.surface import WatchContext

FIRST_S: Final = 300.0  # after the start: caches fill
EVERY_S: Final = 1_200.0
EXTRA_S: Final = 300.0  # between two samples outside of that plan
SAMPLES: Final = 7  # two hours
HOUR_S: Final = 3_300.0  # the age from which a sample is compared as that of an hour before
LEAST_AGE_S: Final = 900.0  # of a sample that is compared, in the first hour
SLICE_S: Final = 0.0005  # of work on the event loop; the last piece of it may take another millisecond
PAUSE_S: Final = 0.01  # between two slices
MOST_CPU_S: Final = 5.0  # of one sample; it ends before the less likely owners
MOST_ROWS: Final = 300  # counts kept of a sample, those of the most memory
MOST_NAMED: Final = 10
LEAST_BYTES: Final = 1_000_000  # growth that is named
LEAST_SHARE: Final = 0.2  # of what there was before
LEAST_RESOURCES: Final = 100
LEAST_ITEMS: Final = 1_000
LONGEST_OWNER: Final = 60

_BYTES: Final = {TEXT_BYTES: 1, ITEMS: 30, OWN_ITEMS: 0}  # rough memory of one; own items are items too
_OBJECT_BYTES: Final = 100
_RESOURCE_BYTES: Final = 5_000

_logger = logging.getLogger("cogmeter.watch")


@dataclass(frozen=True, slots=True)
class HeapSample:
    """The counts of one walk by (owner, kind), without those below ``floor`` bytes."""

    at_s: float
    counts: Mapping[tuple[str, str], int]
    containers: Mapping[str, str]
    floor: float
    whole: bool  # every owner was walked

    @classmethod
    def of(cls, heap: HeapWalk, at_s: float, *, whole: bool) -> HeapSample:
        """Return a sample with the counts of the most memory; own items are kept with their owner."""
        largest = sorted(heap.counts, key=lambda key: _bytes_of(key[1]) * heap.counts[key], reverse=True)
        kept = largest[:MOST_ROWS]
        owners = {owner for owner, _ in kept}
        floor = _bytes_of(kept[-1][1]) * heap.counts[kept[-1]] if len(largest) > MOST_ROWS else 0.0
        counts = {key: heap.counts[key] for key in kept}
        counts |= {(owner, OWN_ITEMS): heap.counts[owner, OWN_ITEMS] for owner in owners if owner in heap.containers}
        containers = {owner: heap.containers[owner] for owner in owners if owner in heap.containers}
        return cls(at_s, counts, containers, floor, whole)

    def before(self, key: tuple[str, str]) -> int | None:
        """Return a count, as an upper limit if it was too low to be kept; None if it is not known."""
        if key in self.counts:
            return self.counts[key]
        if not self.whole:
            return None
        least = 0 if key[1] in RESOURCES else LEAST
        return max(int(self.floor / (_bytes_of(key[1]) or _BYTES[ITEMS])), least)


@dataclass(frozen=True, slots=True)
class _Grown:
    owner: str
    bytes: float
    text: str
    resource: bool = False


class MemoryWatch(Surface):
    """Samples of live objects by owner and type; no operations. ``grown`` is what the rules about memory name."""

    name = "memory"
    setting = "watch_memory"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self.samples: deque[HeapSample] = deque(maxlen=SAMPLES)
        self.grown: GrownObjects | None = None  # between the newest sample and that of an hour before
        self.loop_ns = 0  # time spent on the event loop
        self.longest_ns = 0  # of one slice, with interruptions by the machine
        self.faults = 0
        self._task: asyncio.Task[None] | None = None
        self._due_s = 0.0
        self._extra_s = -math.inf  # when the last sample outside of the plan was taken
        self._tasks = 0  # asyncio tasks in the last sample

    def prepare(self) -> None:
        """Plan the first sample. There are no hooks."""
        self._due_s = now_ns() / 1e9 + FIRST_S

    async def remove(self) -> None:
        """Stop a sample that is being taken, and forget the others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.samples.clear()
        self.grown = None
        await super().remove()

    def sample(self) -> dict[str, float]:
        """Begin a sample of the live objects if it is due; there are no gauges."""
        if now_ns() / 1e9 >= self._due_s and (self._task is None or self._task.done()):
            self._due_s = now_ns() / 1e9 + EVERY_S
            self._task = detached(self._try_to_take(), name="cogmeter-memory")
        return {}

    def take_soon(self) -> None:
        """Begin a sample outside of the plan, unless the last one is recent; it is compared, and not kept."""
        now_s = now_ns() / 1e9
        if now_s - self._extra_s >= EXTRA_S and (self._task is None or self._task.done()):
            self._extra_s = now_s
            self._task = detached(self._try_to_take(kept=False), name="cogmeter-memory")

    def findings(self) -> list[Finding]:
        """Return a failed check if samples failed."""
        if not self.faults:
            return super().findings()
        text = f"{self.faults} samples of live objects failed"
        return [Finding(self.name, well=False, text=text, advice="Report the first one from the log")]

    async def take(self, *, kept: bool = True) -> None:
        """Take a sample, and compare it with that of an hour before; ``kept``: compare later samples with it."""
        heap, whole = HeapWalk(), False
        walk = walk_all(self.context.bot, heap, known_tasks=self._tasks)
        spent_ns = 0
        while not whole and spent_ns < MOST_CPU_S * 1e9:
            began_ns, began_cpu_ns = now_ns(), time.thread_time_ns()
            whole = advance(walk)
            slice_ns = now_ns() - began_ns
            spent_ns += (
                time.thread_time_ns() - began_cpu_ns
            )  # on a busy machine, most of a slice may be an interruption
            self.loop_ns += slice_ns
            self.longest_ns = max(self.longest_ns, slice_ns)
            await asyncio.sleep(PAUSE_S)
        walk.close()
        self._tasks = sum(count for (_, kind), count in heap.counts.items() if kind == TASKS)
        sample = HeapSample.of(heap, now_ns() / 1e9, whole=whole)
        if kept:
            self.samples.append(sample)
        self.grown = growth(self.samples if kept else [*self.samples, sample])
        _logger.debug("Counted %d live objects in %.0f ms of CPU time", heap.objects, spent_ns / 1e6)

    async def _try_to_take(self, *, kept: bool = True) -> None:
        try:
            await self.take(kept=kept)
        except Exception as error:
            self.faults += 1
            level = logging.ERROR if self.faults == 1 else logging.DEBUG
            _logger.log(level, "The live objects could not be counted", exc_info=error)


def advance(walk: Iterator[None]) -> bool:
    """Walk for a slice. Return True at the end of the walk."""
    end_s = time.perf_counter() + SLICE_S
    return all(time.perf_counter() < end_s for _ in walk)


def growth(samples: Sequence[HeapSample]) -> GrownObjects | None:
    """Compare the newest sample with the newest that is an hour older, or with the first; None while it is too new."""
    after = samples[-1]
    old = [sample for sample in samples if after.at_s - sample.at_s >= HOUR_S]
    before = old[-1] if old else samples[0]
    span_s = after.at_s - before.at_s
    if span_s < LEAST_AGE_S:
        return None
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for owner, kind in after.counts:
        kinds[owner].append(kind)
    found = [grown for owner, counted in kinds.items() for grown in _of_owner(owner, counted, before, after)]
    found = _without_consequences(found)
    found.sort(key=lambda grown: (-grown.bytes, grown.text))
    return GrownObjects(span_s, tuple(grown.text for grown in found[:MOST_NAMED]))


def _without_consequences(found: list[_Grown]) -> list[_Grown]:
    """Leave out what each task needs: its coroutine and local variables, its timer and context on the loop."""
    tasks = {f"{TASK_PREFIX}{grown.owner}": grown.bytes for grown in found if grown.text.startswith(TASKS)}
    needed = {LOOP: sum(tasks.values()), **tasks}
    return [grown for grown in found if grown.resource or grown.bytes > needed.get(grown.owner, 0.0)]


def _of_owner(owner: str, kinds: Sequence[str], before: HeapSample, after: HeapSample) -> Iterator[_Grown]:
    """Yield the growth of each resource of an owner, and that of its objects and texts as a whole."""
    more: dict[str, int] = {}
    total = 0.0
    for kind in kinds:
        earlier = before.before((owner, kind))
        if earlier is None:
            continue
        count = after.counts[owner, kind]
        total += _bytes_of(kind) * min(earlier, count)
        more[kind] = count - earlier
        if kind in RESOURCES and more[kind] >= max(LEAST_RESOURCES, LEAST_SHARE * earlier):
            where = "" if owner == LOOP else f" ({_shortened(owner)})"
            yield _Grown(owner, _RESOURCE_BYTES * more[kind], f"{kind} +{more[kind]:,}{where}", resource=True)
    objects = {kind: _bytes_of(kind) * count for kind, count in more.items() if kind not in RESOURCES}
    added = sum(objects.values())
    if added >= max(LEAST_BYTES, LEAST_SHARE * total):
        largest = max(objects, key=lambda kind: objects[kind])
        # An own class says more than the lists and dictionaries that its objects have.
        classes = [kind for kind in objects if "." in kind and objects[kind] >= objects[largest] / 2]
        named = max(classes, key=lambda kind: objects[kind], default=largest)
        yield _Grown(owner, added, _text(owner, named, more, before, after))


def _text(owner: str, kind: str, more: Mapping[str, int], before: HeapSample, after: HeapSample) -> str:
    """Return "cogs.music.Music.queue (list, from 12,000 to 1,300,000 items)" or "dict +1,200,000 (Music.history)"."""
    place = _shortened(owner)
    if kind == TEXT_BYTES:
        return f"{place} (texts and bytes, {_from_to(owner, kind, before, after, 1_000_000)} MB)"
    if more.get(OWN_ITEMS, 0) >= LEAST_ITEMS:
        return f"{place} ({after.containers[owner]}, {_from_to(owner, OWN_ITEMS, before, after)} items)"
    if kind == ITEMS:
        return f"{place} ({_from_to(owner, ITEMS, before, after)} items in its containers)"
    return f"{kind} +{more[kind]:,} ({place})"


def _from_to(owner: str, kind: str, before: HeapSample, after: HeapSample, unit: int = 1) -> str:
    earlier = round((before.before((owner, kind)) or 0) / unit)
    least = "" if (owner, kind) in before.counts or not earlier else "at most "
    return f"from {least}{earlier:,} to {after.counts[owner, kind] / unit:,.0f}"


def _bytes_of(kind: str) -> int:
    return _RESOURCE_BYTES if kind in RESOURCES else _BYTES.get(kind, _OBJECT_BYTES)


def _shortened(owner: str) -> str:
    """Return an owner's name; of a long one the end, which has the attribute."""
    return owner if len(owner) <= LONGEST_OWNER else f"…{owner[1 - LONGEST_OWNER :]}"
