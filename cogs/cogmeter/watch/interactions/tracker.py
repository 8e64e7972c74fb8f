"""The interactions that are under way: when each arrived, what it is, when it was acknowledged, how it ended."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.tracing import Trace
from cogmeter.watch.interactions.custom_ids import template_of
from cogmeter.watch.interactions.people import NOBODY, MessagePlace, People, Who, who_of
from cogmeter.watch.names import fitted
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter_storage.clock import clock
from cogmeter_storage.model import FAILURES, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    import discord

    from cogmeter.recording.recorder import Recorder

MOST: Final = 10_000  # interactions remembered; the oldest goes first
MOST_TEMPLATES: Final = 200  # components of no known view that have a series of their own
LIFE_NS: Final = 15 * 60 * 1_000_000_000  # of an interaction's token: nothing can come of it afterwards
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5  # discord.InteractionType
KEPT_TRACES: Final = 200  # slow and failed ones that wait to be stored


class PendingInteraction(Trace):
    """One interaction (or prefix command) from its arrival on."""

    __slots__ = (
        "_hashes",
        "_people",
        "_place",
        "_who",
        "acknowledged",
        "arrived_wall_us",
        "finished",
        "http_ns",
        "id",
        "invoked",
        "kind",
        "owned",
        "runs",
        "sent_ns",
    )

    def __init__(
        self,
        number: int,
        kind: int,
        label: str,
        arrived_ns: int,
        *,
        who: Who | None = None,
        people: People | None = None,
    ) -> None:
        super().__init__(label, arrived_ns)
        self._who = who
        self._people = people
        self._hashes: Mapping[str, str] = NOBODY  # made when they are needed first
        self._place: MessagePlace | None = None
        self.id = number  # the interaction's; 0 for a prefix command
        self.kind = kind  # discord.InteractionType's value; 0 for a prefix command
        self.arrived_wall_us = (clock.now_ns() - (now_ns() - arrived_ns)) // 1000
        self.invoked = False  # whether its command was found, and allowed by the tree
        self.runs = 0  # calls under way of what invokes its command
        self.acknowledged = False  # whether its acknowledgement, or the lack of one, was recorded
        self.finished = False  # whether its operation was recorded
        self.http_ns = 0  # of the first response, the time spent in HTTP
        self.sent_ns = 0  # when the last attempt at a first response was sent, by time.perf_counter_ns; 0: none was
        self.owned = kind not in {COMPONENT, MODAL}  # whether a view, modal or command of this bot answers it

    @property
    def over(self) -> bool:
        """See Trace; also when its token is dead."""
        return self.ended or now_ns() - self.start_ns > LIFE_NS

    @property
    def sent_age_ns(self) -> int:
        """How old it was when a first response was sent, or how old it is if none was."""
        return (self.sent_ns or now_ns()) - self.start_ns

    def touched(self, outcome: int, duration_ns: int) -> Mapping[str, str]:
        """See Trace; only what failed or was slow says it, and leads to its place from then on."""
        people, who = self._people, self._who
        if people is None or who is None or not people.matter(outcome, duration_ns):
            return NOBODY
        if not self._hashes:
            self._hashes = people.of(who)
            self._place = people.place(who, self._hashes, self.arrived_wall_us)
        if self._place is not None:
            self._place.until_us = clock.now_ns() // 1000
        return self._hashes


class InteractionTracker:
    """Remembers receipts by interaction id, and records how they ended. Nothing here awaits."""

    def __init__(self, recorder: Recorder, *, slow_ms: float) -> None:
        """Interactions that take ``slow_ms`` or longer, or fail, keep their tree of operations."""
        self.recorder = recorder
        self.people = People(slow_ms=slow_ms)
        self.traces: deque[TraceRecord] = deque(maxlen=KEPT_TRACES)
        # In order of arrival, for who looks after their acknowledgement, makes this deque, and empties it.
        self.waiting: deque[PendingInteraction] | None = None
        self._slow_ns = int(slow_ms * 1e6)
        self._open: OrderedDict[int, PendingInteraction] = OrderedDict()
        self._settled: OrderedDict[int, None] = OrderedDict()  # ids of which nothing more is recorded
        self._settled_until = -1  # ids grow with time: all up to this one are settled, and need not be remembered
        self._templates: set[str] = set()

    def __len__(self) -> int:
        return len(self._open)

    def arrive(self, data: Mapping[str, Any]) -> PendingInteraction | None:
        """Remember an INTERACTION_CREATE as it came from the gateway; None for one that is settled already.

        Discord may send an interaction again after a resume. It stays one.
        """
        number = int(data["id"])
        if number in self._open or self._is_settled(number):
            return self._open.get(number)
        receipt = PendingInteraction(
            number, int(data["type"]), label_of(data), now_ns(), who=who_of(data), people=self.people
        )
        self._open[number] = receipt
        if self.waiting is not None:
            self.waiting.append(receipt)
        self._drop_oldest(receipt.start_ns)
        return receipt

    def begin(self, label: str, arrived_ns: int, who: Who) -> PendingInteraction:
        """A prefix command; it is not looked for by an id."""
        return PendingInteraction(0, 0, label, arrived_ns, who=who, people=self.people)

    def get(self, number: int) -> PendingInteraction | None:
        """The receipt of an interaction that is under way."""
        return self._open.get(number)

    def of(self, interaction: discord.Interaction) -> PendingInteraction | None:
        """The receipt of an interaction; one whose arrival was not seen arrives now, a settled one has none."""
        return self._open.get(interaction.id) or self.arrive(_payload(interaction))

    def name_of(self, receipt: PendingInteraction) -> str:
        """Its label as an operation's name: the templates of custom ids that belong to no view share ``(other)``."""
        label = receipt.label
        if receipt.owned or label in self._templates:
            return label
        if len(self._templates) >= MOST_TEMPLATES:
            return OTHER
        self._templates.add(label)
        return label

    def acknowledge(self, receipt: PendingInteraction) -> None:
        """Its acknowledgement, or the lack of one, is recorded."""
        receipt.acknowledged = True
        self._forget_done(receipt)

    def forget(self, receipt: PendingInteraction) -> None:
        """Nothing more is expected of it, nor recorded."""
        if self._open.pop(receipt.id, None) is None:
            return
        self._settled[receipt.id] = None
        if len(self._settled) > MOST:
            oldest, _ = self._settled.popitem(last=False)
            self._settled_until = max(self._settled_until, oldest)

    def close(self, receipt: PendingInteraction) -> None:
        """Everything that discord.py ran for it has ended: what goes on belongs to it no more."""
        receipt.ended = True

    def finish(
        self,
        receipt: PendingInteraction,
        service: str,
        operation: str,
        *,
        outcome: Outcome = Outcome.OK,
        error: object = None,
        metadata: Mapping[str, Any] | None = None,
        ended_ns: int | None = None,
    ) -> None:
        """Record the interaction as one operation that began when it arrived; the first call counts.

        ``ended_ns`` is when it ended, by time.perf_counter_ns; without it, it ends now.
        """
        if receipt.finished:
            return
        receipt.finished = True
        self._forget_done(receipt)
        if receipt.own:
            return
        end_ns = now_ns()
        duration_ns = (ended_ns or end_ns) - receipt.start_ns
        text = None if error is None else error_text(error)
        touched = receipt.touched(outcome, duration_ns)
        if touched:
            metadata = {**touched, **(metadata or {})}
        series = self.recorder.series(service[:100], operation[:100])
        extra = (text, metadata) if text is not None or metadata else None
        self.recorder.add(series, end_ns, duration_ns, int(outcome), extra)
        if receipt.kind != AUTOCOMPLETE and (duration_ns >= self._slow_ns or outcome in FAILURES):
            root = SpanRecord(0, 0, service, operation, 0, duration_ns // 1000, outcome)
            self.traces.append(_record(receipt, root, text))

    def end(self, receipt: PendingInteraction, service: str, operation: str, error: BaseException | None) -> None:
        """Finish it by the exception that ended it, as discord.py handed it on, or by none."""
        if error is None:
            self.finish(receipt, service, operation)
        else:
            outcome = outcome_of(error, age_ns=receipt.sent_age_ns)
            self.finish(receipt, service, operation, outcome=outcome, error=cause_of(error))

    def _is_settled(self, number: int) -> bool:
        return number in self._settled or number <= self._settled_until

    def _forget_done(self, receipt: PendingInteraction) -> None:
        if receipt.finished and receipt.acknowledged:
            self.forget(receipt)

    def _drop_oldest(self, at_ns: int) -> None:
        """Drop the oldest if there are too many or its token is dead: with each arrival, so that none stays long."""
        oldest = next(iter(self._open.values()))
        if len(self._open) > MOST or at_ns - oldest.start_ns > LIFE_NS:
            self.forget(oldest)


def label_of(data: Mapping[str, Any]) -> str:
    """What an interaction is, by its payload: a command's qualified name (and the option that is being typed), or the
    template of a custom id.
    """
    payload = data.get("data") or {}
    kind = int(data["type"])
    if kind in {COMPONENT, MODAL}:
        return template_of(str(payload.get("custom_id", "")))
    words = [str(payload.get("name", "interaction"))]
    options = payload.get("options") or []
    while options and options[0].get("type") in {1, 2}:  # a subcommand, or a group of them
        words.append(str(options[0]["name"]))
        options = options[0].get("options") or []
    if kind == AUTOCOMPLETE:
        words += [str(option["name"]) for option in options if option.get("focused")]
    return fitted(" ".join(words))


def _payload(interaction: discord.Interaction) -> dict[str, Any]:
    """What the gateway said of it, as far as a receipt needs it."""
    return {
        "id": interaction.id,
        "type": interaction.type.value,
        "data": interaction.data,
        "user": {"id": interaction.user.id},
        "guild_id": interaction.guild_id,
        "channel_id": interaction.channel_id,
    }


def _record(receipt: PendingInteraction, root: SpanRecord, error: str | None) -> TraceRecord:
    return TraceRecord(
        at_us=receipt.arrived_wall_us,
        service=root.service,
        operation=root.operation,
        duration_us=root.duration_us,
        outcome=root.outcome,
        error=error,
        left_out=receipt.left_out,
        spans=tuple(
            SpanRecord(
                id=span.id,
                parent=span.parent,
                service=span.service,
                operation=span.operation,
                start_us=span.start_ns // 1000,
                duration_us=span.duration_ns // 1000,
                outcome=Outcome(span.outcome),
            )
            for span in receipt.spans
        ),
    )
