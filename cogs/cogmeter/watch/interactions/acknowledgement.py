"""Acknowledgement: how soon each interaction gets its first response, for which Discord allows three seconds."""

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

NOBODY: Final = "nobody here answered it: its view has expired, or was lost at a restart"
CLOCKS_APART_S: Final = 1.0  # from here on times that Discord shows and ours visibly differ
MOST_PER_SWEEP: Final = 1_000  # receipts that one turn of the loop looks at

_SEND: Final = ("interaction_id", "token", "session", "proxy", "proxy_auth", "params")
_METHODS: Final = ("defer", "send_message", "edit_message", "send_modal", "autocomplete", "launch_activity", "pong")


class Acknowledgement(Surface):
    """One operation for each interaction that somebody here has to answer, named like its command or component.

    All responses pass one method, that of the webhook adapter; without it, the response's own methods are watched,
    which do not tell how much of the time was HTTP. A response is matched by the interaction's id, because it may be
    made where the interaction's context is not, as behind ``wait_for``.
    """

    name = "acknowledgement"
    setting = "watch_acknowledgement"

    limit_ns: int = ACK_LIMIT_NS
    grace_ns: int = 1_000_000_000  # a response that comes late, and is refused, tells more than one that never comes
    sweep_s: float = 0.5  # how often it is looked for those

    _answers: dict[int, ResponseLog]
    _responses: dict[int, discord.InteractionResponse[Any]]
    _sweeper: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """The method stands in the adapter's class, or in that of another adapter which overrides it."""
        self._answers, self._responses = {}, {}
        kinds = type(async_context.get()).__mro__
        owner = next((kind for kind in kinds if "create_interaction_response" in vars(kind)), kinds[0])
        self.hooks.append(Hook("responses", owner, "create_interaction_response", self._sent, expects=_SEND))

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - there is one
        """Watch the methods of ``interaction.response``; if one cannot be, ask each response whether it was given."""
        spare = [Hook(f"response.{name}", InteractionResponse, name, self._given) for name in _METHODS]
        self.hooks += spare
        installed = [hook.install() for hook in spare]
        if not all(installed):
            self.listeners.append(("on_interaction", self._on_interaction))

    async def install(self) -> None:
        """Also begin to look for interactions that are never answered: one task for all of them."""
        await super().install()
        self.ground.receipts.waiting = deque(maxlen=MOST)
        self._sweeper = background.detached(self._sweep(), name="cogmeter: acknowledgements")

    async def remove(self) -> None:
        """Also end that task."""
        await super().remove()
        self.ground.receipts.waiting = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        self._answers.clear()
        self._responses.clear()

    def findings(self) -> list[Finding]:
        """The hooks, and the distance between the clocks."""
        return [*super().findings(), self._clock()]

    def sample(self) -> dict[str, float]:
        """How far our clock is ahead of Discord's, once that is known."""
        seconds = self.ground.skew.seconds
        return {} if seconds is None else {"clock_skew_s": seconds}

    def _clock(self) -> Finding:
        skew = self.ground.skew
        if skew.seconds is None:
            return Finding("Discord's clock", well=True, text="not compared with Discord's yet")
        side = "ahead of" if skew.seconds >= 0 else "behind"
        text = f"{abs(skew.seconds):.2f} s {side} Discord's, ± {skew.uncertainty_s:.2f} s"
        well = abs(skew.seconds) - skew.uncertainty_s < CLOCKS_APART_S
        return Finding(
            "Discord's clock", well, text, "" if well else "Let the machine's clock be set by NTP; durations are right"
        )

    def _sent(self, original: Respond, hook: Hook) -> Respond:
        def respond(adapter: Any, interaction_id: int, token: str, **options: Any) -> Coroutine[Any, Any, Any]:
            return self._attempt(hook, interaction_id, lambda: original(adapter, interaction_id, token, **options))

        return respond

    def _given(self, original: Respond, hook: Hook) -> Respond:
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
        """Await the call as one attempt at a first response; with ``response``, some of it may be no HTTP."""
        receipt = self._begun(hook, number)
        if receipt is None:
            return await call()
        error: BaseException | None = None
        try:
            return await call()
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._ended(hook, receipt, error, response)
            error = None  # the frame and its exception would hold each other

    def _begun(self, hook: Hook, number: int) -> PendingInteraction | None:
        """The receipt of an interaction whose acknowledgement is to be recorded."""
        if not hook.active:
            return None
        try:
            receipt = self.ground.receipts.get(number)
            if receipt is None or receipt.own or receipt.acknowledged:
                return None
            receipt.sent_ns = now_ns()
            self._answers_to(receipt).flying += 1
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host from answering
            hook.fault(fault)
            return None
        return receipt

    def _ended(
        self,
        hook: Hook,
        receipt: PendingInteraction,
        error: BaseException | None,
        response: discord.InteractionResponse[Any] | None,
    ) -> None:
        try:
            answers, end_ns = self._answers_to(receipt), now_ns()
            answers.flying -= 1
            if error is not None or response is None or response.is_done():  # some methods may do nothing at all
                receipt.http_ns = end_ns - receipt.sent_ns
                answers.ended(ResponseAttempt(receipt.sent_ns, end_ns, over_http=response is None), error)
            settled = answers.settled()
            if settled is not None:
                self._settle(receipt, settled)
            elif not answers.flying and end_ns - receipt.start_ns >= self.limit_ns + self.grace_ns:
                self._overdue(receipt)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _answers_to(self, receipt: PendingInteraction) -> ResponseLog:
        answers = self._answers.get(receipt.id)
        if answers is None:
            answers = self._answers[receipt.id] = ResponseLog(receipt.start_ns, self.limit_ns)
        return answers

    async def _sweep(self) -> None:
        """Look after interactions that were not answered, in the order of their arrival."""
        while True:
            await asyncio.sleep(self.sweep_s)
            try:
                self._look(now_ns() - self.limit_ns - self.grace_ns)
            except Exception as fault:  # noqa: BLE001 - the next ones are to be looked after, too
                self.hooks[0].fault(fault)

    def _look(self, until_ns: int) -> None:
        waiting = self.ground.receipts.waiting or deque()
        for _ in range(min(len(waiting), MOST_PER_SWEEP)):
            if waiting[0].start_ns > until_ns:
                return
            receipt = waiting.popleft()
            answers = self._answers.get(receipt.id)
            if not receipt.acknowledged and not (answers and answers.flying):
                self._overdue(receipt)

    def _overdue(self, receipt: PendingInteraction) -> None:
        """Nothing came in time, and nothing is on its way."""
        response = self._responses.pop(receipt.id, None)
        if receipt.own or (response is not None and response.is_done()):
            self._done(receipt)  # it was given where we could not look: when, is not known
        elif receipt.owned:
            self._settle(receipt, self._answers_to(receipt).missed(now_ns()))
        else:
            # No failure: people press buttons of views that have long expired, or another process answers it.
            settle_unclaimed(self.ground, receipt, Outcome.USER, NOBODY)
            self._done(receipt)

    def _settle(self, receipt: PendingInteraction, how: Acknowledged) -> None:
        """Record it; it ends now, because times must not run back."""
        receipts, end_ns = self.ground.receipts, now_ns()
        if not receipt.own:
            if not receipt.owned:
                settle_unclaimed(self.ground, receipt, how.outcome, how.error)
            recorder = receipts.recorder
            series = recorder.series(service_names.ACKNOWLEDGEMENT, receipts.name_of(receipt))
            start_ns = end_ns - how.duration_ns
            metadata = {**receipt.touched(how.outcome, how.duration_ns), **(how.metadata or {})}
            recorder.add_timed(series, start_ns, end_ns, how.outcome, error=how.error, metadata=metadata)
        self._done(receipt)

    def _done(self, receipt: PendingInteraction) -> None:
        self._answers.pop(receipt.id, None)
        self._responses.pop(receipt.id, None)
        self.ground.receipts.acknowledge(receipt)

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        try:
            if self.ground.receipts.get(interaction.id) is not None:
                self._responses[interaction.id] = interaction.response
        except Exception as fault:  # noqa: BLE001 - it would reach the host's on_error
            self.hooks[0].fault(fault)
