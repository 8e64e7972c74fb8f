"""The traces of live traffic: of commands that are slow or fail, as the watch of a real bot keeps them.

A slow operation of a service happens inside a command, which ends a little later. That command takes the place of a
later one of its name, so that there are not many more. Operations that are slow at the same time share one: it
describes several pictures, or fetches several pages.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cogmeter_bot.demo.traces import (
    TRACE_TEMPLATES,
    TRACED_US,
    EndedRun,
    SpanTemplate,
    TraceTemplate,
    span_of,
    trace_of,
)
from cogmeter_storage.model import FAILURES, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogmeter_bot.demo.profiles import Profile

MOST_AHEAD: Final = 6  # commands that take the place of later ones; more are commands of people who try again
MOST_PARTS: Final = 6  # slow operations in one command, such as the pictures of one message
LONGEST_US: Final = 60_000_000  # of a command, until which operations join it
NEXT_US: Final = 2_500_000  # until the next slow operation of an incident, mostly less
SLOW: Final = 2.0  # times the median, from which an operation is slow


@dataclass(slots=True)
class EnclosingCommand:
    """A command that still runs, and the slow operations inside it."""

    template: TraceTemplate
    begin_us: int
    planned_us: int  # its length, with the first operation alone
    due_us: int
    parts: list[EndedRun] = field(default_factory=list)

    @property
    def part(self) -> SpanTemplate:
        """The place of its operations."""
        return self.template.spans[self.template.recorded - 1]

    def add(self, run: EndedRun, *, waits: bool) -> None:
        """Make it begin before the operation, and end after it; ``waits`` if another operation is likely to come."""
        self.begin_us = min(self.begin_us, run.end_us - run.duration_us - int(self.part.start * self.planned_us))
        after_us = int((1 - self.part.start - self.part.length) * self.planned_us)
        self.due_us = max(self.due_us, run.end_us + max(after_us, NEXT_US if waits else 0))
        self.parts.append(run)

    def trace(self, end_us: int) -> TraceRecord:
        """Return its trace if it ends now: the parts of its template around the first operation, then the others."""
        duration_us, first = end_us - self.begin_us, self.parts[0]
        planned_begin_us = first.end_us - first.duration_us - int(self.part.start * self.planned_us) - self.begin_us
        spans = []
        for number, part in enumerate(self.template.spans, start=1):
            before = part.parent == 0 and part.start < self.part.start
            start_us = int(part.start * self.planned_us) + (0 if before else planned_begin_us)
            if part.parent == 0 and part.start >= self.part.start + self.part.length:  # after all operations
                start_us = duration_us - int((1 - part.start) * self.planned_us)
            length_us = min(int(part.length * self.planned_us), duration_us - start_us)
            span = span_of(number, part, start_us, length_us)
            spans.append(self._span(number, first) if number == self.template.recorded else span)
        spans += [self._span(number, run) for number, run in enumerate(self.parts[1:], start=len(spans) + 1)]
        failed = next((run for run in self.parts if run.outcome in FAILURES), first)
        run = EndedRun(end_us, duration_us, failed.outcome, failed.error)
        return trace_of(self.template, run, spans)

    def _span(self, number: int, run: EndedRun) -> SpanRecord:
        start_us = run.end_us - run.duration_us - self.begin_us
        names = self.part.service, self.part.operation
        return SpanRecord(number, self.part.parent, *names, start_us, run.duration_us, run.outcome)


class LiveTraces:
    """Makes the traces of one traffic."""

    def __init__(self) -> None:
        self._running: list[EnclosingCommand] = []
        self._ahead: Counter[str] = Counter()  # by command
        self._turn: defaultdict[str, bool] = defaultdict(bool)  # whether the last command of a name was left out
        self._made = 0

    def enclose(self, profile: Profile, run: EndedRun, *, incident: bool) -> None:
        """Put an operation that has just ended into a command that still runs, if it was slow.

        During an ``incident`` of its service many are slow.
        """
        templates = [one for one in TRACE_TEMPLATES if one.source == (profile.service, profile.operation)]
        if not templates or run.duration_us < SLOW * profile.median_ms * 1000:
            return
        (template,) = templates
        planned_us = int(run.duration_us / template.spans[template.recorded - 1].length)
        running = self._joinable(template, run)
        if running is None:
            if planned_us < TRACED_US:
                return
            running = EnclosingCommand(template, run.end_us, planned_us, run.end_us)
            self._running.append(running)
            self._ahead[template.command] = min(self._ahead[template.command] + 1, MOST_AHEAD)
        running.add(run, waits=incident and len(running.parts) + 1 < MOST_PARTS)

    def ended(self, now_us: int) -> Iterator[TraceRecord]:
        """Yield the trace of each enclosing command that ends now."""
        ending = [one for one in self._running if one.due_us <= now_us]
        self._running = [one for one in self._running if one.due_us > now_us]
        yield from [one.trace(now_us) for one in ending]

    def takes_place_of(self, command: str) -> bool:
        """Return True if a command that ran already contains this operation; of two in a row, one runs in any case."""
        self._turn[command] = not self._turn[command] and self._ahead[command] > 0
        if not self._turn[command]:
            return False
        self._ahead[command] -= 1
        return True

    def plain(self, command: str, run: EndedRun) -> TraceRecord | None:
        """Return the trace of a command that is slow by itself or fails; None of another one."""
        templates = [one for one in TRACE_TEMPLATES if one.command == command and not one.recorded]
        if not templates or (run.duration_us < TRACED_US and run.outcome not in FAILURES):
            return None
        self._made += 1
        return trace_of(templates[self._made % len(templates)], run)

    def _joinable(self, template: TraceTemplate, run: EndedRun) -> EnclosingCommand | None:
        found: Sequence[EnclosingCommand] = [
            one
            for one in self._running
            if one.template is template
            and len(one.parts) < MOST_PARTS
            and run.end_us - min(one.begin_us, run.end_us - run.duration_us) < LONGEST_US
        ]
        return found[0] if found else None
