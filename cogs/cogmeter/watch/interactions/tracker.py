"""The interactions and prefix commands in progress: arrival, name, acknowledgement and end of each."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.running import RunningOperation, enter
from cogmeter.recording.service_names import BY_OPERATION, COMMANDS, COMPONENTS, label
from cogmeter.recording.tracing import CALLER, Trace, has_costs
from cogmeter.watch.interactions.custom_ids import template_of
from cogmeter.watch.interactions.people import BOT_DM, NO_HASHES, AffectedPeople, People, Who, who_of
from cogmeter.watch.names import fitted
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter_storage.clock import clock
from cogmeter_storage.model import FAILURES, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    import discord

    from cogmeter.recording.recorder import Recorder

MOST: Final = 10_000  # interactions remembered; the oldest goes first
MOST_TEMPLATES: Final = 200  # components without a known view that have their own series
LIFE_NS: Final = 15 * 60 * 1_000_000_000  # of an interaction's token
COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5  # discord.InteractionType
NEVER_FINISHED: Final = "never finished"
KEPT_TRACES: Final = 200  # slow and failed traces that wait to be stored


class PendingInteraction(Trace):
    """An interaction or prefix command from its arrival."""

    __slots__ = (
        "_affected",
        "_people",
        "acknowledged",
        "arrived_wall_us",
        "finished",
        "http_ns",
        "id",
        "invoked",
        "kind",
        "metadata",
        "owned",
        "running",
        "runs",
        "sent_ns",
        "who",
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
        self.who = who
        self._people = people
        self._affected: AffectedPeople | None = None  # when they are first needed
        self.id = number  # the interaction's; 0 for a prefix command
        self.kind = kind  # discord.InteractionType's value; 0 for a prefix command
        self.arrived_wall_us = (clock.now_ns() - (now_ns() - arrived_ns)) // 1000
        self.invoked = False  # its command was found, and allowed by the tree
        self.metadata: dict[str, Any] | None = None  # added by ``cogmeter.annotate``
        self.running: RunningOperation | None = None  # from the first code that runs for it
        self.runs = 0  # calls in progress that invoke its command
        self.acknowledged = False  # its acknowledgement, or the lack of one, was recorded
        self.finished = False  # its operation was recorded
        self.http_ns = 0  # the HTTP time of the first response
        self.sent_ns = 0  # when the last attempt at a first response was sent, by time.perf_counter_ns; 0: never
        self.owned = kind not in {COMPONENT, MODAL}  # a view, modal or command of this bot answers it

    @property
    def over(self) -> bool:
        """Return whether it has ended or its token has expired."""
        return self.ended or now_ns() - self.start_ns > LIFE_NS

    @property
    def sent_age_ns(self) -> int:
        """Return its age when a first response was sent, or its present age."""
        return (self.sent_ns or now_ns()) - self.start_ns

    def affected(self, outcome: int, duration_ns: int) -> Mapping[str, str]:
        """Return the hashes of the affected user and guild; only for a failed or slow operation."""
        people, who = self._people, self.who
        if people is None or who is None or not people.matter(outcome, duration_ns):
            return NO_HASHES
        return self._hashes()

    def payer(self) -> Mapping[str, str]:
        """Return the label of the command or component, and the hashes of its user and guild."""
        service = COMPONENTS if self.kind in {COMPONENT, MODAL} else COMMANDS
        return {**self._hashes(), CALLER: label(service, self.label)}

    def add_metadata(self, metadata: Mapping[str, Any]) -> bool:
        """Store metadata with the interaction's operation; return False if that was recorded."""
        if self.finished or self.own:
            return False
        self.metadata = {**(self.metadata or {}), **metadata}
        return True

    def known_metadata(self) -> Mapping[str, Any]:
        """Return the metadata that was added so far."""
        return self.metadata or {}

    def _hashes(self) -> Mapping[str, str]:
        if self._people is None or self.who is None:
            return NO_HASHES
        if self._affected is None:
            self._affected = AffectedPeople(self._people, self.who, self.arrived_wall_us)
        return self._affected.hashes()


class InteractionTracker:
    """The interactions in progress by id; it records how they end. No method awaits."""

    def __init__(self, recorder: Recorder, *, slow_ms: float) -> None:
        """Keep the traces of interactions that fail or take at least ``slow_ms``."""
        self.recorder = recorder
        self.people = People(slow_ms=slow_ms)
        self.traces: deque[TraceRecord] = deque(maxlen=KEPT_TRACES)
        # In order of arrival, for the acknowledgement surface, which creates and empties this deque.
        self.waiting: deque[PendingInteraction] | None = None
        self._slow_ns = int(slow_ms * 1e6)
        self._open: OrderedDict[int, PendingInteraction] = OrderedDict()
        self._settled: OrderedDict[int, None] = OrderedDict()  # ids of interactions that are recorded completely
        self._settled_until = -1  # ids grow with time: all up to this one are settled
        self._templates: set[str] = set()
        self._messages: set[PendingInteraction] = set()  # running prefix commands, which have no id

    def __len__(self) -> int:
        return len(self._open)

    def arrive(self, data: Mapping[str, Any]) -> PendingInteraction | None:
        """Remember an INTERACTION_CREATE from the gateway; return None if it is settled already.

        Discord may send an interaction again after a resume.
        """
        number = int(data["id"])
        if number in self._open or self._is_settled(number):
            return self._open.get(number)
        pending = PendingInteraction(
            number, int(data["type"]), label_of(data), now_ns(), who=who_of(data), people=self.people
        )
        self._open[number] = pending
        if self.waiting is not None:
            self.waiting.append(pending)
        self._drop_oldest(pending.start_ns)
        return pending

    def begin(self, label: str, arrived_ns: int, who: Who) -> PendingInteraction:
        """Return a prefix command that begins; it is remembered while it runs, see ``run``."""
        return PendingInteraction(0, 0, label, arrived_ns, who=who, people=self.people)

    def run(self, pending: PendingInteraction, service: str) -> RunningOperation:
        """Register an interaction as running, once; return the operation for ``enter`` or ``assign``."""
        running = pending.running
        if running is None:
            running = pending.running = self.recorder.running.begin(service, pending.label, pending.start_ns)
            if pending.finished or pending.own:
                self._stop(pending)
            elif not pending.id and len(self._messages) < MOST:
                self._messages.add(pending)
        return running

    def enter(self, pending: PendingInteraction, service: str) -> Token[RunningOperation | None]:
        """Assign the code that runs from here, in this task, to an interaction."""
        return enter(self.run(pending, service))

    def disown(self, pending: PendingInteraction) -> None:
        """Forget that an interaction runs: it is one of cogmeter's own commands."""
        pending.own = True
        self._stop(pending)

    def get(self, number: int) -> PendingInteraction | None:
        """Return the interaction in progress with this id."""
        return self._open.get(number)

    def of(self, interaction: discord.Interaction) -> PendingInteraction | None:
        """Return the pending interaction, which may arrive only now; None if it is settled."""
        return self._open.get(interaction.id) or self.arrive(_payload(interaction))

    def name_of(self, pending: PendingInteraction) -> str:
        """Return the name of its operation. Too many templates of custom ids without a view share ``(other)``."""
        label = pending.label
        if pending.owned or label in self._templates:
            return label
        if len(self._templates) >= MOST_TEMPLATES:
            return OTHER
        self._templates.add(label)
        return label

    def acknowledge(self, pending: PendingInteraction) -> None:
        """Note that its acknowledgement, or the lack of one, was recorded."""
        pending.acknowledged = True
        self._forget_done(pending)

    def forget(self, pending: PendingInteraction) -> None:
        """Forget an interaction that is recorded completely."""
        if self._open.pop(pending.id, None) is None:
            return
        self._settled[pending.id] = None
        if len(self._settled) > MOST:
            oldest, _ = self._settled.popitem(last=False)
            self._settled_until = max(self._settled_until, oldest)

    def close(self, pending: PendingInteraction) -> None:
        """End its trace: later operations do not belong to it."""
        pending.ended = True
        self._stop(pending)

    def expire(self) -> None:
        """Give up interactions whose token has expired."""
        until_ns = now_ns() - LIFE_NS
        for pending in list(self._open.values()):  # in order of arrival
            if pending.start_ns >= until_ns:
                return
            self._give_up(pending)

    def give_up(self, *, but: Trace | None) -> None:
        """Give up everything in progress but this one, which may be the command that unloads the monitor."""
        for pending in [*self._open.values(), *self._messages]:
            if pending is not but:
                self._give_up(pending)

    def _give_up(self, pending: PendingInteraction) -> None:
        """Record an interaction whose code still runs as never finished, and forget it; nothing runs for others."""
        running = pending.running
        if running is not None and not running.ended:
            operation = self.name_of(pending)
            self.finish(pending, running.service, operation, outcome=Outcome.ERROR, error=NEVER_FINISHED)
        self.close(pending)
        self.forget(pending)

    def _stop(self, pending: PendingInteraction) -> None:
        self._messages.discard(pending)
        if pending.running is not None:
            self.recorder.running.end(pending.running)

    def finish(
        self,
        pending: PendingInteraction,
        service: str,
        operation: str,
        *,
        outcome: Outcome = Outcome.OK,
        error: object = None,
        metadata: Mapping[str, Any] | None = None,
        ended_ns: int | None = None,
    ) -> None:
        """Record the interaction as one operation since its arrival; later calls are ignored.

        ``ended_ns`` is its end by time.perf_counter_ns, the present time by default.
        """
        if pending.finished:
            return
        pending.finished = True
        self._stop(pending)
        self._forget_done(pending)
        if pending.own:
            return
        end_ns = now_ns()
        duration_ns = (ended_ns or end_ns) - pending.start_ns
        text = None if error is None else error_text(error)
        affected = pending.affected(outcome, duration_ns)
        if pending.metadata:
            metadata = {**(metadata or {}), **pending.metadata}
        if has_costs(pending.metadata):
            metadata = {**pending.payer(), **(metadata or {})}
        elif affected:
            metadata = {**affected, **(metadata or {})}
        if pending.running is not None and pending.running.logged_errors:
            metadata = {**(metadata or {}), "logged_errors": pending.running.logged_errors}
        series = self.recorder.series(service[:100], operation[:100])
        if outcome in FAILURES and isinstance(error, BaseException):
            found = self.recorder.count_failure(error, series, pending.start_ns, affected=affected)
            metadata = {**(metadata or {}), **found}
        extra = (text, metadata) if text is not None or metadata else None
        self.recorder.add(series, end_ns, duration_ns, int(outcome), extra)
        who = pending.who
        if who is not None and service in BY_OPERATION:
            self.recorder.usage.seen(series, who.user, who.guild, who.context, who.locale)
        if pending.kind != AUTOCOMPLETE and (duration_ns >= self._slow_ns or outcome in FAILURES):
            root = SpanRecord(0, 0, service, operation, 0, duration_ns // 1000, outcome)
            self.traces.append(_record(pending, root, text))

    def end(self, pending: PendingInteraction, service: str, operation: str, error: BaseException | None) -> None:
        """Finish it with the exception that ended it, wrapped as by discord.py, or with success."""
        if error is None:
            self.finish(pending, service, operation)
        else:
            outcome = outcome_of(error, age_ns=pending.sent_age_ns)
            self.finish(pending, service, operation, outcome=outcome, error=cause_of(error))

    def _is_settled(self, number: int) -> bool:
        return number in self._settled or number <= self._settled_until

    def _forget_done(self, pending: PendingInteraction) -> None:
        if pending.finished and pending.acknowledged:
            self.forget(pending)

    def _drop_oldest(self, at_ns: int) -> None:
        """Give up the oldest interaction if there are too many or its token has expired; called at each arrival."""
        oldest = next(iter(self._open.values()))
        if len(self._open) > MOST or at_ns - oldest.start_ns > LIFE_NS:
            self._give_up(oldest)


def label_of(data: Mapping[str, Any]) -> str:
    """Return an interaction's name: a command's qualified name (with the typed option), or a custom id's template."""
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
    """Return the needed part of the interaction's gateway payload."""
    return {
        "id": interaction.id,
        "type": interaction.type.value,
        "data": interaction.data,
        "user": {"id": interaction.user.id},
        "guild_id": interaction.guild_id,
        "channel_id": interaction.channel_id,
        "locale": str(interaction.locale),
        "context": BOT_DM if interaction.context.dm_channel else None,
        "authorizing_integration_owners": _owners(interaction),
    }


def _owners(interaction: discord.Interaction) -> tuple[str, ...]:
    """Return the keys of the owners of its installation if it is a user's only; otherwise they need not be known."""
    return ("1",) if interaction.is_user_integration() and not interaction.is_guild_integration() else ()


def _record(pending: PendingInteraction, root: SpanRecord, error: str | None) -> TraceRecord:
    return TraceRecord(
        at_us=pending.arrived_wall_us,
        service=root.service,
        operation=root.operation,
        duration_us=root.duration_us,
        outcome=root.outcome,
        error=error,
        left_out=pending.left_out,
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
            for span in pending.spans
        ),
    )
