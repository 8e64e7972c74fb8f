"""A community bot: two shards, 28 slash commands in cogs and groups, menus, autocomplete, panels, forms, a loop."""

from __future__ import annotations

import asyncio
import random
import re

import discord
from discord import app_commands
from discord.ext import commands, tasks
from loopback import Asker, Loopback, Option

import cogmeter

SHARDS = 2
TAGS = ("rules", "roles", "faq")


class NotEnough(app_commands.AppCommandError):
    """A member wants to spend more than there is."""


class Bank:
    def __init__(self) -> None:
        self.accounts: dict[int, int] = {}

    @cogmeter.track("bank", "read")
    async def of(self, member: discord.abc.User) -> int:
        await asyncio.sleep(0)
        return self.accounts.get(member.id, 100)

    @cogmeter.track("bank", "write")
    async def add(self, member: discord.abc.User, amount: int) -> int:
        now = self.accounts.get(member.id, 100) + amount
        if now < 0:
            raise NotEnough(f"{-now} coins short")
        self.accounts[member.id] = now
        return now


# Panels and forms


class Poll(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=300)
        self.votes = {"yes": 0, "no": 0}

    async def vote(self, interaction: discord.Interaction, word: str) -> None:
        self.votes[word] += 1
        await interaction.response.edit_message(content=f"{self.votes}", view=self)

    @discord.ui.button(label="Yes", style=discord.ButtonStyle.green, custom_id="poll-yes")
    async def yes(self, interaction: discord.Interaction, button: discord.ui.Button) -> None:
        await self.vote(interaction, "yes")

    @discord.ui.button(label="No", style=discord.ButtonStyle.red, custom_id="poll-no")
    async def no(self, interaction: discord.Interaction, button: discord.ui.Button) -> None:
        await self.vote(interaction, "no")

    @discord.ui.button(label="End", custom_id="poll-end")
    async def finish(self, interaction: discord.Interaction, button: discord.ui.Button) -> None:
        for child in self.children:
            child.disabled = True
        self.stop()
        await interaction.response.edit_message(content="closed", view=self)


class Shop(discord.ui.View):
    """Everybody sees it; only who opened it may buy."""

    def __init__(self, owner: int) -> None:
        super().__init__()
        self.owner = owner

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        if interaction.user.id == self.owner:
            return True
        await interaction.response.send_message("this is not your shop", ephemeral=True)
        return False

    @discord.ui.select(
        placeholder="Buy",
        custom_id="shop-buy",
        options=[discord.SelectOption(label=name, value=name) for name in ("hat", "dragon")],
    )
    async def buy(self, interaction: discord.Interaction, select: discord.ui.Select) -> None:
        if select.values == ["dragon"]:
            raise NotEnough("dragons are dear")
        await interaction.response.send_message(f"a {select.values[0]}", ephemeral=True)

    async def on_error(self, interaction, error, item) -> None:
        await interaction.response.send_message(str(error), ephemeral=True)


class Feedback(discord.ui.Modal, title="Feedback"):
    text = discord.ui.TextInput(label="What do you think?", style=discord.TextStyle.long, custom_id="feedback-text")

    async def on_submit(self, interaction: discord.Interaction) -> None:
        if self.text.value == "":
            raise ValueError("nothing was written")
        await interaction.response.send_message("thank you", ephemeral=True)

    async def on_error(self, interaction: discord.Interaction, error: Exception) -> None:
        await interaction.response.send_message("that did not work", ephemeral=True)


class Tickets(discord.ui.View):
    """Stays through restarts."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Open a ticket", custom_id="tickets:open")
    async def open(self, interaction: discord.Interaction, button: discord.ui.Button) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send("ticket 1", view=discord.ui.View(timeout=None).add_item(CloseTicket(1)))


class CloseTicket(discord.ui.DynamicItem[discord.ui.Button], template=r"ticket:(?P<number>\d+):close"):
    def __init__(self, number: int) -> None:
        super().__init__(discord.ui.Button(label="Close", custom_id=f"ticket:{number}:close"))
        self.number = number

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction, item, match: re.Match[str]):
        return cls(int(match["number"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"ticket {self.number} is closed")


# Cogs


class Moderation(commands.Cog):
    case = app_commands.Group(name="case", description="Cases")

    def __init__(self, bot: commands.Bot) -> None:
        self.bot = bot

    @app_commands.command(description="Kicks a member")
    @app_commands.checks.has_permissions(kick_members=True)
    async def kick(self, interaction: discord.Interaction, member: discord.Member, reason: str = "") -> None:
        await interaction.response.send_message(f"kicked {member.name}")

    @app_commands.command(description="Bans a member")
    @app_commands.checks.has_permissions(ban_members=True)
    async def ban(self, interaction: discord.Interaction, member: discord.Member) -> None:
        await interaction.response.send_message(f"banned {member.name}")

    @app_commands.command(description="Warns a member")
    async def warn(self, interaction: discord.Interaction, member: discord.Member) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.followup.send(f"warned {member.name}")

    @app_commands.command(description="Silences a member")
    async def silence(self, interaction: discord.Interaction, minutes: app_commands.Range[int, 1, 60]) -> None:
        await interaction.response.send_message(f"{minutes} min")

    @app_commands.command(description="Deletes messages")
    async def purge(self, interaction: discord.Interaction, count: int) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content=f"deleted {count}")

    @case.command(description="Shows a case")
    async def show(self, interaction: discord.Interaction, number: str) -> None:
        await interaction.response.send_message(number)

    @show.autocomplete("number")
    async def numbers(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=f"case {number}", value=str(number)) for number in range(5)]

    @case.command(name="list", description="Lists the cases")
    async def list_(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("none")

    @case.command(description="Closes a case")
    async def close(self, interaction: discord.Interaction, number: str) -> None:
        raise LookupError(f"no case {number}")


class Economy(commands.GroupCog, group_name="bank"):
    """A cog that is a group, with commands next to it that a bot adds on its own."""

    def __init__(self, bot: commands.Bot) -> None:
        self.bot, self.bank = bot, Bank()
        super().__init__()

    @app_commands.command(description="Shows your account")
    async def balance(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"{await self.bank.of(interaction.user)} coins")

    @app_commands.command(description="Puts coins into the bank")
    async def deposit(self, interaction: discord.Interaction, amount: int) -> None:
        await interaction.response.send_message(f"{await self.bank.add(interaction.user, amount)}")

    @app_commands.command(description="Takes coins out of the bank")
    async def withdraw(self, interaction: discord.Interaction, amount: int) -> None:
        await interaction.response.send_message(f"{await self.bank.add(interaction.user, -amount)}")

    @app_commands.command(description="Coins, once a day")
    @app_commands.checks.cooldown(1, 86_400)
    async def daily(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"{await self.bank.add(interaction.user, 50)}")

    @app_commands.command(description="Gives coins to a member")
    async def pay(self, interaction: discord.Interaction, member: discord.Member, amount: int) -> None:
        await asyncio.gather(self.bank.add(interaction.user, -amount), self.bank.add(member, amount))
        await interaction.response.send_message("paid")

    @app_commands.command(description="Shows who has most")
    async def top(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(embed=discord.Embed(title="Top"))

    async def cog_app_command_error(self, interaction, error) -> None:
        original = getattr(error, "original", error)
        await interaction.response.send_message(str(original), ephemeral=True)


class Fun(commands.Cog):
    def __init__(self, bot: commands.Bot) -> None:
        self.bot = bot

    @app_commands.command(description="Rolls a die")
    async def roll(self, interaction: discord.Interaction, sides: int = 6) -> None:
        await interaction.response.send_message(str(random.randint(1, sides)))

    @app_commands.command(description="Flips a coin")
    async def coin(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(random.choice(["heads", "tails"]))

    @app_commands.command(description="Shows a text")
    async def tag(self, interaction: discord.Interaction, name: str) -> None:
        await interaction.response.send_message(name)

    @tag.autocomplete("name")
    async def tags(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=tag, value=tag) for tag in TAGS if current in tag]

    @app_commands.command(description="Asks everybody")
    async def poll(self, interaction: discord.Interaction, question: str) -> None:
        view = Poll()
        await interaction.response.send_message(question, view=view)
        self.bot.counted["polls"] = self.bot.counted.get("polls", 0) + await view.wait()

    @app_commands.command(description="Asks one question")
    async def trivia(self, interaction: discord.Interaction) -> None:
        questions: list[str] = []
        await interaction.response.send_message(questions[0])

    @app_commands.command(description="Opens the shop")
    async def shop(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("shop", view=Shop(interaction.user.id))


class Utility(commands.Cog):
    config = app_commands.Group(name="config", description="Settings", guild_only=True)
    channel = app_commands.Group(name="channel", description="Channels", parent=config)

    def __init__(self, bot: commands.Bot) -> None:
        self.bot = bot
        self.settings: dict[str, str] = {}

    async def cog_load(self) -> None:
        self.save.start()

    async def cog_unload(self) -> None:
        self.save.cancel()

    @tasks.loop(seconds=0.01, count=3)
    async def save(self) -> None:
        await asyncio.sleep(0)

    @save.before_loop
    async def before_save(self) -> None:
        await self.bot.wait_until_ready()

    @app_commands.command(description="How far away the bot is")
    async def ping(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("pong")

    @app_commands.command(description="What this is")
    async def about(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"{len(self.bot.guilds)} guilds")

    @app_commands.command(description="Tell us")
    async def feedback(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Feedback(custom_id="feedback"))

    @app_commands.command(description="Reminds you")
    async def remind(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("soon")
        channel = interaction.channel
        self.reminder = asyncio.create_task(self.later(channel))

    async def later(self, channel) -> None:
        await asyncio.sleep(0.02)
        with cogmeter.operation("reminders", "send"):
            await channel.send("now")

    @app_commands.command(description="Shows the panel for tickets")
    async def tickets(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("tickets", view=Tickets())

    @config.command(name="set", description="Sets a value")
    async def set_(self, interaction: discord.Interaction, key: str, value: str) -> None:
        self.settings[key] = value
        await interaction.response.send_message("set")

    @channel.command(description="Adds a channel")
    async def add(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("added")

    @channel.command(description="Removes a channel")
    async def remove(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("removed")

    @commands.Cog.listener()
    async def on_app_command_completion(self, interaction: discord.Interaction, command) -> None:
        counted = self.bot.counted
        counted["completed"] = counted.get("completed", 0) + 1

    @commands.Cog.listener("on_member_join")
    async def welcome(self, member: discord.Member) -> None:
        raise discord.ClientException("there is no channel to welcome in")


@app_commands.context_menu(name="Profile")
async def profile(interaction: discord.Interaction, member: discord.Member) -> None:
    await interaction.response.send_message(member.name, ephemeral=True)


@app_commands.context_menu(name="Report message")
async def report(interaction: discord.Interaction, message: discord.Message) -> None:
    raise PermissionError("no channel for reports")


class Community(commands.AutoShardedBot):
    def __init__(self) -> None:
        super().__init__(command_prefix=commands.when_mentioned, intents=discord.Intents.all(), help_command=None)
        self.counted: dict[str, int] = {}
        self.tree.error(self.on_tree_error)

    async def setup_hook(self) -> None:
        await self.load_extension("cogmeter.cog")
        for cog in (Moderation, Economy, Fun, Utility):
            await self.add_cog(cog(self))
        self.tree.add_command(profile)
        self.tree.add_command(report)
        self.add_view(Tickets())
        self.add_dynamic_items(CloseTicket)
        await self.tree.sync()

    async def on_tree_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        self.counted["errors"] = self.counted.get("errors", 0) + 1
        if interaction.response.is_done():  # by the cog's own handler
            return
        text = "you may not" if isinstance(error, app_commands.CheckFailure) else "something went wrong"
        await interaction.response.send_message(text, ephemeral=True)

    async def on_error(self, event: str, *args: object) -> None:
        self.counted[event] = self.counted.get(event, 0) + 1


def make_bot() -> commands.Bot:
    return Community()


async def use(server: Loopback, bot: commands.Bot) -> None:
    """Every command once, on both shards in turn, and what comes of them."""
    world = server.world
    askers = [Asker(world, world.owner, world.channels_of(guild)[0]) for guild in world.guilds]
    member = world.member
    member_option = {"member": Option(6, member["id"])}
    calls: list[tuple[str, dict]] = [
        ("kick", member_option),
        ("ban", member_option),
        ("warn", member_option),
        ("silence", {"minutes": 5}),
        ("purge", {"count": 3}),
        ("case show", {"number": "1"}),
        ("case list", {}),
        ("case close", {"number": "9"}),
        ("bank balance", {}),
        ("bank deposit", {"amount": 10}),
        ("bank withdraw", {"amount": 100_000}),
        ("bank daily", {}),
        ("bank pay", {**member_option, "amount": 5}),
        ("bank top", {}),
        ("roll", {"sides": 20}),
        ("coin", {}),
        ("tag", {"name": "faq"}),
        ("trivia", {}),
        ("ping", {}),
        ("about", {}),
        ("remind", {}),
        ("config set", {"key": "a", "value": "b"}),
        ("config channel add", {}),
        ("config channel remove", {}),
    ]
    exchanges = []
    for number, (name, options) in enumerate(calls):
        asker = askers[number % 2]
        resolved = asker.resolve_user(member) if "member" in options else None
        exchanges.append(await server.interact(asker.slash(name, options, resolved=resolved)))
    for exchange in exchanges:
        await exchange.answered()
    await (await server.interact(askers[1].slash("bank daily"))).answered()  # too soon, on either shard
    plain = Asker(world, member, askers[0].channel)
    resolved = plain.resolve_user(world.owner)
    owner_option = {"member": Option(6, world.owner["id"])}
    await (await server.interact(plain.slash("kick", owner_option, resolved=resolved))).answered()
    for asker, name, focused in ((askers[0], "tag", "name"), (askers[1], "case show", "number")):
        await (await server.interact(asker.autocomplete(name, focused, "f"))).acknowledged()
    await use_panels(server, askers[0], askers[1], plain)
    await (await server.interact(askers[0].user_menu("Profile", member))).answered()
    said = await server.say("look at this")
    await (await server.interact(askers[1].message_menu("Report message", said))).answered()
    guild = world.guild["id"]
    joined = world.add_member(guild, "newcomer")
    await server.dispatch("GUILD_MEMBER_ADD", {**joined, "guild_id": guild}, 0)


async def use_panels(server: Loopback, first: Asker, second: Asker, plain: Asker) -> None:
    async def answered(payload: dict) -> dict:
        return await (await server.interact(payload)).answered()

    poll = await answered(first.slash("poll", {"question": "well?"}))
    both = [await server.interact(asker.button(poll, "poll-yes")) for asker in (first, plain)]
    for exchange in both:
        await exchange.acknowledged()
    for button in ("poll-no", "poll-end"):
        await (await server.interact(first.button(poll, button))).acknowledged()
    shop = await answered(second.slash("shop"))
    await answered(second.select(shop, "shop-buy", ["hat"]))
    await answered(second.select(shop, "shop-buy", ["dragon"]))
    await answered(Asker(server.world, server.world.member, second.channel).select(shop, "shop-buy", ["hat"]))
    for text in ("good", ""):
        await (await server.interact(first.slash("feedback"))).acknowledged()
        await answered(first.modal("feedback", {"feedback-text": text}))
    tickets = await answered(first.slash("tickets"))
    opened = await server.interact(first.button(tickets, "tickets:open"))
    (ticket,) = await opened.followed_up() if opened.followups else [await opened.answered()]
    await answered(first.button(ticket, "ticket:1:close"))
