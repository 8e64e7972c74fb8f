"""``/perf forget``: the owner erases what is stored about one user, after a confirmation."""

import time

from cogmeter.watch.interactions.erasure import person_of
from cogmeter_storage.alerting import Mute


async def known(home):
    """Store an operation, a trace-like text and a mute of the stranger; return the operation's key."""
    store, now_us = home.monitor.store, time.time_ns() // 1000
    person = await person_of(store, str(home.stranger.id))
    (number,) = await store.series_ids([("discord.commands", "ask")])
    metadata = f'{{"user": "{person.metadata_entry[1]}", "shard": 1}}'
    await store.append([[(number, now_us, 5_000, 1, f"no user {home.stranger.id}", metadata)]], now_us=now_us)
    mute = Mute("alpha", "", now_us, now_us + 10**12, "stranger", "why")
    await store.alerting.add_mute(mute)
    return number


async def stored(home, number):
    (row,) = await home.monitor.store.recent([number], 0, 2**60, limit=9)
    return row


async def ask(home):
    return await home.owner.slash(home.channel, "perf forget", user=home.stranger)


async def test_after_the_confirmation_the_data_is_gone_and_the_answer_says_what_was_removed(move_in):
    async with move_in() as home:
        number = await known(home)
        result = await ask(home)
        assert result.ephemeral
        assert str(home.stranger.id) in result.response.embeds[0].description
        assert str(home.stranger.id) in (await stored(home, number)).error
        await home.owner.click(result.response, label="Erase")
        (embed,) = result.response.embeds
        row = await stored(home, number)
        (entry, *_) = await home.monitor.store.alerting.audit(limit=1)
    assert embed.title == "The user's data is erased"
    assert "1 operation" in embed.description
    assert (row.error, dict(row.metadata)) == ("no user (forgotten)", {"shard": 1})
    assert (entry.action, entry.subject, entry.actor) == ("forget", "user", "owner")


async def test_what_is_kept_in_memory_about_the_user_is_erased_with_it(move_in):
    async with move_in() as home:
        people = home.monitor.watcher.tracker.people
        hashed = (await person_of(home.monitor.store, str(home.stranger.id))).metadata_entry[1]
        people._users[hashed] = home.stranger.id
        result = await ask(home)
        await home.owner.click(result.response, label="Erase")
        assert people.user_id(hashed) is None


async def test_cancel_erases_nothing(move_in):
    async with move_in() as home:
        number = await known(home)
        result = await ask(home)
        await home.owner.click(result.response, label="Cancel")
        assert result.response.embeds[0].title == "Nothing was erased"
        assert not result.response.components
        assert str(home.stranger.id) in (await stored(home, number)).error


async def test_an_unknown_user_is_erased_without_a_change(move_in):
    async with move_in() as home:
        result = await ask(home)
        await home.owner.click(result.response, label="Erase")
        assert result.response.embeds[0].description == "Nothing was stored about this user."


async def test_a_role_with_access_is_not_enough(move_in, monkeypatch):
    async with move_in() as home:
        policy = home.bot.get_cog("cogmeter")._installation._responder.access
        monkeypatch.setattr(policy, "admits", lambda _: _true())
        refused = await home.stranger.slash(home.channel, "perf forget", user=home.owner)
        listed = await home.stranger.slash(home.channel, "perf help")
    assert refused.ephemeral
    assert "Only the bot's owner and team" in refused.response.content
    assert "forget" not in listed.response.embeds[0].description


async def _true():
    return True


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf forget", user=home.owner)
    assert result.ephemeral
