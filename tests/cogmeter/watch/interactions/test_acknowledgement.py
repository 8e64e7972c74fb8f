"""Acknowledgement: how soon each interaction is answered, and whose fault it is if it is not."""

from __future__ import annotations

import asyncio
import time

import discord
import pytest
from discord import InteractionResponse, app_commands, ui
from discord.webhook.async_ import AsyncWebhookAdapter
from loopback.faults import slow

from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions import responses
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter_storage import Outcome

SERVICE = "discord.acknowledgement"
CALLBACK = "POST /interactions/{webhook_id}/{webhook_token}/callback"
SURFACES = (Arrivals, Components, Acknowledgement)


@pytest.fixture
def settled(recorded):
    """``await settled(count)``: the acknowledgements in order, once there are that many."""

    async def settle(count=1):
        async with asyncio.timeout(60):
            while len(recorded(SERVICE)) < count:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert len(recorded(SERVICE)) == count
        return recorded(SERVICE)

    return settle


@pytest.fixture
def hasty(monkeypatch):
    """Discord's limit is 0.1 s here, as far as the surface knows."""
    monkeypatch.setattr(Acknowledgement, "limit_ns", 100_000_000)
    monkeypatch.setattr(Acknowledgement, "grace_ns", 50_000_000)
    monkeypatch.setattr(Acknowledgement, "sweep_s", 0.02)


def command(bot):
    """Adds a slash command that is named like its function."""

    def add(function):
        bot.tree.add_command(app_commands.Command(name=function.__name__, description="x", callback=function))
        return function

    return add


class Panel(ui.View):
    def __init__(self):
        super().__init__(timeout=None)

    @ui.button(label="Edit", custom_id="panel:edit")
    async def edit(self, interaction, button):
        await interaction.response.edit_message(content="edited")

    @ui.button(label="Ask", custom_id="panel:ask")
    async def ask(self, interaction, button):
        await interaction.response.send_modal(Question(custom_id="question"))


class Question(ui.Modal, title="Question"):
    answer = ui.TextInput(label="Answer", custom_id="answer")

    async def on_submit(self, interaction):
        await interaction.response.send_message("thanks")


def every_kind(bot):
    """Commands that answer in each way, with choices for one."""

    @command(bot)
    async def defers(interaction: discord.Interaction):
        await interaction.response.defer()

    @command(bot)
    async def sends(interaction: discord.Interaction, word: str = ""):
        await interaction.response.send_message("sent", view=Panel())

    @bot.tree.get_command("sends").autocomplete("word")
    async def complete(interaction, typed):
        return [app_commands.Choice(name="one", value="one")]


async def ask_every_kind(server):
    owner = server.owner
    panel = await (await server.interact(owner.slash("sends"))).answered()
    for payload in (
        owner.slash("defers"),
        owner.autocomplete("sends", "word", "o"),
        owner.button(panel, "panel:edit"),
        owner.button(panel, "panel:ask"),
        owner.modal("question", {"answer": "42"}),
    ):
        await (await server.interact(payload)).acknowledged()


async def test_each_kind_of_response_is_one_acknowledgement(discord_server, make_bot, watching, settled):
    bot = make_bot()
    every_kind(bot)
    async with discord_server.running(bot), watching(bot, *SURFACES):
        await ask_every_kind(discord_server)
        found = await settled(6)
    operations = [one.operation for one in found]
    assert operations[:2] == ["sends", "defers"]
    assert operations[2].startswith("sends")
    assert operations[3:] == ["Panel.edit", "Panel.ask", "Question"]
    assert {(one.outcome, one.error) for one in found} == {(Outcome.OK, None)}
    assert all(0 < one.metadata["http_ms"] <= one.duration_ms + 0.1 for one in found)
    assert {key for one in found for key in one.metadata} == {"http_ms"}


async def test_the_time_in_http_is_separated_from_the_time_before_it(
    discord_server, ready_bot, watching, settled, monkeypatch
):
    @command(ready_bot)
    async def quick(interaction: discord.Interaction):
        await interaction.response.defer()

    @command(ready_bot)
    async def blocks(interaction: discord.Interaction):
        time.sleep(0.3)
        await interaction.response.defer()

    monkeypatch.setattr(responses, "NEAR_MISS_NS", 250_000_000)
    async with watching(ready_bot, *SURFACES):
        discord_server.fail(slow(0.15), CALLBACK)
        await (await discord_server.interact(discord_server.owner.slash("quick"))).acknowledged()
        await (await discord_server.interact(discord_server.owner.slash("blocks"))).acknowledged()
        slow_http, blocked = await settled(2)
    assert slow_http.metadata["http_ms"] >= 149
    assert slow_http.duration_ms >= slow_http.metadata["http_ms"] - 0.1
    assert blocked.duration_ms >= 300 + blocked.metadata["http_ms"] - 0.1
    assert (blocked.outcome, blocked.metadata["near_miss"]) == (Outcome.OK, True)


@pytest.mark.usefixtures("hasty")
async def test_what_is_never_answered_is_an_error_as_soon_as_that_is_certain(
    discord_server, ready_bot, watching, settled, recorded
):
    ended = asyncio.Event()

    @command(ready_bot)
    async def silent(interaction: discord.Interaction): ...

    @command(ready_bot)
    async def hangs(interaction: discord.Interaction):
        await ended.wait()
        await interaction.response.defer()

    @command(ready_bot)
    async def wrong(interaction: discord.Interaction):
        await interaction.response.send_message("x" * 2001)

    @ready_bot.tree.error
    async def quiet(interaction, error): ...

    async with watching(ready_bot, *SURFACES):
        discord_server.exchanges.ack_deadline_s = 0.1
        for name in ("silent", "hangs", "wrong"):
            await discord_server.interact(discord_server.owner.slash(name))
        found = {one.operation: one for one in await settled(3)}
        ended.set()  # Discord refuses this one, which was counted already
        await discord_server.requested(CALLBACK, count=2)
        await settled(3)
    assert {(one.outcome, one.error) for one in found.values()} == {(Outcome.ERROR, "never acknowledged within 0.1 s")}
    assert "Invalid Form Body" in found["wrong"].metadata["last_error"]
    assert all(one.duration_ms >= 150 for one in found.values())


def test_the_limit_is_discords_three_seconds():
    assert "within 3 s" in responses.ResponseLog(0, Acknowledgement.limit_ns).missed(4_000_000_000).error


@pytest.mark.usefixtures("hasty")
async def test_an_unknown_interaction_is_ours_when_we_were_late_and_discords_when_not(
    discord_server, ready_bot, watching, settled
):
    @command(ready_bot)
    async def late(interaction: discord.Interaction):
        await asyncio.sleep(0.12)
        await interaction.response.defer()

    @command(ready_bot)
    async def early(interaction: discord.Interaction):
        await interaction.response.defer()

    @ready_bot.tree.error
    async def quiet(interaction, error): ...

    async with watching(ready_bot, *SURFACES):
        discord_server.exchanges.ack_deadline_s = 0.1
        await discord_server.interact(discord_server.owner.slash("late"))
        (ours,) = await settled(1)
        discord_server.exchanges.ack_deadline_s = -1.0
        await discord_server.interact(discord_server.owner.slash("early"))
        _, theirs = await settled(2)
    assert (ours.operation, ours.outcome, ours.error) == ("late", Outcome.ERROR, "10062: we were late (0.1 s)")
    assert (theirs.operation, theirs.outcome) == ("early", Outcome.UPSTREAM)
    assert theirs.error == "10062: Discord did not know it after 0.0 s"


async def test_a_double_answer_is_noted_with_the_one_acknowledgement(discord_server, ready_bot, watching, settled):
    refused = []

    @command(ready_bot)
    async def twice(interaction: discord.Interaction):
        results = await asyncio.gather(
            interaction.response.defer(), interaction.response.send_message("too"), return_exceptions=True
        )
        refused.extend(one.code for one in results if isinstance(one, discord.HTTPException))

    @command(ready_bot)
    async def elsewhere(interaction: discord.Interaction):
        discord_server.exchanges.to_acknowledge(str(interaction.id), interaction.token).callback = {"type": 5}
        await interaction.response.defer()

    @ready_bot.tree.error
    async def quiet(interaction, error): ...

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("twice"))
        (twice_,) = await settled(1)
        await discord_server.interact(discord_server.owner.slash("elsewhere"))
        _, elsewhere_ = await settled(2)
    assert refused == [40060]
    assert [(one.outcome, one.metadata["double"]) for one in (twice_, elsewhere_)] == [(Outcome.OK, True)] * 2


async def test_an_answer_after_a_refused_one_counts(discord_server, ready_bot, watching, settled):
    @command(ready_bot)
    async def again(interaction: discord.Interaction):
        try:
            await interaction.response.send_message("x" * 2001)
        except discord.HTTPException:
            await interaction.response.send_message("sorry")

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("again"))
        (one,) = await settled(1)
    assert (one.outcome, one.error) == (Outcome.OK, None)


async def test_an_answer_from_another_context_is_matched_by_its_interaction(
    discord_server, ready_bot, watching, settled
):
    async def waiter():
        interaction = await ready_bot.wait_for("interaction")
        await interaction.response.defer()

    waiting = asyncio.create_task(waiter())
    await asyncio.sleep(0)
    async with watching(ready_bot, *SURFACES):
        message = discord_server.world.message_create("old")
        await discord_server.interact(discord_server.owner.button(message, "ticket:5:close"))
        (one,) = await settled(1)
    await waiting
    assert (one.operation, one.outcome) == ("ticket:{}:close", Outcome.OK)


@pytest.mark.usefixtures("hasty")
async def test_an_answer_that_is_under_way_at_the_limit_is_waited_for(discord_server, ready_bot, watching, settled):
    @command(ready_bot)
    async def quick(interaction: discord.Interaction):
        await interaction.response.defer()

    async with watching(ready_bot, *SURFACES):
        discord_server.fail(slow(0.3), CALLBACK)
        await discord_server.interact(discord_server.owner.slash("quick"))
        (one,) = await settled(1)
    assert (one.outcome, one.error) == (Outcome.OK, None)
    assert one.duration_ms >= 299


@pytest.mark.usefixtures("hasty")
async def test_our_own_interactions_are_left_out_and_forgotten(discord_server, ready_bot, watching, recorded):
    class Ours(ui.View):
        @ui.button(label="a", custom_id="ours")
        async def go(self, interaction, button):
            await interaction.response.defer()

        @ui.button(label="b", custom_id="mute")
        async def mute(self, interaction, button): ...

    Ours.__module__ = "cogmeter.cog.views"
    ready_bot.add_view(Ours(timeout=None))
    async with watching(ready_bot, *SURFACES) as surfaces:
        message = discord_server.world.message_create("old")
        for name in ("ours", "mute"):
            await discord_server.interact(discord_server.owner.button(message, name))
        tracker = surfaces[0].context.tracker
        async with asyncio.timeout(60):
            while not recorded() and (len(tracker) or not discord_server.requests):
                await asyncio.sleep(0.005)
        assert recorded() == []


async def test_receipts_are_forgotten_when_finished_and_acknowledged(discord_server, ready_bot, watching, settled):
    ready_bot.add_view(Panel())
    async with watching(ready_bot, *SURFACES) as surfaces:
        message = discord_server.world.message_create("old")
        for _ in range(5):
            await (await discord_server.interact(discord_server.owner.button(message, "panel:ask"))).acknowledged()
        await settled(5)
        assert len(surfaces[0].context.tracker) == 0
        assert not surfaces[2]._answers


def unlike(function):
    """The same, with one more parameter: discord.py is not as the hook expects it."""

    def changed(*arguments, more=None, **options):
        return function(*arguments, **options)

    return changed


async def test_without_the_adapter_the_responses_methods_record_the_time_but_not_its_part_in_http(
    discord_server, ready_bot, watching, settled, monkeypatch
):
    changed = unlike(AsyncWebhookAdapter.create_interaction_response)
    monkeypatch.setattr(AsyncWebhookAdapter, "create_interaction_response", changed)
    every_kind(ready_bot)
    async with watching(ready_bot, *SURFACES) as surfaces:
        await ask_every_kind(discord_server)
        found = await settled(6)
        finding = surfaces[2].findings()[0]
    assert {(one.outcome, one.error) for one in found} == {(Outcome.OK, None)}
    assert {key for one in found for key in one.metadata} == set()
    assert (finding.well, finding.text.startswith("responses: failed")) == (False, True)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("method", ["defer", "send_message", "edit_message", "send_modal", "autocomplete"])
async def test_with_a_method_unwatched_too_nothing_is_called_unanswered_that_was_answered(
    discord_server, ready_bot, watching, recorded, monkeypatch, method
):
    changed = unlike(AsyncWebhookAdapter.create_interaction_response)
    monkeypatch.setattr(AsyncWebhookAdapter, "create_interaction_response", changed)
    kept = Acknowledgement._responded

    def given(self, original, hook):
        if hook.name == f"response.{method}":
            raise RuntimeError("not as expected")
        return kept(self, original, hook)

    monkeypatch.setattr(Acknowledgement, "_responded", given)

    @command(ready_bot)
    async def silent(interaction: discord.Interaction): ...

    every_kind(ready_bot)
    async with watching(ready_bot, *SURFACES) as surfaces:
        await discord_server.interact(discord_server.owner.slash("silent"))
        await ask_every_kind(discord_server)
        await asyncio.sleep(0.3)
        assert not surfaces[2]._responses
    assert [one.operation for one in recorded(SERVICE) if one.outcome is not Outcome.OK] == ["silent"]
    assert len(recorded(SERVICE)) == 7 - (2 if method == "send_message" else 1)


async def test_a_response_that_does_nothing_is_no_answer(discord_server, ready_bot, watching, recorded, monkeypatch):
    changed = unlike(AsyncWebhookAdapter.create_interaction_response)
    monkeypatch.setattr(AsyncWebhookAdapter, "create_interaction_response", changed)
    asked = asyncio.Event()

    @command(ready_bot)
    async def nothing(interaction: discord.Interaction):
        await interaction.response.edit_message(content="a command has no message to edit")
        asked.set()

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("nothing"))
        await asyncio.wait_for(asked.wait(), 60)
    assert recorded(SERVICE) == []


async def test_our_own_fault_costs_the_host_nothing(discord_server, ready_bot, watching, monkeypatch, recorded):
    every_kind(ready_bot)
    async with watching(ready_bot, *SURFACES) as surfaces:
        monkeypatch.setattr(surfaces[2], "_answers_to", lambda pending: 1 / 0)
        await (await discord_server.interact(discord_server.owner.slash("defers"))).acknowledged()
        assert surfaces[2].hooks[0].faults == 1


async def test_removal_restores_exactly_and_passes_on_below_anothers_wrapper(
    discord_server, ready_bot, watching, recorded, monkeypatch
):
    every_kind(ready_bot)
    before = vars(AsyncWebhookAdapter)["create_interaction_response"]
    methods = dict(vars(InteractionResponse))
    async with watching(ready_bot, *SURFACES):
        tasks = {task.get_name() for task in asyncio.all_tasks()}
        assert "cogmeter: acknowledgements" in tasks
    assert vars(AsyncWebhookAdapter)["create_interaction_response"] is before
    assert dict(vars(InteractionResponse)) == methods
    assert "cogmeter: acknowledgements" not in {task.get_name() for task in asyncio.all_tasks()}
    async with watching(ready_bot, *SURFACES) as surfaces:
        on_top = unlike(AsyncWebhookAdapter.create_interaction_response)
        monkeypatch.setattr(AsyncWebhookAdapter, "create_interaction_response", on_top)
    assert surfaces[2].hooks[0].state is HookState.BURIED
    await (await discord_server.interact(discord_server.owner.slash("defers"))).acknowledged()
    assert recorded() == []


@pytest.mark.parametrize(("ahead_s", "well"), [(0.0, True), (5.0, False), (-5.0, False)])
async def test_the_clocks_distance_is_shown_and_advised_on(ready_bot, context, ahead_s, well):
    surface = Acknowledgement(context(ready_bot))
    assert surface.sample() == {}
    assert "not compared" in surface.findings()[-1].text
    surface.context.skew.note("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480.4 + ahead_s, 1445412480.6 + ahead_s)
    finding = surface.findings()[-1]
    assert (finding.name, finding.well, bool(finding.advice)) == ("Discord's clock", well, not well)
    assert surface.sample()["clock_skew_s"] == pytest.approx(ahead_s, abs=0.6)
