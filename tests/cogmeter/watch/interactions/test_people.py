"""The users of an interaction: hashes without a way back, and a link to its place that is never stored."""

from __future__ import annotations

import asyncio
import time

import discord
import pytest
from discord import app_commands

from cogmeter.recording.recorder import Recorder
from cogmeter.recording.rows import metadata_json
from cogmeter.recording.tracing import begin, end
from cogmeter.watch.interactions import people as module
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.people import KEY_BYTES, People, Who, privacy_key, who_of
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter_storage import Outcome, open_store
from cogmeter_storage.model import ERROR_GROUP, OperationRecord

USER, GUILD, CHANNEL = 80351110224678912, 197038439483310086, 381887213238583306
SURFACES = (Arrivals, SlashCommands, PrefixCommands, Components, Acknowledgement)
LONG_NS = 2_000_000_000


@pytest.fixture
def tracker(recorder):
    tracker = InteractionTracker(recorder, slow_ms=1000)
    tracker.people.key = b"k" * KEY_BYTES
    return tracker


def arrival(number=1, *, user=USER, guild=GUILD):
    person = {"user": {"id": str(user)}}
    place = {"channel_id": str(CHANNEL)} | ({} if guild is None else {"guild_id": str(guild)})
    who = person if guild is None else {"member": person}
    return {"id": str(number), "type": 2, "data": {"name": "ask"}, **who, **place}


def operation(people, end_us=None):
    return OperationRecord(1, "search", "find", end_us or time.time_ns() // 1000, 5, Outcome.ERROR, None, people)


def test_the_same_person_has_the_same_hash_and_another_key_gives_another():
    people, others = People(slow_ms=1000), People(slow_ms=1000)
    people.key, others.key = b"a" * KEY_BYTES, b"b" * KEY_BYTES
    who = Who(str(USER), str(GUILD), str(CHANNEL), "1")
    hashes = people.of(who)
    assert hashes == people.of(Who(USER, GUILD, 7, 2))  # the gateway gives text, discord.py numbers
    assert {len(one) for one in hashes.values()} == {8}
    assert set(hashes) == {"user", "guild"}
    assert set(hashes.values()).isdisjoint(others.of(who).values())
    assert people.of(Who(USER, USER, 7, 2))["user"] != people.of(Who(USER, USER, 7, 2))["guild"]


def test_without_a_key_nothing_is_recorded(tracker, recorded):
    tracker.people.key = None
    tracker.end(tracker.arrive(arrival()), "discord.commands", "ask", KeyError("x"))
    assert set(recorded()[0].metadata) == {ERROR_GROUP}
    assert tracker.people.url_of(operation({})) is None


def test_a_key_that_comes_while_it_is_under_way_counts(tracker, recorded):
    key, tracker.people.key = tracker.people.key, None
    pending = tracker.arrive(arrival())
    assert pending.affected(Outcome.ERROR, 0) == {}
    tracker.people.key = key
    tracker.end(pending, "discord.commands", "ask", KeyError("x"))
    assert set(recorded()[0].metadata) == {"user", "guild", ERROR_GROUP}


@pytest.mark.parametrize(
    ("outcome", "duration_ns", "said"),
    [
        (Outcome.ERROR, 0, True),
        (Outcome.UPSTREAM, 0, True),
        (Outcome.OK, LONG_NS, True),
        (Outcome.OK, 0, False),
        (Outcome.USER, 0, False),
        (Outcome.CANCELLED, 0, False),
    ],
)
def test_a_failed_or_slow_operation_records_the_affected_people(tracker, recorded, outcome, duration_ns, said):
    pending = tracker.arrive(arrival())
    pending.start_ns -= duration_ns
    tracker.finish(pending, "discord.commands", "ask", outcome=outcome, metadata={"template": "x"})
    (one,) = recorded()
    assert set(one.metadata) == ({"template", "user", "guild"} if said else {"template"})


def test_the_ids_are_hashed_once_and_only_when_they_are_needed(tracker, monkeypatch):
    hashed = []
    monkeypatch.setattr(module, "person_hash", lambda key, kind, number: hashed.append(kind) or "0" * 8)
    pending = tracker.arrive(arrival())
    pending.affected(Outcome.OK, 0)
    assert hashed == []
    for _ in range(3):
        pending.affected(Outcome.ERROR, 0)
    assert hashed == ["user", "guild"]


def test_what_fails_inside_of_an_interaction_says_it_too_and_the_hosts_own_words_stay(tracker, recorder, recorded):
    pending = tracker.arrive(arrival())
    token = begin(pending)
    with recorder.operation("search", "find") as one:
        one.fail("nothing")
    with recorder.operation("search", "find", user="premium") as one:
        one.fail("nothing")
    with recorder.operation("search", "find"):
        pass
    recorder.record("search", "slow", duration_ms=2000)
    recorder.record("search", "quick", duration_ms=2)
    end(token)
    people = tracker.people.of(Who(USER, GUILD, CHANNEL, 1))
    belonging = {"command": "ask", "parent": "ask"}
    assert [one.metadata for one in recorded()] == [
        {**people, **belonging},
        {**people, **belonging, "user": "premium"},
        belonging,
        {**people, **belonging},
        belonging,
    ]


def test_an_example_leads_to_its_place(tracker):
    people = tracker.people
    for number, user in ((11, USER), (12, USER + 1), (13, USER)):
        tracker.arrive(arrival(number, user=user)).affected(Outcome.ERROR, 0)
    theirs, other = (people.of(Who(user, GUILD, CHANNEL, 1)) for user in (USER, USER + 1))
    assert people.url_of(operation(theirs)) == f"https://discord.com/channels/{GUILD}/{CHANNEL}/13"
    assert people.url_of(operation(other)) == f"https://discord.com/channels/{GUILD}/{CHANNEL}/12"
    an_hour_ago = time.time_ns() // 1000 - 3_600_000_000
    assert people.url_of(operation(theirs, an_hour_ago)) is None
    assert people.url_of(operation({})) is None
    assert people.url_of(operation({"user": "premium", "guild": theirs["guild"]})) is None


def test_an_earlier_interaction_of_the_same_person_is_distinguished_by_time(tracker):
    early = tracker.arrive(arrival(11))
    early.arrived_wall_us -= 60_000_000
    hashes = early.affected(Outcome.ERROR, 0)
    early._affected.place.until_us = early.arrived_wall_us + 10
    tracker.arrive(arrival(12)).affected(Outcome.ERROR, 0)
    assert tracker.people.url_of(operation(hashes, early.arrived_wall_us + 5)).endswith("/11")
    assert tracker.people.url_of(operation(hashes)).endswith("/12")


def test_direct_messages_and_what_nobody_failed_at_have_no_place(tracker):
    hashes = tracker.arrive(arrival(11, guild=None)).affected(Outcome.ERROR, 0)
    assert set(hashes) == {"user"}
    assert tracker.people.url_of(operation(hashes)) is None
    tracker.arrive(arrival(12)).affected(Outcome.OK, 0)
    assert len(tracker.people._places) == 0


def test_only_the_newest_places_are_remembered(tracker, monkeypatch):
    for number in range(module.PLACES + 20):
        tracker.arrive(arrival(number)).affected(Outcome.ERROR, 0)
    assert len(tracker.people._places) == module.PLACES


def test_an_arrival_without_a_person_says_nothing_of_people(tracker):
    pending = tracker.arrive({"id": "1", "type": 2, "data": {"name": "ask"}})
    assert pending.affected(Outcome.ERROR, 0) == {}
    assert who_of({"id": "1"}) == Who(None, None, None, "1", "dm")


async def test_the_key_is_made_once_and_kept(tmp_path):
    url = f"sqlite:///{tmp_path / 'people.db'}"
    keys = []
    for _ in range(2):
        store = await open_store(url)
        keys.append(await privacy_key(store))
        await store.close()
    assert keys[0] == keys[1]
    assert len(keys[0]) == KEY_BYTES


def fit_out(bot, recorder: Recorder):
    """Commands and a button that fail."""

    class Panel(discord.ui.View):
        @discord.ui.button(label="No", custom_id="no")
        async def no(self, interaction, button):
            raise ValueError("no")

    @bot.tree.command()
    async def panel(interaction: discord.Interaction):
        """A panel."""
        await interaction.response.send_message("panel", view=Panel())

    @bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Fails in a task that it starts."""

        async def find():
            with recorder.operation("search", "find"):
                raise LookupError("nothing")

        await asyncio.create_task(find())

    @bot.command()
    async def old(ctx):
        """Fails."""
        raise KeyError("old")

    @bot.tree.error
    async def on_error(interaction, error: app_commands.AppCommandError):
        pass

    @bot.event
    async def on_command_error(ctx, error):
        pass


async def test_a_key_that_cannot_be_kept_serves_until_the_next_start(tmp_path, caplog):
    url = f"sqlite:///{tmp_path / 'people.db'}"
    store = await open_store(url)
    await store.close()
    assert len(await privacy_key(store)) == KEY_BYTES
    assert "counts users again" in caplog.text
    store = await open_store(url)
    assert await store.get_value(module.KEY) is None
    await store.close()


async def test_every_kind_of_interaction_records_hashes_of_the_people_that_its_failure_affects(
    discord_server, ready_bot, watching, recorded, recorder, caplog
):
    caplog.set_level("DEBUG", "cogmeter")
    fit_out(ready_bot, recorder)
    server, owner = discord_server, discord_server.owner

    def failed():
        return [
            one
            for one in recorded()
            if one.outcome is Outcome.ERROR and one.service in {"discord.commands", "discord.components", "search"}
        ]

    async with watching(ready_bot, *SURFACES) as surfaces:
        people = surfaces[0].context.tracker.people
        people.key = b"k" * KEY_BYTES
        await ready_bot.tree.sync()
        shown = await (await server.interact(owner.slash("panel"))).answered()
        for payload in (owner.slash("ask"), owner.button(shown, "no")):
            await server.interact(payload)
        await server.say("!old")
        async with asyncio.timeout(60):
            while len(failed()) < 4:
                await asyncio.sleep(0.01)
    guild = ready_bot.guilds[0]
    channel = guild.text_channels[0]
    assert {one.operation for one in failed()} == {"ask", "find", "Panel.no", "old"}
    assert {one.metadata["guild"] for one in failed()} == {people.of(Who(1, guild.id, 1, 1))["guild"]}
    assert {len(one.metadata["user"]) for one in failed()} == {8}
    way = f"https://discord.com/channels/{guild.id}/{channel.id}/"
    assert all(people.url_of(operation(dict(one.metadata))).startswith(way) for one in failed())
    kept = " ".join(f"{one.operation} {one.error} {metadata_json(one.metadata)}" for one in recorded())
    secret = {str(one.id) for one in (guild, channel, *guild.members)}
    assert [one for one in secret if one in kept or one in caplog.text] == []


def test_a_thread_that_an_interaction_started_may_fail_too(tracker, recorder, recorded):
    import contextvars
    import threading

    token = begin(tracker.arrive(arrival()))
    context = contextvars.copy_context()
    end(token)

    def work():
        with recorder.operation("search", "find") as one:
            one.fail("nothing")

    thread = threading.Thread(target=lambda: context.run(work))
    thread.start()
    thread.join()
    assert set(recorded()[0].metadata) == {"user", "guild", "command", "parent"}
