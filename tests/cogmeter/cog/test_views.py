"""Buttons below an answer: periods, the slowest, errors and the worst command; who may press them, and for how long."""

import socket
import time
from unittest import mock

import discord
import pytest
from discord.ext import commands
from factories import make_alert, make_errors

from cogmeter.cog import views
from cogmeter.recording.service_names import COMMANDS, COMPONENTS
from cogmeter_storage.alerting import Step
from cogmeter_storage.model import MINUTE_US, Outcome


async def seed(home):
    """A command that works, and one that fails."""
    now_us = time.time_ns() // 1000
    store = home.monitor.store
    ask, play = await store.series_ids([(COMMANDS, "ask"), (COMMANDS, "play")])
    rows = []
    for number in range(30):
        at_us = now_us - 3 * MINUTE_US + number * 1_000_000
        rows.append((ask, at_us, 20_000, Outcome.OK, None, None))
        rows.append((play, at_us + 1, 900_000, Outcome.ERROR, "ValueError: no node play", None))
    await store.append([rows], now_us=now_us)
    await store.errors.add([make_errors("play", now_us - 3 * MINUTE_US, count=30, where=(COMMANDS, "play"))])


def labels(message):
    return [item.label for row in message.components for item in row.children if hasattr(item, "label")]


def present(message):
    """The period that is shown."""
    return [item.label for row in message.components for item in row.children if getattr(item, "disabled", False)]


async def answered(home, command, **options):
    await home.owner.slash(home.channel, f"perf {command}", **options)
    return home.channel.last_message


async def summary_with_buttons(home):
    """Answer a summary of the seeded operations; its message, the responder and the open buttons."""
    await seed(home)
    message = await answered(home, "summary")
    responder = home.bot.get_cog("cogmeter")._installation._responder
    (buttons,) = responder.open
    return message, responder, buttons


async def test_a_summary_leads_to_the_worst_command_its_errors_and_back_in_place(move_in):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, "summary")
        assert labels(message) == ["1h", "24h", "7d", "Slowest", "Errors", "Worst: /play"]
        assert present(message) == ["24h"]
        assert "/play: 30 of 30 operations failed" in message.embeds[0].description
        number = len(home.channel.history())
        await home.owner.click(message, label="Worst: /play")
        message = home.channel.last_message
        assert message.embeds[0].title.startswith("/play Statistics")
        now, exceeded, *_ = message.embeds[0].description.splitlines()
        assert now == "**Unknown** now (no runs in the last 5 min)"
        assert exceeded.startswith("Exceeded in this range: 30 of 30 operations")
        assert labels(message) == ["1h", "24h", "7d", "Compare", "Summary", "Slowest", "Errors"]
        await home.owner.click(message, label="Errors")
        message = home.channel.last_message
        assert "ValueError" in message.embeds[0].description
        assert message.attachments == []  # the chart is gone with its answer
        await home.owner.click(message, label="Summary")
        await home.owner.click(home.channel.last_message, label="1h")
        message = home.channel.last_message
        assert message.embeds[0].title == "Performance Summary (Last Hour)"
        assert [one.filename for one in message.attachments] == ["chart.png"]
        assert present(message) == ["1h"]
        assert len(home.channel.history()) == number
        await home.flushed()
        used = [service for service, _ in (await home.monitor.query.overview()).services]
        assert COMPONENTS not in used  # our own presses are not the bot's operations


async def test_the_slowest_operations_are_those_of_what_was_shown(move_in):
    async with move_in() as home:
        await seed(home)
        await home.owner.click(await answered(home, "summary"), label="Slowest")
        embed = home.channel.last_message.embeds[0]
        assert embed.title == "Slowest Operations (Last 24 Hours)"
        assert embed.description.startswith("900 ms /play <t:")
        await home.owner.click(await answered(home, "stats", service=COMMANDS, operation="ask"), label="Slowest")
        embed = home.channel.last_message.embeds[0]
        assert embed.title == "Slowest Operations of /ask (Last 24 Hours)"
        assert "play" not in embed.description


async def test_errors_and_alerts_lead_on_too(move_in):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, "errors", kind="failed", period="7d")
        assert labels(message)[-6:] == ["1h", "24h", "7d", "Summary", "Slowest", "Worst: /play"]
        await home.owner.click(message, label="1h")
        assert "ValueError" in home.channel.last_message.embeds[0].description
        message = await answered(home, "alerts")
        assert labels(message) == ["Summary", "Slowest", "Errors", "Worst: /play"]
        await home.monitor.store.alerting.save(
            [Step(make_alert(1, uid=f"alert-{number}", service=f"s{number}")) for number in range(20)]
        )
        message = await answered(home, "alerts")
        await home.owner.click(message, label="Next")
        message = home.channel.last_message
        assert labels(message)[:3] == ["Previous", "Next", "Summary"]
        await home.owner.click(message, label="Worst: /play")
        assert "play" in home.channel.last_message.embeds[0].title


async def test_a_stranger_who_presses_is_refused_and_nothing_changes(move_in):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, "summary")
        refused = await home.stranger.click(message, label="Errors")
        assert refused.ephemeral
        assert "owner and team" in refused.response.content
        assert home.channel.last_message.embeds[0].title.startswith("Performance Summary")


@pytest.mark.parametrize("command", ["summary", "stats", "errors", "alerts", "doctor"])
async def test_buttons_expire_in_words_that_name_the_command(move_in, command):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, command, **({"service": COMMANDS} if command == "stats" else {}))
        await home.env.advance_time(900)
        await home.env.settle()
        message = home.channel.last_message
        assert message.content == f"These buttons have expired. Run `/perf {command}` for a new answer."
        assert labels(message) == []
        assert message.embeds  # the answer itself stays


async def test_a_press_keeps_the_buttons_open(move_in):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, "summary")
        await home.env.advance_time(600)
        await home.owner.click(message, label="1h")
        await home.env.advance_time(600)
        message = home.channel.last_message
        assert message.content == ""
        assert "Slowest" in labels(message)


async def test_a_press_after_a_restart_says_that_the_buttons_have_expired(move_in):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, "summary")
        for buttons in list(home.bot.get_cog("cogmeter")._installation._responder.open):
            buttons.close()  # as after a process that died: nobody listens, and the message has its buttons
        refused = await home.stranger.click(message, label="Slowest")
        assert refused.ephemeral
        await home.owner.click(message, label="Slowest")
        message = home.channel.last_message
        assert message.content == "These buttons have expired. Run `/perf summary` for a new answer."
        assert labels(message) == []


async def test_buttons_of_before_a_restart_are_gone_and_strangers_stay_refused(move_in):
    async with move_in() as home:
        await seed(home)
        message = await answered(home, "summary")
        for buttons in list(home.bot.get_cog("cogmeter")._installation._responder.open):
            buttons.close()  # as after a process that died: the message keeps its buttons
        await home.bot.unload_extension("cogmeter.cog")
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=home.owner.id)
        await home.env.restart_bot(bot)
        home.bot = bot
        await bot.load_extension("cogmeter.cog")
        await home.env.settle()
        refused = await home.stranger.click(message, label="Errors")
        assert refused.ephemeral
        assert labels(home.channel.last_message)
        await home.owner.click(message, label="Errors")
        assert home.channel.last_message.content.startswith("These buttons have expired. Run `/perf summary`")
        assert labels(home.channel.last_message) == []
        assert labels(await answered(home, "summary"))


async def test_after_an_unload_the_message_names_the_command(move_in):
    async with move_in() as home:
        await seed(home)
        await answered(home, "summary")
        await home.bot.unload_extension("cogmeter.cog")
        await home.env.settle()
        assert "Run `/perf summary`" in home.channel.last_message.content
        await home.bot.load_extension("cogmeter.cog")


async def test_a_press_that_another_one_overtook_changes_nothing(move_in, monkeypatch):
    async with move_in() as home:
        message, responder, buttons = await summary_with_buttons(home)
        slow = responder.answers["errors"]

        async def overtaken(request):
            buttons.close()  # the faster press has replaced the answer
            return await slow(request)

        monkeypatch.setitem(responder.answers, "errors", overtaken)
        await home.owner.click(message, label="Errors")
        assert home.channel.last_message.embeds[0].title.startswith("Performance Summary")
        assert responder.open == set()


async def test_a_press_while_another_one_replaces_the_answer_does_not_expire_it(move_in, monkeypatch):
    async with move_in() as home:
        message, responder, buttons = await summary_with_buttons(home)
        custom_id = next(item.custom_id for item in buttons.children if item.label == "Slowest")
        edit, second = discord.Interaction.edit_original_response, mock.MagicMock()
        second.response = mock.AsyncMock(is_done=lambda: False)

        class Press(views.ExpiredPress, template=views._PRESS):
            pass

        Press.responder = responder

        async def edited(interaction, **options):
            second.user, second.guild_id = interaction.user, interaction.guild_id
            await Press(discord.ui.Button(custom_id=custom_id)).callback(second)
            return await edit(interaction, **options)

        monkeypatch.setattr(discord.Interaction, "edit_original_response", edited)
        await home.owner.click(message, label="Errors")
        second.response.defer.assert_awaited_once_with()
        second.response.edit_message.assert_not_awaited()
        assert "ValueError" in home.channel.last_message.embeds[0].description
        assert buttons not in responder.open


async def test_the_dashboard_is_offered_where_it_is_on_and_its_link_is_for_one_user(move_in):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with move_in(ENABLE_ANALYTICS_DASHBOARD="true", PERFORMANCE_DASHBOARD_PORT=port) as home:
        await seed(home)
        message = await answered(home, "summary")
        assert labels(message)[-1] == "Open dashboard"
        opened = await home.owner.click(message, label="Open dashboard")
        assert opened.ephemeral
        assert f":{port}/performance" in opened.response.embeds[0].description
        refused = await home.stranger.click(message, label="Open dashboard")
        assert refused.ephemeral
        assert refused.response.embeds == []


async def test_a_summary_with_more_findings_than_it_lists_leads_to_all_of_them(move_in):
    async with move_in() as home:
        for number in range(5):
            for _ in range(30):
                home.monitor.recorder.record(f"shop-{number}", "buy", duration_ms=1, error="ValueError: no")
        await home.monitor.flusher.flush()
        message = await answered(home, "summary")
        assert "and 2 more findings" in message.embeds[0].description.splitlines()
        assert message.embeds[0].description.count("30 of 30 operations failed") == 3
        assert "All 5 findings" in labels(message)
        await home.owner.click(message, label="All 5 findings")
        message = home.channel.last_message
        assert message.embeds[0].title == "Needs Attention (last 24 hours)"
        assert message.embeds[0].description.count("30 of 30 operations failed") == 5
        assert "more finding" not in message.embeds[0].description
        assert labels(message)[3:] == ["Summary", "Slowest", "Errors"]
