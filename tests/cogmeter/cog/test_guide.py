"""``/perf help``: every command of the tree with what it answers, by topic and in pages."""

import itertools

import pytest
from discord import app_commands

from cogmeter.cog.guide import OTHERS, OWNERS_ONLY, command_lines
from cogmeter.render.embeds.guide import PAGE_LETTERS, CommandLine, guide_pages


def group_of(home, name="perf"):
    return home.bot.tree.get_command(name)


def leaves(group):
    return [one for one in group.walk_commands() if isinstance(one, app_commands.Command)]


async def pages_of(home, user):
    """Return the texts of all pages, turned with the button."""
    result = await user.slash(home.channel, "perf help")
    message = result.response
    texts = [message.embeds[0].description]
    while "more on the next page" in (message.embeds[0].footer.text or ""):
        await user.click(message, label="Next")
        texts.append(message.embeds[0].description)
    return texts


async def test_every_command_of_the_tree_is_listed_once_with_its_description(move_in):
    async with move_in() as home:
        text = "\n".join(await pages_of(home, home.owner))
        commands = leaves(group_of(home))
    assert len(commands) > 15
    for command in commands:
        assert text.count(f"`/{command.qualified_name}`") == 1
        assert command.description[:20].split("/")[0] in text


async def test_every_command_belongs_to_a_topic(move_in):
    async with move_in() as home:
        topics = command_lines(group_of(home), owner=True)
    assert OTHERS not in topics


async def test_the_name_of_the_group_is_that_of_the_settings(move_in):
    async with move_in(PERFORMANCE_COMMAND_GROUP="speed") as home:
        result = await home.owner.slash(home.channel, "speed help")
    assert "`/speed summary` \\[period\\]" in result.response.embeds[0].description


async def test_only_the_user_sees_the_map(move_in):
    async with move_in() as home:
        result = await home.owner.slash(home.channel, "perf help")
    assert result.ephemeral


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf help")
    assert "for the bot's owner and team" in result.response.content


def own_group():
    group = app_commands.Group(name="perf", description="d")

    @group.command(name="secret", description="Only the owner", extras={OWNERS_ONLY: True})
    async def secret(_):
        pass

    @group.command(name="strange", description="A command without a topic")
    async def strange(_):
        pass

    return group


def test_commands_for_the_owner_are_hidden_from_others():
    names = [[line.name for line in command_lines(own_group(), owner=owner)[OTHERS]] for owner in (True, False)]
    assert names == [["/perf secret", "/perf strange"], ["/perf strange"]]


@pytest.mark.parametrize("length", [1, 30, 400])
def test_a_map_of_any_length_fits_into_pages_without_a_loss(length):
    commands = [CommandLine(f"/perf command{number}", "[a] " * 30, "x" * 100) for number in range(length)]
    pages = guide_pages({"First *topic*": commands, "Second": commands[:1]})
    assert all(0 < len(page) <= PAGE_LETTERS for page in pages)
    names = list(itertools.chain.from_iterable(page.split("`")[1::2] for page in pages))
    assert names == [line.name for line in (*commands, commands[0])]
    assert all(page.startswith("**") for page in pages)
