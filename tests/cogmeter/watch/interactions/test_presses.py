"""Presses: one operation with its true outcome, whatever a host's view, item or modal overrides of discord.py's."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars

import discord
import pytest
from discord import app_commands, ui
from discord.ui.item import _ItemCallback

from cogmeter.recording.operation import now_ns
from cogmeter.watch.interactions import presses
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.presses import NOT_RUN, REFUSED
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter_storage import Outcome

SERVICE, ACKNOWLEDGEMENT = "discord.components", "discord.acknowledgement"
SURFACES = (Arrivals, Components, Acknowledgement)


@pytest.fixture
def press(discord_server, ready_bot):
    """``await press(view)``: show a view, and press its button ``go``; gives the exchange."""

    async def press_it(view, custom_id="go"):
        channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
        text = {} if isinstance(view, ui.LayoutView) else {"content": "panel"}
        message = await channel.send(view=view, **text)
        payload = discord_server.world.messages[str(channel.id)][str(message.id)]
        return await discord_server.interact(discord_server.owner.button(payload, custom_id))

    return press_it


@pytest.fixture
def outcomes(recorded):
    """``await outcomes(count)``: the outcome and error of each press, once there are that many, and no more come."""

    async def read(count=1):
        async with asyncio.timeout(60):
            while len(recorded(SERVICE)) < count:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        return [(one.operation, one.outcome, one.error) for one in recorded(SERVICE)]

    return read


class Go(ui.View):
    """A persistent view with one button, which fails."""

    def __init__(self):
        super().__init__(timeout=None)

    @ui.button(label="go", custom_id="go")
    async def go(self, interaction, button):
        raise OSError("no route")


async def test_a_view_that_answers_before_it_dispatches_is_one_press_and_is_acknowledged_once(
    ready_bot, watching, press, outcomes, recorded
):
    class Early(ui.View):
        async def _scheduled_task(self, item, interaction):
            await interaction.response.defer()
            await super()._scheduled_task(item, interaction)

        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            await asyncio.sleep(0.02)

    async with watching(ready_bot, *SURFACES) as surfaces:
        await (await press(Early(timeout=None))).acknowledged()
        assert await outcomes() == [(f"{Early.__name__}.go", Outcome.OK, None)]
        assert len(surfaces[0].context.tracker) == 0
        assert [one.outcome for one in recorded(ACKNOWLEDGEMENT)] == [Outcome.OK]


async def test_what_a_view_without_super_swallows_is_an_error(ready_bot, watching, press, outcomes):
    class Quiet(Go):
        async def _scheduled_task(self, item, interaction):
            try:
                await item.callback(interaction)
            except OSError:
                await interaction.response.send_message("sorry")

    async with watching(ready_bot, *SURFACES):
        await press(Quiet())
        assert await outcomes() == [("Quiet.go", Outcome.ERROR, "OSError: no route")]


async def test_a_check_that_a_view_without_super_asks_refuses(ready_bot, watching, press, outcomes):
    class Guarded(Go):
        async def interaction_check(self, interaction):
            await interaction.response.send_message("not you")
            return False

        async def _scheduled_task(self, item, interaction):
            if await self.interaction_check(interaction):
                await item.callback(interaction)

    async with watching(ready_bot, *SURFACES):
        await press(Guarded())
        assert await outcomes() == [("Guarded.go", Outcome.USER, REFUSED)]


async def test_an_error_handler_with_its_arguments_in_another_order_is_heard(ready_bot, watching, press, outcomes):
    class Old(Go):
        async def _scheduled_task(self, item, interaction):
            try:
                raise KeyError("before the callback")
            except KeyError as error:
                await self.on_error(error, item, interaction)

        async def on_error(self, error, item, interaction):
            await interaction.response.send_message("sorry")

    async with watching(ready_bot, *SURFACES):
        await press(Old())
        assert await outcomes() == [("Old.go", Outcome.ERROR, "KeyError: 'before the callback'")]


async def test_a_layout_view_with_a_lock_is_one_press_each_and_the_one_that_is_turned_away_is_no_failure(
    discord_server, ready_bot, watching, outcomes, recorded, monkeypatch
):
    monkeypatch.setattr(presses, "HANDED_ON_S", 0.05)

    class Locked(ui.LayoutView):
        row = ui.ActionRow()

        def __init__(self):
            super().__init__(timeout=None)
            self.lock, self.release = asyncio.Lock(), asyncio.Event()

        async def _scheduled_task(self, item, interaction):
            if self.lock.locked():
                await interaction.response.send_message("busy")
                return
            async with self.lock:
                await super()._scheduled_task(item, interaction)

        @row.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            await interaction.response.defer()
            await self.release.wait()
            raise OSError("no route")

    view = Locked()
    async with watching(ready_bot, *SURFACES):
        message = await ready_bot.get_channel(int(discord_server.world.channel["id"])).send(view=view)
        payload = discord_server.world.messages[str(message.channel.id)][str(message.id)]
        for _ in range(2):
            await (await discord_server.interact(discord_server.owner.button(payload, "go"))).acknowledged()
        assert await outcomes(1) == [("Locked.go", Outcome.OK, None)]
        view.release.set()
        assert await outcomes(2) == [
            ("Locked.go", Outcome.OK, None),
            ("Locked.go", Outcome.ERROR, "OSError: no route"),
        ]
        assert [one.outcome for one in recorded(ACKNOWLEDGEMENT)] == [Outcome.OK, Outcome.OK]


async def test_a_view_that_hands_its_presses_to_a_worker_is_recorded_when_the_callback_ends(
    discord_server, ready_bot, watching, press, outcomes, recorder, recorded
):
    queue = asyncio.Queue()

    class Queued(Go):
        def _dispatch_item(self, item, interaction):
            queue.put_nowait((item, interaction))

        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            recorder.record("db", "read", duration_ms=1.0)
            await interaction.response.defer()
            raise OSError("no route")

    async def work():
        while True:
            item, interaction = await queue.get()
            try:
                await item.callback(interaction)
            except OSError:
                recorder.record("db", "write", duration_ms=1.0)

    worker = asyncio.create_task(work())
    async with watching(ready_bot, *SURFACES):
        await press(Queued())
        assert await outcomes() == [("Queued.go", Outcome.ERROR, "OSError: no route")]
        assert [one.metadata.get("command") for one in recorded("db")] == ["Queued.go", None]
        assert [one.outcome for one in recorded(ACKNOWLEDGEMENT)] == [Outcome.OK]
    worker.cancel()


async def test_a_view_that_does_all_by_itself_is_recorded_by_its_answer(
    ready_bot, watching, press, outcomes, monkeypatch
):
    monkeypatch.setattr(presses, "HANDED_ON_S", 0.05)

    class Own(Go):
        answers = True

        async def _scheduled_task(self, item, interaction):
            if self.answers:
                await interaction.response.send_message(item.custom_id)

    async with watching(ready_bot, *SURFACES):
        await press(Own())
        assert await outcomes(1) == [("Own.go", Outcome.OK, None)]
        Own.answers = False
        await press(Own())
        assert (await outcomes(2))[1:] == [("Own.go", Outcome.USER, NOT_RUN)]


async def test_removal_records_a_press_that_was_left_to_another_task(ready_bot, watching, press, outcomes):
    view = Go()
    view._dispatch_item = lambda item, interaction: asyncio.create_task(interaction.response.defer())
    before = dict(vars(view.children[0]))
    async with watching(ready_bot, *SURFACES):
        await (await press(view)).acknowledged()
        await asyncio.sleep(0.05)
    assert await outcomes() == [("Go.go", Outcome.OK, None)]
    assert vars(view.children[0]) == before


async def test_a_view_that_dispatches_in_a_context_of_its_own_has_its_operations_with_the_press(
    ready_bot, watching, press, outcomes, recorder, recorded
):
    class Apart(Go):
        def __init__(self):
            super().__init__()
            self.context = contextvars.Context()

        def _dispatch_item(self, item, interaction):
            return self.context.run(super()._dispatch_item, item, interaction)

        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            recorder.record("db", "read", duration_ms=1.0)
            await interaction.response.defer()

    async with watching(ready_bot, *SURFACES):
        await press(Apart())
        assert await outcomes() == [("Apart.go", Outcome.OK, None)]
    assert [one.metadata["command"] for one in recorded("db")] == ["Apart.go"]


@pytest.mark.parametrize("well", [True, False])
async def test_a_view_that_tries_again_is_recorded_by_its_last_attempt(ready_bot, watching, press, outcomes, well):
    class Stubborn(ui.View):
        attempts = 0

        async def _scheduled_task(self, item, interaction):
            for _ in range(2):
                with contextlib.suppress(OSError):
                    await item.callback(interaction)
                    return
            await interaction.response.send_message("sorry")

        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            self.attempts += 1
            if self.attempts == 1 or not well:
                raise OSError(f"attempt {self.attempts}")
            await interaction.response.defer()

    async with watching(ready_bot, *SURFACES):
        await press(Stubborn(timeout=None))
        expected = (Outcome.OK, None) if well else (Outcome.ERROR, "OSError: attempt 2")
        assert await outcomes() == [("Stubborn.go", *expected)]


async def test_a_timeout_that_a_view_puts_around_its_callback_is_the_error(ready_bot, watching, press, outcomes):
    class Hurried(ui.View):
        async def _scheduled_task(self, item, interaction):
            async with asyncio.timeout(0.02):
                await super()._scheduled_task(item, interaction)

        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            await asyncio.sleep(60)

    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with watching(ready_bot, *SURFACES):
        await press(Hurried(timeout=None))
        assert await outcomes() == [("Hurried.go", Outcome.ERROR, "TimeoutError")]


@pytest.mark.parametrize("method", ["_scheduled_task", "_dispatch_submit"])
async def test_what_a_modal_with_a_dispatch_of_its_own_swallows_is_an_error(
    discord_server, ready_bot, watching, outcomes, recorded, method
):
    class Form(ui.Modal, title="Form"):
        field = ui.TextInput(label="Field", custom_id="field")

        async def on_submit(self, interaction):
            raise ValueError("form")

    async def run(modal, interaction, *_):
        await interaction.response.send_message("please wait")
        try:
            await modal.on_submit(interaction)
        except ValueError:
            await interaction.followup.send("sorry")

    def submit(modal, interaction, *_):
        return asyncio.create_task(run(modal, interaction))

    setattr(Form, method, run if method == "_scheduled_task" else submit)
    ready_bot._connection.store_view(Form(custom_id="form"))
    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.modal("form", {"field": "x"}))
        assert await outcomes() == [("Form", Outcome.ERROR, "ValueError: form")]
        assert [one.outcome for one in recorded(ACKNOWLEDGEMENT)] == [Outcome.OK]


async def test_a_dynamic_item_with_a_lock_around_a_callback_of_its_own_is_one_press(
    ready_bot, watching, press, outcomes, recorded
):
    class Locked(ui.DynamicItem[ui.Button], template=r"locked:(?P<number>\d+)"):
        lock = asyncio.Lock()

        @classmethod
        async def from_custom_id(cls, interaction, item, match):
            await interaction.response.defer()
            return cls(item)

        async def callback(self, interaction):
            async with self.lock:
                raise OSError("no route")

    ready_bot.add_dynamic_items(Locked)
    async with watching(ready_bot, *SURFACES):
        view = ui.View(timeout=None).add_item(Locked(ui.Button(label="a", custom_id="locked:1")))
        await press(view, "locked:1")
        assert await outcomes() == [("Locked", Outcome.ERROR, "OSError: no route")]
        assert [one.outcome for one in recorded(ACKNOWLEDGEMENT)] == [Outcome.OK]


async def test_a_press_that_a_view_and_a_dynamic_item_take_is_one_and_fails_if_either_does(
    ready_bot, watching, press, outcomes
):
    class Everything(ui.DynamicItem[ui.Button], template=r"(?P<all>.+)"):
        @classmethod
        async def from_custom_id(cls, interaction, item, match):
            return cls(item)

        async def callback(self, interaction):
            await asyncio.sleep(0.03)
            raise OSError("no route")

    class Well(ui.View):
        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            await interaction.response.defer()

    ready_bot.add_dynamic_items(Everything)
    async with watching(ready_bot, *SURFACES):
        await press(Well(timeout=None))
        assert await outcomes() == [("Well.go", Outcome.ERROR, "OSError: no route")]


async def test_a_press_of_a_view_that_was_stopped_is_nobodys(ready_bot, watching, press, outcomes):
    view = Go()
    view._BaseView__stopped.set_result(False)  # and discord.py has not taken it out of its store

    @ready_bot.event
    async def on_interaction(interaction):
        await interaction.response.defer()

    async with watching(ready_bot, *SURFACES):
        await press(view)
        assert await outcomes(1) == [("go", Outcome.OK, None)]


async def test_a_settled_press_that_a_host_dispatches_again_is_not_recorded_again(
    ready_bot, watching, press, outcomes, recorded, monkeypatch
):
    monkeypatch.setattr(Acknowledgement, "limit_ns", 50_000_000)
    monkeypatch.setattr(Acknowledgement, "grace_ns", 0)
    monkeypatch.setattr(Acknowledgement, "sweep_s", 0.02)
    seen = []

    class Replayed(ui.View):
        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            seen.append(interaction)
            if not interaction.response.is_done():
                await interaction.response.defer()

    async with watching(ready_bot, *SURFACES) as surfaces:
        await (await press(Replayed(timeout=None))).acknowledged()
        await outcomes()
        (interaction,) = seen
        ready_bot._connection._view_store.dispatch_view(2, "go", interaction)
        await asyncio.sleep(0.2)
        assert len(seen) == 2
        assert await outcomes() == [("Replayed.go", Outcome.OK, None)]
        assert [one.outcome for one in recorded(ACKNOWLEDGEMENT)] == [Outcome.OK]
        assert len(surfaces[0].context.tracker) == 0


async def test_an_item_that_is_copied_during_its_press_runs_its_own_callback_when_it_is_pressed(
    ready_bot, watching, press, outcomes
):
    pressed = []

    class Picker(ui.Button):
        async def callback(self, interaction):
            pressed.append((self, self.copy()))
            await interaction.response.defer()

    view = ui.View(timeout=None).add_item(Picker(label="go", custom_id="go"))
    async with watching(ready_bot, *SURFACES):
        await press(view)
        await outcomes()
        _, copied = pressed.pop()
        await press(ui.View(timeout=None).add_item(copied))
        await outcomes(2)
    assert pressed[0][0] is copied
    for item in (copied, view.children[0]):
        assert not {"callback", "interaction_check", "_run_checks"} & set(vars(item))


async def test_a_decorated_item_that_is_copied_during_its_press_is_as_without_us(ready_bot, watching, press, outcomes):
    copies = []

    class Copies(ui.View):
        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            copies.append(button.copy())
            await interaction.response.defer()

    async with watching(ready_bot, *SURFACES):
        await press(Copies(timeout=None))
        assert await outcomes() == [("Copies.go", Outcome.OK, None)]
    assert isinstance(copies[0].callback, _ItemCallback)
    assert copies[0].callback.item is copies[0]


async def test_a_host_that_replaces_a_method_during_a_press_keeps_its_own(ready_bot, watching, press, outcomes):
    async def other(interaction): ...

    class Changes(ui.View):
        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            button.callback = other
            await interaction.response.defer()

    view = Changes(timeout=None)
    async with watching(ready_bot, *SURFACES):
        await press(view)
        await outcomes()
    assert view.children[0].callback is other


async def test_what_a_host_passes_in_place_of_the_interaction_is_the_same_press(ready_bot, watching, press, outcomes):
    class Wrapped:
        def __init__(self, interaction):
            self.interaction = interaction

    class Own(ui.View):
        async def _scheduled_task(self, item, interaction):
            with pytest.raises(OSError, match="no route"):
                await item.callback(Wrapped(interaction))

        @ui.button(label="go", custom_id="go")
        async def go(self, context, button):
            assert not isinstance(context, discord.Interaction)
            await context.interaction.response.defer()
            raise OSError("no route")

    async with watching(ready_bot, *SURFACES):
        await press(Own(timeout=None))
        assert await outcomes() == [("Own.go", Outcome.ERROR, "OSError: no route")]


async def inner_callback(view, interaction):
    await view.inner.callback(interaction)


async def callback_in_a_task(view, interaction):
    await asyncio.gather(view.inner.callback(interaction))


async def check(view, interaction):
    await view.interaction_check(interaction)


class Nested(ui.View):
    """A view whose callback calls others of its methods, which fail."""

    def __init__(self, call):
        super().__init__(timeout=None)
        self.call, self.checks = call, 0

    async def interaction_check(self, interaction):
        self.checks += 1
        if self.checks > 1:
            raise OSError("no route")
        return True

    @ui.button(label="inner", custom_id="inner")
    async def inner(self, interaction, button):
        raise OSError("no route")

    @ui.button(label="go", custom_id="go")
    async def go(self, interaction, button):
        with contextlib.suppress(OSError):
            await self.call(self, interaction)
        await interaction.response.send_message("done")


@pytest.mark.parametrize("call", [inner_callback, callback_in_a_task, check])
async def test_what_a_callback_calls_and_catches_is_no_failure(ready_bot, watching, press, outcomes, call):
    async with watching(ready_bot, *SURFACES):
        await press(Nested(call))
        assert await outcomes() == [("Nested.go", Outcome.OK, None)]


async def test_a_callback_that_outlasts_the_one_that_called_it_can_still_fail(ready_bot, watching, press, outcomes):
    tasks = []

    class Detached(ui.View):
        @ui.button(label="inner", custom_id="inner")
        async def inner(self, interaction, button):
            await interaction.original_response()
            raise OSError("no route")

        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            await interaction.response.send_message("begun")
            tasks.append(asyncio.create_task(self.inner.callback(interaction)))
            await asyncio.sleep(0)

    async with watching(ready_bot, *SURFACES):
        await press(Detached(timeout=None))
        assert await outcomes() == [("Detached.go", Outcome.ERROR, "OSError: no route")]
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_press_that_a_view_handles_by_itself_lasts_no_longer_than_that(ready_bot, watching, press, recorded):
    class Alone(Go):
        async def _scheduled_task(self, item, interaction):
            await interaction.response.send_message("done")

    begun_ns = now_ns()
    async with watching(ready_bot, *SURFACES) as surfaces:
        await (await press(Alone())).answered()
        (one,) = surfaces[1]._presses.values()
        while not one.waits:
            await asyncio.sleep(0.005)
        most_ms = (now_ns() - begun_ns) / 1e6
        assert recorded(SERVICE) == []  # another task may still call the callback
        await asyncio.sleep(0.05)
    (one,) = recorded(SERVICE)
    assert one.outcome is Outcome.OK
    assert one.duration_ms <= most_ms


@pytest.mark.parametrize("fails", [False, True])
async def test_a_press_whose_callback_runs_a_command_stays_one_press(
    ready_bot, watching, press, outcomes, recorded, fails
):
    @app_commands.command(description="Says hello")
    async def hello(interaction: discord.Interaction):
        if fails:
            raise OSError("no route")
        await interaction.response.send_message("hello")

    class Shortcut(ui.View):
        @ui.button(label="go", custom_id="go")
        async def go(self, interaction, button):
            await hello._invoke_with_namespace(interaction, app_commands.Namespace(interaction, {}, []))

    ended = (Outcome.ERROR, "OSError: no route") if fails else (Outcome.OK, None)
    async with watching(ready_bot, *SURFACES, SlashCommands):
        await press(Shortcut(timeout=None))
        assert await outcomes() == [("Shortcut.go", *ended)]
        assert recorded("discord.commands") == []
