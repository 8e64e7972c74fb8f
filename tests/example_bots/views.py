"""Bots whose commands show views: buttons, selects, dynamic items, persistent views, layouts."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_plus

import discord
from discord import ui
from discord.ext import commands
from loopback import Loopback

from example_bots.example import COMMANDS, COMPONENTS, SENT, Example, button_row, custom_id

FRUITS = ("Apple", "Banana")


class ViewBot(commands.Bot):
    def __init__(self) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(command_prefix=commands.when_mentioned_or("$"), intents=intents)


async def shown(server: Loopback, text: str) -> dict[str, Any]:
    """Say the command, and return the message with the view that answers it."""
    before = len(server.requests.where(lambda one: one.route == SENT))
    await server.say(text)
    await server.requested(SENT, count=before + 1)
    await server.settled()
    return button_row(server)


async def press(server: Loopback, message: dict[str, Any], label: str, *, who: Any = None) -> dict[str, Any]:
    """Press the button with that label; return the callback."""
    asker = who or server.owner
    current = server.world.messages[message["channel_id"]][message["id"]]
    exchange = await server.interact(asker.button(current, custom_id(current["components"], label)))
    return await exchange.acknowledged()


async def choose(server: Loopback, message: dict[str, Any], placeholder: str, value: str, kind: int = 3) -> None:
    select = server.owner.select(message, custom_id(message["components"], placeholder), [value], kind)
    await (await server.interact(select)).acknowledged()


def confirm(_server: Loopback) -> commands.Bot:
    bot = ViewBot()

    class Confirm(ui.View):
        def __init__(self) -> None:
            super().__init__()
            self.value: bool | None = None

        @ui.button(label="Confirm", style=discord.ButtonStyle.green)
        async def confirm(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_message("Confirming", ephemeral=True)
            self.value = True
            self.stop()

        @ui.button(label="Cancel", style=discord.ButtonStyle.grey)
        async def cancel(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_message("Cancelling", ephemeral=True)
            self.value = False
            self.stop()

    @bot.command()
    async def ask(ctx: commands.Context) -> None:
        """Asks for a confirmation."""
        view = Confirm()
        await ctx.send("Do you want to continue?", view=view)
        await view.wait()
        await ctx.send("Timed out" if view.value is None else f"Answer: {view.value}")

    return bot


async def use_confirm(server: Loopback, bot: Any) -> None:
    for number, label in enumerate(("Confirm", "Cancel")):
        await server.say("$ask")
        await server.requested(SENT, count=2 * number + 1)
        await press(server, button_row(server), label)
        await server.requested(SENT, count=2 * number + 2)
        await server.settled()


def counter(_server: Loopback) -> commands.Bot:
    bot = ViewBot()

    class Counter(ui.View):
        @ui.button(label="0", style=discord.ButtonStyle.red)
        async def count(self, interaction: discord.Interaction, button: ui.Button) -> None:
            number = int(button.label) + 1
            if number >= 2:
                button.style = discord.ButtonStyle.green
                button.disabled = True
            button.label = str(number)
            await interaction.response.edit_message(view=self)

    @bot.command()
    async def counter(ctx: commands.Context) -> None:
        """Counts presses."""
        await ctx.send("Press!", view=Counter())

    return bot


async def use_counter(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$counter")
    await press(server, message, "0")
    await press(server, message, "1", who=server.member)


def dropdown(_server: Loopback) -> commands.Bot:
    bot = ViewBot()

    class Dropdown(ui.Select):
        def __init__(self) -> None:
            options = [discord.SelectOption(label=name, emoji=emoji) for name, emoji in (("Red", "🟥"), ("Blue", "🟦"))]
            super().__init__(placeholder="Your favourite colour", min_values=1, max_values=1, options=options)

        async def callback(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"Your favourite colour is {self.values[0]}")

    class DropdownView(ui.View):
        def __init__(self) -> None:
            super().__init__()
            self.add_item(Dropdown())

    @bot.command()
    async def colour(ctx: commands.Context) -> None:
        """Lets you pick."""
        await ctx.send("Pick one:", view=DropdownView())

    return bot


async def use_dropdown(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$colour")
    await choose(server, message, "Your favourite colour", "Red")
    await choose(server, message, "Your favourite colour", "Blue")


def dynamic_counter(_server: Loopback) -> commands.Bot:
    class DynamicCounter(ui.DynamicItem[ui.Button], template=r"counter:(?P<count>[0-9]+):user:(?P<id>[0-9]+)"):
        def __init__(self, user_id: int, count: int = 0) -> None:
            self.user_id, self.count = user_id, count
            super().__init__(
                ui.Button(
                    label=f"Total: {count}",
                    style=discord.ButtonStyle.primary,
                    custom_id=f"counter:{count}:user:{user_id}",
                )
            )

        @classmethod
        async def from_custom_id(
            cls, interaction: discord.Interaction, item: ui.Button, match: re.Match[str], /
        ) -> DynamicCounter:
            return cls(int(match["id"]), int(match["count"]))

        async def interaction_check(self, interaction: discord.Interaction) -> bool:
            return interaction.user.id == self.user_id

        async def callback(self, interaction: discord.Interaction) -> None:
            self.count += 1
            self.item.label = f"Total: {self.count}"
            self.custom_id = f"counter:{self.count}:user:{self.user_id}"
            await interaction.response.edit_message(view=self.view)

    class DynamicBot(ViewBot):
        async def setup_hook(self) -> None:
            self.add_dynamic_items(DynamicCounter)

    bot = DynamicBot()

    @bot.command()
    async def counter(ctx: commands.Context) -> None:
        """Starts a counter of your own."""
        view = ui.View(timeout=None)
        view.add_item(DynamicCounter(ctx.author.id))
        await ctx.send("Here is your counter!", view=view)

    return bot


async def use_dynamic_counter(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$counter")
    await press(server, message, "Total: 0")
    await press(server, message, "Total: 1")
    current = button_row(server)
    await server.interact(server.member.button(current, custom_id(current["components"], "Total: 2")))


def ephemeral(_server: Loopback) -> commands.Bot:
    bot = ViewBot()

    class Inner(ui.View):
        @ui.button(label="Click", style=discord.ButtonStyle.blurple)
        async def count(self, interaction: discord.Interaction, button: ui.Button) -> None:
            button.label = f"{button.label}!"
            await interaction.response.edit_message(view=self)

    class Outer(ui.View):
        @ui.button(label="Receive", style=discord.ButtonStyle.blurple)
        async def receive(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_message("Enjoy!", view=Inner(), ephemeral=True)

    @bot.command()
    async def counter(ctx: commands.Context) -> None:
        """Gives everybody a counter of their own."""
        await ctx.send("Press for your own:", view=Outer())

    return bot


async def use_ephemeral(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$counter")
    exchange = await server.interact(server.member.button(message, custom_id(message["components"], "Receive")))
    own = await exchange.answered()
    await press(server, own, "Click", who=server.member)
    await press(server, own, "Click!", who=server.member)


def link(_server: Loopback) -> commands.Bot:
    bot = ViewBot()

    class Search(ui.View):
        def __init__(self, query: str) -> None:
            super().__init__()
            self.add_item(ui.Button(label="Click here", url=f"https://example.com/search?q={quote_plus(query)}"))

    @bot.command()
    async def search(ctx: commands.Context, *, query: str) -> None:
        """Searches for something."""
        await ctx.send(f"Results for `{query}`", view=Search(query))

    return bot


async def use_link(server: Loopback, bot: Any) -> None:
    await shown(server, "$search two words")


def persistent(_server: Loopback) -> commands.Bot:
    class PersistentView(ui.View):
        def __init__(self) -> None:
            super().__init__(timeout=None)

        @ui.button(label="Green", style=discord.ButtonStyle.green, custom_id="persistent:green")
        async def green(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_message("This is green.", ephemeral=True)

        @ui.button(label="Red", style=discord.ButtonStyle.red, custom_id="persistent:red")
        async def red(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_message("This is red.", ephemeral=True)

    class PersistentBot(ViewBot):
        async def setup_hook(self) -> None:
            self.add_view(PersistentView())

    bot = PersistentBot()

    @bot.command()
    @commands.is_owner()
    async def prepare(ctx: commands.Context) -> None:
        """Posts the view that stays."""
        await ctx.send("What's your favourite colour?", view=PersistentView())

    return bot


async def use_persistent(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$prepare")
    await press(server, message, "Green")
    await press(server, message, "Red", who=server.member)
    await server.say("$prepare", author=server.world.member)
    await server.settled()


def tic_tac_toe(_server: Loopback) -> commands.Bot:  # noqa: C901 - a game in one function
    bot = ViewBot()

    class Square(ui.Button["Board"]):
        def __init__(self, x: int, y: int) -> None:
            super().__init__(style=discord.ButtonStyle.secondary, label=f"{x}{y}", row=y)
            self.x, self.y = x, y

        async def callback(self, interaction: discord.Interaction) -> None:
            board = self.view
            if board.board[self.y][self.x]:
                return
            board.board[self.y][self.x] = board.player
            self.label = "X" if board.player > 0 else "O"
            self.style = discord.ButtonStyle.danger if board.player > 0 else discord.ButtonStyle.success
            self.disabled = True
            board.player = -board.player
            content = f"It is now {'X' if board.player > 0 else 'O'}'s turn"
            if board.winner():
                content = f"{self.label} won!"
                for child in board.children:
                    child.disabled = True
                board.stop()
            await interaction.response.edit_message(content=content, view=board)

    class Board(ui.View):
        def __init__(self) -> None:
            super().__init__()
            self.player = 1
            self.board = [[0] * 3 for _ in range(3)]
            for y in range(3):
                for x in range(3):
                    self.add_item(Square(x, y))

        def winner(self) -> bool:
            return any(abs(sum(row)) == 3 for row in self.board)

    @bot.command()
    async def tic(ctx: commands.Context) -> None:
        """Starts a game."""
        await ctx.send("Tic Tac Toe: X goes first", view=Board())

    return bot


async def use_tic_tac_toe(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$tic")
    for label in ("00", "01", "10", "11", "20"):
        await press(server, message, label)


def layout(_server: Loopback) -> commands.Bot:
    bot = ViewBot()

    class Layout(ui.LayoutView):
        action_row = ui.ActionRow()

        @action_row.button(label="Click me")
        async def click(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_message("Hi!", ephemeral=True)

        container = ui.Container(ui.TextDisplay("Press, it is **special**"), accent_colour=discord.Colour.blurple())

    @bot.command()
    async def layout(ctx: commands.Context) -> None:
        """Sends a layout."""
        await ctx.send(view=Layout())

    return bot


async def use_layout(server: Loopback, bot: Any) -> None:
    await press(server, await shown(server, "$layout"), "Click me")


def settings(_server: Loopback) -> commands.Bot:  # noqa: C901 - the classes of one panel
    class Fruit(ui.ActionRow):
        @ui.select(placeholder="Select a fruit", options=[discord.SelectOption(label=name) for name in FRUITS])
        async def fruit(self, interaction: discord.Interaction, select: ui.Select) -> None:
            for option in select.options:
                option.default = option.value == select.values[0]
            await interaction.response.edit_message(view=self.view)

    class Count(ui.Modal, title="Set the count"):
        count = ui.TextInput(label="Count", default="1")

        def __init__(self, view: Panel, button: CountButton) -> None:
            super().__init__()
            self.panel, self.button = view, button

        async def on_submit(self, interaction: discord.Interaction) -> None:
            try:
                self.button.label = str(int(self.count.value))
                await interaction.response.edit_message(view=self.panel)
            except ValueError:
                await interaction.response.send_message("A number, please.", ephemeral=True)

    class CountButton(ui.Button["Panel"]):
        def __init__(self) -> None:
            super().__init__(label="1", style=discord.ButtonStyle.secondary)

        async def callback(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_modal(Count(self.view, self))

    class Silent(ui.Button["Panel"]):
        def __init__(self) -> None:
            super().__init__(label="Enabled", style=discord.ButtonStyle.green)

        async def callback(self, interaction: discord.Interaction) -> None:
            self.label = "Disabled" if self.label == "Enabled" else "Enabled"
            await interaction.response.edit_message(view=self.view)

    class Panel(ui.LayoutView):
        row = ui.ActionRow()

        def __init__(self) -> None:
            super().__init__()
            container = ui.Container(ui.TextDisplay("# Settings"))
            container.add_item(ui.Separator(spacing=discord.SeparatorSpacing.large))
            container.add_item(ui.Section(ui.TextDisplay("## Count"), accessory=CountButton()))
            container.add_item(ui.Section(ui.TextDisplay("## Notifications"), accessory=Silent()))
            container.add_item(Fruit())
            self.add_item(container)
            self.remove_item(self.row)
            self.add_item(self.row)

        @row.button(label="Finish", style=discord.ButtonStyle.green)
        async def finish(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.edit_message(view=self)
            await interaction.followup.send("Saved.", ephemeral=True)
            self.stop()
            await interaction.delete_original_response()

    bot = ViewBot()

    @bot.command()
    async def settings(ctx: commands.Context) -> None:
        """Shows the settings."""
        await ctx.send(view=Panel())

    return bot


async def use_settings(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$settings")
    await press(server, message, "Enabled")
    await choose(server, message, "Select a fruit", "Banana")
    for count in ("7", "many"):
        label = "1" if count == "7" else "7"
        modal = (await press(server, message, label))["data"]
        fields = {custom_id(modal["components"], "Count"): count}
        await (await server.interact(server.owner.modal(modal["custom_id"], fields, message))).acknowledged()
    await press(server, message, "Finish")
    await server.settled()


def embed_like(_server: Loopback) -> commands.Bot:
    class Change(ui.Modal, title="Change the text"):
        new_text = ui.TextInput(label="The new text", style=discord.TextStyle.long)

        def __init__(self, view: EmbedLike) -> None:
            self.embed_like = view
            super().__init__()

        async def on_submit(self, interaction: discord.Interaction) -> None:
            self.embed_like.text.content = str(self.new_text.value)
            await interaction.response.edit_message(view=self.embed_like)
            self.stop()

    class Buttons(ui.ActionRow):
        def __init__(self, view: EmbedLike) -> None:
            self.embed_like = view
            super().__init__()

        @ui.button(label="New image", style=discord.ButtonStyle.gray)
        async def new_image(self, interaction: discord.Interaction, button: ui.Button) -> None:
            self.embed_like.thumbnail.media.url = "https://example.com/two.png"
            await interaction.response.edit_message(view=self.embed_like)

        @ui.button(label="Change text", style=discord.ButtonStyle.primary)
        async def change_text(self, interaction: discord.Interaction, button: ui.Button) -> None:
            await interaction.response.send_modal(Change(self.embed_like))

    class EmbedLike(ui.LayoutView):
        def __init__(self, *, url: str) -> None:
            super().__init__()
            self.text = ui.TextDisplay("An image!")
            self.thumbnail = ui.Thumbnail(media=url)
            section = ui.Section(self.text, accessory=self.thumbnail)
            self.add_item(ui.Container(section, Buttons(self), accent_color=discord.Color.blurple()))

    bot = ViewBot()

    @bot.command()
    async def embed(ctx: commands.Context) -> None:
        """Shows a layout that looks like an embed."""
        await ctx.send(view=EmbedLike(url="https://example.com/one.png"))

    return bot


async def use_embed_like(server: Loopback, bot: Any) -> None:
    message = await shown(server, "$embed")
    await press(server, message, "New image")
    modal = (await press(server, message, "Change text"))["data"]
    fields = {custom_id(modal["components"], "The new text"): "another text"}
    await (await server.interact(server.owner.modal(modal["custom_id"], fields, message))).acknowledged()


def used(command: str, *presses: str) -> frozenset[tuple[str, str]]:
    return frozenset([(COMMANDS, command), *((COMPONENTS, name) for name in presses)])


EXAMPLES = {
    "views/confirm": Example(confirm, use_confirm, used("ask", "Confirm.confirm", "Confirm.cancel")),
    "views/counter": Example(counter, use_counter, used("counter", "Counter.count")),
    "views/dropdown": Example(dropdown, use_dropdown, used("colour", "DropdownView.Dropdown")),
    "views/dynamic_counter": Example(dynamic_counter, use_dynamic_counter, used("counter", "DynamicCounter")),
    "views/ephemeral": Example(ephemeral, use_ephemeral, used("counter", "Outer.receive", "Inner.count")),
    "views/link": Example(link, use_link, used("search")),
    "views/persistent": Example(
        persistent, use_persistent, used("prepare", "PersistentView.green", "PersistentView.red")
    ),
    "views/tic_tac_toe": Example(tic_tac_toe, use_tic_tac_toe, used("tic", "Board.Square")),
    "views/layout": Example(layout, use_layout, used("layout", "Layout.click")),
    "views/settings": Example(
        settings,
        use_settings,
        used("settings", "Panel.CountButton", "Panel.Silent", "Panel.fruit", "Panel.finish", "Count"),
    ),
    "views/embed_like": Example(
        embed_like, use_embed_like, used("embed", "EmbedLike.new_image", "EmbedLike.change_text", "Change")
    ),
}
