"""``/perf compare``: the verdict, the buttons, the choices of markers, refusals, and hostile names."""

import re

import pytest
from deployed_bot import deploy

from cogmeter.query.query import now_us
from cogmeter_storage.model import MINUTE_US


async def deployed(monitor, **more):
    return await deploy(monitor.store, now_us(), **more)


def labels(message):
    return [item.label for row in message.components for item in row.children]


async def test_a_slower_command_is_named_with_its_size_and_both_counts(move_in):
    async with move_in() as home:
        await deployed(home.monitor, slower=1.4)
        result = await home.owner.slash(home.channel, "perf compare", service="/ask")
        (embed,) = result.response.embeds
    assert embed.title == 'Compare /ask: before and after "version 1.4"'
    first, *rest = embed.description.splitlines()
    assert re.fullmatch(r"\*\*Confident: (3|4)\d% slower \(p\d\d \d+ ms to \d+ ms\)\*\*", first)
    assert "Errors: no significant change" in rest
    assert [field.name for field in embed.fields] == ["Before", "After", "Change"]
    assert all("operations" in field.value for field in embed.fields[:2])
    assert embed.image.url == "attachment://chart.png"


async def test_without_a_name_all_services_are_compared(move_in):
    async with move_in() as home:
        await deployed(home.monitor)
        result = await home.owner.slash(home.channel, "perf compare")
        (embed,) = result.response.embeds
    assert embed.title.startswith("Compare all services: before and after")
    assert embed.description.startswith("**No significant change in response times or errors**")


async def test_nothing_recorded_is_answered_with_the_number_that_is_needed(move_in):
    async with move_in() as home:
        result = await home.owner.slash(home.channel, "perf compare", after="24h")
        (embed,) = result.response.embeds
    assert embed.description.startswith("**Not enough data: 0 of 60 operations before**")
    assert not embed.image


async def test_markers_are_completed_by_name_and_lead_to_themselves(move_in):
    async with move_in() as home:
        marker = await deployed(home.monitor)
        found = await home.owner.autocomplete(home.channel, "perf compare", "before", "1.4")
        assert [choice["value"] for choice in found] == [f"marker:{marker.id}"]
        assert found[0]["name"].endswith("version 1.4")
        result = await home.owner.slash(home.channel, "perf compare", before=found[0]["value"])
        (embed,) = result.response.embeds
        assert "version 1.4" in embed.title
        assert await home.stranger.autocomplete(home.channel, "perf compare", "before", "1") == []


@pytest.mark.parametrize("option", ["before", "after"])
async def test_a_text_that_is_no_period_is_refused(move_in, option):
    async with move_in() as home:
        await deployed(home.monitor)
        result = await home.owner.slash(home.channel, "perf compare", **{option: "versoin 1.4"})
        assert "Did you mean version 1.4?" in result.response.content


async def test_an_unknown_command_is_answered_with_similar_names(move_in):
    async with move_in() as home:
        await deployed(home.monitor)
        result = await home.owner.slash(home.channel, "perf compare", service="/asl")
        assert "/ask" in result.response.embeds[0].description


async def test_buttons_lead_to_the_statistics_and_back(move_in):
    async with move_in() as home:
        await deployed(home.monitor)
        await home.owner.slash(home.channel, "perf compare", service="/ask")
        message = home.channel.last_message
        assert labels(message)[:4] == ["Statistics", "Errors", "Slowest", "Summary"]
        await home.owner.click(message, label="Statistics")
        message = home.channel.last_message
        assert message.embeds[0].title.startswith("/ask Statistics")
        await home.owner.click(message, label="Compare")
        assert home.channel.last_message.embeds[0].title.startswith("Compare /ask")


async def test_hostile_names_neither_mention_nor_break_limits(move_in):
    async with move_in() as home:
        name = "@everyone **x** `" + "y" * 80
        await deployed(home.monitor, name=name, marker="@here " + "[z](https://example.com)" * 4)
        result = await home.owner.slash(home.channel, "perf compare", service="discord.commands")
        (embed,) = result.response.embeds
    assert "@here" not in embed.title
    assert "[z](" not in embed.title


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf compare")
        assert result.response.content.startswith("These figures are for the bot's owner")


async def test_a_marker_of_minutes_ago_is_not_enough_yet(move_in):
    async with move_in() as home:
        await deployed(home.monitor, age_us=5 * MINUTE_US)
        result = await home.owner.slash(home.channel, "perf compare", service="/ask")
        (embed,) = result.response.embeds
    assert "of 60 operations" in embed.description
