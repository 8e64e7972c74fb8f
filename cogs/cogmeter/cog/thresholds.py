"""``/perf thresholds``: what holds and where it comes from; set with a preview, reset, and who changed what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.model import Subject
from cogmeter.alerts.review.threshold_changes import NOT_REPLAYABLE, Change, holdings, preview
from cogmeter.alerts.thresholds.keys import FIELDS, THRESHOLD, LimitError
from cogmeter.cog.autocomplete import Autocomplete, rule_choices, rule_named
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.cog.views import Buttons, Pages
from cogmeter.render import formatting
from cogmeter.render.embeds.alert_lists import audit_embed
from cogmeter.render.embeds.thresholds import changed_embed, preview_embed, thresholds_embed, unchanged_embed
from cogmeter.render.escape import plain
from cogmeter.render.rule_text import override_text

if TYPE_CHECKING:
    from cogmeter.alerts.thresholds.effective import EffectiveLimits
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry

PAGE: Final = 15
WORDS: Final = 500  # characters of what is said of a wrong option
FIELD_CHOICES: Final = [
    app_commands.Choice(name=words, value=field)
    for field, words in zip(
        FIELDS,
        (
            "Threshold",
            "Recovery threshold",
            "For how long a breach has to last",
            "For how long it has to be over",
            "Fewest operations in the window",
            "Severity",
            "Statistic of the response time",
        ),
        strict=True,
    )
]


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """A change and who asks for it."""

    change: Change
    actor: str


def add(group: app_commands.Group, desk: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(desk)
    inner = app_commands.Group(name="thresholds", description="View and change alert thresholds", parent=group)

    @inner.command(name="view", description="List every rule with its threshold and origin")
    @app_commands.describe(service="Only for this service (all)")
    @app_commands.autocomplete(service=names.services)
    async def view(interaction: discord.Interaction, service: str | None = None) -> None:
        await desk.answer(interaction, lambda: _view(desk, service))

    @inner.command(name="set", description="Change a threshold, with a preview over the last 7 days")
    @app_commands.describe(
        rule="Which rule",
        value="The new value: 5%, 1.9s, 300; 0 switches a rule off",
        service="For this service alone (all)",
        operation="For this operation alone (all)",
        field="What of the rule (its threshold)",
    )
    @app_commands.choices(field=FIELD_CHOICES)
    @app_commands.autocomplete(rule=rule_choices, service=names.services, operation=names.operations)
    async def set_(  # noqa: PLR0917 - one parameter for each option
        interaction: discord.Interaction,
        rule: str,
        value: str,
        service: str | None = None,
        operation: str | None = None,
        field: str = THRESHOLD,
    ) -> None:
        wanted: list[ThresholdRequest] = []

        async def check() -> None:
            wanted.append(_wanted(interaction, await _subject(rule, service, operation), field, value))
            await _makes_a_difference(desk, wanted[0])

        await desk.answer(interaction, lambda: _preview(desk, wanted[0]), check=check)

    @inner.command(name="reset", description="Reset to the configured value")
    @app_commands.describe(
        rule="Which rule",
        service="Of this service (none)",
        operation="Of this operation (none)",
        field="What of the rule (its threshold)",
    )
    @app_commands.choices(field=FIELD_CHOICES)
    @app_commands.autocomplete(rule=rule_choices, service=names.services, operation=names.operations)
    async def reset(
        interaction: discord.Interaction,
        rule: str,
        service: str | None = None,
        operation: str | None = None,
        field: str = THRESHOLD,
    ) -> None:
        wanted: list[ThresholdRequest] = []

        async def check() -> None:
            wanted.append(_wanted(interaction, await _subject(rule, service, operation), field, None))
            await _makes_a_difference(desk, wanted[0])

        await desk.answer(interaction, lambda: _reset(desk, wanted[0]), check=check)

    @inner.command(name="audit", description="List changes of thresholds and mutes, and acknowledgements")
    async def audit(interaction: discord.Interaction) -> None:
        await desk.answer(interaction, lambda: _audit(desk))


async def _subject(rule: str, service: str | None, operation: str | None) -> Subject:
    """What the options name; raises Refusal where there is no such thing."""
    if operation is not None and service is None:
        raise UserError("Name the service of that operation, too.")
    return Subject(await rule_named(rule), service or "", operation or "")


def _wanted(interaction: discord.Interaction, subject: Subject, field: str, value: str | None) -> ThresholdRequest:
    """The change that is asked for; raises Refusal where it cannot be."""
    try:
        return ThresholdRequest(Change.of(subject, field, value), interaction.user.display_name)
    except LimitError as error:
        raise UserError(plain(str(error), WORDS)) from None


async def _makes_a_difference(desk: Responder, wish: ThresholdRequest) -> None:
    """Refuse what is so already."""
    change = wish.change
    now = (await desk.monitor.store.alerting.overrides()).get(change.key)
    if now == change.value:
        named = plain(change.key, 150)
        raise UserError(
            f"{named} is {override_text(change.key, now)} already."
            if now is not None
            else f"{named} has not been changed from chat, so there is nothing to reset."
        )


async def _view(desk: Responder, service: str | None) -> CommandAnswer:
    holdings = await _holdings(desk)
    common = _common(desk.monitor.settings)
    embed = thresholds_embed(holdings.rules(service), holdings.others(service), service=service, common=common)
    return CommandAnswer.plain(embed)


async def _preview(desk: Responder, wish: ThresholdRequest) -> CommandAnswer:
    change = wish.change
    found = await preview(desk.monitor.store, desk.monitor.settings, change)
    why_not = NOT_REPLAYABLE if found.outlook is None else ""
    embed = preview_embed(change.key, found.before, found.after, found.outlook, why_not)
    return CommandAnswer.plain(embed, Confirmation(desk, wish))


async def _reset(desk: Responder, wish: ThresholdRequest) -> CommandAnswer:
    return CommandAnswer.plain(await _apply(desk, wish))


async def _apply(desk: Responder, wish: ThresholdRequest) -> discord.Embed:
    """Make the change: stored, audited, marked, and effective at once."""
    monitor, change = desk.monitor, wish.change
    before = (await _holdings(desk)).of(change.subject, change.field)
    if not await monitor.override({change.key: change.value}, wish.actor):
        return unchanged_embed("Somebody else has made the same change in the meantime.")
    after = (await _holdings(desk)).of(change.subject, change.field)
    return changed_embed(change.key, before, after, wish.actor, reset=change.value is None)


async def _audit(desk: Responder) -> CommandAnswer:
    async def page(number: int) -> tuple[discord.Embed, bool]:
        found = await desk.monitor.store.alerting.audit(limit=PAGE + 1, offset=number * PAGE)
        more = len(found) > PAGE
        return audit_embed([_in_words(one) for one in found[:PAGE]], page=number, more=more), more

    return await Pages.answer(desk, page)


def _in_words(entry: AuditEntry) -> AuditEntry:
    """With the values of a threshold in people's form."""
    if not entry.action.startswith("threshold"):
        return entry
    before, after = (override_text(entry.subject, value) if value else "" for value in (entry.before, entry.after))
    return replace(entry, before=before, after=after)


async def _holdings(desk: Responder) -> EffectiveLimits:
    return await holdings(desk.monitor.store, desk.monitor.settings)


def _common(settings: Settings) -> str:
    """What holds for all rules that do not say otherwise."""
    window = formatting.duration(settings.alert_window * 1e6)
    recovery = formatting.duration(settings.alert_recovery * 1e6)
    return (
        f"Over {window}, from {settings.alert_min_operations} operations on; resolved when over for {recovery}. "
        f"Change with /{settings.command_group} thresholds set, or in .env."
    )


class Confirmation(Buttons):
    """Apply and Cancel below a preview. Of presses that come together the first one counts."""

    def __init__(self, desk: Responder, wish: ThresholdRequest) -> None:
        super().__init__(desk)
        self._wish = wish
        self._deciding = asyncio.Lock()

    @discord.ui.button(label="Apply", style=discord.ButtonStyle.primary, custom_id="cogmeter:threshold:apply")
    async def apply(self, interaction: discord.Interaction, _: discord.ui.Button[Confirmation]) -> None:
        """Make the change, in the name of who pressed."""
        await interaction.response.defer()
        async with self._deciding:
            if not self.is_finished():
                wish = replace(self._wish, actor=interaction.user.display_name)
                await self.show(interaction, await _apply(self._desk, wish), last=True)

    @discord.ui.button(label="Cancel", custom_id="cogmeter:threshold:cancel")
    async def cancel(self, interaction: discord.Interaction, _: discord.ui.Button[Confirmation]) -> None:
        """Leave it as it is."""
        await interaction.response.defer()
        async with self._deciding:
            if not self.is_finished():
                await self.show(
                    interaction, unchanged_embed(f"{plain(self._wish.change.key, 150)} stays as it is."), last=True
                )
