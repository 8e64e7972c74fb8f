"""``/perf mute`` and ``/perf unmute``: what is covered, for how long, and what is refused."""

import time

import pytest

import cogmeter
from cogmeter.alerts.model import Reading, Subject
from cogmeter.cog.options import seconds_of
from cogmeter.cog.responder import UserError
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import HOUR_US, MINUTE_US

BREACH = Reading(Subject("error_rate", "knowledge-graph"), 0.078, 0.05, "Error rate of 7.8% exceeds", "warning")


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("30m", 1_800), ("4h", 14_400), ("1d", 86_400), ("1h 30m", 5_400), ("1h30min", 5_400), (" 2 Hours ", 7_200)],
)
def test_lengths_are_read_as_people_write_them(typed, seconds):
    assert seconds_of(typed) == seconds


@pytest.mark.parametrize("typed", ["", "soon", "30", "1h soon", "-1h", "h", "1e9d", "0m", "10s", "31d", "5w"])
def test_what_is_no_length_or_too_long_is_refused_with_an_example_or_the_range(typed):
    with pytest.raises(UserError, match=r"Use 30m, 4h, 1d|between 1 minute and 30 days"):
        seconds_of(typed)


async def seeded(home):
    cogmeter.record("knowledge-graph", "query", duration_ms=1)
    cogmeter.record("web-crawling", "fetch", duration_ms=1)
    await home.flushed()


async def mute(home, **options):
    return (await home.owner.slash(home.channel, "perf mute", **options)).response.embeds[0]


async def check(home, *readings):
    await home.monitor.alerting.engine.step(readings, time.time_ns() // 1000)


async def states(home):
    return [one.state for one in await home.monitor.store.alerting.alerts(tuple(AlertState))]


async def test_a_mute_covers_what_it_names_until_it_ends(move_in):
    async with move_in() as home:
        await seeded(home)
        embed = await mute(home, duration="4h", service="knowledge-graph", rule="error_rate", reason="a deploy")
        assert "Muted: Error rate of knowledge-graph" in embed.title
        assert "by owner" in embed.description
        assert "a deploy" in embed.description
        (kept,) = await home.monitor.store.alerting.mutes(0)
        assert kept.until_us - kept.since_us == 4 * HOUR_US
        assert (kept.actor, kept.reason) == ("owner", "a deploy")
        await check(home, BREACH)
        assert await states(home) == [AlertState.MUTED]
        ended = await home.owner.slash(home.channel, "perf unmute", mute=str(kept.id))
        assert "Error rate of knowledge-graph (was muted until" in ended.response.embeds[0].description
        assert await home.monitor.store.alerting.mutes(time.time_ns() // 1000) == []
        await check(home, BREACH)
        assert await states(home) == [AlertState.FIRING]


async def test_a_repeated_mute_is_reported_as_already_active(move_in):
    async with move_in() as home:
        await seeded(home)
        first, second = [await mute(home, duration="4h", service="knowledge-graph") for _ in range(2)]
        assert [one.title.partition(" ")[2] for one in (first, second)] == [
            "Muted: every rule of knowledge-graph",
            "Already muted: every rule of knowledge-graph",
        ]
        assert first.description == second.description
        assert len(await home.monitor.store.alerting.mutes(0)) == 1


async def test_an_active_alert_is_muted_too(move_in):
    async with move_in() as home:
        await seeded(home)
        await check(home, BREACH)
        assert await states(home) == [AlertState.FIRING]
        assert "every rule of every service" not in (await mute(home, duration="30m", service="all")).title
        assert await states(home) == [AlertState.MUTED]


async def test_a_service_a_rule_or_everything_can_be_muted_and_unmuted(move_in):
    async with move_in() as home:
        await seeded(home)
        titles = [
            (await mute(home, duration="30m", **named)).title
            for named in ({"service": "web-crawling"}, {"rule": "throughput"}, {"service": "all"})
        ]
        assert [title.partition("Muted: ")[2] for title in titles] == [
            "every rule of web-crawling",
            "Throughput of every service",
            "everything",
        ]

        async def ended(**named):
            embed = (await home.owner.slash(home.channel, "perf unmute", **named)).response.embeds[0]
            return embed.title, embed.description.count("\n") + 1

        assert await ended(service="knowledge-graph") == ("Nothing is muted", 1)
        assert await ended(service="web-crawling") == ("Unmuted", 1)
        assert await ended(rule="throughput") == ("Unmuted", 1)
        await mute(home, duration="30m", service="web-crawling")
        assert await ended(service="all") == ("Unmuted", 2)
        actions = [one.action for one in await home.monitor.store.alerting.audit()]
        said = (await home.owner.slash(home.channel, "perf thresholds audit")).response.embeds[0].description
        assert "until 20" in said
        assert "settings" not in said  # a mute is no threshold
        assert actions.count("mute") == actions.count("unmute") == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"duration": "30m"}, "Choose a service or rule, or `all`."),
        ({"duration": "soon", "service": "all"}, "Use 30m, 4h, 1d"),
        ({"duration": "31d", "service": "all"}, "between 1 minute and 30 days"),
        ({"duration": "1h", "rule": "eror_rate"}, "`error_rate`"),
        ({"duration": "1h", "service": "knowledge-grap"}, "knowledge-graph"),
    ],
)
async def test_what_cannot_be_muted_is_refused_where_only_who_asked_sees_it(move_in, options, words):
    async with move_in() as home:
        await seeded(home)
        result = await home.owner.slash(home.channel, "perf mute", **options)
        assert result.ephemeral
        assert words in result.response.content
        assert await home.monitor.store.alerting.mutes(0) == []


async def test_mutes_are_completed_for_those_who_may_end_them(move_in):
    async with move_in() as home:
        await seeded(home)
        await mute(home, duration="30m", service="web-crawling")
        await mute(home, duration="4h", rule="throughput")
        found = await home.owner.autocomplete(home.channel, "perf unmute", "mute", "through")
        assert [one["name"].partition(" until")[0] for one in found] == ["Throughput of every service"]
        assert len(await home.owner.autocomplete(home.channel, "perf unmute", "mute", "")) == 2
        assert await home.stranger.autocomplete(home.channel, "perf unmute", "mute", "") == []


async def test_a_stranger_mutes_nothing_and_an_unmute_has_to_name_something(move_in):
    async with move_in() as home:
        await seeded(home)
        assert (await home.stranger.slash(home.channel, "perf mute", duration="1h", service="all")).ephemeral
        assert await home.monitor.store.alerting.mutes(0) == []
        refused = await home.owner.slash(home.channel, "perf unmute")
        assert refused.ephemeral
        assert "Choose a mute, a service or a rule, or `all`." in refused.response.content


async def test_a_mute_survives_a_restart(move_in):
    async with move_in() as home:
        await seeded(home)
        await mute(home, duration="30m", service="knowledge-graph")
        await home.bot.unload_extension("cogmeter.cog")
        await home.bot.load_extension("cogmeter.cog")
        await check(home, BREACH)
        assert await states(home) == [AlertState.MUTED]
        (alert,) = await home.monitor.store.alerting.alerts((AlertState.MUTED,))
        assert alert.muted_until_us - time.time_ns() // 1000 <= 30 * MINUTE_US
