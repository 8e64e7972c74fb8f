"""``/perf cost``: money and tokens by command, reply, model, server and user, with names of this moment."""

import re

import discord
import pytest
from discord import app_commands
from discord.ext import commands

import cogmeter
from cogmeter.render.charts.chart import CHART_NAME

RESPONSE = {"model": "gpt-4o", "usage": {"prompt_tokens": 1_000, "completion_tokens": 100}}


class Assistant(commands.Cog):
    """A command and a reply that use a model."""

    @app_commands.command()
    async def ask(self, interaction: discord.Interaction) -> None:
        """Ask."""
        with cogmeter.operation("ai", "chat"):
            cogmeter.usage(RESPONSE)
        await interaction.response.send_message("Hi")

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        if not message.author.bot:
            cogmeter.usage(RESPONSE)
            await message.channel.send("Hi")


async def asked(home):
    """Use the assistant by a command of the owner, and by a message of the stranger."""
    await home.bot.add_cog(Assistant())
    await home.bot.tree.sync()
    await home.owner.slash(home.channel, "ask")
    await home.stranger.send(home.channel, "hello")
    await home.env.settle()
    await home.flushed()


async def answer(home, **options):
    result = await home.owner.slash(home.channel, "perf cost", **options)
    (embed,) = result.response.embeds
    return embed, result.response


async def test_commands_and_replies_pay_for_what_runs_below_them(move_in):
    async with move_in() as home:
        await asked(home)
        embed, _ = await answer(home)
        assert embed.title == "Cost by command (last 30 days)"
        assert embed.description.startswith("**$0.0070** for 2 model calls · 2 k input, 200 output tokens")
        assert "**/ask** $0.0035 · 50% · 1 call · 1 use · $3.50 per 1,000 uses · " in embed.description
        assert "**(replies to messages)** $0.0035" in embed.description
        assert embed.image.url.startswith("attachment://") or CHART_NAME in embed.image.url
        replies, _ = await answer(home, by="reply")
        assert "**reply Assistant.on\\_message** $0.0035" in replies.description
        assert [field.name for field in embed.fields] == ["Today", "This month so far", "Month forecast"]
        assert re.match(r"Whole days \(UTC\), recorded since \d+ \w{3} · prices: genai-prices ", embed.footer.text)


async def test_names_of_servers_and_users_are_in_no_file(move_in):
    async with move_in() as home:
        await asked(home)
        servers, _ = await answer(home, by="guild")
        users, _ = await answer(home, by="user")
        content = (home.monitor.store._path).read_bytes()
        wal = home.monitor.store._path.with_name(home.monitor.store._path.name + "-wal")
        content += wal.read_bytes() if wal.exists() else b""
    assert servers.title == "Cost by server (last 30 days)"
    assert "**home** $0.0070" in servers.description
    assert "**owner** $0.0035" in users.description
    assert "**stranger** $0.0035" in users.description
    assert b"stranger" not in content
    assert str(home.stranger.id).encode() not in content


async def test_without_costs_the_answer_says_how_to_record_some(move_in):
    async with move_in() as home:
        embed, _ = await answer(home, period="24h", by="model")
    assert "No tokens and no costs were recorded in this period." in embed.description
    assert "cogmeter.usage(response)" in embed.description
    assert embed.image.url is None


async def test_a_price_that_is_missing_is_named_with_the_setting_that_adds_it(move_in):
    async with move_in(PERFORMANCE_COST_PRICES="mine=1/2") as home:
        cogmeter.record("ai", "x", duration_ms=5, metadata={"model": "@everyone `x`", "tokens_in": 5})
        cogmeter.record("ai", "x", duration_ms=5, metadata={"model": "mine", "tokens_in": 1_000_000})
        await home.flushed()
        embed, _ = await answer(home, by="model")
    assert "**mine** $1.00" in embed.description
    assert "No price is known for 1 model call of these models" in embed.description
    assert "PERFORMANCE\\_COST\\_PRICES=" in embed.description
    assert "@everyone" not in embed.description


async def test_a_long_list_has_pages_and_a_menu_with_the_groupings(move_in):
    async with move_in() as home:
        for number in range(25):
            cogmeter.record(f"service-{number:02}", "x", duration_ms=5, metadata={"cost_usd": number + 1})
        await home.flushed()
        embed, message = await answer(home, by="service")
        assert "service-24" in embed.description
        assert "service-10" not in embed.description
        assert "page 1 of 3, 25 services" in embed.footer.text
        pressed = await home.owner.click(message, label="Next")
        (second,) = pressed.response.embeds if pressed.response else message.embeds
        assert "page 2 of 3" in second.footer.text


@pytest.mark.parametrize("value", ["gpt-4o", "gpt-4o=1", "a=1/x", "a=-1/2", "a=1/2, A=3/4", "=1/2"])
async def test_a_price_that_cannot_be_read_fails_the_load_with_its_name_value_and_fix(move_in, value):
    with pytest.raises(
        commands.ExtensionError, match=r"PERFORMANCE_COST_PRICES=.*for example PERFORMANCE_COST_PRICES=my-model"
    ):
        async with move_in(PERFORMANCE_COST_PRICES=value):
            pass


async def test_a_command_can_ask_for_the_budget_before_it_spends(move_in):
    async with move_in(PERFORMANCE_BUDGET_USER="0.003", PERFORMANCE_BUDGET_GUILD="1") as home:
        assert cogmeter.budget(user=home.owner.id)
        await asked(home)
        assert not cogmeter.budget(user=home.owner.id, guild=home.guild.id)
        assert cogmeter.budget(guild=home.guild.id).left_micro_usd == 993_000
        assert cogmeter.budget(user=1).spent_micro_usd == 0
        readings = await home.monitor.alerting.evaluator.evaluate(home.monitor.query._clock())
        (reading,) = [one for one in readings if one.subject.rule == "cost_share"]
    assert reading.breached
    assert "A user has spent $0.00 of its daily budget of $0.00 (2 users at the threshold)" in reading.message
    assert reading.current == pytest.approx(3_500 / 3_000)
