"""Buttons below an answer: access, paging, ways to further answers, errors and expiry. They do not outlive the cog."""

from __future__ import annotations

import dataclasses
import logging
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import discord
from discord.ui import Button, DynamicItem

from cogmeter.cog.dashboard import send_link
from cogmeter.cog.dynamic_buttons import add_buttons
from cogmeter.cog.responder import FAILED, REFUSED, STORE_FAILED, CommandAnswer, UserError, files_of, send_text
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS
from cogmeter.query.records import Period
from cogmeter.recording.background import own_work
from cogmeter.recording.service_names import label
from cogmeter.render.escape import code
from cogmeter.render.formatting import cut
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.cog.responder import Responder
    from cogmeter_storage.errors import ErrorKind

OPEN_S: Final = 870.0  # after the last press; Discord lets an answer be edited for 15 minutes
EXPIRED: Final = "These buttons have expired. Run {command} for a new answer."
PERIODS: Final = (Period.HOUR, Period.DAY, Period.WEEK)
PERIOD_ROW, WAY_ROW = 3, 4  # of the five rows of a message; menus and pages are above
LABEL: Final = 80  # characters of a button's label
_PRESS: Final = re.compile(r"cogmeter:answer:(?P<kind>[a-z]+):(?P<token>[0-9a-f]+):\d+")

_logger = logging.getLogger("cogmeter.cog")


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """What an answer shows. The kinds that buttons lead to are the keys of ``Responder.answers``."""

    kind: str  # a key of ``Responder.answers``; to alerts and doctor no button of another answer leads
    period: Period
    service: str | None = None
    operation: str | None = None
    error_kind: ErrorKind | None = None
    worst: tuple[str, str] | None = None  # service and operation of the worst command
    grouping: str = "command"  # of costs: one of GROUPINGS in query.costs
    every: bool = False  # of the doctor: also the checks that pass
    before: str | None = None  # of a comparison: the periods as typed
    after: str | None = None
    process: str | None = None  # of statistics: the process whose operations are shown; None: all
    findings: str = ""  # of a summary: the name of the button to all findings; empty: it lists all of them
    new_errors: int = 0  # of a comparison: error groups that were first seen in the second period

    def command(self, group: str) -> str:
        """Return the command for this kind of answer."""
        return f"/{group} {'stats' if self.kind == 'slowest' and self.service else COMMANDS.get(self.kind, self.kind)}"

    def ways(self) -> list[tuple[str, AnswerRequest]]:
        """Return the further answers that this one leads to, by their labels."""
        if self.kind == "doctor":
            return [
                (
                    "Fold passed checks" if self.every else "Show all checks",
                    dataclasses.replace(self, every=not self.every),
                )
            ]
        if self.kind == "compare":
            return self._ways_of_comparison()
        if self.kind in STATE_WAYS:
            return [(name, dataclasses.replace(self, kind=kind)) for name, kind in STATE_WAYS[self.kind]]
        ways = (
            []
            if self.kind == "summary"
            else [("Summary", AnswerRequest("summary", self.period, worst=self.worst, process=self.process))]
        )
        if self.kind == "summary" and self.findings:
            ways.append((self.findings, AnswerRequest("findings", self.period, worst=self.worst, process=self.process)))
        if self.kind == "slowest":
            ways.append(("Why slow", dataclasses.replace(self, kind="slow")))
        else:
            ways.append(("Slowest", dataclasses.replace(self, kind="slowest")))
        if self.kind != "errors":
            ways.append(("Errors", dataclasses.replace(self, kind="errors")))
        if self.worst is not None and (self.kind != "stats" or self.worst != (self.service, self.operation)):
            service, operation = self.worst
            name = cut(f"Worst: {label(service, operation)}", LABEL)
            worst = AnswerRequest("stats", self.period, service, operation, worst=self.worst, process=self.process)
            ways.append((name, worst))
        return ways

    def _ways_of_comparison(self) -> list[tuple[str, AnswerRequest]]:
        subject = AnswerRequest("stats", Period.DAY, self.service, self.operation)
        ways = [] if self.service is None else [("Statistics", subject)]
        errors = f"New errors ({self.new_errors})" if self.new_errors else "Errors"
        return [
            *ways,
            (errors, dataclasses.replace(subject, kind="errors", period=self.period)),
            ("Slowest", dataclasses.replace(subject, kind="slowest")),
            ("Summary", AnswerRequest("summary", Period.DAY)),
        ]


WITHOUT_PERIOD: Final = {"alerts", "compare", "doctor", "health"}
# The further answers of those about the bot as a whole.
STATE_WAYS: Final = {
    "health": [("Refresh", "health"), ("Summary", "summary"), ("Resources", "resources"), ("Doctor", "doctor")],
    "resources": [("Health", "health"), ("Summary", "summary")],
}
COMMANDS: Final = {"findings": "summary", "slowest": "summary"}  # of answers that have no command of their own


class Buttons(discord.ui.View):
    """Buttons for users with access. After a timeout, or when the cog is unloaded, they end."""

    def __init__(self, responder: Responder, request: AnswerRequest | None = None) -> None:
        """``request`` is what the answer shows, if buttons lead from it to further answers."""
        super().__init__(timeout=OPEN_S)
        self._responder = responder
        self._shows = request
        self._token = secrets.token_hex(4)  # in the custom ids: a press on buttons of another answer is not ours
        self._answered: discord.Interaction | None = None  # the last one: its token can edit the message
        self.add_ways()

    def add_ways(self) -> None:
        """Add the buttons that lead to other periods and to further answers."""
        request = self._shows
        if request is None:
            return
        buttons: list[Button[Buttons]] = []
        if request.kind not in WITHOUT_PERIOD:
            for period in PERIODS:
                present = period is request.period
                style = discord.ButtonStyle.primary if present else discord.ButtonStyle.secondary
                other = dataclasses.replace(request, period=period)
                buttons.append(WayButton(other, period.key, PERIOD_ROW, style=style, disabled=present))
        if request.kind == "stats":
            way = AnswerRequest("compare", Period.WEEK, request.service, request.operation)
            buttons.append(WayButton(way, "Compare", PERIOD_ROW))
        buttons += [WayButton(way, name, WAY_ROW) for name, way in request.ways()]
        if self._responder.monitor.settings.analytics_dashboard and self._responder.servers is not None:
            buttons.append(DashboardButton(label="Open dashboard", row=WAY_ROW))
        for number, button in enumerate(buttons):
            button.custom_id = f"cogmeter:answer:{request.kind}:{self._token}:{number}"
            self.add_item(button)

    async def follow(self, interaction: discord.Interaction, request: AnswerRequest) -> None:
        """Replace the answer by another one: embed, chart and buttons."""
        await interaction.response.defer()
        answer = await self._responder.answers[request.kind](request)
        if self.is_finished():
            return  # another press was faster, or they have expired
        self.stop()  # they are still open for ``ExpiredPress``: until the answer is replaced, they can be pressed
        buttons = answer.buttons
        if buttons is not None:
            buttons.shown(interaction)
        try:
            await interaction.edit_original_response(
                embed=answer.embed, attachments=files_of(answer), view=buttons, allowed_mentions=NO_MENTIONS
            )
        except BaseException:
            if buttons is not None:
                buttons.close()
            raise
        finally:
            self.close()

    def shown(self, interaction: discord.Interaction) -> None:
        """Remember the interaction that was answered with these buttons."""
        self._answered = interaction
        self._responder.open.add(self)

    async def show(self, interaction: discord.Interaction, embed: discord.Embed, *, last: bool = False) -> None:
        """Replace the embed after the press was deferred; ``last`` removes the buttons."""
        await interaction.edit_original_response(embed=embed, view=None if last else self, allowed_mentions=NO_MENTIONS)
        self.shown(interaction)
        if last:
            self.close()

    async def end(self) -> None:
        """Remove the buttons; the message names the command for a new answer. Never raises."""
        self.close()
        if self._answered is None:
            return
        try:
            await self._answered.edit_original_response(content=self._expired(), view=None)
        except Exception as error:  # noqa: BLE001 - the connection of a closing bot may fail in any way
            _logger.debug("Buttons could not be removed: %s", error)

    async def send_dashboard_link(self, interaction: discord.Interaction) -> None:
        """Send a link to the dashboard that only this user sees."""
        await send_link(self._responder, interaction)

    def answers_to(self, custom_id: str) -> bool:
        """Return whether these buttons handle presses of this custom id; also while they are being replaced."""
        return f":{self._token}:" in custom_id

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Return whether the user has access; reply to a user without access."""
        if await self._responder.access.admits(interaction):
            return True
        await interaction.response.send_message(REFUSED, ephemeral=True, allowed_mentions=NO_MENTIONS)
        return False

    async def on_timeout(self) -> None:
        """Remove the buttons after the timeout."""
        await self.end()

    async def on_error(self, interaction: discord.Interaction, error: Exception, item: discord.ui.Item[Any]) -> None:
        """Show the error to the user; nothing is raised to the host."""
        if isinstance(error, UserError):
            text = str(error)
        elif isinstance(error, StorageError):
            _logger.warning("A press could not be answered: %s", error)
            text = STORE_FAILED
        elif isinstance(error, (discord.DiscordException, *BROKEN)):
            _logger.warning("Discord did not accept the answer to a press: %s", error)
            return
        else:
            self._responder.monitor.faults["commands"] += 1
            _logger.error("The button %s failed", item, exc_info=error)
            text = FAILED
        await send_text(interaction, text)

    def _expired(self) -> str:
        """Return the text of a message whose buttons have ended; without ways to further answers it stays as it is."""
        if self._shows is None:
            return discord.utils.MISSING  # type: ignore[no-any-return]  # discord.py types it as Any
        return expired_text(self._shows.command(self._responder.monitor.settings.command_group))

    def close(self) -> None:
        """Stop listening."""
        self.stop()
        self._responder.open.discard(self)


class Pages(Buttons):
    """The buttons Previous and Next; ``page(number)`` returns a page's embed and whether another page follows."""

    def __init__(
        self,
        responder: Responder,
        page: Callable[[int], Awaitable[tuple[discord.Embed, bool]]],
        request: AnswerRequest | None = None,
    ) -> None:
        super().__init__(responder, request)
        self._page = page
        self._number = 0

    @classmethod
    async def answer(
        cls,
        responder: Responder,
        page: Callable[[int], Awaitable[tuple[discord.Embed, bool]]],
        request: AnswerRequest | None = None,
    ) -> CommandAnswer:
        """Return the first page, with buttons if there are more pages, or ways to further answers."""
        embed, more = await page(0)
        if not more and request is None:
            return CommandAnswer(embed)
        buttons = cls(responder, page, request)
        if not more:
            buttons.remove_item(buttons.back)
            buttons.remove_item(buttons.forward)
        return CommandAnswer(embed, buttons=buttons)

    @discord.ui.button(label="Previous", custom_id="cogmeter:pages:previous", disabled=True)
    async def back(self, interaction: discord.Interaction, _: discord.ui.Button[Pages]) -> None:
        """Show the previous page."""
        await self._turn(interaction, max(self._number - 1, 0))

    @discord.ui.button(label="Next", custom_id="cogmeter:pages:next")
    async def forward(self, interaction: discord.Interaction, _: discord.ui.Button[Pages]) -> None:
        """Show the next page."""
        await self._turn(interaction, self._number + 1)

    async def _turn(self, interaction: discord.Interaction, number: int) -> None:
        await interaction.response.defer()
        embed, more = await self._page(number)
        self._number = number
        self.back.disabled = number == 0
        self.forward.disabled = not more
        await self.show(interaction, embed)


class WayButton(Button[Buttons]):
    """A button that replaces the answer by another one."""

    def __init__(
        self,
        request: AnswerRequest,
        name: str,
        row: int,
        *,
        style: discord.ButtonStyle = discord.ButtonStyle.secondary,
        disabled: bool = False,
    ) -> None:
        super().__init__(label=name, row=row, style=style, disabled=disabled)
        self._request = request

    async def callback(self, interaction: discord.Interaction) -> None:
        """Show the other answer."""
        assert self.view is not None
        await self.view.follow(interaction, self._request)


class DashboardButton(Button[Buttons]):
    """A button that sends a link to the dashboard, with a one-time code, to the user who pressed it."""

    async def callback(self, interaction: discord.Interaction) -> None:
        """Send the link."""
        assert self.view is not None
        await self.view.send_dashboard_link(interaction)


class ExpiredPress(DynamicItem[Button[Any]], template=_PRESS):
    """A press on a button of an answer that nobody listens to: after a restart, or when it could not be removed."""

    responder: ClassVar[Responder]

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Create the item for a press, from its custom id."""
        del interaction, match
        assert isinstance(item, Button)
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Say that the buttons have expired, and remove them; discord.py calls it for open buttons, too."""
        match = _PRESS.fullmatch(self.custom_id)
        buttons = next((one for one in self.responder.open if one.answers_to(self.custom_id)), None)
        if match is None or (buttons is not None and not buttons.is_finished()):
            return
        working = own_work.set(True)
        try:
            if interaction.response.is_done():
                return
            if buttons is not None:  # another press is replacing the answer at this moment
                await interaction.response.defer()
                return
            if not await self.responder.access.admits(interaction):
                await interaction.response.send_message(REFUSED, ephemeral=True, allowed_mentions=NO_MENTIONS)
                return
            kind, group = match["kind"], self.responder.monitor.settings.command_group
            text = expired_text(AnswerRequest(kind, Period.DAY).command(group))
            await interaction.response.edit_message(content=text, view=None, allowed_mentions=NO_MENTIONS)
        except (discord.DiscordException, *BROKEN) as error:
            _logger.warning("Discord did not accept the answer to a press: %s", error)
        finally:
            own_work.reset(working)


def expired_text(command: str) -> str:
    """Return the text of a message whose buttons have expired."""
    return EXPIRED.format(command=code(command, 100))


def add(bot: discord.Client, responder: Responder) -> None:
    """Answer presses on buttons that have expired."""
    add_buttons(bot, ExpiredPress, _PRESS, responder)


def remove(bot: discord.Client) -> None:
    """Stop answering presses."""
    bot.remove_dynamic_items(ExpiredPress)
