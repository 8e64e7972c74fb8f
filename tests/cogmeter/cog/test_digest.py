"""The digest: its content, when it is posted, and that neither a restart nor the weekly report repeats it."""

import time
from datetime import datetime

import numpy as np
import pytest
from factories import make_alert, make_errors

from cogmeter.cog.scheduled_posts import DIGEST_KEY, FIRST_US, WEEK_US, DigestPost, WeeklyReport
from cogmeter.recording.service_names import COMMANDS
from cogmeter.times import us_of
from cogmeter_storage.alerting import AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker, Outcome
from cogmeter_storage.usage import PeopleKind, UsageBatch, people_key

MONDAY_US = FIRST_US + 2_950 * WEEK_US + HOUR_US  # 09:00 UTC


async def seed(home, now_us):
    """Two days of a command, the second one with failures, a deploy, errors and alerts."""
    store = home.monitor.store
    (ask,) = await store.series_ids([(COMMANDS, "ask")])
    start_us = now_us - 47 * HOUR_US
    rows = []
    for number in range(280):
        error = "ValueError: no node ask" if number > 140 and number % 4 == 0 else None
        outcome = Outcome.OK if error is None else Outcome.ERROR
        rows.append((ask, start_us + number * 10 * MINUTE_US, 80_000, outcome, error, None))
    await store.append([rows], now_us=now_us)
    people = np.arange(1, 31, dtype=np.uint64) << np.uint64(40)
    users, guilds = people_key(ask, PeopleKind.USER), people_key(ask, PeopleKind.GUILD)
    keys, hashes = np.array([users] * 30 + [guilds] * 4), np.concatenate([people, people[:4]])
    await store.usage.add(UsageBatch(now_us - 3 * HOUR_US, keys, hashes))
    await store.usage.add(UsageBatch(now_us - 30 * HOUR_US, np.array([users] * 20), people[:20]))
    await store.add_marker(Marker(now_us - 20 * HOUR_US, "version", "version 1.4"))
    await store.add_marker(Marker(now_us - 19 * HOUR_US, "start", "bot started"))
    await store.errors.add([make_errors("ask", now_us - 5 * HOUR_US, count=30, where=(COMMANDS, "ask"))])
    await store.errors.add([make_errors("old", now_us - 40 * HOUR_US), make_errors("gone", now_us - 60 * HOUR_US)])
    await store.errors.resolve(3, actor="Ada", now_us=now_us - HOUR_US)
    alerts = [
        make_alert(now_us - number * HOUR_US, uid=f"alert-{number}", rule="throughput", service=COMMANDS,
                   state=AlertState.RESOLVED, fired_us=now_us - number * HOUR_US,
                   resolved_us=now_us - number * HOUR_US + 6 * MINUTE_US)
        for number in range(1, 5)
    ]  # fmt: skip
    await store.alerting.save([Step(alert) for alert in alerts])


def fields(embed):
    return {field.name: field.value for field in embed.fields}


async def test_the_command_shows_what_happened_in_the_last_day(move_in):
    async with move_in() as home:
        await seed(home, time.time_ns() // 1_000)
        message = (await home.owner.slash(home.channel, "perf digest")).response
        (embed,) = message.embeds
        shown = fields(embed)
        assert embed.title == "Digest (last 24 hours)"
        assert embed.description.splitlines()[0] == "**Degraded** in this period"
        assert "/ask: " in embed.description
        assert "Throughput of discord.commands fired 4 times" in embed.description
        assert list(shown) == [
            "Operations", "Error rate", "Slow response (p95)", "What changed", "Errors", "Alerts (last 24 hours)"
        ]  # fmt: skip
        assert "vs previous 24 h" in shown["Operations"]
        assert "\n30 users (▲ 50%) in 4 servers" in shown["Operations"]
        assert "▲" in shown["Error rate"]
        assert "version 1.4" in shown["What changed"]
        assert "The bot started" in shown["What changed"]
        assert shown["Errors"].splitlines() == [
            "New: ValueError in cogs/graph.py:42 in Graph.ask (error 1), 30 times",
            "Resolved: 1 (error 3)",
        ]
        assert shown["Alerts (last 24 hours)"].splitlines() == [
            "**4 alerts**: 0 acknowledged, 4 resolved (median: after 6 min), 0 muted",
            "Throughput of discord.commands: 4 times, resolved (median: after 6 min)",
            "Resolved without action: Throughput of discord.commands, 4 times",
        ]
        assert [attachment.filename for attachment in message.attachments] == ["chart.png"]
        week = (await home.owner.slash(home.channel, "perf digest", period="7d")).response.embeds[0]
        assert week.title == "Digest (last 7 days)"
        refused = await home.stranger.slash(home.channel, "perf digest")
        assert refused.ephemeral
        assert refused.response.embeds == []


async def test_a_digest_of_nothing_is_short(move_in):
    async with move_in(PERFORMANCE_DIGEST="weekly") as home:
        (embed,) = (await home.owner.slash(home.channel, "perf digest")).response.embeds
        assert embed.title == "Digest (last 7 days)"  # as often as it is posted
        assert "Nothing needs attention." in embed.description
        assert fields(embed)["Alerts (last 7 days)"] == "No alerts in this period."


@pytest.fixture
def posting(move_in):
    """Opens a home whose alert channel is the ops channel; ``posting(DIGEST="daily")``."""

    def opened(**settings):
        async def prepare(home, monkeypatch):
            monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

        return move_in(prepare=prepare, **{f"PERFORMANCE_{name}": value for name, value in settings.items()})

    return opened


async def at(home, moment_us):
    """A look at this moment by a monitor that has just been started; returns the titles of all posts."""
    responder = home.bot.get_cog("cogmeter")._installation._responder
    await WeeklyReport(home.monitor, clock=lambda: moment_us).run()
    await DigestPost(responder, clock=lambda: moment_us).run()
    await home.env.settle()
    titles = [embed.title or "" for message in home.channel.history() for embed in message.embeds]
    return sorted(title for title in titles if "digest" in title or "Weekly" in title)


async def test_a_daily_digest_is_posted_once_a_day_through_restarts(posting):
    async with posting(DIGEST="daily") as home:
        assert await at(home, MONDAY_US - 1) == []  # the first look: there is nothing to look back on
        await seed(home, MONDAY_US)
        assert await at(home, MONDAY_US) == ["Daily digest (last 24 hours)"]
        message = home.channel.last_message
        assert [attachment.filename for attachment in message.attachments] == ["chart.png"]
        assert message.embeds[0].footer.text == "19 Jul 09:00 to 20 Jul 09:00 UTC · 142 operations"
        assert len(await at(home, MONDAY_US + HOUR_US)) == 1
        assert len(await at(home, MONDAY_US + DAY_US - 1)) == 1
        assert len(await at(home, MONDAY_US + DAY_US)) == 2


async def test_a_digest_that_was_missed_is_posted_late_but_not_too_late(posting):
    async with posting(DIGEST="daily") as home:
        await at(home, MONDAY_US)
        assert len(await at(home, MONDAY_US + DAY_US + 11 * HOUR_US)) == 1  # late
        assert len(await at(home, MONDAY_US + 2 * DAY_US + 13 * HOUR_US)) == 1  # too late: left out
        assert len(await at(home, MONDAY_US + 3 * DAY_US)) == 2


async def test_the_time_and_the_zone_are_those_of_the_settings(posting):
    async with posting(DIGEST="daily", DIGEST_TIME="20:30", TIME_ZONE="America/New_York") as home:
        due_us = us_of(datetime.fromisoformat("2026-07-02T00:30:00+00:00"))
        await at(home, due_us - MINUTE_US)
        assert len(await at(home, due_us - 1)) == 0
        assert len(await at(home, due_us)) == 1


@pytest.mark.parametrize("often", ["daily", "weekly"])
async def test_the_digest_replaces_the_weekly_report(posting, often):
    async with posting(DIGEST=often, ALERT_WEEKLY_REPORT="true") as home:
        await at(home, MONDAY_US - WEEK_US + HOUR_US)
        fired_us = MONDAY_US - 5 * DAY_US
        alert = make_alert(fired_us, fired_us=fired_us, state=AlertState.RESOLVED, resolved_us=fired_us + MINUTE_US)
        await home.monitor.store.alerting.save([Step(alert)])
        (title,) = await at(home, MONDAY_US)
        assert title.startswith(often.capitalize())
        shown = fields(home.channel.last_message.embeds[0])
        assert "**1 alert**" in shown["Alerts (last 7 days)"]  # all that the weekly report would have said
        assert len(await at(home, MONDAY_US + 2 * HOUR_US)) == 1


async def test_switching_between_digest_and_report_never_posts_the_same_content_twice(posting, monkeypatch):
    async with posting(DIGEST="weekly", ALERT_WEEKLY_REPORT="true") as home:
        await at(home, MONDAY_US - DAY_US)
        assert len(await at(home, MONDAY_US)) == 1
        only_report = home.monitor.settings.model_copy(update={"digest": "off"})
        monkeypatch.setattr(home.monitor, "settings", only_report)
        assert len(await at(home, MONDAY_US + HOUR_US)) == 1
        (digest, report) = await at(home, MONDAY_US + WEEK_US)
        assert (digest[:6], report[:6]) == ("Weekly", "Weekly")
        assert "alert report" in (digest + report)
        both = home.monitor.settings.model_copy(update={"digest": "weekly"})
        monkeypatch.setattr(home.monitor, "settings", both)
        assert len(await at(home, MONDAY_US + WEEK_US + HOUR_US)) == 2


async def test_a_post_whose_end_nobody_knows_is_looked_for_in_the_channel(posting):
    async with posting(DIGEST="daily") as home:
        await at(home, MONDAY_US - 1)
        assert len(await at(home, MONDAY_US)) == 1
        posted = await home.monitor.store.get_value(DIGEST_KEY)
        await home.monitor.store.set_value(DIGEST_KEY, posted.replace(b"posted", b"begun"))
        assert len(await at(home, MONDAY_US + HOUR_US)) == 1
        assert await home.monitor.store.get_value(DIGEST_KEY) == posted


async def test_a_clock_that_was_ahead_delays_no_digest(posting):
    async with posting(DIGEST="daily") as home:
        await at(home, MONDAY_US + 100 * DAY_US)
        assert await at(home, MONDAY_US) == []  # the clock is right again
        assert len(await at(home, MONDAY_US + DAY_US)) == 1


async def test_a_clock_that_is_set_back_a_little_repeats_no_digest(posting):
    async with posting(DIGEST="daily") as home:
        await at(home, MONDAY_US - HOUR_US)
        assert len(await at(home, MONDAY_US)) == 1
        assert len(await at(home, MONDAY_US - MINUTE_US)) == 1
        assert len(await at(home, MONDAY_US)) == 1
        assert len(await at(home, MONDAY_US + DAY_US)) == 2


async def test_a_digest_whose_time_of_day_is_changed_comes_at_the_new_one(posting, monkeypatch):
    async with posting(DIGEST="daily") as home:
        await at(home, MONDAY_US - HOUR_US)
        assert len(await at(home, MONDAY_US)) == 1
        later = home.monitor.settings.model_copy(update={"digest_time": "18:00"})
        monkeypatch.setattr(home.monitor, "settings", later)
        assert len(await at(home, MONDAY_US + HOUR_US)) == 1
        assert len(await at(home, MONDAY_US + 9 * HOUR_US)) == 2


async def test_without_a_channel_nothing_is_posted_and_the_doctor_says_so(move_in):
    async with move_in(PERFORMANCE_DIGEST="daily") as home:
        assert await at(home, MONDAY_US) == await at(home, MONDAY_US + DAY_US) == []
        (embed,) = (await home.owner.slash(home.channel, "perf doctor")).response.embeds
        assert "✗ **digest**: daily at 09:00 UTC: no channel" in embed.description
        assert "digest" in {job.id for job in home.monitor.schedule.jobs}
