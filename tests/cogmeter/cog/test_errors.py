"""``/perf errors``: groups with their place, the details of one, and what is done with it."""

import dataclasses
import time

import pytest
from tests.factories import make_errors

import cogmeter
from cogmeter.cog.errors import PAGE
from cogmeter.render.error_text import INNER_TITLE
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US, Retention


async def seed(home, *batches):
    cogmeter.record("knowledge-graph", "query", duration_ms=1)
    await home.flushed()
    await home.monitor.store.errors.add(batches)


def now_us():
    return time.time_ns() // 1000


async def answer(home, **options):
    return (await home.owner.slash(home.channel, "perf errors", **options)).response


async def test_without_errors_it_says_so(move_in):
    async with move_in() as home:
        response = await answer(home)
        assert response.embeds[0].description == "No errors in this period."
        assert "Details of an error" not in str(response.components)


async def test_a_group_is_listed_with_type_file_line_function_message_count_and_people(move_in):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us(), count=12))
        embed = (await answer(home)).embeds[0]
        assert "**ValueError** in `cogs/graph.py:42 in Graph.Rex`: no node Rex" in embed.description
        assert (
            "**12** (none in the 2 days before) · 2 users, 1 server in total · failed · new since the last start"
            in (embed.description)
        )
        assert "Error 1" in embed.description


async def test_service_period_and_kind_filter_the_list(move_in):
    async with move_in() as home:
        cogmeter.record("music", "play", duration_ms=1)
        await seed(
            home,
            make_errors("Rex", now_us()),
            make_errors("Old", now_us() - 5 * DAY_US),
            make_errors("Song", now_us(), where=("music", "play"), kind=ErrorKind.LOGGED),
        )
        names = ("Rex", "Old", "Song")
        for options, expected in [
            ({}, {"Rex", "Song"}),
            ({"period": "7d"}, {"Rex", "Old", "Song"}),
            ({"service": "music"}, {"Song"}),
            ({"kind": "logged"}, {"Song"}),
            ({"kind": "unhandled"}, set()),
        ]:
            text = (await answer(home, **options)).embeds[0].description
            assert {name for name in names if f"Graph.{name}`" in text} == expected, options


async def test_an_error_that_passed_through_a_command_is_listed_at_the_command_with_its_origin(move_in):
    async with move_in() as home:
        outer, inner = ("discord.commands", "ask"), ("web-crawling", "fetch")
        with pytest.raises(LookupError), cogmeter.operation(*outer), cogmeter.operation(*inner):
            raise LookupError("no host")
        await home.flushed()
        response = await answer(home, service="discord.commands")
        (field,) = response.embeds[0].fields
        assert field.name == INNER_TITLE
        assert field.value == "**1** LookupError: no host: see error 1 in web-crawling / fetch"
        assert "Error 1: LookupError" in str(response.components)
        assert not (await answer(home, service="web-crawling")).embeds[0].fields


async def test_a_command_and_the_button_of_its_statistics_list_only_its_errors(move_in):
    async with move_in() as home:
        cogmeter.record("discord.commands", "ask", duration_ms=1)
        await seed(
            home,
            make_errors("Ask", now_us(), where=("discord.commands", "ask")),
            make_errors("Look", now_us(), where=("discord.commands", "look")),
        )
        listed = (await answer(home, service="/ask")).embeds[0]
        statistics = (await home.owner.slash(home.channel, "perf stats", service="/ask")).response
        await home.owner.click(statistics, label="Errors")
        assert listed.title == statistics.embeds[0].title == "Errors of /ask (last 24 hours)"
        assert "Graph.Ask`" in listed.description
        assert "Graph.Look`" not in listed.description
        assert statistics.embeds[0].description == listed.description
        whole = (await answer(home, service="discord.commands")).embeds[0]
        assert "Graph.Look`" in whole.description


async def test_errors_of_a_service_without_operations_are_listed(move_in):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us(), where=("log", "cogs.ask"), kind=ErrorKind.LOGGED))
        assert "Graph.Rex`" in (await answer(home, service="log")).embeds[0].description


async def test_an_unknown_service_is_refused_with_similar_names(move_in):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us()))
        response = await answer(home, service="knowledge-grap")
        assert "knowledge-graph" in response.content
        assert response.ephemeral


async def test_the_details_have_the_stack_with_own_frames_marked_and_the_cause(move_in):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us(), count=3))
        message = await answer(home)
        await home.owner.select(message, ["1"], custom_id="cogmeter:errors:details")
        embed = message.embeds[0]
        fields = {field.name: field.value for field in embed.fields}
        assert embed.title == "Error 1: ValueError"
        assert "  > cogs/graph.py:42 in Graph.Rex" in fields["Newest stack"]
        assert "    discord/app_commands/commands.py:858 in Command._do_call" in fields["Newest stack"]
        assert "Cause: KeyError: 'Rex'" in fields["Newest stack"]
        assert "knowledge-graph / query: 3" in fields["In"]
        assert embed.footer.text == "First in version 1.4, last in 1.4; running: unknown"


async def test_resolve_and_mute_change_the_group_in_the_name_of_who_pressed(move_in):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us()))
        message = await answer(home)
        await home.owner.select(message, ["1"], custom_id="cogmeter:errors:details")
        await home.owner.click(message, custom_id="cogmeter:errors:mute")
        group, _ = await home.monitor.store.errors.group(1)
        assert 6.9 * DAY_US < group.muted_until_us - now_us() <= 7 * DAY_US
        await home.owner.click(message, custom_id="cogmeter:errors:unmute")
        await home.owner.click(message, custom_id="cogmeter:errors:resolve")
        group, _ = await home.monitor.store.errors.group(1)
        assert (group.muted_until_us, group.resolved_by) == (None, "owner")
        assert "resolved" in {field.name: field.value for field in message.embeds[0].fields}["State"]
        await home.monitor.store.errors.add([make_errors("Rex", now_us() + 1)])
        await home.owner.click(message, custom_id="cogmeter:errors:back")
        assert "reopened" in message.embeds[0].description


async def test_more_groups_than_a_page_are_paged(move_in):
    async with move_in() as home:
        await seed(home, *(make_errors(f"Rex{number:02}", now_us() - number) for number in range(PAGE + 2)))
        message = await answer(home)
        assert message.embeds[0].footer.text.endswith("Page 1, more on the next page")
        await home.owner.click(message, custom_id="cogmeter:errors:next")
        assert message.embeds[0].description.count("ValueError") == 2
        await home.owner.click(message, custom_id="cogmeter:errors:previous")
        assert message.embeds[0].description.count("ValueError") == PAGE


async def test_hostile_and_long_texts_keep_within_the_limits_and_mention_nobody(move_in):
    async with move_in() as home:
        batch = make_errors("Rex", now_us())
        link = batch.examples[0].chain[0]
        link = dataclasses.replace(link, message="@everyone ```" * 60, frames=link.frames * 15)
        example = dataclasses.replace(batch.examples[0], chain=(link,) * 6)
        place = batch.place._replace(file="x" * 300 + "`.py", function="f" * 300)
        await seed(
            home, dataclasses.replace(batch, message="@everyone [x](http://y) " * 30, place=place, examples=(example,))
        )
        message = await answer(home)
        await home.owner.select(message, ["1"], custom_id="cogmeter:errors:details")
        embed = message.embeds[0]
        assert len(embed) <= 6000
        stack = {field.name: field.value for field in embed.fields}["Newest stack"]
        assert stack.count("```") == 2
        assert "@everyone" not in embed.description


async def test_a_stranger_gets_no_errors(move_in):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us()))
        response = (await home.stranger.slash(home.channel, "perf errors")).response
        assert not response.embeds
        assert response.ephemeral


@pytest.mark.parametrize("press", ["details", "resolve"])
async def test_a_group_that_a_clean_up_removed_is_named(move_in, press):
    async with move_in() as home:
        await seed(home, make_errors("Rex", now_us()))
        message = await answer(home)
        store = home.monitor.store
        if press == "resolve":
            await home.owner.select(message, ["1"], custom_id="cogmeter:errors:details")
        await store.clean(Retention(error_hours=1), now_us=now_us() + 2 * DAY_US)  # days are counted whole
        if press == "resolve":
            pressed = await home.owner.click(message, custom_id="cogmeter:errors:resolve")
        else:
            pressed = await home.owner.select(message, ["1"], custom_id="cogmeter:errors:details")
        assert "There is no error 1" in pressed.followups[0].content
        assert [str(error) for error in home.env.errors] == [pressed.followups[0].content]  # shown, and not to the host
