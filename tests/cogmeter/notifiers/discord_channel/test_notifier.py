"""The alert channel: one edited message per alert, whatever happens to it, the channel or an attempt."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import logging
import re

import discord
import pytest
import simcord
from discord.ext import commands
from factories import make_alert

from cogmeter.alerts.model import calm
from cogmeter.notifiers.base import Notice, NotifyError
from cogmeter.notifiers.discord_channel.message import custom_id
from cogmeter.notifiers.discord_channel.notifier import ChannelNotifier
from cogmeter.query.records import IncidentContext, Period, Timeline
from cogmeter.render.charts.chart import Chart, Picture
from cogmeter.settings import Settings
from cogmeter_storage.alerting import AlertChange, AlertState
from cogmeter_storage.model import HOUR_US, MINUTE_US

START_US = 1_755_453_300_000_000
UID = "0123456789abcdef0123456789abcdef"
LINE = Timeline("knowledge-graph", Period.HOUR.range_at(START_US), MINUTE_US, [], [], [], [], [], [])
PICTURE = Picture(Chart(LINE), png=b"\x89PNG first")
REDRAWN = Picture(Chart(LINE), png=b"\x89PNG second")
FIRING = make_alert(START_US, uid=UID, fired_us=START_US, id=12)
ACKNOWLEDGED = dataclasses.replace(
    FIRING, state=AlertState.ACKNOWLEDGED, acknowledged_us=START_US + MINUTE_US, acknowledged_by="Ada"
)


def resolved(after_us, severity="warning"):
    return dataclasses.replace(
        FIRING, state=AlertState.RESOLVED, resolved_us=START_US + after_us, severity=severity, worst=0.2
    )


class Room:
    """The guild's alert channel, and the notifier that posts there."""

    def __init__(self, env, bot, guild, channel, settings):
        self.env, self.bot, self.guild, self.channel = env, bot, guild, channel
        self.settings = settings
        self.picture = PICTURE
        self.now_us = START_US
        self.changes = 0
        self.notifier = self.another()

    def another(self):
        """A notifier of the same settings, as after a restart."""
        return ChannelNotifier(
            self.bot, self.settings, context_of=self.incident, chart_of=self.drawn, clock=lambda: self.now_us
        )

    async def incident(self, alert):
        return IncidentContext(alert.started_us, self.now_us, 128, 41, users=7)

    async def drawn(self, alert):
        return self.picture

    def notice(self, kind, alert, *, actor="", at_us=None, **fields):
        self.changes += 1
        at_us = self.now_us if at_us is None else at_us
        values = (alert.state, alert.severity, alert.message, alert.current, alert.threshold, at_us)
        return Notice(AlertChange(alert.uid, kind, *values, actor=actor, id=self.changes), alert, **fields)

    async def notify(self, kind, alert, **fields):
        return await self.notifier.notify(self.notice(kind, alert, **fields))

    @property
    def messages(self):
        return sorted(self.channel.history(), key=lambda message: message.id)

    def requests(self, method):
        return [one for one in self.env.http_requests if one.method == method]


@pytest.fixture
def open_room():
    @contextlib.asynccontextmanager
    async def opened(*, channel_id=None, **settings):
        bot = commands.Bot("!", intents=discord.Intents.default())
        async with simcord.run(bot, settle_timeout=60) as env:
            guild = env.create_guild("home")
            channel = guild.create_text_channel("ops")
            known = Settings(_env_file=None, alert_channel_id=channel_id or channel.id, **settings)
            yield Room(env, bot, guild, channel, known)

    return opened


def labels(message):
    return [item.label for row in message.components for item in row.children]


def title(message):
    return message.embeds[0].title


async def test_an_alert_is_one_message_with_its_chart_and_buttons(open_room):
    async with open_room() as room:
        receipt = json.loads(await room.notify("fired", FIRING))
        (message,) = room.messages
        assert "Warning: Error rate of knowledge-graph" in title(message)
        assert message.embeds[0].image.url == "attachment://chart.png"
        assert await message.attachments[0].read() == PICTURE.png
        assert labels(message) == ["Acknowledge", "Mute 1 h", "Mute 4 h", "Mute 1 d", "Details"]
        assert message.components[0].children[0].custom_id == custom_id("acknowledge", UID)
        assert not message.flags.suppress_notifications
        assert receipt == {
            "channel": room.channel.id,
            "message": message.id,
            "posted_us": START_US,
            "thread": None,
            "chart": True,
        }


async def test_no_view_is_left_behind_for_the_buttons(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        await room.notify("acknowledged", ACKNOWLEDGED, receipt=receipt)
        assert not room.bot.persistent_views
        assert not room.bot._connection._view_store._views


async def test_the_same_message_is_edited_as_the_alert_continues(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.picture = REDRAWN
        receipt = await room.notify("acknowledged", ACKNOWLEDGED, actor="Ada", receipt=receipt)
        (message,) = room.messages
        assert "Acknowledged (warning)" in title(message)
        assert "Acknowledged by Ada" in message.embeds[0].description
        assert message.embeds[0].image.url == "attachment://chart.png"
        assert await message.attachments[0].read() == PICTURE.png
        assert "Acknowledge" not in labels(message)
        room.now_us += 12 * MINUTE_US
        await room.notify("resolved", resolved(12 * MINUTE_US), receipt=receipt)
        (message,) = room.messages
        assert "Resolved (warning)" in title(message)
        assert "lasted 12 min" in message.embeds[0].description
        assert [await one.read() for one in message.attachments] == [REDRAWN.png]
        assert not message.components


async def test_a_muted_alert_can_be_unmuted(open_room):
    async with open_room() as room:
        muted = dataclasses.replace(FIRING, state=AlertState.MUTED, muted_until_us=START_US + HOUR_US)
        receipt = await room.notify("fired", FIRING)
        await room.notify("muted", muted, receipt=receipt)
        (message,) = room.messages
        assert labels(message) == ["Acknowledge", "Unmute", "Details"]
        assert "Muted until" in message.embeds[0].description


async def test_low_severity_is_posted_silently(open_room):
    async with open_room() as room:
        await room.notify("fired", dataclasses.replace(FIRING, severity="info"))
        assert room.messages[0].flags.suppress_notifications


async def test_a_worsened_alert_gets_a_new_chart_and_a_follow_up_when_it_becomes_critical(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.picture = REDRAWN
        await room.notify("worsened", dataclasses.replace(FIRING, severity="critical"), receipt=receipt)
        message, reply = room.messages
        assert [await one.read() for one in message.attachments] == [REDRAWN.png]
        assert "Now critical: knowledge-graph: " in reply.content
        assert reply.reference.message_id == message.id


async def test_an_escalation_pings_only_the_role_and_user_of_the_settings(open_room):
    async with open_room(alert_escalate_role_id=77, alert_escalate_user_id=88) as room:
        hostile = dataclasses.replace(FIRING, message="Error @everyone <@&99> <@98>")
        receipt = await room.notify("fired", hostile)
        room.now_us += 15 * MINUTE_US
        escalated = dataclasses.replace(hostile, escalated=True)
        await room.notify("escalated", escalated, receipt=receipt)
        message, reply = room.messages
        assert "Escalated" in message.embeds[0].description
        assert reply.content.startswith("<@&77> <@88> ")
        assert "Nobody has acknowledged this for 15 min" in reply.content
        assert reply.reference.message_id == message.id
        allowed = [one.json["allowed_mentions"] for one in room.requests("POST") if "allowed_mentions" in one.json]
        assert allowed[0]["parse"] == []
        assert allowed[1] == {"parse": [], "roles": [77], "users": [88]}


async def test_an_escalation_without_a_setting_pings_nobody(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        await room.notify("escalated", FIRING, receipt=receipt)
        assert not room.messages[1].mentions
        assert all(not one.json["allowed_mentions"].get("roles") for one in room.requests("POST"))


async def test_a_reminder_is_a_short_reply(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.now_us += 65 * MINUTE_US
        await room.notify("reminded", FIRING, receipt=receipt)
        message, reply = room.messages
        assert "Still firing after 1 h 5 min, now 7.8%" in reply.content
        assert reply.reference.message_id == message.id


async def test_a_reminder_without_a_breach_now_names_the_last_value_in_the_past_tense(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        await room.notify("reminded", dataclasses.replace(FIRING, message=calm(FIRING.message)), receipt=receipt)
        reply = room.messages[-1].content.replace("\\", "")
        assert ": Error rate back within its threshold of 5% (was 7.8%)" in reply
        assert ", now " not in reply


async def test_a_resolution_after_an_hour_edits_the_message_and_posts_a_follow_up(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.now_us += 125 * MINUTE_US
        await room.notify("resolved", resolved(125 * MINUTE_US), receipt=receipt)
        message, reply = room.messages
        assert "Resolved" in title(message)
        assert reply.content == "\N{WHITE HEAVY CHECK MARK} Resolved after 2 h 5 min"
        assert reply.reference.message_id == message.id


@pytest.mark.parametrize(
    ("kind", "alert", "text"),
    [
        ("acknowledged", ACKNOWLEDGED, "Acknowledged by Ada"),
        ("resolved", resolved(125 * MINUTE_US), "Resolved after 2 h 5 min"),
        ("worsened", FIRING, "Now warning: knowledge-graph: Error rate of 7.8"),
        ("eased", FIRING, "Eased to warning: knowledge-graph: Error rate"),
        ("flapping", FIRING, "Flapping, so it stays open and is not sent again"),
        ("unmuted", FIRING, "No longer muted by Ada: knowledge-graph: Error rate"),
        ("joined", FIRING, "The group now has 0 alerts"),
        (
            "muted",
            dataclasses.replace(FIRING, state=AlertState.MUTED, muted_until_us=START_US),
            "Muted by Ada until <t:1755453300:f>",
        ),
    ],
)
async def test_a_message_too_old_to_be_edited_gets_a_short_follow_up(open_room, kind, alert, text):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.now_us += 125 * MINUTE_US
        room.env.inject_error("PATCH", "/channels/*/messages/*", status=429, code=30046, message="Maximum number")
        assert await room.notify(kind, alert, actor="Ada", receipt=receipt) == receipt
        message, reply = room.messages
        assert "Warning" in title(message)
        assert text in reply.content
        assert reply.reference.message_id == message.id


async def test_an_old_message_whose_edit_hangs_still_gets_its_follow_up(open_room, monkeypatch):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.now_us += 125 * MINUTE_US
        hung = asyncio.Event()

        async def never(*_, **__):
            hung.set()
            await asyncio.Event().wait()

        monkeypatch.setattr("cogmeter.notifiers.discord_channel.notifier.OLD_EDIT_S", 0.05)
        monkeypatch.setattr(discord.PartialMessage, "edit", never)  # as discord.py does while it waits to try again
        await room.notify("resolved", resolved(125 * MINUTE_US), receipt=receipt)
        assert hung.is_set()
        assert "Resolved after" in room.messages[1].content


async def test_a_deleted_message_is_posted_again_in_the_present_state(open_room, caplog):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.env.backend.delete_message(room.channel.id, room.messages[0].id)
        with caplog.at_level(logging.WARNING, logger="cogmeter"):
            again = json.loads(await room.notify("acknowledged", ACKNOWLEDGED, receipt=receipt))
        (message,) = room.messages
        assert again["message"] == message.id
        assert "Acknowledged (warning)" in title(message)
        assert message.attachments
        assert "message of alert 12 was deleted from the alert channel; posting it again" in caplog.text


@pytest.mark.parametrize(("severity", "posted"), [("warning", 0), ("critical", 1)])
async def test_a_deleted_message_of_a_resolved_alert_is_posted_again_only_if_critical(open_room, severity, posted):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        room.env.backend.delete_message(room.channel.id, room.messages[0].id)
        await room.notify("resolved", resolved(MINUTE_US, severity), receipt=receipt)
        assert len(room.messages) == posted


async def test_a_change_of_an_alert_without_a_message_posts_the_present_state(open_room):
    async with open_room() as room:
        await room.notify("resolved", resolved(12 * MINUTE_US))
        (message,) = room.messages
        assert "Resolved" in title(message)
        assert message.flags.suppress_notifications
        assert not message.components


async def test_an_attempt_that_broke_off_after_posting_is_not_posted_twice(open_room):
    async with open_room() as room:
        fired = room.notice("fired", FIRING)
        receipt = json.loads(await room.notifier.notify(fired))
        for number in range(60):  # later messages do not hide it
            room.env.backend.create_message(room.channel.id, room.bot.user.id, content=f"{number}")
        room.notifier = room.another()
        adopted = json.loads(await room.notifier.notify(dataclasses.replace(fired, uncertain=True)))
        assert adopted["message"] == receipt["message"]
        assert adopted["chart"]
        assert sum(bool(message.embeds) for message in room.channel.history()) == 1


async def test_a_later_change_finds_the_message_of_an_attempt_that_broke_off(open_room):
    async with open_room() as room:
        await room.notify("fired", FIRING)
        await room.notify("acknowledged", ACKNOWLEDGED)  # its receipt was lost in the crash
        (message,) = room.messages
        assert "Acknowledged" in title(message)
        await room.notify("resolved", resolved(MINUTE_US))
        await room.notify("resolved", resolved(MINUTE_US))  # without buttons it is recognised by its footer
        assert len(room.messages) == 1


async def test_the_message_of_another_alert_is_not_mistaken_for_it(open_room):
    async with open_room() as room:
        await room.notify("fired", dataclasses.replace(FIRING, uid="f" * 32))
        notice = room.notice("fired", FIRING)
        await room.notifier.notify(dataclasses.replace(notice, uncertain=True))
        assert len(room.messages) == 2


async def test_a_follow_up_that_broke_off_is_not_posted_twice(open_room):
    async with open_room(alert_escalate_role_id=77) as room:
        receipt = await room.notify("fired", FIRING)
        escalated = room.notice("escalated", FIRING, receipt=receipt)
        await room.notifier.notify(escalated)
        await room.another().notify(dataclasses.replace(escalated, uncertain=True))
        assert len(room.messages) == 2
        later = dataclasses.replace(FIRING, message="Error rate of 20% exceeds threshold of 5%")
        await room.notify("escalated", later, receipt=receipt, uncertain=True)
        assert len(room.messages) == 3


async def test_each_attempt_at_one_change_has_the_same_nonce(open_room):
    async with open_room() as room:
        fired = room.notice("fired", FIRING)
        receipt = await room.notifier.notify(fired)
        await room.notifier.notify(fired)
        await room.notify("reminded", FIRING, receipt=receipt)
        nonces = [one.json["nonce"] for one in room.requests("POST")]
        assert nonces[0] == nonces[1] != nonces[2]
        assert all(len(nonce) <= 25 for nonce in nonces)
        assert all(one.json["enforce_nonce"] for one in room.requests("POST"))


async def test_a_receipt_that_cannot_be_read_is_no_receipt(open_room):
    async with open_room() as room:
        await room.notify("fired", FIRING)
        for broken in ("{", "[]", '{"channel": 1}'):
            await room.notify("acknowledged", ACKNOWLEDGED, receipt=broken)
        assert len(room.messages) == 1


async def test_an_alert_without_its_chart_names_the_reason(open_room):
    async with open_room() as room:
        room.picture = Picture(Chart(LINE), problem="The chart process ended (code -9).")
        assert not json.loads(await room.notify("fired", FIRING))["chart"]
        (message,) = room.messages
        assert "No chart: The chart process ended" in message.embeds[0].description
        assert not message.attachments


async def test_a_failed_incident_context_or_chart_delays_no_alert(open_room, monkeypatch, caplog):
    async with open_room() as room:

        async def fails(_):
            raise RuntimeError("no incident context")

        room.incident = room.drawn = fails
        room.notifier = room.another()
        await room.notify("fired", FIRING)
        assert room.messages[0].embeds[0].fields[0].name == "Now"
        assert "Alert 12 is sent without its incident context" in caplog.text


async def test_a_slow_chart_is_added_when_it_is_drawn(open_room, monkeypatch):
    monkeypatch.setattr("cogmeter.notifiers.discord_channel.notifier.CHART_WAIT_S", 0.01)
    async with open_room() as room:
        drawn = asyncio.Event()

        async def late(_):
            await drawn.wait()
            return PICTURE

        room.drawn = late
        room.notifier = room.another()
        sending = asyncio.ensure_future(room.notify("fired", FIRING))
        while not room.messages:
            await asyncio.sleep(0.01)
        assert not room.messages[0].attachments
        drawn.set()
        assert json.loads(await sending)["chart"]
        (message,) = room.messages
        assert await message.attachments[0].read() == PICTURE.png
        assert labels(message)[0] == "Acknowledge"


async def test_a_chart_that_is_never_drawn_delays_no_other_alert(open_room, monkeypatch):
    monkeypatch.setattr("cogmeter.notifiers.discord_channel.notifier.CHART_WAIT_S", 0.01)
    monkeypatch.setattr("cogmeter.notifiers.discord_channel.notifier.LATE_S", 0.01)
    async with open_room() as room:
        ended = asyncio.Event()

        async def never(_):
            await ended.wait()

        room.drawn = never
        room.notifier = room.another()
        receipt = await room.notify("fired", FIRING)
        assert not json.loads(receipt)["chart"]
        await room.notify("resolved", resolved(MINUTE_US), receipt=receipt)
        assert "Resolved" in title(room.messages[0])
        ended.set()


async def test_the_reason_why_a_late_chart_failed_is_shown(open_room, monkeypatch):
    monkeypatch.setattr("cogmeter.notifiers.discord_channel.notifier.CHART_WAIT_S", 0.0)
    async with open_room() as room:
        room.picture = Picture(Chart(LINE), problem="The chart was not drawn within 20 s.")
        assert not json.loads(await room.notify("fired", FIRING))["chart"]
        assert "No chart: The chart was not drawn" in room.messages[0].embeds[0].description


async def test_a_message_that_was_found_again_gets_the_chart_that_it_still_lacks(open_room):
    async with open_room() as room:
        room.picture = None
        fired = room.notice("fired", FIRING)
        await room.notifier.notify(fired)
        room.picture = PICTURE
        assert json.loads(await room.notifier.notify(dataclasses.replace(fired, uncertain=True)))["chart"]
        (message,) = room.messages
        assert message.attachments


@pytest.mark.parametrize("kind", ["escalated", "reminded"])
async def test_an_alert_that_is_already_acknowledged_pings_nobody(open_room, kind):
    async with open_room(alert_escalate_role_id=77, alert_thread=True) as room:
        receipt = await room.notify("fired", FIRING)
        for known in (receipt, None):
            room.env.backend.messages[room.channel.id].clear()
            await room.notify(kind, ACKNOWLEDGED, receipt=known)
            assert [message.content for message in room.messages if message.embeds] == [""]
        assert all("<@&77>" not in str(one.json) for one in room.requests("POST"))


async def test_a_thread_receives_the_details_and_each_follow_up(open_room):
    async with open_room(alert_thread=True) as room:
        receipt = await room.notify("fired", FIRING)
        (thread,) = room.channel.threads
        assert json.loads(receipt)["thread"] == thread.id
        assert thread.name == "Alert 12: Error rate of knowledge-graph"
        receipt = await room.notify("acknowledged", ACKNOWLEDGED, actor="Ada", receipt=receipt)
        await room.notify("reminded", FIRING, receipt=receipt)
        assert [message for message in room.messages if message.type is discord.MessageType.default][1:] == []
        details, acknowledged, reminded = sorted(thread.history(), key=lambda message: message.id)
        assert title(details).startswith("Details: ")
        assert "Acknowledged by Ada" in acknowledged.content
        assert "Still firing" in reminded.content


async def test_a_ping_is_posted_in_the_channel_even_if_there_is_a_thread(open_room):
    async with open_room(alert_thread=True, alert_escalate_role_id=4242) as room:
        receipt = await room.notify("fired", FIRING)
        await room.notify("escalated", FIRING, receipt=receipt)
        await room.notify("escalated", FIRING, receipt=receipt, uncertain=True)  # it arrived, and is found there
        (reply,) = [one for one in room.messages if one.type is discord.MessageType.reply]
        assert reply.content.startswith("<@&4242> ")
        (thread,) = room.channel.threads
        assert len(thread.history()) == 1


async def test_without_the_permission_for_threads_the_alert_is_posted_without_one(open_room, caplog):
    async with open_room(alert_thread=True) as room:
        room.env.inject_error("POST", "/channels/*/messages/*/threads", status=403, code=50013, message="Missing")
        assert json.loads(await room.notify("fired", FIRING))["thread"] is None
        assert "Could not open a thread for alert 12" in caplog.text
        assert len(room.messages) == 1


async def test_a_thread_that_is_gone_sends_the_alert_back_to_its_channel(open_room):
    async with open_room(alert_thread=True) as room:
        receipt = await room.notify("fired", FIRING)
        gone = json.dumps(json.loads(receipt) | {"thread": 5})
        await room.notify("reminded", FIRING, receipt=gone)
        assert "Still firing" in room.messages[-1].content
        room.env.inject_error("POST", "/channels/*/messages", status=400, code=50083, message="Thread is archived")
        room.now_us += HOUR_US
        await room.notify("reminded", FIRING, receipt=receipt)
        assert "Still firing after 1 h" in room.messages[-1].content


async def test_a_test_is_marked_and_has_no_buttons(open_room):
    async with open_room() as room:
        trial = dataclasses.replace(FIRING, id=0)
        assert await room.notify("fired", trial, test=True) is None
        (message,) = room.messages
        assert title(message).startswith("Test: ")
        assert not message.components


async def test_discord_accepts_the_message_its_edits_and_its_follow_up(discord_server):
    bot = commands.Bot("!", intents=discord.Intents.default())
    settings = Settings(_env_file=None, alert_channel_id=int(discord_server.world.channel["id"]), alert_thread=True)
    async with discord_server.running(bot):
        room = Room(None, bot, None, None, settings)
        await room.notifier.prepare()
        receipt = await room.notify("fired", FIRING)
        receipt = await room.notify("acknowledged", ACKNOWLEDGED, receipt=receipt)
        room.now_us += 65 * MINUTE_US
        receipt = await room.notify("reminded", FIRING, receipt=receipt)
        room.picture = REDRAWN
        again = await room.notify("resolved", resolved(65 * MINUTE_US), receipt=receipt, uncertain=True)
        assert again == receipt
        known = json.loads(receipt)
        stored = discord_server.world.messages
        message = stored[str(known["channel"])][str(known["message"])]
        assert [entry["filename"] for entry in message["attachments"]] == ["chart.png"]
        assert message["embeds"][0]["image"]["url"] == message["attachments"][0]["url"]
        assert not message["components"]
        contents = [one["content"] for one in stored[str(known["thread"])].values()]
        assert [content.split(" ")[1:2] for content in contents] == [[], ["Acknowledged"], ["Still"], ["Resolved"]]
        assert not discord_server.violations


# -- what is wrong with the channel


async def test_a_channel_that_was_deleted_stops_the_target_and_names_the_setting(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        await room.bot.get_channel(room.channel.id).delete()
        for arguments in ({"receipt": receipt}, {}):
            with pytest.raises(
                NotifyError, match=r"PERFORMANCE_ALERT_CHANNEL_ID=\d+ cannot be posted in: the channel does not exist"
            ) as caught:
                await room.notify("acknowledged", ACKNOWLEDGED, **arguments)
            assert caught.value.gone
            assert caught.value.permanent


async def test_a_channel_that_does_not_exist_is_found_at_start(open_room):
    async with open_room(channel_id=999_999_999_999_999_999) as room:
        with pytest.raises(NotifyError, match="PERFORMANCE_ALERT_CHANNEL_ID=999999999999999999") as caught:
            await room.notifier.prepare()
        assert caught.value.gone


FORBIDDEN = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "embed_links": "Embed Links",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}


async def forbid(room, **permissions):
    """Deny permissions to everybody in the alert channel, the bot included."""
    channel = room.bot.get_channel(room.channel.id)
    await channel.set_permissions(channel.guild.default_role, **dict.fromkeys(permissions, False))


@pytest.mark.parametrize("permission", FORBIDDEN)
async def test_a_missing_permission_is_found_at_start_and_named(open_room, permission):
    async with open_room() as room:
        await room.notifier.prepare()
        await forbid(room, **{permission: False})
        with pytest.raises(NotifyError, match=f"lacks .*{FORBIDDEN[permission]}.* there; allow it") as caught:
            await room.notifier.prepare()
        assert str(caught.value).startswith(f"PERFORMANCE_ALERT_CHANNEL_ID={room.channel.id}: ")
        assert caught.value.permanent
        assert not caught.value.gone  # it can be allowed again while the bot runs
        assert not room.messages


async def test_with_threads_their_permission_is_needed_too(open_room):
    async with open_room(alert_thread=True) as room:
        await forbid(room, create_public_threads=False)
        with pytest.raises(NotifyError, match="lacks Create Public Threads there"):
            await room.notifier.prepare()


async def test_a_role_that_cannot_be_pinged_is_found_at_start(open_room):
    async with open_room(alert_escalate_role_id=77) as room:
        with pytest.raises(NotifyError, match="PERFORMANCE_ALERT_ESCALATE_ROLE_ID=77 is not a role"):
            await room.notifier.prepare()
        role = room.guild.create_role("on call")
        await forbid(room, mention_everyone=False)
        room.settings = room.settings.model_copy(update={"alert_escalate_role_id": role.id})
        with pytest.raises(NotifyError, match=f"PERFORMANCE_ALERT_ESCALATE_ROLE_ID={role.id} cannot be pinged"):
            await room.another().prepare()
        await room.bot.guilds[0].get_role(role.id).edit(mentionable=True)
        await room.another().prepare()


@pytest.mark.parametrize(("permission", "name"), [("send_messages", "Send Messages"), ("view_channel", "View Channel")])
async def test_access_that_was_lost_names_the_setting_and_the_missing_permission(open_room, permission, name):
    async with open_room() as room:
        await forbid(room, **{permission: False})
        with pytest.raises(NotifyError, match=r"PERFORMANCE_ALERT_CHANNEL_ID=\d+ cannot be posted in") as caught:
            await room.notify("fired", FIRING)
        assert not caught.value.permanent
        assert caught.value.retry_after_s == 60
        assert re.search(f"the bot lacks .*{name}.* there; allow it in that channel's permissions", str(caught.value))


class Refused:
    """A response of Discord, as discord.py's exceptions contain it."""

    reason = "Refused"

    def __init__(self, status):
        self.status = status


@pytest.mark.parametrize(
    ("status", "code", "words", "permanent", "gone"),
    [
        (400, 200000, "AutoMod blocked the message. Exempt the bot's role", True, False),
        (400, 240000, "Discord blocked a link in the message", True, False),
        (400, 40058, "the channel is a forum, which accepts posts only. Set the id of a text channel", True, True),
        (403, 50007, "accepts no direct messages from the bot", False, False),
        (400, 50083, "the thread is archived. Open the thread again", False, False),
        (403, 160005, "the thread is locked. Unlock the thread", False, False),
        (429, 20016, "slow mode", False, False),
        (403, 40004, "Discord has disabled sending temporarily", False, False),
        (400, 987654, "Discord's code 987654: its own text", True, False),
        (502, 0, "Discord answered 502", False, False),
    ],
)
async def test_a_refusal_of_discord_is_reported_with_its_reason_and_the_fix(
    open_room, monkeypatch, status, code, words, permanent, gone
):
    async def refuse(*_, **__):
        raise discord.HTTPException(Refused(status), {"code": code, "message": "its own text"})

    async with open_room() as room:
        monkeypatch.setattr(discord.abc.Messageable, "send", refuse)
        with pytest.raises(NotifyError, match=words) as caught:
            await room.notify("fired", FIRING)
        assert (caught.value.permanent, caught.value.gone) == (permanent, gone)
        assert f"PERFORMANCE_ALERT_CHANNEL_ID={room.channel.id}" in str(caught.value)


async def test_a_locked_thread_is_found_before_the_first_alert(open_room):
    async with open_room() as room:
        thread = await room.bot.get_channel(room.channel.id).create_thread(
            name="alerts", type=discord.ChannelType.public_thread
        )
        room.settings = room.settings.model_copy(update={"alert_channel_id": thread.id})
        await room.another().prepare()
        await thread.edit(locked=True)
        await forbid(room, manage_threads=False)
        with pytest.raises(NotifyError, match=r"the thread is locked\. Unlock the thread, or set another channel"):
            await room.another().prepare()


async def test_a_bot_that_is_timed_out_is_found_before_the_first_alert(open_room):
    async with open_room() as room:
        me = room.bot.get_guild(room.guild.id).me
        me.timed_out_until = discord.utils.utcnow() + dt.timedelta(hours=1)
        with pytest.raises(NotifyError, match="the bot is timed out in that server; remove the timeout from it"):
            await room.notifier.prepare()


async def test_where_no_files_are_allowed_the_alert_is_posted_without_its_chart(open_room):
    async with open_room() as room:
        await forbid(room, attach_files=False)
        assert not json.loads(await room.notify("fired", FIRING))["chart"]
        (message,) = room.messages
        assert not message.attachments
        assert "not allowed to attach files" in message.embeds[0].description


async def test_a_channel_that_accepts_no_messages_is_named(open_room):
    async with open_room() as room:
        forum = room.guild.create_forum_channel("ideas")
        await room.env.settle()
        room.settings = room.settings.model_copy(update={"alert_channel_id": forum.id})
        with pytest.raises(NotifyError, match="is a ForumChannel; name a text channel") as caught:
            await room.another().prepare()
        assert caught.value.gone


@pytest.mark.parametrize(
    ("status", "code", "permanent", "gone"),
    [
        (500, 0, False, False),
        (503, 0, False, False),
        (400, 50035, True, False),
        (401, 0, True, True),
        (403, 50013, False, False),
        (429, 20028, False, False),
    ],
)
async def test_discords_response_decides_whether_it_is_retried(open_room, status, code, permanent, gone):
    async with open_room() as room:
        room.env.inject_error("POST", "/channels/*/messages", status=status, code=code, times=None)
        with pytest.raises(NotifyError) as caught:
            await room.notify("fired", FIRING)
        assert (caught.value.permanent, caught.value.gone) == (permanent, gone)


async def test_a_broken_connection_is_retried(open_room, monkeypatch):
    async with open_room() as room:

        async def broken(*_, **__):
            raise ConnectionResetError

        monkeypatch.setattr(room.bot.http, "request", broken)
        with pytest.raises(NotifyError, match="cannot be reached: ConnectionResetError") as caught:
            await room.notify("fired", FIRING)
        assert not caught.value.permanent


async def test_before_the_bot_is_connected_an_alert_waits():
    bot = commands.Bot("!", intents=discord.Intents.default())
    room = Room(None, bot, None, None, Settings(_env_file=None, alert_channel_id=5))
    for attempt in (room.notifier.prepare(), room.notify("fired", FIRING)):
        with pytest.raises(NotifyError, match="not connected") as caught:
            await attempt
        assert not caught.value.permanent
        assert caught.value.retry_after_s


async def test_an_alert_moves_to_the_channel_that_is_set_now_when_its_own_is_gone(open_room):
    async with open_room() as room:
        receipt = await room.notify("fired", FIRING)
        new = room.guild.create_text_channel("new")
        await room.env.settle()
        await room.bot.get_channel(room.channel.id).delete()
        room.settings = room.settings.model_copy(update={"alert_channel_id": new.id})
        moved = json.loads(await room.another().notify(room.notice("acknowledged", ACKNOWLEDGED, receipt=receipt)))
        assert moved["channel"] == new.id
        assert "Acknowledged" in title(new.history()[0])


async def test_a_message_that_was_posted_and_deleted_within_one_change_is_posted_again(open_room):
    async with open_room() as room:
        room.env.inject_error("POST", "/channels/*/messages", status=404, code=10008, message="Unknown Message")
        await room.notify("fired", FIRING)
        assert len(room.messages) == 1
        first, second = (one.json["nonce"] for one in room.requests("POST"))
        assert first != second
