"""What the commands answer, and who may use them."""

import logging
import re
from types import SimpleNamespace

import aiohttp
import discord
from discord import app_commands
from factories import read_newer_each_time

import cogmeter
from cogmeter.render.charts.worker_process import ChartError
from cogmeter_storage import StorageError


def fields(message):
    return {field.name: field.value for field in message.embeds[0].fields}


def seed():
    for number in range(200):
        cogmeter.record(
            "sentiment-analysis",
            "analyze",
            duration_ms=number + 1,
            error="Rate limit exceeded" if number % 50 == 0 else None,
        )
    for _ in range(50):
        cogmeter.record("knowledge-graph", "query", duration_ms=10)


async def test_summary_answers_with_figures_services_and_a_chart(move_in):
    async with move_in() as home:
        seed()
        await home.flushed()
        result = await home.owner.slash(home.channel, "perf summary")
        message = result.response
        said = fields(message)
        assert "Performance Summary" in message.embeds[0].title
        assert "98.4%" in said["Success Rate"]
        assert said["Total Operations"].startswith("250")
        assert "1. sentiment-analysis: 200\xa0ops (98%\xa0success)" in said["Top Services by Volume"]
        assert message.attachments[0].filename == "chart.png"
        assert (await message.attachments[0].read()).startswith(b"\x89PNG")
        assert any("'type': 5" in str(request) for request in home.env.http_requests)  # deferred first


async def test_all_parts_of_the_summary_show_one_reading_of_the_alerts(move_in, monkeypatch):
    async with move_in() as home:
        seed()
        await home.flushed()
        with monkeypatch.context() as patched:
            read_newer_each_time(patched, services=5)
            result = await home.owner.slash(home.channel, "perf summary")
        text = result.response.embeds[0].description
    counts = re.findall(r"(\d+) of 22 failed", text)
    assert len(counts) == 5  # three findings, and the alerts that no finding is about
    assert len(set(counts)) == 1


async def test_switched_off_charts_are_missing_and_only_the_doctor_says_so(move_in):
    async with move_in(PERFORMANCE_CHARTS="false") as home:
        seed()
        await home.flushed()
        for command in ("perf summary", "perf stats"):
            options = {"service": "knowledge-graph"} if command.endswith("stats") else {}
            message = (await home.owner.slash(home.channel, command, **options)).response
            assert fields(message)["Success Rate"]
            assert message.attachments == []
            assert "chart" not in str(message.embeds[0].to_dict()).lower()
        await home.owner.slash(home.channel, "perf doctor")
        await home.owner.click(home.channel.last_message, label="Show all checks")
        doctor = home.channel.last_message.embeds[0].description
        assert "✓ **charts**: off: PERFORMANCE\\_CHARTS=false" in doctor
        assert home.monitor.charts.state == "not running, 0 charts drawn"


async def test_stats_answers_with_percentiles_slowest_operations_and_errors(move_in):
    async with move_in() as home:
        seed()
        await home.flushed()
        result = await home.owner.slash(home.channel, "perf stats", service="sentiment-analysis", period="1h")
        said = fields(result.response)
        assert "98%" in said["Success Rate"]
        assert said["Slowest Operations"].startswith("200 ms")
        assert "Rate limit exceeded" in said["Recent Errors"]
        assert "<t:" in said["Recent Errors"]
        one = await home.owner.slash(
            home.channel, "perf stats", service="knowledge-graph", operation="query", period="1h"
        )
        assert fields(one.response)["Total Operations"].startswith("50")


async def test_stats_takes_a_command_by_its_label(move_in):
    async with move_in() as home:
        for _ in range(7):
            cogmeter.record("discord.commands", "ask", duration_ms=900)
        cogmeter.record("discord.components", "Shop.buy", duration_ms=90)
        await home.flushed()
        for typed in ("/ask", "ask"):
            result = await home.owner.slash(home.channel, "perf stats", service=typed, period="1h")
            assert result.response.embeds[0].title == "/ask Statistics (Last Hour)"
            assert fields(result.response)["Total Operations"].startswith("7")
        result = await home.owner.slash(home.channel, "perf stats", service="button Shop.buy", period="1h")
        assert fields(result.response)["Total Operations"].startswith("1")
        result = await home.owner.slash(home.channel, "perf stats", service="/aks", period="1h")
        assert "`/ask`" in result.response.embeds[0].description


async def test_commands_and_services_are_completed_together(move_in):
    long = "x" * 100
    async with move_in() as home:
        seed()
        for name in ("ask", "help", long):
            cogmeter.record("discord.commands", name, duration_ms=1)
        await home.flushed()
        # The recorder also knows the names of earlier tests, so that 25 choices may not have all of these.
        typed = {
            "/as": "/ask",
            "hel": "/help",
            "x" * 60: long,
            "sentim": "sentiment-analysis",
            "graf": "knowledge-graph",
        }
        for text, name in {**typed, "discord.comman": "discord.commands"}.items():
            near = await home.owner.autocomplete(home.channel, "perf stats", "service", text)
            assert name in [one["value"] for one in near], text


async def test_an_empty_period_says_so_and_how_to_record(move_in):
    async with move_in() as home:
        result = await home.owner.slash(home.channel, "perf summary", period="1h")
        assert "Nothing recorded" in result.response.embeds[0].title
        assert "cogmeter.operation(" in result.response.embeds[0].description
        assert result.response.attachments == []


async def test_an_unknown_service_suggests_near_ones(move_in):
    async with move_in() as home:
        seed()
        await home.flushed()
        result = await home.owner.slash(home.channel, "perf stats", service="sentimental-analysis")
        assert "`sentiment-analysis`" in result.response.embeds[0].description


async def test_names_are_completed_from_what_is_stored(move_in):
    async with move_in() as home:
        seed()
        for number in range(40):
            cogmeter.record("knowledge-graph", f"op {number:02}", duration_ms=1)
        await home.flushed()
        services = await home.owner.autocomplete(home.channel, "perf stats", "service", "graf")
        values = [one["value"] for one in services]
        assert "knowledge-graph" in values
        assert "sentiment-analysis" not in values
        operations = await home.owner.autocomplete(
            home.channel, "perf stats", "operation", "", service="knowledge-graph"
        )
        assert len(operations) == 25
        assert await home.owner.autocomplete(home.channel, "perf stats", "operation", "", service="none") == []
        every = await home.owner.autocomplete(home.channel, "perf alerts", "service", "")
        assert "(other)" not in [one["value"] for one in every]  # no series has overflowed


async def test_a_stranger_is_refused_where_only_he_sees_it_and_learns_no_names(move_in):
    async with move_in() as home:
        seed()
        await home.flushed()
        result = await home.stranger.slash(home.channel, "perf summary")
        assert result.ephemeral
        assert result.response.embeds == []
        assert await home.stranger.autocomplete(home.channel, "perf stats", "service", "") == []


async def test_a_role_named_by_the_settings_may_ask(move_in):
    async def prepare(home, monkeypatch):
        role = home.guild.create_role("ops")
        home.stranger = home.guild.add_member(home.env.create_user("operator"), roles=[role])
        monkeypatch.setenv("PERFORMANCE_OPS_ROLE_IDS", str(role.id))

    async with move_in(prepare=prepare) as home:
        result = await home.stranger.slash(home.channel, "perf summary")
        assert not result.ephemeral
        assert result.response.embeds


async def test_refusals_and_faults_never_reach_the_hosts_error_handler(move_in, monkeypatch, caplog):
    seen = []

    async def prepare(home, _):
        @home.bot.tree.error
        async def on_error(interaction, error):
            seen.append(error)

    async with move_in(prepare=prepare) as home:
        await home.stranger.slash(home.channel, "perf summary")
        monkeypatch.setattr(home.monitor.query, "summary", None)
        result = await home.owner.slash(home.channel, "perf summary")
        assert "Something went wrong" in (result.response or result.followups[0]).content
        assert home.monitor.faults["commands"] == 1
    assert seen == []
    assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_an_error_after_the_defer_is_shown_in_the_channel_without_internals(move_in, monkeypatch, caplog):
    async def fails(*_, **__):
        raise StorageError("/home/ada/secret.db: the disk is full", permanent=False)

    async with move_in() as home:
        monkeypatch.setattr(home.monitor.query, "summary", fails)
        result = await home.owner.slash(home.channel, "perf summary")
        said = (result.response or result.followups[0]).content
        assert said == "The database does not answer; the bot's log says why. Recording continues."
        assert "the disk is full" in caplog.text
        assert home.monitor.faults["commands"] == 0


async def test_a_connection_that_breaks_while_answering_is_not_raised_to_the_host(move_in, monkeypatch, caplog):
    async def broken(*_, **__):
        raise aiohttp.ClientOSError("the connection is gone")

    async with move_in() as home:
        monkeypatch.setattr(discord.Webhook, "send", broken)
        await home.owner.slash(home.channel, "perf doctor")
        monkeypatch.setattr(home.monitor.query, "summary", None)
        await home.owner.slash(home.channel, "perf summary")
        assert "Discord did not accept an answer: the connection is gone" in caplog.text
        assert "Discord did not accept an error message: the connection is gone" in caplog.text
        assert not home.env.errors


async def test_without_a_chart_the_answer_comes_and_says_so(move_in, monkeypatch):
    async with move_in() as home:
        seed()
        await home.flushed()

        async def dead(chart):
            raise ChartError("The chart process ended.")

        monkeypatch.setattr(home.monitor.charts, "draw", dead)
        result = await home.owner.slash(home.channel, "perf summary")
        assert "The chart process ended." in result.response.embeds[0].description
        assert fields(result.response)["Total Operations"].startswith("250")


async def test_in_one_guild_the_commands_are_registered_there_alone(move_in):
    async def prepare(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_GUILD_ID", str(home.guild.id))

    async with move_in(prepare=prepare) as home:
        assert home.bot.tree.get_commands() == []
        assert [one.name for one in home.bot.tree.get_commands(guild=home.guild)] == ["perf"]
        assert (await home.owner.slash(home.channel, "perf summary")).response.embeds
        await home.bot.unload_extension("cogmeter.cog")
        assert home.bot.tree.get_commands(guild=home.guild) == []


async def test_a_host_that_does_not_sync_gets_one_line_with_the_call_to_make(move_in, caplog):
    with caplog.at_level(logging.WARNING, logger="cogmeter"):
        async with move_in(PERFORMANCE_SYNC_COMMANDS="false"):
            pass
    warnings = [message for message in caplog.messages if "is not registered" in message]
    assert warnings == [
        (
            "/perf is not registered with Discord yet: call `await bot.tree.sync()` once, or set "
            "PERFORMANCE_SYNC_COMMANDS=true"
        )
    ]


async def test_the_groups_name_is_a_setting(move_in):
    async with move_in(PERFORMANCE_COMMAND_GROUP="vitals") as home:
        assert (await home.owner.slash(home.channel, "vitals summary")).response.embeds


async def test_hints_name_the_command_group_that_is_set(move_in):
    async with move_in(PERFORMANCE_COMMAND_GROUP="vitals") as home:
        viewed = await home.owner.slash(home.channel, "vitals thresholds view")
        muted = await home.owner.slash(home.channel, "vitals mute", duration="1h", service="all")
        said = [str(one.response.embeds[0].to_dict()) for one in (viewed, muted)]
        assert "/vitals thresholds set" in said[0]
        assert "/vitals unmute" in said[1]
        assert not any("/perf" in one for one in said)


def test_every_command_keeps_to_discords_limits(move_in):
    group = app_commands.Group(name="perf", description="x")
    from cogmeter.cog.perf import FAMILIES

    for add in FAMILIES:
        add(group, responder=SimpleNamespace(answers={}))  # no command uses more of it before it is called
    assert len(group.commands) <= 25
    for command in group.walk_commands():
        assert 1 <= len(command.name) <= 32
        assert 1 <= len(command.description) <= 100
        for parameter in getattr(command, "parameters", ()):  # a group inside the group has none
            assert len(parameter.choices) <= 25
            assert 1 <= len(str(parameter.description)) <= 100
