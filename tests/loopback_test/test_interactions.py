"""Every kind of interaction reaches the bot, and its answers come back."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest
from discord.ext import commands
from loopback import Asker, Loopback, Option

CALLBACK = "POST /interactions/{webhook_id}/{webhook_token}/callback"
FOLLOWUP = "POST /webhooks/{webhook_id}/{webhook_token}"


async def test_a_command_defers_and_sends_a_file_afterwards(discord_server, bot):
    exchange = await discord_server.interact(discord_server.owner.slash("chart", {"points": 100}))
    message = await exchange.answered()
    assert exchange.callback == {"type": 5}
    assert [file.name for file in (await discord_server.requested(FOLLOWUP))[0].files] == ["chart.png"]
    assert message["attachments"][0]["size"] == 100
    assert message["embeds"][0]["image"]["url"] == message["attachments"][0]["url"]
    stored = await bot.get_channel(int(message["channel_id"])).fetch_message(int(message["id"]))
    assert await stored.attachments[0].read() == b"x" * 100
    assert not list(discord_server.violations)


async def test_a_command_in_a_group_in_a_group_gets_its_options(discord_server, bot):
    member = discord_server.world.member
    asker = discord_server.owner
    options = {"who": Option(6, member["id"]), "loud": True}
    exchange = await discord_server.interact(
        asker.slash("outer inner deep", options, resolved=asker.resolve_user(member))
    )
    assert (await exchange.answered())["content"] == "member True"


async def test_context_menus_get_their_target(discord_server, bot):
    said = await discord_server.say("twelve chars")
    on_user = await discord_server.interact(discord_server.owner.user_menu("Who is this", discord_server.world.member))
    on_message = await discord_server.interact(discord_server.owner.message_menu("How long", said))
    assert (await on_user.answered())["content"] == "member"
    assert (await on_message.answered())["content"] == "12"


async def test_autocomplete_answers_with_choices(discord_server, bot):
    exchange = await discord_server.interact(discord_server.owner.autocomplete("lookup", "word", "x"))
    callback = await exchange.acknowledged()
    assert [choice["name"] for choice in callback["data"]["choices"]] == ["xa", "xb"]


async def test_buttons_selects_and_modals_work_on_a_message(discord_server, bot):
    owner = discord_server.owner
    panel = await (await discord_server.interact(owner.slash("panel"))).answered()
    asked = await discord_server.interact(owner.button(panel, "panel:ask"))
    assert (await asked.acknowledged())["data"]["title"] == "Question"
    submitted = await discord_server.interact(owner.modal("panel:question", {"answer": "42"}))
    assert (await submitted.answered())["content"] == "heard 42"
    chosen = await discord_server.interact(owner.select(panel, "panel:choose", ["b"]))
    assert (await chosen.followed_up())[0]["content"] == "chose b"
    pressed = await discord_server.interact(owner.button(panel, "panel:press"))
    assert (await pressed.answered())["content"] == "pressed"
    assert panel["edited_timestamp"] is not None


async def test_a_modal_with_labels_gets_text_and_choices(discord_server, make_bot):
    made = make_bot()

    class Order(discord.ui.Modal, title="Order"):
        name = discord.ui.Label(text="Name", component=discord.ui.TextInput(custom_id="name"))
        size = discord.ui.Label(
            text="Size",
            component=discord.ui.Select(
                custom_id="size", options=[discord.SelectOption(label=label) for label in "SL"]
            ),
        )

        async def on_submit(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"{self.name.component.value} {self.size.component.values}")

    @made.tree.command(description="Opens a modal")
    async def order(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Order(custom_id="order"))

    async with discord_server.running(made):
        opened = await discord_server.interact(discord_server.owner.slash("order"))
        await opened.acknowledged()
        submitted = discord_server.owner.modal("order", {"name": "tea", "size": ["L"]}, labels=True)
        exchange = await discord_server.interact(submitted)
        assert (await exchange.answered())["content"] == "tea ['L']"
    assert not list(discord_server.violations)


class Mute(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mute:(?P<hours>\d+)"):
    def __init__(self, hours: int) -> None:
        super().__init__(discord.ui.Button(label=f"Mute {hours} h", custom_id=f"mute:{hours}"))
        self.hours = hours

    @classmethod
    async def from_custom_id(cls, interaction, item, match):
        return cls(int(match["hours"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"muted for {self.hours} h")


async def test_persistent_views_and_dynamic_items_work_after_a_restart(discord_server, make_bot):
    async with discord_server.running(make_bot()) as before:
        panel = await (await discord_server.interact(discord_server.owner.slash("panel"))).answered()
        view = discord.ui.View(timeout=None).add_item(Mute(3))
        sent = await before.guilds[0].text_channels[0].send("alert", view=view)
    after = make_bot()
    after.add_view(type(before.persistent_views[0])(timeout=None))
    after.add_dynamic_items(Mute)
    async with discord_server.running(after):
        pressed = await discord_server.interact(discord_server.owner.button(panel, "panel:press"))
        assert (await pressed.answered())["content"] == "pressed"
        alert = discord_server.world.messages[str(sent.channel.id)][str(sent.id)]
        muted = await discord_server.interact(discord_server.owner.button(alert, "mute:3"))
        assert (await muted.answered())["content"] == "muted for 3 h"


async def test_a_prefix_command_answers_and_the_bot_hears_itself(discord_server, bot):
    heard = asyncio.create_task(bot.wait_for("message", check=lambda message: message.author == bot.user))
    await discord_server.say("!ping", author=discord_server.world.member)
    (sent,) = await discord_server.requested("POST /channels/{channel_id}/messages")
    assert sent.body["content"] == "pong"
    assert (await heard).content == "pong"


async def test_a_direct_message_opens_a_channel(discord_server, bot):
    user = await bot.fetch_user(int(discord_server.world.member["id"]))
    message = await user.send("psst")
    assert isinstance(message.channel, discord.DMChannel)
    await message.edit(content="never mind")
    await message.delete()
    with pytest.raises(discord.NotFound, match="10008"):
        await message.channel.fetch_message(message.id)


async def test_the_original_response_can_be_fetched_edited_and_deleted(discord_server, make_bot):
    made = make_bot()

    @made.tree.command(description="Answers, then thinks again")
    async def rethink(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("first")
        fetched = await interaction.original_response()
        await interaction.edit_original_response(content=fetched.content + ", second")
        await interaction.delete_original_response()

    async with discord_server.running(made):
        exchange = await discord_server.interact(discord_server.owner.slash("rethink"))
        await discord_server.requested("DELETE /webhooks/{webhook_id}/{webhook_token}/messages/@original")
    assert exchange.original["content"] == "first, second"


async def test_an_interaction_reaches_the_shard_of_its_guild(make_bot):
    async with Loopback(shards=2) as server, server.running(make_bot(commands.AutoShardedBot)):
        second = list(server.world.guilds)[1]
        asker = Asker(server.world, server.world.owner, server.world.channels_of(second)[0])
        exchange = await server.interact(asker.slash("lookup", {"word": "here"}))
        assert (await exchange.answered())["flags"] == 64


@pytest.mark.parametrize(("wait_s", "times", "code"), [(0.15, 1, 10062), (0, 2, 40060)])
async def test_a_late_and_a_double_acknowledgement_are_refused(discord_server, make_bot, wait_s, times, code):
    made, errors = make_bot(), asyncio.Queue()
    discord_server.exchanges.ack_deadline_s = 0.1

    @made.tree.command(description="Too late or too often")
    async def unlucky(interaction: discord.Interaction) -> None:
        await asyncio.sleep(wait_s)
        for _ in range(times):
            interaction.response._response_type = None
            await interaction.response.defer()

    @made.tree.error
    async def note(interaction, error) -> None:
        errors.put_nowait(error.original)

    async with discord_server.running(made):
        await discord_server.interact(discord_server.owner.slash("unlucky"))
        assert (await errors.get()).code == code


async def test_a_token_ends_after_its_life(discord_server, make_bot):
    made, errors = make_bot(), asyncio.Queue()
    discord_server.exchanges.token_life_s = 0.1

    @made.tree.command(description="Follows up too late")
    async def slow(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        await asyncio.sleep(0.15)
        await interaction.followup.send("too late")

    @made.tree.error
    async def note(interaction, error) -> None:
        errors.put_nowait(error.original)

    async with discord_server.running(made):
        await discord_server.interact(discord_server.owner.slash("slow"))
        error = await errors.get()
    assert (error.status, error.code) == (401, 50027)


async def test_an_incoming_webhook_sends(discord_server, bot):
    channel = bot.guilds[0].text_channels[0]
    hook = await channel.create_webhook(name="alerts")
    message = await hook.send("down", username="alert", wait=True)
    assert message.author.name == "alert"
    assert [found.id for found in await channel.webhooks()] == [hook.id]


async def test_a_message_grows_a_thread(discord_server, bot):
    message = await bot.guilds[0].text_channels[0].send("alert")
    thread = await message.create_thread(name="details")
    await thread.send("more")
    assert thread.id == message.id
