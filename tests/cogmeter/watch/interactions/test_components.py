"""Components: every kind is recorded once, with what its view swallows, and the host's handlers run as without us."""

from __future__ import annotations

import asyncio
import sys
import time

import discord
import pytest
from discord import app_commands, ui
from discord.ext import commands
from discord.ui.item import _ItemCallback
from discord.ui.view import ViewStore

from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions.acknowledgement import NOT_ANSWERED, Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.presses import NOT_FOUND, REFUSED
from cogmeter_storage import Outcome

SERVICE = "discord.components"


class Picker(ui.Button):
    """A button whose class holds its callback."""

    async def callback(self, interaction):
        await interaction.response.defer()


class Confirm(ui.View):
    """A persistent view with one item of each making."""

    def __init__(self):
        super().__init__(timeout=None)
        self.attribute = ui.Button(label="attribute", custom_id="attribute")
        self.assigned = ui.Button(label="assigned", custom_id="assigned")
        self.assigned.callback = self.on_assigned
        for item in (self.attribute, self.assigned, Picker(label="class", custom_id="class")):
            self.add_item(item)

    @ui.button(label="Yes", custom_id="confirm:yes")
    async def yes(self, interaction, button):
        await asyncio.sleep(0.02)
        await interaction.response.edit_message(content="yes")

    @ui.select(custom_id="confirm:choice", options=[discord.SelectOption(label="a"), discord.SelectOption(label="b")])
    async def choice(self, interaction, select):
        await interaction.response.send_message(select.values[0])

    async def on_assigned(self, interaction):
        await interaction.response.defer()


class Page(ui.LayoutView):
    """A view of the newer kind."""

    row = ui.ActionRow()

    @row.button(label="Next", custom_id="page:next")
    async def turn(self, interaction, button):
        await interaction.response.defer()


class Question(ui.Modal, title="Question"):
    answer = ui.TextInput(label="Answer", custom_id="answer")

    async def on_submit(self, interaction):
        await interaction.response.send_message(self.answer.value)


class Vote(ui.DynamicItem[ui.Button], template=r"vote:(?P<poll>[0-9]+)"):
    allowed = True

    def __init__(self, poll):
        super().__init__(ui.Button(label="Vote", custom_id=f"vote:{poll}"))
        self.poll = int(poll)

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        if match["poll"] == "404":
            raise LookupError("no such poll")
        return cls(match["poll"])

    async def interaction_check(self, interaction):
        return self.poll != 403

    async def callback(self, interaction):
        if self.poll == 500:
            raise ZeroDivisionError("poll")
        await interaction.response.send_message(f"voted {self.poll}")


@pytest.fixture
def shown(discord_server):
    """``await shown(bot, view)``: the message with that view, as Discord knows it."""

    async def show(bot, view):
        channel = bot.get_channel(int(discord_server.world.channel["id"]))
        text = {} if isinstance(view, ui.LayoutView) else {"content": "panel"}
        message = await channel.send(view=view, **text)
        return discord_server.world.messages[str(channel.id)][str(message.id)]

    return show


@pytest.fixture
def settled(recorded):
    """``await settled(count)``: the component operations by name, once there are that many."""

    async def settle(count=1):
        async with asyncio.timeout(60):
            while len(recorded(SERVICE)) < count:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert len(recorded(SERVICE)) == count
        return {one.operation: one for one in recorded(SERVICE)}

    return settle


async def test_every_kind_of_component_is_recorded_by_its_view_and_callback(
    discord_server, make_bot, watching, shown, settled
):
    owner, bot = discord_server.owner, make_bot()
    bot.add_dynamic_items(Vote)
    async with discord_server.running(bot), watching(bot, Arrivals, Components):
        view = Confirm()
        view.add_item(Vote(7))
        panel, page = await shown(bot, view), await shown(bot, Page(timeout=None))
        bot._connection.store_view(Question(custom_id="question"))
        for payload in (
            owner.button(panel, "confirm:yes"),
            owner.select(panel, "confirm:choice", ["b"]),
            owner.button(panel, "attribute"),
            owner.button(panel, "assigned"),
            owner.button(panel, "class"),
            owner.button(panel, "vote:7"),
            owner.button(page, "page:next"),
            owner.modal("question", {"answer": "42"}),
        ):
            await discord_server.interact(payload)
        found = await settled(8)
    assert set(found) == {
        "Confirm.yes",
        "Confirm.choice",
        "Confirm.attribute",
        "Confirm.on_assigned",
        "Confirm.Picker",
        "Vote",
        "Page.turn",
        "Question",
    }
    assert {one.outcome for one in found.values()} == {Outcome.OK}
    assert found["Confirm.yes"].duration_ms >= 19
    assert found["Vote"].metadata == {"template": "vote:{poll}"}


async def test_a_persistent_view_is_recorded_after_a_restart_of_the_bot(
    discord_server, make_bot, watching, shown, settled
):
    first = make_bot()
    async with discord_server.running(first):
        panel = await shown(first, Confirm())
    second = make_bot()
    second.add_view(Confirm())
    async with discord_server.running(second), watching(second, Arrivals, Components):
        exchange = await discord_server.interact(discord_server.owner.button(panel, "confirm:yes"))
        await exchange.acknowledged()
        assert set(await settled(1)) == {"Confirm.yes"}


class Fragile(ui.View):
    """Everything goes wrong here, and its own handler is called."""

    def __init__(self):
        super().__init__(timeout=None)
        self.handled = []

    async def interaction_check(self, interaction):
        if interaction.data["custom_id"] == "checked":
            raise PermissionError("the check broke")
        return interaction.data["custom_id"] != "refused"

    @ui.button(label="a", custom_id="broken")
    async def broken(self, interaction, button):
        raise ValueError("broken")

    @ui.button(label="b", custom_id="checked")
    async def checked(self, interaction, button): ...

    @ui.button(label="c", custom_id="refused")
    async def refused(self, interaction, button):
        self.handled.append("never")

    @ui.button(label="d", custom_id="forbidden")
    async def forbidden(self, interaction, button):
        raise app_commands.MissingPermissions(["ban_members"])

    @ui.button(label="e", custom_id="stopped")
    async def stopped(self, interaction, button):
        raise asyncio.CancelledError

    async def on_error(self, interaction, error, item):
        assert sys.exc_info()[1] is error
        self.handled.append((type(error).__name__, item.custom_id))
        await interaction.response.send_message("sorry")


async def test_an_error_that_a_view_swallows_is_recorded_and_its_own_handler_still_called(
    discord_server, ready_bot, watching, shown, settled
):
    view = Fragile()
    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, view)
        for name in ("broken", "checked", "refused", "forbidden", "stopped"):
            await discord_server.interact(discord_server.owner.button(panel, name))
        found = await settled(5)
    assert {name: (one.outcome, one.error) for name, one in found.items()} == {
        "Fragile.broken": (Outcome.ERROR, "ValueError: broken"),
        "Fragile.checked": (Outcome.ERROR, "PermissionError: the check broke"),
        "Fragile.refused": (Outcome.USER, REFUSED),
        "Fragile.forbidden": (
            Outcome.USER,
            "MissingPermissions: You are missing Ban Members permission(s) to run this command.",
        ),
        "Fragile.stopped": (Outcome.CANCELLED, "CancelledError"),
    }
    assert sorted(view.handled) == [
        ("MissingPermissions", "forbidden"),
        ("PermissionError", "checked"),
        ("ValueError", "broken"),
    ]


async def test_a_handler_assigned_to_one_view_and_a_check_of_one_item_count_too(
    discord_server, ready_bot, watching, shown, settled
):
    handled = asyncio.Queue()

    class Guarded(ui.Button):
        async def interaction_check(self, interaction):
            return False

    async def handler(interaction, error, item):
        handled.put_nowait(error)

    async def fails(interaction):
        raise KeyError("assigned")

    view = ui.View(timeout=None)
    view.on_error = handler
    open_button = ui.Button(label="a", custom_id="open")
    open_button.callback = fails
    view.add_item(open_button).add_item(Guarded(label="b", custom_id="guarded"))
    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, view)
        await discord_server.interact(discord_server.owner.button(panel, "open"))
        await discord_server.interact(discord_server.owner.button(panel, "guarded"))
        found = await settled(2)
        assert isinstance(await handled.get(), KeyError)
    assert vars(view)["on_error"] is handler
    assert found["View.fails"].outcome is Outcome.ERROR
    assert (found["View.Guarded"].outcome, found["View.Guarded"].error) == (Outcome.USER, REFUSED)


async def test_two_presses_of_one_view_at_once_are_kept_apart(discord_server, ready_bot, watching, shown, recorded):
    class Slow(ui.View):
        @ui.button(label="a", custom_id="slow:go")
        async def go(self, interaction, button):
            fails = not self.turns
            self.turns.append(1)
            while fails and not recorded(SERVICE):  # until the second one has ended
                await asyncio.sleep(0.005)
            if fails:
                raise OSError("the first")

    view = Slow()
    view.turns = []
    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, view)
        before = set(vars(view))
        for _ in range(2):
            await discord_server.interact(discord_server.owner.button(panel, "slow:go"))
        while len(recorded(SERVICE)) < 2:
            await asyncio.sleep(0.005)
        assert set(vars(view)) == before
    second, first = recorded(SERVICE)
    assert (second.outcome, first.outcome) == (Outcome.OK, Outcome.ERROR)
    assert (second.error, first.error) == (None, "OSError: the first")


async def test_dynamic_items_report_what_discord_py_only_logs(discord_server, ready_bot, watching, shown, recorded):
    ready_bot.add_dynamic_items(Vote)
    async with watching(ready_bot, Arrivals, Components):
        for poll in ("1", "403", "404", "500"):
            view = ui.View(timeout=None).add_item(Vote(poll))
            panel = await shown(ready_bot, view)
            await discord_server.interact(discord_server.owner.button(panel, f"vote:{poll}"))
        bare = await shown(ready_bot, ui.View(timeout=None).add_item(ui.Button(label="x", custom_id="x")))
        await discord_server.interact(discord_server.owner.button(bare, "vote:9"))
        while len(recorded(SERVICE)) < 5:
            await asyncio.sleep(0.005)
    assert {one.operation for one in recorded(SERVICE)} == {"Vote"}
    assert {(one.outcome, one.error) for one in recorded(SERVICE)} == {
        (Outcome.OK, None),
        (Outcome.USER, REFUSED),
        (Outcome.ERROR, "LookupError: no such poll"),
        (Outcome.ERROR, "ZeroDivisionError: poll"),
        (Outcome.ERROR, NOT_FOUND),
    }


async def test_a_dynamic_item_that_is_returned_twice_is_recognised_and_left_unchanged(
    discord_server, ready_bot, watching, shown, recorded
):
    class Shared(ui.DynamicItem[ui.Button], template=r"shared:(?P<name>\w+)"):
        one: Shared
        presses = 0

        @classmethod
        async def from_custom_id(cls, interaction, item, match):
            return cls.one

        async def callback(self, interaction):
            Shared.presses += 1
            fails = Shared.presses == 1
            await asyncio.sleep(0.04 if fails else 0.01)
            if fails:
                raise OSError("the first")

    Shared.one = Shared(ui.Button(label="s", custom_id="shared:x"))
    ready_bot.add_dynamic_items(Shared)
    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, ui.View(timeout=None).add_item(Shared.one))
        for _ in range(2):
            await discord_server.interact(discord_server.owner.button(panel, "shared:x"))
        while len(recorded(SERVICE)) < 2:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)
        assert not {"callback", "interaction_check"} & set(vars(Shared.one))
    assert [one.error for one in recorded(SERVICE)] == [None, "OSError: the first"]


async def test_what_runs_inside_knows_its_view_and_callback(
    discord_server, ready_bot, watching, shown, recorder, recorded
):
    class Inside(ui.View):
        @ui.button(label="a", custom_id="inside:81234567")
        async def go(self, interaction, button):
            recorder.record("knowledge-graph", "query", duration_ms=1.0)
            await interaction.response.defer()

    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, Inside(timeout=None))
        await (await discord_server.interact(discord_server.owner.button(panel, "inside:81234567"))).acknowledged()
    (inside,) = recorded("knowledge-graph")
    assert inside.metadata == {"command": "Inside.go", "parent": "Inside.go"}


async def test_modals_keep_their_own_handler_their_refusal_and_their_end(discord_server, ready_bot, watching, recorded):
    handled = []

    class Form(ui.Modal, title="Form"):
        field = ui.TextInput(label="Field", custom_id="field")

        async def interaction_check(self, interaction):
            return self.field.value != "refuse"

        async def on_submit(self, interaction):
            if self.field.value == "break":
                raise ValueError("form")
            await interaction.response.send_message("thanks")

        async def on_error(self, interaction, error):
            handled.append((self, error))

    form = Form(custom_id="form")
    ready_bot._connection.store_view(form)
    async with watching(ready_bot, Arrivals, Components):
        for number, value in enumerate(("refuse", "break", "fine"), 1):
            await discord_server.interact(discord_server.owner.modal("form", {"field": value}))
            while len(recorded(SERVICE)) < number:
                await asyncio.sleep(0.005)
        assert await asyncio.wait_for(form.wait(), 60) is False  # it was stopped by its success, not by a timeout
    assert [(one.operation, one.outcome, one.error) for one in recorded(SERVICE)] == [
        ("Form", Outcome.USER, REFUSED),
        ("Form", Outcome.ERROR, "ValueError: form"),
        ("Form", Outcome.OK, None),
    ]
    ((who, error),) = handled
    assert (who is form, str(error)) == (True, "form")


async def test_a_press_that_no_view_claims_is_recorded_by_its_template_when_a_listener_answers_it(
    discord_server, ready_bot, watching, shown, settled, recorder, recorded
):
    @ready_bot.event
    async def on_interaction(interaction):
        await asyncio.sleep(0.02)
        recorder.record("db", "read", duration_ms=1.0)
        await interaction.response.defer()

    async with watching(ready_bot, Arrivals, Components, Acknowledgement):
        panel = await shown(ready_bot, ui.View(timeout=None).add_item(ui.Button(label="a", custom_id="old:1")))
        await discord_server.interact(discord_server.owner.button(panel, "ticket:81234567:close"))
        found = await settled(1)
    assert found["ticket:{}:close"].outcome is Outcome.OK
    assert found["ticket:{}:close"].duration_ms >= 19
    assert recorded("db")[0].metadata["command"] == "ticket:{}:close"


async def test_a_press_that_nobody_answers_is_no_failure_of_the_bot(
    discord_server, ready_bot, watching, shown, settled, recorded, monkeypatch
):
    monkeypatch.setattr(Acknowledgement, "limit_ns", 50_000_000)
    monkeypatch.setattr(Acknowledgement, "grace_ns", 0)
    monkeypatch.setattr(Acknowledgement, "sweep_s", 0.02)
    async with watching(ready_bot, Arrivals, Components, Acknowledgement) as surfaces:
        panel = await shown(ready_bot, ui.View(timeout=None).add_item(ui.Button(label="a", custom_id="old:1")))
        await discord_server.interact(discord_server.owner.button(panel, "lost:5:yes"))
        found = await settled(1)
        assert len(surfaces[0].context.tracker) == 0
    assert (found["lost:{}:yes"].outcome, found["lost:{}:yes"].error) == (Outcome.USER, NOT_ANSWERED)
    assert recorded("discord.acknowledgement") == []


async def test_without_acknowledgements_a_press_that_no_view_claims_is_counted_at_once(
    discord_server, ready_bot, watching, shown, settled
):
    async with watching(ready_bot, Arrivals, Components, watch_acknowledgement=False):
        panel = await shown(ready_bot, Confirm())
        await discord_server.interact(discord_server.owner.button(panel, "lost:5"))
        await discord_server.interact(discord_server.owner.button(panel, "class"))
        await discord_server.interact(discord_server.owner.modal("gone:5", {"answer": "x"}))
        found = await settled(3)
    assert set(found) == {"lost:{}", "Confirm.Picker", "gone:{}"}


async def test_our_own_views_and_those_of_another_bot_are_not_recorded(
    discord_server, ready_bot, watching, shown, recorded
):
    class Ours(ui.View):
        @ui.button(label="a", custom_id="ours")
        async def go(self, interaction, button):
            await interaction.response.defer()

    Ours.__module__ = "cogmeter.cog.views"
    other = commands.Bot(command_prefix="?", intents=discord.Intents.all())
    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, Ours(timeout=None))
        await (await discord_server.interact(discord_server.owner.button(panel, "ours"))).acknowledged()
    async with watching(other, Arrivals, Components):
        panel = await shown(ready_bot, Confirm())
        await (await discord_server.interact(discord_server.owner.button(panel, "class"))).acknowledged()
    assert recorded(SERVICE) == []


async def test_without_arrivals_a_press_is_timed_from_its_task_on(discord_server, ready_bot, watching, shown, settled):
    async with watching(ready_bot, Components):
        panel = await shown(ready_bot, Confirm())
        await discord_server.interact(discord_server.owner.button(panel, "confirm:yes"))
        found = await settled(1)
    assert found["Confirm.yes"].duration_ms >= 19


async def test_blocking_before_the_first_await_counts(discord_server, ready_bot, watching, shown, settled):
    class Blocks(ui.View):
        @ui.button(label="a", custom_id="blocks")
        async def go(self, interaction, button):
            time.sleep(0.1)
            await interaction.response.defer()

    async with watching(ready_bot, Arrivals, Components):
        panel = await shown(ready_bot, Blocks(timeout=None))
        await discord_server.interact(discord_server.owner.button(panel, "blocks"))
        found = await settled(1)
    assert found["Blocks.go"].duration_ms >= 100


HOOKS = {
    "views": (ViewStore, "dispatch_view"),
    "modals": (ViewStore, "dispatch_modal"),
    "dynamic items": (ViewStore, "schedule_dynamic_item_call"),
    "component tasks": (ViewStore, "add_task"),
    "item callbacks": (_ItemCallback, "__call__"),
}


def unlike(function):
    """The same, with one more parameter: discord.py is not as the hook expects it."""

    def changed(*arguments, more=None):
        return function(*arguments)

    return changed


async def press_each(server, bot, shown):
    """A button, a modal, a dynamic item."""
    panel = await shown(bot, Confirm().add_item(Vote(1)))
    bot._connection.store_view(Question(custom_id="question"))
    owner = server.owner
    for payload in (
        owner.button(panel, "class"),
        owner.modal("question", {"answer": "42"}),
        owner.button(panel, "vote:1"),
    ):
        await (await server.interact(payload)).acknowledged()


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ("views", {"class", "Question", "Vote"}),
        ("modals", {"Confirm.Picker", "question", "Vote"}),
        ("dynamic items", {"Confirm.Picker", "Question", "vote:{}"}),
        ("component tasks", {"class", "question", "Vote"}),
        ("item callbacks", {"Confirm.Picker", "Question", "Vote"}),
    ],
)
async def test_a_hook_that_fails_is_replaced_by_counting_the_public_event(
    discord_server, ready_bot, watching, shown, settled, monkeypatch, broken, names
):
    owner, attribute = HOOKS[broken]
    monkeypatch.setattr(owner, attribute, unlike(getattr(owner, attribute)))
    async with watching(ready_bot, Arrivals, Components) as surfaces:
        await press_each(discord_server, ready_bot, shown)
        found = await settled(3)
        (finding,) = surfaces[1].findings()
    assert set(found) == names
    assert {one.outcome for one in found.values()} == {Outcome.OK}
    assert (finding.well, broken in finding.text) == (False, True)


async def test_our_own_fault_costs_the_host_nothing(discord_server, ready_bot, watching, shown, monkeypatch):
    async with watching(ready_bot, Arrivals, Components) as surfaces:
        monkeypatch.setattr(surfaces[1].context.tracker, "of", lambda interaction: 1 / 0)
        await press_each(discord_server, ready_bot, shown)
        assert [hook.faults for hook in surfaces[1].hooks] == [1, 1, 1, 0, 0]


async def test_removal_restores_exactly_and_passes_on_below_anothers_wrapper(
    discord_server, ready_bot, watching, shown, recorded, monkeypatch
):
    before = {name: vars(owner)[attribute] for name, (owner, attribute) in HOOKS.items()}
    async with watching(ready_bot, Arrivals, Components):
        pass
    assert {name: vars(owner)[attribute] for name, (owner, attribute) in HOOKS.items()} == before
    async with watching(ready_bot, Arrivals, Components) as surfaces:
        for owner, attribute in HOOKS.values():
            monkeypatch.setattr(owner, attribute, unlike(getattr(owner, attribute)))
    assert {hook.state for hook in surfaces[1].hooks} == {HookState.BURIED}
    await press_each(discord_server, ready_bot, shown)
    assert recorded(SERVICE) == []
