"""``/perf setup``: each choice is stored and in effect at once, for those who may, and through a restart."""

import logging
import socket

import aiohttp
import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.alerts.model import Subject
from cogmeter.cog import setup_guide
from cogmeter.cog.responder import REFUSED
from cogmeter.cog.setup_menus import WATCHED, what_is_watched
from cogmeter.query.query import now_us
from cogmeter.settings import Settings
from cogmeter_storage import Outcome, StorageError
from cogmeter_storage.model import HOUR_US, MINUTE_US


async def opened(home, **options):
    """The message of /perf setup."""
    result = await home.owner.slash(home.channel, "perf setup", **options)
    assert result.ephemeral
    return result.response


async def choose(home, message, action, *values, who=None):
    return await (who or home.owner).select(message, values, custom_id=f"cogmeter:setup:{action}")


async def click(home, message, action, who=None):
    return await (who or home.owner).click(message, custom_id=f"cogmeter:setup:{action}")


def steps(message):
    return {line.split("**")[1].split(". ")[1]: line for line in message.embeds[0].description.split("\n")}


def note(message):
    return "".join(field.value for field in message.embeds[0].fields)


def said(result):
    """The texts that only the user sees."""
    return [message.content for message in [result.response, *result.followups] if message and message.content]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def overrides(home):
    return await home.monitor.store.alerting.overrides()


async def test_the_steps_are_in_one_message_that_only_the_owner_sees(move_in):
    async with move_in(PERFORMANCE_WATCH_STALLS="true", PERFORMANCE_WATCH_LLM="true") as home:
        message = await opened(home)
        assert list(steps(message)) == ["Channel", "Access", "Watched", "Digest", "Thresholds", "Dashboard", "Try it"]
        assert steps(message)["Channel"].startswith("○")
        assert "everything" in steps(message)["Watched"]
        assert "Nothing is changed here yet" in message.embeds[0].footer.text
        assert home.channel.history() == []
        refused = await home.stranger.slash(home.channel, "perf setup")
        assert refused.ephemeral
        assert refused.response.content == REFUSED


async def test_a_chosen_channel_receives_the_next_alert(move_in):
    async with move_in() as home:
        message = await opened(home)
        await choose(home, message, "channel", home.channel)
        assert steps(message)["Channel"] == f"✓ **1. Channel**: alerts go to <#{home.channel.id}>."
        assert await overrides(home) == {"setting:alert_channel_id": str(home.channel.id)}
        for number in range(40):
            cogmeter.record("web", "get", duration_ms=1, error="no" if number % 2 else None)
        await home.flushed()
        await home.monitor.alerting.check()
        await home.monitor.alerting.delivery.deliver_due()
        assert home.channel.last_message.embeds[0].title.endswith("Error rate of web")
        entries = await home.monitor.store.alerting.audit()
        assert [(entry.actor, entry.action) for entry in entries] == [("owner", "setting set")]
        await choose(home, message, "channel")
        assert await overrides(home) == {}
        assert home.monitor.alerting.delivery.names == ["log"]


async def test_a_channel_in_which_the_bot_may_not_post_is_not_stored_and_what_is_missing_is_named(move_in):
    async with move_in() as home:
        denied = discord.PermissionOverwrite(view_channel=True, send_messages=False, embed_links=False)
        closed = home.guild.create_text_channel("closed", overwrites={home.bot.user: denied})
        message = await opened(home)
        await choose(home, message, "channel", closed)
        assert note(message).startswith(
            f"✗ <#{closed.id}>: the bot lacks Send Messages, Embed Links and Attach Files there"
        )
        assert "Then choose the channel again" in note(message)
        assert steps(message)["Channel"].startswith("○")
        assert await overrides(home) == {}


async def test_a_channel_that_was_closed_later_is_shown_as_failing(move_in):
    async with move_in() as home:
        await home.monitor.setting_changes.change({"alert_channel_id": "123"}, "ada")
        message = await opened(home)
        assert steps(message)["Channel"].startswith("✗ **1. Channel**: <#123>")


async def test_roles_give_access_at_once_and_only_owners_may_choose_them(move_in):
    async with move_in(PERFORMANCE_OPS_ROLE_IDS="5") as home:
        role = home.guild.create_role("ops")
        helper = home.guild.add_member(home.env.create_user("helper"), roles=[role])
        assert (await helper.slash(home.channel, "perf setup")).response.content == REFUSED
        message = await opened(home)
        await choose(home, message, "roles", role)
        assert f"<@&{role.id}>" in steps(message)["Access"]
        assert home.monitor.settings.ops_role_ids == {5, role.id}  # a role of another server stays
        own = (await helper.slash(home.channel, "perf setup")).response
        result = await choose(home, own, "roles", who=helper)
        assert said(result) == [setup_guide.OWNERS_ONLY]
        await choose(home, own, "channel", home.channel, who=helper)
        assert home.monitor.settings.alert_channel_id == home.channel.id
        result = await helper.slash(home.channel, "perf setup", reset="all")
        assert result.response.content == setup_guide.OWNERS_ONLY
        await choose(home, message, "roles")
        assert "setting:ops_role_ids" not in await overrides(home)
        assert said(await click(home, own, "dashboard-on", who=helper))[0].startswith("This is for the bot's owner")


async def test_only_what_is_chosen_is_watched(move_in):
    async with move_in(PERFORMANCE_WATCH_STALLS="true", PERFORMANCE_WATCH_LLM="true") as home:
        message = await opened(home)
        kept = [field for field in WATCHED if field not in {"watch_tasks", "watch_rest"}]
        await choose(home, message, "watch", *kept)
        assert await overrides(home) == {"setting:watch_rest": "false", "setting:watch_tasks": "false"}
        assert "Background loops and scheduled jobs" in steps(message)["Watched"]
        assert not {"tasks", "REST"} & {surface.name for surface in home.monitor.watcher.surfaces}
        await choose(home, message, "watch", *WATCHED)
        assert await overrides(home) == {}  # the configured value is no change


async def test_the_digest_is_chosen(move_in):
    async with move_in() as home:
        message = await opened(home)
        assert steps(message)["Digest"].endswith("off.")
        await choose(home, message, "digest", "weekly")
        assert steps(message)["Digest"].endswith("weekly.")
        assert await overrides(home) == {"setting:digest": "weekly"}
        await choose(home, message, "digest", "off")
        assert await overrides(home) == {}


async def test_the_dashboard_is_switched_on_and_off(move_in):
    port = free_port()
    async with move_in(PERFORMANCE_DASHBOARD_PORT=port) as home, aiohttp.ClientSession() as session:
        message = await opened(home)
        await click(home, message, "dashboard-on")
        address = f"http://localhost:{port}/performance"
        assert f"on at {address}" in steps(message)["Dashboard"]
        async with session.get(address) as page:
            assert page.status == 200
        await click(home, message, "dashboard-off")
        assert steps(message)["Dashboard"].endswith("off.")
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(address)


async def test_two_owners_who_switch_the_dashboard_on_do_not_switch_it_off(move_in):
    async with move_in(PERFORMANCE_DASHBOARD_PORT=free_port()) as home:
        first, second = await opened(home), await opened(home)
        await click(home, first, "dashboard-on")
        await click(home, second, "dashboard-on")
        assert home.monitor.settings.analytics_dashboard is True
        assert await overrides(home) == {"setting:analytics_dashboard": "true"}
        await home.owner.slash(home.channel, "perf setup", reset="ENABLE_ANALYTICS_DASHBOARD")
        assert await overrides(home) == {}


async def test_a_test_alert_and_a_test_error_arrive_and_are_marked(move_in):
    async with move_in() as home:
        message = await opened(home)
        await choose(home, message, "channel", home.channel)
        await click(home, message, "test-alert")
        assert "✓ **channel**: delivered" in note(message)
        assert home.channel.last_message.embeds[0].title.startswith("Test: ")
        await click(home, message, "test-error")
        assert "Recorded Error 1 (SetupTestError)" in note(message)
        errors = (await home.owner.slash(home.channel, "perf errors")).response.embeds[0].description
        assert "SetupTestError" in errors
        assert "nothing is wrong" in errors
        summary = await home.monitor.dashboard()
        assert summary.overall_stats.total_operations == 0  # no operation of the bot failed


async def test_changes_are_listed_and_reset_one_by_one_or_all(move_in):
    async with move_in(PERFORMANCE_ALERT_CHANNEL_ID=77) as home:
        message = await opened(home)
        await choose(home, message, "channel", home.channel)
        await choose(home, message, "watch")
        await click(home, message, "changes")
        assert "PERFORMANCE\\_ALERT\\_CHANNEL\\_ID" in message.embeds[0].description
        await choose(home, message, "reset", "alert_channel_id")
        assert "Reset: PERFORMANCE\\_ALERT\\_CHANNEL\\_ID" in note(message)
        assert home.monitor.settings.alert_channel_id == 77
        assert home.monitor.settings.watch_tasks is False
        await choose(home, message, "reset", "all")
        assert await overrides(home) == {}
        assert message.embeds[0].description == "No setting is changed in chat."
        await click(home, message, "back")
        assert "Channel" in steps(message)


async def test_the_command_resets_too(move_in):
    async with move_in() as home:
        await home.monitor.setting_changes.change({"alert_window": "60", "alert_cooldown": "9"}, "ada")
        choices = await home.owner.autocomplete(home.channel, "perf setup", "reset", "alert")
        assert [choice["value"] if isinstance(choice, dict) else choice.value for choice in choices] == [
            "alert_window",
            "alert_cooldown",
        ]
        assert await home.stranger.autocomplete(home.channel, "perf setup", "reset", "alert") == []
        message = await opened(home, reset="PERFORMANCE_ALERT_WINDOW")
        assert "Reset: PERFORMANCE\\_ALERT\\_WINDOW" in note(message)
        assert await overrides(home) == {"setting:alert_cooldown": "9"}
        result = await home.owner.slash(home.channel, "perf setup", reset="alert_window")
        assert "alert\\_window is not changed in chat" in result.response.content


async def test_stored_values_without_effect_are_named_and_can_be_reset(move_in):
    async with move_in() as home:
        stored = {"setting:of_tomorrow": "1", "setting:alert_window": "-3"}
        await home.monitor.store.alerting.override(stored, now_us=now_us(), actor="ada")
        await home.bot.reload_extension("cogmeter.cog")
        await home.env.settle()
        assert home.monitor.settings.alert_window == 300
        message = await opened(home)
        await click(home, message, "changes")
        assert "is not a setting of this version" in message.embeds[0].description
        assert "PERFORMANCE\\_ALERT\\_WINDOW='-3'" in message.embeds[0].description
        await choose(home, message, "reset", "of_tomorrow")
        await choose(home, message, "reset", "all")
        assert await overrides(home) == {}
        assert home.monitor.setting_changes.left_out == {}


async def test_a_message_of_an_earlier_run_still_works(move_in):
    async with move_in() as home:
        message = await opened(home)
        await choose(home, message, "channel", home.channel)
        await home.bot.unload_extension("cogmeter.cog")
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=home.owner.id)
        await home.env.restart_bot(bot)
        home.bot = bot
        await bot.load_extension("cogmeter.cog")
        await home.env.settle()
        assert home.monitor.settings.alert_channel_id == home.channel.id
        await click(home, message, "test-alert")
        assert "✓ **channel**: delivered" in note(message)
        assert steps(message)["Channel"].startswith("✓")


async def test_thresholds_are_proposed_from_the_bots_own_operations(move_in):
    async with move_in() as home:
        chat, rare = await home.monitor.store.series_ids([("chat", "answer"), ("rare", "answer")])
        start_us = now_us() - 5 * HOUR_US
        rows = [
            (series, start_us + number * MINUTE_US, 7_000_000, Outcome.OK, None, None)
            for number in range(290)
            for series in ((chat, rare) if number < 10 else (chat,))
        ]
        await home.monitor.store.append([rows], now_us=now_us())
        message = await opened(home)
        await click(home, message, "thresholds")
        text = message.embeds[0].description
        assert "95% of chat take under 6.9 s; an alert above 14 s (average) would not have fired in the last" in text
        assert "rare" not in text
        (option,) = message.components[0]["components"][0]["options"]
        await choose(home, message, "use", option["value"])
        assert note(message) == "✓ 1 threshold changed."
        assert home.monitor.alerting.limits.of(Subject("response_time", "chat")).threshold == 14_000
        assert (
            "No proposals: the documented thresholds fit" in message.embeds[0].description
        )  # it has a threshold of its own now
        await click(home, message, "back")
        assert "1 threshold changed." in steps(message)["Thresholds"]


async def test_without_enough_operations_nothing_is_proposed(move_in):
    async with move_in() as home:
        message = await opened(home)
        await click(home, message, "thresholds")
        assert "No proposals: the documented thresholds fit" in message.embeds[0].description


async def test_there_is_no_setup_outside_of_a_server(move_in):
    async with move_in() as home:
        user = home.env.create_user("boss")
        home.bot.owner_id = user.id
        result = await user.slash("perf setup")
        assert result.response.content == setup_guide.NO_SERVER


async def test_a_store_that_fails_is_explained_and_changes_nothing(move_in, monkeypatch):
    async with move_in() as home:
        message = await opened(home)

        async def fails(*_, **__):
            raise StorageError("the disk is full", permanent=False)

        monkeypatch.setattr(type(home.monitor.store.alerting), "override", fails)
        result = await choose(home, message, "channel", home.channel)
        assert said(result) == ["The database does not answer; the bot's log says why. Recording continues."]
        assert home.monitor.settings.alert_channel_id is None


async def test_the_log_names_the_command_once_for_each_database(move_in, caplog):
    hint = "Use /perf setup in Discord"
    with caplog.at_level(logging.INFO, "cogmeter"):
        async with move_in() as home:
            assert caplog.text.count(hint) == 1
            await home.bot.reload_extension("cogmeter.cog")
            assert caplog.text.count(hint) == 1


async def test_a_bot_with_a_channel_needs_no_hint(move_in, caplog):
    with caplog.at_level(logging.INFO, "cogmeter"):
        async with move_in(PERFORMANCE_ALERT_CHANNEL_ID=5):
            assert "/perf setup" not in caplog.text


def test_every_surface_can_be_chosen_by_a_label_of_its_own():
    labels = [what_is_watched(field) for field in WATCHED]
    assert len(set(labels)) == len(labels) <= 25
    assert all(isinstance(Settings.model_fields[field].default, bool) for field in WATCHED)
