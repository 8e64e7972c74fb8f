"""``/perf report`` and the weekly post: figures from a known store, advice, and one post a week through restarts."""

import time

import pytest
from factories import make_alert

from cogmeter.cog.scheduled_posts import FIRST_US, KEY, WEEK_US, WeeklyReport
from cogmeter_storage import Outcome
from cogmeter_storage.alerting import AlertState, Step
from cogmeter_storage.model import HOUR_US, MINUTE_US


def alert(number, told_us, *, acknowledged=False):
    return make_alert(
        told_us,
        uid=f"alert-{number}",
        rule="response_time",
        service="web-crawling",
        state=AlertState.RESOLVED,
        threshold=2_000,
        current=3_000,
        worst=7_000,
        changed_us=told_us + 6 * MINUTE_US,
        fired_us=told_us,
        acknowledged_us=told_us + 2 * MINUTE_US if acknowledged else None,
        acknowledged_by="ann" if acknowledged else "",
        resolved_us=told_us + 6 * MINUTE_US,
    )


async def seed(home, now_us):
    """Six hours of a service that is slow for three minutes in each; the last time, much worse, somebody acted."""
    store = home.monitor.store
    (crawl,) = await store.series_ids([("web-crawling", "fetch")])
    start_us = (now_us - 6 * HOUR_US) // MINUTE_US * MINUTE_US
    rows = []
    for number in range(360):
        slow = number % 60 in {30, 31, 32}
        duration_us = (12_000_000 if number > 300 else 7_000_000) if slow else 50_000
        rows += [(crawl, start_us + number * MINUTE_US + one, duration_us, Outcome.OK, None, None) for one in range(10)]
    await store.append([rows], now_us=now_us)
    fired = [alert(number, start_us + (number * 60 + 33) * MINUTE_US, acknowledged=number == 5) for number in range(6)]
    await store.alerting.save([Step(one) for one in fired])


def fields(embed):
    return {field.name: field.value for field in embed.fields}


async def test_the_report_has_its_figures_from_the_store_and_advice_replayed_on_it(move_in):
    async with move_in(PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME=2_000) as home:
        await seed(home, time.time_ns() // 1000)
        (embed,) = (await home.owner.slash(home.channel, "perf report", period="24h")).response.embeds
        said = fields(embed)
        assert embed.description == "**6 alerts**, 1 acknowledged (16.7%), 0 muted, 6 resolved"
        assert said["Median time to acknowledge"] == "2 min"
        assert said["Median time to resolve"] == "6 min"
        assert said["Alerts by rule"] == (
            "Response time of web-crawling: 6 times, 1 acknowledged (median: after 2 min), "
            "resolved (median: after 6 min)"
        )
        assert "Resolved without action" not in said
        advice = said["Suggested thresholds"]
        assert advice.startswith("Raise `response_time@web-crawling` to ")
        assert advice.endswith("83.3% fewer alerts, the acknowledged alert is not lost")
        assert "UTC · 6 alerts" in embed.footer.text


async def test_rules_that_nobody_acted_on_are_named(move_in):
    async with move_in() as home:
        now_us = time.time_ns() // 1000
        fired = [alert(number, now_us - (number + 1) * HOUR_US) for number in range(4)]
        await home.monitor.store.alerting.save([Step(one) for one in fired])
        (embed,) = (await home.owner.slash(home.channel, "perf report")).response.embeds
        assert fields(embed)["Resolved without action"] == "Response time of web-crawling: 4 times"


async def test_a_report_on_nothing_says_so(move_in):
    async with move_in() as home:
        (embed,) = (await home.owner.slash(home.channel, "perf report", period="30d")).response.embeds
        assert embed.description.startswith("No alerts in this period")


MONDAY_US = FIRST_US + 2_950 * WEEK_US


@pytest.fixture
def weekly(move_in):
    """Opens a home whose alert channel is the ops channel, with the weekly report switched on."""

    async def prepare(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))
        monkeypatch.setenv("PERFORMANCE_ALERT_WEEKLY_REPORT", "true")

    return lambda: move_in(prepare=prepare)


async def at(home, moment_us):
    """A look at this moment by a monitor that has just been started; returns how many reports the channel has."""
    await WeeklyReport(home.monitor, clock=lambda: moment_us).run()
    await home.env.settle()
    return sum("Weekly" in (one.title or "") for message in home.channel.history() for one in message.embeds)


async def test_the_report_of_a_week_is_posted_once_on_monday(weekly):
    async with weekly() as home:
        assert await at(home, MONDAY_US - HOUR_US) == 0  # the first look: nothing to report on yet
        assert await at(home, MONDAY_US - 1) == 0
        await home.monitor.store.alerting.save([Step(alert(1, MONDAY_US - HOUR_US))])
        assert await at(home, MONDAY_US) == 1
        assert await at(home, MONDAY_US + HOUR_US) == 1  # restarts in between repeat nothing
        embed = home.channel.last_message.embeds[0]
        assert "**1 alert**" in embed.description
        assert await at(home, MONDAY_US + WEEK_US - 1) == 1
        assert await at(home, MONDAY_US + WEEK_US + HOUR_US) == 2


async def test_a_clock_that_is_set_back_a_little_repeats_no_report(weekly):
    async with weekly() as home:
        await at(home, MONDAY_US - HOUR_US)
        assert await at(home, MONDAY_US) == 1
        assert await at(home, MONDAY_US - MINUTE_US) == 1
        assert await at(home, MONDAY_US + MINUTE_US) == 1


async def test_a_bot_that_was_down_on_monday_posts_later_and_only_the_last_week(weekly):
    async with weekly() as home:
        await at(home, MONDAY_US - HOUR_US)
        assert await at(home, MONDAY_US + 3 * WEEK_US + 50 * HOUR_US) == 1
        assert await at(home, MONDAY_US + 3 * WEEK_US + 60 * HOUR_US) == 1


async def test_a_post_that_failed_is_retried_and_its_problem_logged_once(weekly, caplog):
    async with weekly() as home:
        await at(home, MONDAY_US - HOUR_US)
        watcher = WeeklyReport(home.monitor, clock=lambda: MONDAY_US)
        home.env.inject_error(
            "POST", "/channels/*/messages", status=403, code=50013, message="Missing Permissions", times=2
        )
        await watcher.run()
        await watcher.run()
        lines = [line for line in caplog.messages if "weekly report could not be posted" in line]
        assert len(lines) == 1
        assert "PERFORMANCE_ALERT_CHANNEL_ID" in lines[0]
        await watcher.run()
        assert await at(home, MONDAY_US) == 1


async def test_a_post_whose_end_nobody_knows_is_looked_for_in_the_channel(weekly):
    async with weekly() as home:
        await at(home, MONDAY_US - HOUR_US)
        assert await at(home, MONDAY_US) == 1
        week = (MONDAY_US - FIRST_US) // WEEK_US
        assert await home.monitor.store.get_value(KEY) == f"posted {week}".encode()
        await home.monitor.store.set_value(KEY, f"begun {week}".encode())  # the process died after it was sent
        assert await at(home, MONDAY_US + HOUR_US) == 1
        assert await home.monitor.store.get_value(KEY) == f"posted {week}".encode()
        await home.bot.get_channel(home.channel.id).purge()
        await home.monitor.store.set_value(KEY, f"begun {week}".encode())  # ... and here before
        assert await at(home, MONDAY_US + HOUR_US) == 1


async def test_without_the_setting_or_a_channel_nothing_is_posted(move_in):
    async with move_in(PERFORMANCE_ALERT_WEEKLY_REPORT="true") as home:
        assert await at(home, MONDAY_US) == await at(home, MONDAY_US + WEEK_US) == 0
        assert await home.monitor.store.get_value(KEY) is None


async def test_what_was_remembered_by_another_version_is_taken_as_nothing(weekly):
    async with weekly() as home:
        await home.monitor.store.set_value(KEY, b"\xff tuesday")
        assert await at(home, MONDAY_US) == 0
        assert await at(home, MONDAY_US + WEEK_US) == 1


async def test_the_weekly_post_is_looked_after_by_a_job(weekly):
    async with weekly() as home:
        assert "weekly report" in {job.id for job in home.monitor.schedule.jobs}
