"""A bot on a small framework: its own tree, commands, views, loops, dispatch and task factory, all with logging."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import discord
from discord import app_commands, ui
from discord.ext import commands, tasks
from loopback import Loopback

SHARDS = 1
_logger = logging.getLogger("framework")


# The framework


class AnswerError(Exception):
    """Ends a command with an answer."""


class FrameworkTree(app_commands.CommandTree["FrameworkBot"]):
    """Times each interaction, refuses while the bot is in maintenance, and answers what fails."""

    async def _call(self, interaction: discord.Interaction) -> None:
        begun_s = time.monotonic()
        try:
            await super()._call(interaction)
        finally:
            self.client.count("called")
            _logger.debug("%s took %.3f s", interaction.id, time.monotonic() - begun_s)

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        if self.client.maintenance and interaction.type is discord.InteractionType.application_command:
            await interaction.response.send_message("maintenance", ephemeral=True)
            return False
        return True

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError, /) -> None:
        self.client.count("errors")
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        if isinstance(cause, AnswerError):
            await self.client.answer(interaction, str(cause))
        elif isinstance(cause, app_commands.CheckFailure):
            await self.client.answer(interaction, "you may not")
        else:
            self.client.report(cause)
            await self.client.answer(interaction, "something went wrong")


class Command(app_commands.Command):
    """Runs its parts before and after, and knows how often it was used."""

    async def _do_call(self, interaction: discord.Interaction, params: dict[str, Any]) -> Any:
        interaction.client.count("commands")
        return await super()._do_call(interaction, params)


def command(name: str, **options: Any) -> Callable[[Any], Command]:
    def decorate(function: Any) -> Command:
        return Command(name=name, description=f"The command {name}", callback=function, **options)

    return decorate


class BaseView(ui.View):
    """One member uses it, one press at a time; what fails is reported."""

    def __init__(self, owner: int | None = None, *, timeout: float | None = None) -> None:
        super().__init__(timeout=timeout)
        self.owner, self.lock = owner, asyncio.Lock()

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        if self.owner in {None, interaction.user.id}:
            return True
        await interaction.response.send_message("not yours", ephemeral=True)
        return False

    async def _scheduled_task(self, item: ui.Item, interaction: discord.Interaction) -> None:
        async with self.lock:
            await super()._scheduled_task(item, interaction)

    async def on_error(self, interaction: discord.Interaction, error: Exception, item: ui.Item, /) -> None:
        interaction.client.report(error)
        await interaction.client.answer(interaction, "something went wrong")


class BaseModal(ui.Modal):
    async def on_error(self, interaction: discord.Interaction, error: Exception, /) -> None:
        interaction.client.report(error)
        await interaction.client.answer(interaction, "something went wrong")


class Factory:
    """Names and counts each task, and reports what ends it."""

    def __init__(self, bot: FrameworkBot) -> None:
        self.bot = bot

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(self.around(coroutine), loop=loop, **options)

    async def around(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        self.bot.count("tasks")
        try:
            return await coroutine
        except Exception as error:
            self.bot.report(error)
            raise


class FrameworkBot(commands.Bot):
    def __init__(self) -> None:
        super().__init__(command_prefix="!", intents=discord.Intents.all(), tree_cls=FrameworkTree, help_command=None)
        self.counted: dict[str, int] = {}
        self.maintenance = False
        self.reported: list[str] = []

    async def setup_hook(self) -> None:
        asyncio.get_running_loop().set_task_factory(Factory(self))
        await self.load_extension("cogmeter.cog")
        for one in (hello, sum_, broken, stop_here, panel, form, choose, guarded):
            self.tree.add_command(one)
        await self.add_cog(Metrics(self))
        await self.tree.sync()

    def dispatch(self, event: str, /, *arguments: Any, **options: Any) -> None:
        self.count("events")
        super().dispatch(event, *arguments, **options)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Routes what has no view of its own."""
        if interaction.type is not discord.InteractionType.component:
            return
        custom_id = interaction.data["custom_id"]
        if custom_id.startswith("route:"):
            await interaction.response.send_message(custom_id.removeprefix("route:"), ephemeral=True)

    async def answer(self, interaction: discord.Interaction, text: str) -> None:
        send = interaction.followup.send if interaction.response.is_done() else interaction.response.send_message
        await send(text, ephemeral=True)

    def report(self, error: BaseException) -> None:
        self.count("reported")
        _logger.warning("%s failed", type(error).__name__)

    def count(self, what: str) -> None:
        self.counted[what] = self.counted.get(what, 0) + 1

    async def on_error(self, event: str, *arguments: Any) -> None:
        self.count(f"on_error {event}")


# The bot


@command("hello")
async def hello(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("hello")


@command("sum")
async def sum_(interaction: discord.Interaction, a: int, b: int = 0) -> None:
    await interaction.response.defer()
    parts = await asyncio.gather(*(asyncio.to_thread(int, number) for number in (a, b)))
    await interaction.followup.send(str(sum(parts)))


@command("broken")
async def broken(interaction: discord.Interaction) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))
        group.create_task(fail())


async def fail() -> None:
    raise ConnectionError("no database")


@command("stop_here")
async def stop_here(interaction: discord.Interaction) -> None:
    raise AnswerError("nothing to do")


@command("guarded")
@app_commands.check(lambda interaction: interaction.user.id == 1)
async def guarded(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("never")


@command("choose")
async def choose(interaction: discord.Interaction, word: str) -> None:
    await interaction.response.send_message(word)


@choose.autocomplete("word")
async def words(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    if current == "x":
        raise KeyError("no words")
    return [app_commands.Choice(name=current, value=current)]


class Panel(BaseView):
    def __init__(self, owner: int) -> None:
        super().__init__(owner)
        later: ui.Button = ui.Button(label="Later", custom_id="panel:later")
        later.callback = functools.partial(self.later, "soon")
        self.add_item(later)
        self.add_item(ui.Button(label="Route", custom_id="route:home"))
        self.remove_item(self.children[-1])

    async def later(self, when: str, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(when, ephemeral=True)

    @ui.button(label="Save", custom_id="panel:save")
    async def save(self, interaction: discord.Interaction, button: ui.Button) -> None:
        await asyncio.sleep(0.01)
        await interaction.response.send_message("saved", ephemeral=True)

    @ui.button(label="Fail", custom_id="panel:fail")
    async def break_(self, interaction: discord.Interaction, button: ui.Button) -> None:
        await interaction.response.defer()
        raise ConnectionError("no database")

    @ui.select(cls=ui.UserSelect, custom_id="panel:who")
    async def who(self, interaction: discord.Interaction, select: ui.UserSelect) -> None:
        await interaction.response.send_message("chosen", ephemeral=True)


@command("panel")
async def panel(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("panel", view=Panel(interaction.user.id))


class Form(BaseModal, title="Form"):
    number = ui.TextInput(label="A number", custom_id="form:number")

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await interaction.response.send_message(str(int(self.number.value)), ephemeral=True)


@command("form")
async def form(interaction: discord.Interaction) -> None:
    await interaction.response.send_modal(Form(custom_id="form"))


class Metrics(commands.Cog):
    def __init__(self, bot: FrameworkBot) -> None:
        self.bot = bot
        self.rounds = 0

    async def cog_load(self) -> None:
        self.collect.start()
        self.flaky.start()

    async def cog_unload(self) -> None:
        self.collect.cancel()

    @tasks.loop(seconds=0.005, count=4)
    async def collect(self) -> None:
        self.rounds += 1
        if self.rounds == 2:
            raise TimeoutError("nobody answered")  # discord.py tries again after such errors

    @tasks.loop(seconds=0.005)
    async def flaky(self) -> None:
        raise ZeroDivisionError("flaky")

    @flaky.error
    async def on_flaky(self, error: BaseException) -> None:
        self.bot.count("loop errors")

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction) -> None:
        self.bot.count("interactions")


def make_bot() -> commands.Bot:
    return FrameworkBot()


async def use(server: Loopback, bot: FrameworkBot) -> None:
    """Each command, press and form, some while the bot is in maintenance."""
    owner = server.owner

    async def answered(payload: dict) -> dict:
        return await (await server.interact(payload)).answered()

    for name in ("hello", "broken", "stop_here", "guarded"):
        await answered(owner.slash(name))
    await answered(owner.slash("sum", {"a": 1, "b": 2}))
    await answered(owner.slash("choose", {"word": "tea"}))
    await (await server.interact(owner.autocomplete("choose", "word", "t"))).acknowledged()
    await server.interact(owner.autocomplete("choose", "word", "x"))
    bot.maintenance = True
    await answered(owner.slash("hello"))
    bot.maintenance = False
    shown = await answered(owner.slash("panel"))
    saves = [await server.interact(owner.button(shown, "panel:save")) for _ in range(3)]
    for exchange in saves:
        await exchange.answered()
    await answered(server.member.button(shown, "panel:save"))
    await (await server.interact(owner.button(shown, "panel:fail"))).followed_up()
    await answered(owner.button(shown, "panel:later"))
    await answered(owner.select(shown, "panel:who", [server.world.member["id"]], 5))
    await answered(owner.button(shown, "route:home"))
    for text in ("42", "many"):
        await (await server.interact(owner.slash("form"))).acknowledged()
        await answered(owner.modal("form", {"form:number": text}))
