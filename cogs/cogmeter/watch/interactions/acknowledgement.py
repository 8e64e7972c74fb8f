"""Records how soon each interaction gets its first response, for which Discord allows three seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from discord import InteractionResponse
from discord.webhook.async_ import async_context

from cogmeter.diagnosis import Finding
from cogmeter.recording import background, service_names
from cogmeter.recording.operation import now_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.interactions.components import settle_unclaimed
from cogmeter.watch.interactions.responses import Acknowledged, ResponseAttempt, ResponseLog
from cogmeter.watch.interactions.tracker import MOST
from cogmeter.watch.outcomes import ACK_LIMIT_NS
from cogmeter.watch.surface import Surface
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    import discord

    from cogmeter.watch.interactions.tracker import PendingInteraction

    Respond: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

NOT_ANSWERED: Final = "not answered by this bot: its view has expired, or was lost at a restart"
CLOCKS_APART_S: Final = 1.0  # the difference from which Discord's times and this machine's visibly differ
MOST_PER_SWEEP: Final = 1_000  # interactions that are checked in one turn of the loop

_SEND: Final = ("interaction_id", "token", "session", "proxy", "proxy_auth", "params")
_METHODS: Final = ("defer", "send_message", "edit_message", "send_modal", "autocomplete", "launch_activity", "pong")


class Acknowledgement(Surface):
    """One operation for each interaction that this bot has to answer, named like its command or component.

    All responses pass one method of the webhook adapter. Without this hook, the methods of the response are hooked,
    which do not show how much of the time was HTTP. A response is matched by the interaction's id, because it may be
    made outside of the interaction's context, for example behind ``wait_for``.
    """

    name = "acknowledgement"
    setting = "watch_acknowledgement"

    limit_ns: int = ACK_LIMIT_NS
    grace_ns: int = 1_000_000_000  # a late response that Discord refuses shows more than a missing one
    sweep_s: float = 0.5  # how often unanswered interactions are checked

    _answers: dict[int, ResponseLog]
    _responses: dict[int, discord.InteractionResponse[Any]]
    _sweeper: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Hook the method in the adapter's class, or in the class of another adapter that overrides it."""
        self._answers, self._responses = {}, {}
        kinds = type(async_context.get()).__mro__
        owner = next((kind for kind in kinds if "create_interaction_response" in vars(kind)), kinds[0])
        self.hooks.append(Hook("responses", owner, "create_interaction_response", self._sent, expects=_SEND))

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - there is one
        """Hook the methods of ``interaction.response``; if one fails, check ``is_done()`` of each response."""
        methods = [Hook(f"response.{name}", InteractionResponse, name, self._responded) for name in _METHODS]
        self.hooks += methods
        installed = [hook.install() for hook in methods]
        if not all(installed):
            self.listeners.append(("on_interaction", self._on_interaction))

    async def install(self) -> None:
        """Install the hooks, and start the task that finds unanswered interactions."""
        await super().install()
        self.context.tracker.waiting = deque(maxlen=MOST)
        self._sweeper = background.detached(self._sweep(), name="cogmeter: acknowledgements")

    async def remove(self) -> None:
        """Remove the hooks and stop the task."""
        await super().remove()
        self.context.tracker.waiting = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        self._answers.clear()
        self._responses.clear()

    def findings(self) -> list[Finding]:
        """Return the findings of the hooks and of the difference between the clocks."""
        return [*super().findings(), self._clock()]

    def sample(self) -> dict[str, float]:
        """Return how far the machine's clock is ahead of Discord's, once it is known."""
        seconds = self.context.skew.seconds
        return {} if seconds is None else {"clock_skew_s": seconds}

    def _clock(self) -> Finding:
        skew = self.context.skew
        if skew.seconds is None:
            return Finding("Discord's clock", well=True, text="not compared yet")
        side = "ahead of" if skew.seconds >= 0 else "behind"
        text = f"{abs(skew.seconds):.2f} s {side} Discord's, ± {skew.uncertainty_s:.2f} s"
        well = abs(skew.seconds) - skew.uncertainty_s < CLOCKS_APART_S
        return Finding(
            "Discord's clock", well, text, "" if well else "Set the machine's clock by NTP; durations are correct"
        )

    def _sent(self, original: Respond, hook: Hook) -> Respond:
        def respond(adapter: Any, interaction_id: int, token: str, **options: Any) -> Coroutine[Any, Any, Any]:
            return self._attempt(hook, interaction_id, lambda: original(adapter, interaction_id, token, **options))

        return respond

    def _responded(self, original: Respond, hook: Hook) -> Respond:
        async def respond(response: Any, *arguments: Any, **options: Any) -> Any:
            number = response._parent.id  # noqa: SLF001 - the response has no public way to its interaction
            return await self._attempt(hook, number, lambda: original(response, *arguments, **options), response)

        return respond

    async def _attempt(
        self,
        hook: Hook,
        number: int,
        call: Callable[[], Coroutine[Any, Any, Any]],
        response: discord.InteractionResponse[Any] | None = None,
    ) -> Any:
        """Await the call as an attempt at a first response; with ``response``, it includes more than HTTP."""
        pending = self._begun(hook, number)
        if pending is None:
            return await call()
        error: BaseException | None = None
        try:
            return await call()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._ended(hook, pending, error, response)
            error = None  # the frame and its exception would reference each other

    def _begun(self, hook: Hook, number: int) -> PendingInteraction | None:
        """Return the interaction if its acknowledgement is to be recorded."""
        if not hook.active:
            return None
        try:
            pending = self.context.tracker.get(number)
            if pending is None or pending.own or pending.acknowledged:
                return None
            pending.sent_ns = now_ns()
            self._answers_to(pending).in_progress += 1
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host from answering
            hook.fault(fault)
            return None
        return pending

    def _ended(
        self,
        hook: Hook,
        pending: PendingInteraction,
        error: BaseException | None,
        response: discord.InteractionResponse[Any] | None,
    ) -> None:
        try:
            answers, end_ns = self._answers_to(pending), now_ns()
            answers.in_progress -= 1
            if error is not None or response is None or response.is_done():  # some methods may not respond
                pending.http_ns = end_ns - pending.sent_ns
                answers.ended(ResponseAttempt(pending.sent_ns, end_ns, over_http=response is None), error)
            settled = answers.settled()
            if settled is not None:
                self._settle(pending, settled)
            elif not answers.in_progress and end_ns - pending.start_ns >= self.limit_ns + self.grace_ns:
                self._overdue(pending)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _answers_to(self, pending: PendingInteraction) -> ResponseLog:
        answers = self._answers.get(pending.id)
        if answers is None:
            answers = self._answers[pending.id] = ResponseLog(pending.start_ns, self.limit_ns)
        return answers

    async def _sweep(self) -> None:
        """Find unanswered interactions, in the order of their arrival."""
        while True:
            await asyncio.sleep(self.sweep_s)
            try:
                self._look(now_ns() - self.limit_ns - self.grace_ns)
            except Exception as fault:  # noqa: BLE001 - the next interactions must be checked, too
                self.hooks[0].fault(fault)

    def _look(self, until_ns: int) -> None:
        waiting = self.context.tracker.waiting or deque()
        for _ in range(min(len(waiting), MOST_PER_SWEEP)):
            if waiting[0].start_ns > until_ns:
                return
            pending = waiting.popleft()
            answers = self._answers.get(pending.id)
            if not pending.acknowledged and not (answers and answers.in_progress):
                self._overdue(pending)

    def _overdue(self, pending: PendingInteraction) -> None:
        """Record an interaction without a response in time or in progress."""
        response = self._responses.pop(pending.id, None)
        if pending.own or (response is not None and response.is_done()):
            self._done(pending)  # answered outside of the hooks, at an unknown time
        elif pending.owned:
            self._settle(pending, self._answers_to(pending).missed(now_ns()))
        else:
            # Not an error: users press buttons of expired views, or another process answers.
            settle_unclaimed(self.context, pending, Outcome.USER, NOT_ANSWERED)
            self._done(pending)

    def _settle(self, pending: PendingInteraction, how: Acknowledged) -> None:
        """Record the acknowledgement as if it ended now: end times must not decrease."""
        tracker, end_ns = self.context.tracker, now_ns()
        if not pending.own:
            if not pending.owned:
                settle_unclaimed(self.context, pending, how.outcome, how.error)
            recorder = tracker.recorder
            series = recorder.series(service_names.ACKNOWLEDGEMENT, tracker.name_of(pending))
            start_ns = end_ns - how.duration_ns
            self._add_part(pending, how)
            metadata = {**pending.affected(how.outcome, how.duration_ns), **(how.metadata or {})}
            recorder.add_timed(series, start_ns, end_ns, how.outcome, error=how.error, metadata=metadata)
        self._done(pending)

    def _add_part(self, pending: PendingInteraction, how: Acknowledged) -> None:
        """Add the first response to the trace: "where the time goes" shows when the user saw something."""
        if pending.sent_ns and not pending.finished:
            names = (service_names.ACKNOWLEDGEMENT, self.context.tracker.name_of(pending))
            pending.add(0, names, (pending.sent_ns, pending.sent_ns + pending.http_ns), int(how.outcome))

    def _done(self, pending: PendingInteraction) -> None:
        self._answers.pop(pending.id, None)
        self._responses.pop(pending.id, None)
        self.context.tracker.acknowledge(pending)

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        try:
            if self.context.tracker.get(interaction.id) is not None:
                self._responses[interaction.id] = interaction.response
        except Exception as fault:  # noqa: BLE001 - it would reach the host's on_error
            self.hooks[0].fault(fault)
