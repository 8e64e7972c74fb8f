"""``/perf errors``: error groups with their place, and for one of them its stack, Resolve and Mute."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from cogmeter.cog.options import CHOICES, DEFAULT, Autocomplete, period_of
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.cog.statistics import with_worst
from cogmeter.cog.views import AnswerRequest, Buttons
from cogmeter.query.errors import NO_FAILURES, error_details, error_groups, ungrouped_failures
from cogmeter.query.query import now_us
from cogmeter.query.records import UnknownNameError
from cogmeter.recording.service_names import label
from cogmeter.render import formatting
from cogmeter.render.embeds.errors import error_details_embed, error_list_embed
from cogmeter.render.error_text import KIND_TITLES, place_text, type_text
from cogmeter_storage.errors import ErrorKind, UnknownErrorGroupError
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from cogmeter.query.errors import ErrorList, InnerError
    from cogmeter_storage.errors import ErrorGroup

PAGE: Final = 6
MENU: Final = 25  # entries, by Discord's limit
MUTE_US: Final = 7 * DAY_US


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""
    names = Autocomplete(responder)

    @group.command(name="errors", description="List errors in groups, with file and line")
    @app_commands.describe(
        service="A command such as /ask, or a service (all)",
        period="How far to look back (24 hours)",
        kind="Only this kind (all)",
    )
    @app_commands.choices(
        period=CHOICES, kind=[app_commands.Choice(name=title, value=kind) for kind, title in KIND_TITLES.items()]
    )
    @app_commands.autocomplete(service=names.subjects)
    async def errors(
        interaction: discord.Interaction, service: str | None = None, period: str = DEFAULT, kind: str | None = None
    ) -> None:
        async def checked() -> AnswerRequest:
            subject = (None, None) if service is None else await _subject(responder, service)
            chosen = None if kind is None else ErrorKind(kind)
            return AnswerRequest("errors", period_of(period), subject[0], subject[1], error_kind=chosen)

        await responder.answer_checked(interaction, checked, lambda request: _errors(responder, request))

    responder.answers["errors"] = partial(_errors, responder)


async def _subject(responder: Responder, typed: str) -> tuple[str, str | None]:
    """Return the service, and the operation if one is meant; a service may have errors without any operation.

    Raises:
        UserError: it has neither operations nor errors; the text suggests similar names.
    """
    query = responder.monitor.query
    try:
        return await query.subject_of(typed)
    except UnknownNameError as error:
        if await query.store.errors.groups(0, now_us() + 1, services=[typed], limit=1):
            return typed, None
        raise UserError.quoting(error) from None


async def _errors(responder: Responder, request: AnswerRequest) -> CommandAnswer:
    browser = ErrorBrowser(responder, await with_worst(responder, request))
    return CommandAnswer(await browser.list_embed(), buttons=browser)


class ErrorBrowser(Buttons):
    """The list of error groups with a menu for the details of one, and the details with their buttons."""

    def __init__(self, responder: Responder, request: AnswerRequest) -> None:
        super().__init__(responder, request)
        self._range = request.period.range_at(now_us())
        self._service, self._operation = request.service, request.operation
        self._kind = request.error_kind
        self._page = 0
        self._number = 0  # of the group with its details shown
        self.clear_items()

    async def list_embed(self) -> discord.Embed:
        """Read the present page of the list, and offer its groups and the pages around it."""
        service, operation, kind = self._service, self._operation, self._kind
        query = self._responder.monitor.query
        listed = await error_groups(
            query,
            self._range,
            services=None if service is None else [service],
            operation=operation,
            kinds=None if kind is None else [kind],
            limit=PAGE,
            offset=self._page * PAGE,
        )
        with_inner = service is not None and kind in {None, ErrorKind.FAILED} and not self._page
        ungrouped = NO_FAILURES
        if service is not None and with_inner:
            ungrouped = await ungrouped_failures(query, self._range, [service], operation)
        self._offer_list(listed, ungrouped.inner)
        return error_list_embed(
            listed,
            subject=None if service is None else label(service, operation),
            kind=kind,
            page=self._page,
            now_us=now_us(),
            ungrouped=ungrouped,
        )

    async def details_embed(self) -> discord.Embed:
        """Read the chosen group, and offer what can be done with it.

        Raises:
            UserError: a clean-up has removed the group.
        """
        details = await error_details(self._responder.monitor.query, self._number)
        if details is None:
            raise UserError(str(UnknownErrorGroupError(self._number)))
        self._offer_details(details.trend.group)
        return error_details_embed(details, now_us())

    def _offer_list(self, listed: ErrorList, inner: Sequence[InnerError]) -> None:
        self.clear_items()
        groups = {one.id: one for one in (*(trend.group for trend in listed.groups), *(one.group for one in inner))}
        if groups:
            self.add_item(DetailsMenu(list(groups.values())[:MENU]))
        if self._page or listed.next_offset is not None:
            self._button("Previous", self._previous, disabled=not self._page)
            self._button("Next", self._next, disabled=listed.next_offset is None)
        self.add_ways()

    def _offer_details(self, group: ErrorGroup) -> None:
        self.clear_items()
        self._button("Back", self._back)
        self._button("Resolve", self._resolve, disabled=group.resolved_us is not None)
        muted = group.is_muted(now_us())
        self._button("Unmute" if muted else "Mute 7 d", self._unmute if muted else self._mute)
        self.add_ways()

    def _button(
        self,
        label: str,
        press: Callable[[discord.Interaction], Coroutine[Any, Any, None]],
        *,
        disabled: bool = False,
    ) -> None:
        name = label.split(maxsplit=1)[0].lower()
        button: discord.ui.Button[ErrorBrowser] = discord.ui.Button(
            label=label, custom_id=f"cogmeter:errors:{name}", disabled=disabled
        )
        button.callback = press  # type: ignore[assignment, method-assign]  # discord.py's way to set it without a subclass
        self.add_item(button)

    async def open_details(self, interaction: discord.Interaction, number: int) -> None:
        """Show the details of a group."""
        await interaction.response.defer()
        self._number = number
        await self.show(interaction, await self.details_embed())

    async def _previous(self, interaction: discord.Interaction) -> None:
        await self._turn(interaction, max(self._page - 1, 0))

    async def _next(self, interaction: discord.Interaction) -> None:
        await self._turn(interaction, self._page + 1)

    async def _back(self, interaction: discord.Interaction) -> None:
        await self._turn(interaction, self._page)

    async def _turn(self, interaction: discord.Interaction, page: int) -> None:
        await interaction.response.defer()
        self._page = page
        await self.show(interaction, await self.list_embed())

    async def _resolve(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        store = self._responder.monitor.store.errors
        await self._changed(
            interaction, store.resolve(self._number, actor=interaction.user.display_name, now_us=now_us())
        )

    async def _mute(self, interaction: discord.Interaction) -> None:
        await self._set_mute(interaction, now_us() + MUTE_US)

    async def _unmute(self, interaction: discord.Interaction) -> None:
        await self._set_mute(interaction, None)

    async def _set_mute(self, interaction: discord.Interaction, until_us: int | None) -> None:
        await interaction.response.defer()
        store, actor = self._responder.monitor.store.errors, interaction.user.display_name
        await self._changed(interaction, store.mute(self._number, until_us=until_us, actor=actor, now_us=now_us()))

    async def _changed(self, interaction: discord.Interaction, change: Coroutine[Any, Any, ErrorGroup]) -> None:
        try:
            await change
        except UnknownErrorGroupError as error:
            raise UserError(str(error)) from None
        await self.show(interaction, await self.details_embed())


class DetailsMenu(discord.ui.Select[ErrorBrowser]):
    """A menu with the groups of the page."""

    def __init__(self, groups: list[ErrorGroup]) -> None:
        super().__init__(
            custom_id="cogmeter:errors:details",
            placeholder="Details of an error",
            options=[
                discord.SelectOption(
                    label=formatting.cut(f"Error {group.id}: {formatting.clean(type_text(group.type))}", 100),
                    description=formatting.cut(formatting.clean(place_text(group.place)), 100),
                    value=str(group.id),
                )
                for group in groups
            ],
        )

    async def callback(self, interaction: discord.Interaction) -> None:
        """Show the details of the chosen group."""
        assert self.view is not None
        await self.view.open_details(interaction, int(self.values[0]))
