"""The buttons of an alert's message, pressed by those who may, and by others, with real store, engine and delivery."""

import asyncio
import contextlib
import dataclasses
import logging
from collections import Counter

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.alerts.alerting import Alerting
from cogmeter.alerts.model import Reading, Subject
from cogmeter.cog import alert_buttons
from cogmeter.cog.responder import FAILED, REFUSED_PRESS, AccessPolicy, Responder
from cogmeter.notifiers.discord_channel.message import MUTES
from cogmeter.notifiers.discord_channel.notifier import ChannelNotifier
from cogmeter.query.query import now_us
from cogmeter.settings import Settings
from cogmeter.watch.watcher import Watcher
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState, Mute
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import HOUR_US, MINUTE_US

SUBJECT = Subject("error_rate", "knowledge-graph")
BREACH = Reading(SUBJECT, 0.078, 0.05, "Error rate of 7.8% exceeds threshold of 5%", "warning")
QUICK = {"alert_recovery": 0, "alert_cooldown": 0, "alert_group_from": 2}


async def nothing(_):
    return None


class Watch:
    """What the presses need of a monitor, every part of it the real one, and nothing that runs by itself."""

    def __init__(self, store, settings):
        self.store, self.settings = store, settings
        self.faults = Counter()

    def move_into(self, bot):
        """Serve this bot, as after a restart."""
        self.watcher = Watcher(bot, self.settings, cogmeter.default_recorder)

        def channel(incidents):
            return [ChannelNotifier(bot, self.settings, context_of=incidents.of, chart_of=nothing)]

        self.alerting = Alerting(self.settings, [], self.store, notifiers_of=channel, url_of=lambda _: None)
        alert_buttons.add(bot, Responder(self, AccessPolicy(bot, self)))

    async def check(self, *readings):
        """One check with these readings, and the delivery of what it changed."""
        await self.alerting.engine.step(readings, now_us())
        await self.alerting.delivery.deliver_due()

    async def alert(self):
        """The alert that was stored last."""
        (alert,) = await self.store.alerting.alerts(tuple(AlertState), limit=1)
        return alert


@pytest.fixture
def breach(move_in):
    """A home with one alert in its channel; gives the home, the watch, and the alert's message."""

    @contextlib.asynccontextmanager
    async def opened(*readings, **settings):
        async with move_in(load=False) as home:
            store = await open_store("sqlite:///performance.db")
            try:
                watch = Watch(store, Settings(_env_file=None, alert_channel_id=home.channel.id, **QUICK, **settings))
                watch.move_into(home.bot)
                await watch.check(*(readings or [BREACH]))
                yield home, watch, home.channel.last_message
            finally:
                await store.close()

    return opened


def labels(message):
    return [item.label for row in message.components for item in row.children]


def answers(result):
    """What was sent to who pressed: beside a message that is edited, or in place of "thinking"."""
    return [*([result.response] if result.response and result.response.ephemeral else []), *result.followups]


def words(result):
    assert all(answer.ephemeral for answer in answers(result))
    return [answer.content for answer in answers(result)]


async def test_acknowledge_takes_the_alert_up_and_shows_it_at_once(breach):
    async with breach() as (home, watch, message):
        result = await home.owner.click(message, label="Acknowledge")
        shown = home.channel.last_message
        assert shown.id == message.id
        assert "Acknowledged (warning)" in shown.embeds[0].title
        assert "Acknowledged by owner" in shown.embeds[0].description
        assert labels(shown) == ["Mute 1 h", "Mute 4 h", "Mute 1 d", "Details"]
        assert not words(result)
        assert ((await watch.alert()).state, (await watch.alert()).acknowledged_by) == ("acknowledged", "owner")
        await watch.alerting.delivery.deliver_due()
        assert len(home.channel.history()) == 1


async def test_discord_is_answered_before_anything_else_is_done(breach):
    async with breach() as (home, _, message):
        for label, kind in (("Details", 5), ("Acknowledge", 6), ("Mute 1 h", 6)):
            before = len(home.env.http_requests)
            await home.owner.click(message, label=label)
            first = home.env.http_requests[before]
            assert first.path.endswith("/callback")
            assert first.json["type"] == kind


@pytest.mark.parametrize("action", MUTES)
async def test_mute_keeps_the_rule_of_that_service_quiet_until_it_is_unmuted(breach, action):
    async with breach() as (home, watch, message):
        label, length_us = MUTES[action]
        await home.owner.click(message, label=label)
        (mute,) = await watch.store.alerting.mutes(now_us())
        assert (mute.rule, mute.service, mute.actor) == ("error_rate", "knowledge-graph", "owner")
        assert mute.until_us - mute.since_us == length_us
        shown = home.channel.last_message
        assert "Muted (warning)" in shown.embeds[0].title
        assert f"Muted until <t:{mute.until_us // 1_000_000}:f>" in shown.embeds[0].description
        assert "Unmute" in labels(shown)
        await home.owner.click(shown, label="Unmute")
        assert not await watch.store.alerting.mutes(now_us())
        shown = home.channel.last_message
        assert "Warning" in shown.embeds[0].title
        assert label in labels(shown)


async def test_a_mute_that_covers_more_is_left_to_the_command_that_says_so(breach):
    async with breach() as (home, watch, _):
        until_us = now_us() + HOUR_US
        await watch.alerting.engine.mute(Mute("", "", now_us() - 1, until_us, "Ada"), now_us())
        await watch.alerting.delivery.deliver_due()
        result = await home.owner.click(home.channel.last_message, label="Unmute")
        said = f"The alert stays muted: a wider mute is active until <t:{until_us // 1_000_000}:f>. "
        assert words(result) == [f"{said}`/perf unmute` ends it."]
        assert len(await watch.store.alerting.mutes(now_us())) == 1


@pytest.mark.parametrize("label", ["Acknowledge", "Mute 1 h", "Mute 4 h", "Mute 1 d", "Details"])
async def test_a_strangers_press_is_refused_to_the_stranger_alone(breach, label):
    async with breach() as (home, watch, message):
        before = await watch.alert()
        result = await home.stranger.click(message, label=label)
        assert words(result) == [REFUSED_PRESS]
        assert await watch.alert() == before
        assert not await watch.store.alerting.mutes(now_us())
        assert home.channel.last_message.embeds[0].title == message.embeds[0].title


async def test_a_role_that_the_settings_name_may_press(breach):
    async with breach(ops_role_ids=frozenset({5})) as (home, watch, message):
        role = home.guild.create_role("on call")
        watch.settings = watch.settings.model_copy(update={"ops_role_ids": frozenset({role.id})})
        alert_buttons.add(home.bot, Responder(watch, AccessPolicy(home.bot, watch)))
        member = home.guild.add_member(home.env.create_user("ops"), roles=[role])
        await home.env.settle()
        await member.click(message, label="Acknowledge")
        assert (await watch.alert()).acknowledged_by == "ops"


async def test_details_show_history_and_deliveries_to_who_asked_alone(breach):
    async with breach() as (home, watch, message):
        await home.owner.click(message, label="Acknowledge")
        await watch.alerting.delivery.deliver_due()
        result = await home.owner.click(message, label="Details")
        (answer,) = answers(result)
        fields = {field.name: field.value for field in answer.embeds[0].fields}
        assert "acknowledged by owner" in fields["History"].splitlines()[0]
        assert "fired, 7.8%" in fields["History"].splitlines()[1]
        assert fields["Deliveries"].count("channel: sent") == 2
        assert len(home.channel.history()) == 1


async def test_the_buttons_of_a_former_run_are_answered(breach):
    async with breach() as (home, watch, message):
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=home.bot.owner_id)
        await home.env.restart_bot(bot)
        watch.move_into(bot)
        await watch.alerting.engine.restore(now_us())
        await home.owner.click(message, label="Acknowledge")
        assert "Acknowledged by owner" in home.channel.last_message.embeds[0].description
        await watch.check()
        await watch.alerting.delivery.deliver_due()
        (shown,) = home.channel.history()
        assert shown.id == message.id
        assert "Resolved" in shown.embeds[0].title


async def test_what_is_over_can_be_neither_acknowledged_nor_muted(breach):
    async with breach() as (home, watch, message):
        await watch.alerting.engine.step([], now_us() + MINUTE_US)  # and its message was not brought up to date yet
        for label, said in (("Acknowledge", "Alert 1 is already resolved"), ("Mute 1 h", alert_buttons.OVER)):
            result = await home.owner.click(message, label=label)
            assert words(result) == [said]
            assert not await watch.store.alerting.mutes(now_us())


async def test_an_alert_that_is_no_longer_stored_is_reported(breach):
    async with breach() as (home, watch, message):
        new = await open_store("sqlite:///new.db")  # the old one was corrupt, say
        try:
            watch.store = watch.alerting.engine.store = new
            await watch.alerting.engine.restore(now_us())
            for label in ("Acknowledge", "Mute 1 h", "Details"):
                (said,) = words(await home.owner.click(message, label=label))
                assert said.startswith("There is no such alert; it may be older than the retention")
        finally:
            await new.close()


async def test_acknowledging_a_group_acknowledges_all_of_it(breach):
    other = dataclasses.replace(BREACH, subject=Subject("error_rate", "web-crawling"))
    async with breach(BREACH, other) as (home, watch, message):
        assert "Many alerts at once" in message.embeds[0].title
        await home.owner.click(message, label="Acknowledge")
        shown = home.channel.last_message
        (listed,) = [field.value for field in shown.embeds[0].fields if field.name == "Alerts"]
        assert listed.count("\N{EYES}") == 2
        alerts = await watch.store.alerting.alerts()
        assert {alert.state for alert in alerts} == {AlertState.ACKNOWLEDGED}


async def test_a_failing_store_is_reported(breach, monkeypatch):
    async with breach() as (home, watch, message):

        async def fails(*_, **__):
            raise StorageError("the disk is full", permanent=False)

        monkeypatch.setattr(watch.alerting.engine, "acknowledge", fails)
        result = await home.owner.click(message, label="Acknowledge")
        assert words(result) == ["The database does not answer; the bot's log says why. Recording continues."]


async def test_an_internal_error_is_reported_counted_and_kept_from_the_host(breach, monkeypatch, caplog):
    async with breach() as (home, watch, message):

        async def fails(*_, **__):
            raise ZeroDivisionError

        monkeypatch.setattr(watch.alerting.engine, "acknowledge", fails)
        with caplog.at_level(logging.ERROR, logger="cogmeter"):
            result = await home.owner.click(message, label="Acknowledge")
        assert words(result) == [FAILED]
        assert watch.faults["presses"] == 1
        assert not home.env.errors
        assert [record.name for record in caplog.records if record.levelno == logging.ERROR] == ["cogmeter.cog"]


@pytest.mark.parametrize("path", ["/interactions/*/callback", "/webhooks/*"])
async def test_discords_refusal_of_an_answer_is_logged_and_the_notifier_edits_all_the_same(breach, caplog, path):
    async with breach() as (home, watch, message):
        home.env.inject_error("*", path, status=404, code=10062, message="Unknown interaction", times=2)
        with contextlib.suppress(Exception):  # simcord itself says that nobody answered
            await home.owner.click(message, label="Acknowledge")
        assert not home.env.errors
        if "webhooks" in path:
            await watch.alerting.delivery.deliver_due()
            assert "Acknowledged by owner" in home.channel.last_message.embeds[0].description
        else:
            assert "Discord did not accept the answer to a press" in caplog.text


async def test_many_loads_leave_one_answer_and_an_unload_none(breach):
    async with breach() as (home, watch, message):
        kept = home.bot._connection._view_store._dynamic_items
        for _ in range(5):
            alert_buttons.remove(home.bot)
            assert not kept
            alert_buttons.add(home.bot, Responder(watch, AccessPolicy(home.bot, watch)))
            alert_buttons.add(home.bot, Responder(watch, AccessPolicy(home.bot, watch)))
            assert len(kept) == 1
        await home.owner.click(message, label="Acknowledge")
        assert [change.kind for change in await watch.store.alerting.changes()] == ["acknowledged", "fired"]


async def test_two_presses_at_once_leave_the_first_ones_name(breach):
    async with breach() as (home, watch, message):
        alert = await watch.alert()
        await asyncio.gather(*(watch.alerting.engine.acknowledge(alert.uid, name, now_us()) for name in ("Ada", "Ben")))
        assert (await watch.alert()).acknowledged_by == "Ada"
        result = await home.owner.click(message, label="Acknowledge")
        assert "Acknowledged by Ada" in home.channel.last_message.embeds[0].description
        assert not words(result)


@pytest.mark.parametrize("label", ["Mute 1 h", "Acknowledge"])
async def test_a_button_that_is_pressed_again_and_again_acts_once(breach, label):
    async with breach() as (home, watch, message):
        # Discord takes no edit of the message, so that the button stays.
        home.env.inject_error("PATCH", "/webhooks/*", times=None)
        for _ in range(12):
            assert not words(await home.owner.click(message, label=label))
        audit = await watch.store.alerting.audit()
        assert [one.action for one in audit] == [label.split()[0].lower()]
        assert len(await watch.store.alerting.mutes(now_us())) == (label == "Mute 1 h")


async def test_a_longer_mute_prolongs_a_shorter_one_and_unmute_ends_both(breach):
    async with breach() as (home, watch, message):
        home.env.inject_error("PATCH", "/webhooks/*", times=3)  # takes no edit of the message, so that the buttons stay
        for label in ("Mute 1 h", "Mute 4 h", "Mute 1 h"):
            await home.owner.click(message, label=label)
        until_us = max(one.until_us for one in await watch.store.alerting.mutes(now_us()))
        assert (await watch.alert()).muted_until_us == until_us
        assert len(await watch.store.alerting.mutes(now_us())) == 2
        await watch.alerting.delivery.deliver_due()
        await home.owner.click(home.channel.last_message, label="Unmute")
        assert await watch.store.alerting.mutes(now_us()) == []


class Vote(discord.ui.View):
    @discord.ui.button(label="Vote", custom_id="vote")
    async def vote(self, interaction, _):
        await interaction.response.send_message("counted")


@pytest.mark.parametrize("components", [True, False])
async def test_presses_are_not_the_hosts_performance(breach, components):
    async with breach(watch_components=components) as (home, watch, message):
        recorder = cogmeter.default_recorder
        await watch.watcher.install()
        try:
            poll = await home.bot.get_channel(home.channel.id).send("Shall we?", view=Vote(timeout=None))
            recorder.buffer.take()
            for label in ("Details", "Mute 1 h", "Acknowledge"):
                await home.owner.click(message, label=label)
            await home.stranger.click(message, label="Details")
            atoms = recorder.buffer.take()
            assert {recorder.names[series] for series in atoms[::5]} == set()
            await home.owner.click(poll, label="Vote")
            seen = {recorder.names[series] for series in recorder.buffer.take()[::5]}
            assert {service for service, _ in seen} >= {"discord.acknowledgement"}
        finally:
            await watch.watcher.remove()
