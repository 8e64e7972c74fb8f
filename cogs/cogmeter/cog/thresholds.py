"""``/perf thresholds``: what holds and where it comes from; set with a preview, reset, and who changed what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.holdings import Holdings, key_of, misplaced
from cogmeter.alerts.limits import FIELDS, THRESHOLD, Key, LimitError, Limits
from cogmeter.alerts.model import Subject
from cogmeter.alerts.outlook import Replayer
from cogmeter.alerts.replay import NotReplayableError
from cogmeter.cog.desk import Answer, Desk, Refusal
from cogmeter.cog.names import Names, rule_choices, rule_named
from cogmeter.cog.views import Buttons, Pages
from cogmeter.query import now_us
from cogmeter.render import text
from cogmeter.render.alert_lists import audit_embed
from cogmeter.render.thresholds import changed_embed, preview_embed, thresholds_embed, unchanged_embed

if TYPE_CHECKING:
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry

REMEMBERED: Final = 1_000  # entries of the audit that are searched for who changed a threshold
PAGE: Final = 15
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
class Change:
    """A change that somebody asks for; ``value`` as it is stored, None to reset."""

    subject: Subject
    field: str
    value: str | None
    actor: str

    @property
    def key(self) -> str:
        """The key of the override."""
        return key_of(self.subject, self.field)


def add(group: app_commands.Group, desk: Desk) -> None:
    """Add the commands to the group."""
    names = Names(desk)
    inner = app_commands.Group(name="thresholds", description="What alerts are raised from", parent=group)

    @inner.command(name="view", description="Every rule: its threshold, and where that comes from")
    @app_commands.describe(service="What holds for this service (all)")
    @app_commands.autocomplete(service=names.services)
    async def view(interaction: discord.Interaction, service: str | None = None) -> None:
        await desk.answer(interaction, lambda: _view(desk, service))

    @inner.command(name="set", description="Change a threshold, after a look at what it would have told")
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
        wanted: list[Change] = []

        async def check() -> None:
            wanted.append(_wanted(interaction, _subject(rule, service, operation), field, value))
            await _makes_a_difference(desk, wanted[0])

        await desk.answer(interaction, lambda: _preview(desk, wanted[0]), check=check)

    @inner.command(name="reset", description="Let the settings hold again")
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
        wanted: list[Change] = []

        async def check() -> None:
            wanted.append(_wanted(interaction, _subject(rule, service, operation), field, None))
            await _makes_a_difference(desk, wanted[0])

        await desk.answer(interaction, lambda: _reset(desk, wanted[0]), check=check)

    @inner.command(name="audit", description="Who changed thresholds and mutes, and acknowledged alerts")
    async def audit(interaction: discord.Interaction) -> None:
        await desk.answer(interaction, lambda: _audit(desk))


def _subject(rule: str, service: str | None, operation: str | None) -> Subject:
    """What the options name; raises Refusal where there is no such thing."""
    if operation is not None and service is None:
        raise Refusal("Name the service of that operation, too.")
    subject = Subject(rule_named(rule), service or "", operation or "")
    if words := misplaced(subject):
        raise Refusal(words)
    return subject


def _wanted(interaction: discord.Interaction, subject: Subject, field: str, value: str | None) -> Change:
    """The change that is asked for; raises Refusal where it cannot be."""
    key = key_of(subject, field)
    try:
        if Key.parse(key) != Key(subject, field):
            raise Refusal(f"{key} can be read in two ways, so nothing can be set for a service of that name.")
        checked = None if value is None else Limits.check(key, value)
    except LimitError as error:
        raise Refusal(str(error)) from None
    return Change(subject, field, checked, interaction.user.display_name)


async def _makes_a_difference(desk: Desk, change: Change) -> None:
    """Refuse what is so already."""
    now = (await desk.monitor.store.alerting.overrides()).get(change.key)
    if now == change.value:
        raise Refusal(
            f"{change.key} is {now} already."
            if now is not None
            else f"{change.key} has not been changed from chat, so there is nothing to reset."
        )


async def _view(desk: Desk, service: str | None) -> Answer:
    holdings = await _holdings(desk)
    common = _common(desk.monitor.settings)
    embed = thresholds_embed(holdings.rules(service), holdings.others(service), service=service, common=common)
    return Answer.plain(embed)


async def _preview(desk: Desk, change: Change) -> Answer:
    assert change.value is not None
    store, settings = desk.monitor.store, desk.monitor.settings
    overrides = await store.alerting.overrides()
    before = (await _holdings(desk)).of(change.subject, change.field)
    after = Holdings(settings, {**overrides, change.key: change.value}).of(change.subject, change.field)
    outlook, why_not = None, ""
    try:
        outlook = await Replayer(store, settings, now_us=now_us()).outlook(change.key, change.value)
    except NotReplayableError:
        why_not = "What it would have told cannot be said: this rule looks at more than stored operations."
    return Answer.plain(preview_embed(change.key, before, after, outlook, why_not), Confirmation(desk, change))


async def _reset(desk: Desk, change: Change) -> Answer:
    return Answer.plain(await _apply(desk, change))


async def _apply(desk: Desk, change: Change) -> discord.Embed:
    """Make the change: stored, audited, marked, and effective at once."""
    monitor = desk.monitor
    before = (await _holdings(desk)).of(change.subject, change.field)
    if not await monitor.override({change.key: change.value}, change.actor):
        return unchanged_embed("Somebody else has made the same change in the meantime.")
    after = (await _holdings(desk)).of(change.subject, change.field)
    return changed_embed(change.key, before, after, change.actor)


async def _audit(desk: Desk) -> Answer:
    async def page(number: int) -> tuple[discord.Embed, bool]:
        found = await desk.monitor.store.alerting.audit(limit=PAGE + 1, offset=number * PAGE)
        more = len(found) > PAGE
        return audit_embed(found[:PAGE], page=number, more=more), more

    return await Pages.answer(desk, page)


async def _holdings(desk: Desk) -> Holdings:
    alerting = desk.monitor.store.alerting
    overrides = await alerting.overrides()
    entries: list[AuditEntry] = await alerting.audit(limit=REMEMBERED) if overrides else []
    return Holdings(desk.monitor.settings, overrides, entries)


def _common(settings: Settings) -> str:
    """What holds for all rules that do not say otherwise."""
    window = text.duration(settings.alert_window * 1e6)
    recovery = text.duration(settings.alert_recovery * 1e6)
    return (
        f"Over {window}, from {settings.alert_min_operations} operations on; resolved when over for {recovery}. "
        "Change with /perf thresholds set, or in .env."
    )


class Confirmation(Buttons):
    """Apply and Cancel below a preview. Of presses that come together the first one counts."""

    def __init__(self, desk: Desk, change: Change) -> None:
        super().__init__(desk)
        self._change = change
        self._deciding = asyncio.Lock()

    @discord.ui.button(label="Apply", style=discord.ButtonStyle.primary, custom_id="cogmeter:threshold:apply")
    async def apply(self, interaction: discord.Interaction, _: discord.ui.Button[Confirmation]) -> None:
        """Make the change, in the name of who pressed."""
        await interaction.response.defer()
        async with self._deciding:
            if not self.is_finished():
                change = replace(self._change, actor=interaction.user.display_name)
                await self.show(interaction, await _apply(self._desk, change), last=True)

    @discord.ui.button(label="Cancel", custom_id="cogmeter:threshold:cancel")
    async def cancel(self, interaction: discord.Interaction, _: discord.ui.Button[Confirmation]) -> None:
        """Leave it as it is."""
        await interaction.response.defer()
        async with self._deciding:
            if not self.is_finished():
                await self.show(interaction, unchanged_embed(f"{self._change.key} stays as it is."), last=True)
