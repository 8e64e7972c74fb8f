"""Posts of checks after a deploy: once, also after a restart; their buttons; and when nothing is posted."""

import re

from deployed_bot import deploy

from cogmeter.cog.deploy_check_posts import DeployCheckPosts, _identity
from cogmeter.query.query import now_us
from cogmeter.query.regressions import BEGUN
from cogmeter_storage.model import HOUR_US, Marker

CHANNEL = "PERFORMANCE_ALERT_CHANNEL_ID"


async def use_channel(home, monkeypatch):
    monkeypatch.setenv(CHANNEL, str(home.channel.id))


async def checked(home, **more):
    """Make and post the check of a deploy of 25 hours ago; return the messages about it."""
    home.monitor.schedule.pause()  # its job would make the check first
    marker = await deploy(home.monitor.store, now_us(), age_us=25 * HOUR_US, **more)
    check = await home.monitor.attention.deploys.run_due()
    assert check.marker == marker.id
    await DeployCheckPosts(home.monitor).run()
    return messages(home)


def messages(home):
    return [
        message
        for message in home.channel.history()
        if any((embed.title or "").startswith("Worse since") for embed in message.embeds)
    ]


def labels(message):
    return [item.label for row in message.components for item in row.children]


async def test_what_became_worse_is_posted_once(move_in):
    async with move_in(prepare=use_channel) as home:
        (message,) = await checked(home, slower=1.5)
        (embed,) = message.embeds
        await DeployCheckPosts(home.monitor).run()
        assert len(messages(home)) == 1
        assert await home.monitor.attention.deploys.run_due() is None
    assert embed.title == "Worse since version 1.4"
    assert embed.description.startswith("**/ask**: ")
    assert "slower (p" in embed.description
    assert embed.footer.text.startswith("24 h after the deploy · 1 commands and services compared")
    assert labels(message) == ["Details", "Mute 7 d"]


async def test_nothing_is_posted_without_a_change_or_while_it_is_off(move_in):
    async with move_in(prepare=use_channel) as home:
        assert await checked(home) == []
    async with move_in(prepare=use_channel, PERFORMANCE_DEPLOY_CHECKS="false") as home:
        assert await checked(home, slower=1.5, marker="version 1.5") == []


async def test_a_deploy_that_a_later_one_has_replaced_is_not_posted(move_in):
    async with move_in(prepare=use_channel) as home:
        store = home.monitor.store
        marker = await deploy(store, now_us(), age_us=25 * HOUR_US, slower=1.5)
        check = await home.monitor.attention.deploys.run_due()
        assert (check.marker, bool(check.regressions)) == (marker.id, True)
        await store.add_marker(Marker(now_us() - HOUR_US // 2, "version", "version 1.5"))
        await DeployCheckPosts(home.monitor).run()
        assert messages(home) == []
        assert (await home.monitor.attention.deploys.log()).checks[0].post == "done"


async def test_a_post_whose_sending_was_interrupted_is_not_repeated(move_in):
    async with move_in(prepare=use_channel) as home:
        (message,) = await checked(home, slower=1.5)
        checks = home.monitor.attention.deploys
        (check,) = (await checks.log()).checks
        await checks.posted(check, BEGUN)  # as if the bot had stopped before Discord's answer
        await DeployCheckPosts(home.monitor).run()
        assert [_identity(one.embeds[0]) for one in messages(home)] == [_identity(message.embeds[0])]
        assert (await checks.log()).checks[0].post == "done"


async def test_the_buttons_answer_after_a_reload(move_in):
    async with move_in(prepare=use_channel) as home:
        await checked(home, slower=1.5)
        await home.bot.reload_extension("cogmeter.cog")
        await home.env.settle()
        result = await home.owner.click(messages(home)[0], label="Details")
        details = result.response.embeds[0]
        assert details.title == 'Compare /ask: before and after "version 1.4"'
        posted = re.search(r"\d+% slower \(p\d\d .* to .*?\)", messages(home)[0].embeds[0].description)[0]
        assert posted in details.description
        await home.owner.click(messages(home)[0], label="Mute 7 d")
        assert labels(messages(home)[0]) == ["Details", "Muted"]
        assert await home.monitor.attention.deploys.current() is None


async def test_a_stranger_mutes_nothing(move_in):
    async with move_in(prepare=use_channel) as home:
        (message,) = await checked(home, slower=1.5)
        await home.stranger.click(message, label="Mute 7 d")
        assert await home.monitor.attention.deploys.current() is not None


async def test_what_a_deploy_made_worse_needs_attention(move_in):
    async with move_in(prepare=use_channel) as home:
        await checked(home, slower=1.5)
        result = await home.owner.slash(home.channel, "perf summary")
        (embed,) = result.response.embeds
    assert "slower (p" in embed.description
    assert "since version 1.4" in embed.description
    assert re.search(r"`/perf compare service:/ask before:marker:\d+:24h`", embed.description)
