"""Bodies over Discord's documented limits are refused with its error form, and noted."""

from __future__ import annotations

from io import BytesIO

import discord
import pytest
from discord import app_commands
from loopback.limits import check_message, embed_characters
from loopback.limits_commands import check_commands
from loopback.limits_components import check_components, check_modal
from loopback.problems import Problems
from loopback.recording import UploadedFile

SEND = "POST /channels/{channel_id}/messages"


def found(check, *arguments, **options) -> set[str]:
    problems = Problems()
    check(problems, *arguments, **options)
    return {f"{path}: {code}" for path, code, _ in problems.found}


async def test_an_embed_over_the_limit_is_refused_with_the_path_to_it(discord_server, bot):
    channel = bot.guilds[0].text_channels[0]
    embed = discord.Embed(title="x" * 257).add_field(name="n", value="v" * 1025)
    with pytest.raises(discord.HTTPException, match=r"embeds\.0\.fields\.0\.value: Must be 1024 or fewer") as caught:
        await channel.send(embed=embed)
    assert (caught.value.status, caught.value.code) == (400, 50035)
    assert [(v.route, v.where) for v in discord_server.violations] == [
        (SEND, "embeds.0.title"),
        (SEND, "embeds.0.fields.0.value"),
    ]


async def test_an_interaction_answer_over_the_limit_is_refused(discord_server, make_bot):
    made = make_bot()

    @made.tree.command(description="Says too much")
    async def chatter(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("x" * 2001)

    @made.tree.error
    async def quiet(interaction, error) -> None:
        await interaction.response.send_message("too long")

    async with discord_server.running(made):
        exchange = await discord_server.interact(discord_server.owner.slash("chatter"))
        assert (await exchange.answered())["content"] == "too long"
    assert [violation.where for violation in discord_server.violations] == ["data.content"]


async def test_an_empty_message_and_a_large_file_are_refused(discord_server, bot):
    channel = bot.guilds[0].text_channels[0]
    with pytest.raises(discord.HTTPException, match="50006"):
        await channel.send("")
    with pytest.raises(discord.HTTPException, match="40005"):
        await channel.send(file=discord.File(BytesIO(bytes(10 * 1024 * 1024 + 1)), "big.bin"))
    assert {violation.code for violation in discord_server.violations} == {"50006", "40005"}


async def test_a_command_that_discord_would_refuse_is_refused_at_the_sync(discord_server, make_bot):
    made = make_bot()

    @made.tree.command(description="x" * 101)
    async def verbose(interaction: discord.Interaction) -> None: ...

    async with discord_server.running(made):
        with pytest.raises(app_commands.CommandSyncFailure):
            await made.tree.sync()
    assert [violation.code for violation in discord_server.violations] == ["BASE_TYPE_BAD_LENGTH"]


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ({"content": "x" * 2001}, "content: BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"title": "t"}] * 11}, "embeds: BASE_TYPE_BAD_LENGTH"),
        ({"embeds": [{"description": "x" * 4097}]}, "embeds.0.description: BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"description": "x" * 3001}] * 2}, "embeds: MAX_EMBED_SIZE_EXCEEDED"),
        ({"embeds": [{"footer": {"text": "x" * 2049}}]}, "embeds.0.footer.text: BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"author": {"name": "x" * 257}}]}, "embeds.0.author.name: BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"color": 0x1000000}]}, "embeds.0.color: NUMBER_TYPE_MAX"),
        ({"embeds": [{"timestamp": "yesterday"}]}, "embeds.0.timestamp: DATE_TIME_TYPE_PARSE"),
        ({"embeds": [{"fields": [{"name": "", "value": "v"}]}]}, "embeds.0.fields.0.name: BASE_TYPE_REQUIRED"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields: BASE_TYPE_BAD_LENGTH"),
        (
            {"embeds": [{"image": {"url": "attachment://no.png"}}]},
            "embeds.0.image.url: UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND",
        ),
        ({"embeds": [{"url": "ftp://x"}]}, "embeds.0.url: URL_TYPE_INVALID_SCHEME"),
        ({"embeds": [{"colour": 1}]}, "embeds.0.colour: UNKNOWN_KEY"),
        ({"embeds": [{}]}, "embeds.0.description: BASE_TYPE_REQUIRED"),
        ({"contents": "x"}, "contents: UNKNOWN_KEY"),
        ({"attachments": [{"id": 0, "filename": "a"}]}, "attachments.0.id: ATTACHMENT_NOT_FOUND"),
        (
            {"flags": 1 << 15, "content": "x", "components": [{"type": 10, "content": "t"}]},
            "content: MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
        ),
    ],
)
def test_each_limit_of_a_message_is_found_alone(body, finding):
    assert found(check_message, body, ()) == {finding}


def test_a_message_at_its_limits_passes():
    file = UploadedFile("files[0]", "chart.png", "image/png", b"png")
    embed = {
        "title": "t" * 256,
        "description": "d" * 3000,
        "fields": [{"name": "n", "value": "v"}] * 25,
        "image": {"url": "attachment://chart.png"},
        "color": 0xFFFFFF,
        "timestamp": "2026-11-23T12:00:00+00:00",
    }
    assert embed_characters(embed) == 256 + 3000 + 50
    body = {"content": "x" * 2000, "embeds": [embed], "attachments": [{"id": 0, "filename": "chart.png"}]}
    assert not found(check_message, body, (file,))
    assert not found(check_message, {"embeds": [embed]}, (), kept=frozenset({"chart.png"}))


def _button(custom_id: str = "id", **fields: object) -> dict:
    return {"type": 2, "style": 1, "label": "l", "custom_id": custom_id} | fields


def _row(*components: dict) -> list[dict]:
    return [{"type": 1, "components": list(components)}]


_SELECT = {"type": 3, "custom_id": "s", "options": [{"label": "a", "value": "a"}]}


@pytest.mark.parametrize(
    ("components", "finding"),
    [
        (_row(*(_button(str(n)) for n in range(6))), "c.0.components: BASE_TYPE_BAD_LENGTH"),
        (_row(_button(label="l" * 81)), "c.0.components.0.label: BASE_TYPE_MAX_LENGTH"),
        (_row(_button("i" * 101)), "c.0.components.0.custom_id: BASE_TYPE_BAD_LENGTH"),
        (_row(_button(), _button()), "c.0.components.1.custom_id: COMPONENT_CUSTOM_ID_DUPLICATED"),
        (_row(_button(label=None)), "c.0.components.0: BUTTON_COMPONENT_INVALID"),
        (_row(_button(), _SELECT), "c.0: COMPONENT_LAYOUT_WIDTH_EXCEEDED"),
        (
            _row(_SELECT | {"options": [{"label": str(n), "value": str(n)} for n in range(26)]}),
            "c.0.components.0.options: BASE_TYPE_BAD_LENGTH",
        ),
        (
            _row(_SELECT | {"options": _SELECT["options"] * 2}),
            "c.0.components.0.options: SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
        ),
        ([_button()], "c.0.type: UNION_TYPE_CHOICES"),
    ],
)
def test_each_limit_of_components_is_found_alone(components, finding):
    assert found(check_components, components, "c", v2=False) == {finding}


def test_the_limits_of_components_v2_count_everything_nested():
    text = {"type": 10, "content": "t"}
    container = {"type": 17, "components": [text] * 40}
    assert found(check_components, [container], "c", v2=True) == {"c: COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED"}
    long = [{"type": 10, "content": "t" * 2001}] * 2
    assert found(check_components, long, "c", v2=True) == {"c: COMPONENT_TEXT_TOO_LONG"}


def test_the_limits_of_a_modal():
    rows = _row({"type": 4, "custom_id": "i", "label": "l"})
    assert not found(check_modal, {"title": "t", "custom_id": "m", "components": rows})
    assert found(check_modal, {"title": "t" * 46, "custom_id": "m", "components": rows * 6}) >= {
        "data.title: BASE_TYPE_BAD_LENGTH",
        "data.components: BASE_TYPE_BAD_LENGTH",
    }


def _command(**fields: object) -> dict:
    return {"name": "perf", "description": "d", "type": 1} | fields


def _option(**fields: object) -> dict:
    return {"name": "o", "description": "d", "type": 3} | fields


@pytest.mark.parametrize(
    ("commands", "finding"),
    [
        ([_command(name="n" * 33)], "0.name: BASE_TYPE_BAD_LENGTH"),
        ([_command(name="Perf")], "0.name: APPLICATION_COMMAND_INVALID_NAME"),
        ([_command(name="perf!")], "0.name: APPLICATION_COMMAND_INVALID_NAME"),
        ([_command(description="")], "0.description: BASE_TYPE_REQUIRED"),
        ([_command(), _command()], "1: APPLICATION_COMMANDS_DUPLICATE_NAME"),
        (
            [_command(options=[_option(), _option(name="p", required=True)])],
            "0.options.1: APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
        ),
        (
            [_command(options=[_option(choices=[{"name": str(n), "value": "v"} for n in range(26)])])],
            "0.options.0.choices: BASE_TYPE_BAD_LENGTH",
        ),
        (
            [_command(options=[_option(type=1, options=[_option(description="d" * 101)])])],
            "0.options.0.options.0.description: BASE_TYPE_BAD_LENGTH",
        ),
        ([_command(name=f"c{n}") for n in range(101)], ": APPLICATION_COMMANDS_MAX"),
        (
            [_command(options=[_option(choices=[{"name": "n" * 100, "value": "v" * 100}] * 25)] * 2)],
            "0: APPLICATION_COMMAND_TOO_LARGE",
        ),
        ([_command(type=2)], "0.description: APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION"),
    ],
)
def test_each_limit_of_commands_is_found_alone(commands, finding):
    assert found(check_commands, commands) == {finding}


def test_names_in_any_script_pass_when_they_are_lower_case():
    assert not found(check_commands, [_command(name=name) for name in ("größe", "コマンド", "คำสั่ง", "a_b-c'd1")])
