"""``/perf health``: the whole bot in one picture, problems first."""

import io
import re

import pytest
from PIL import Image

import cogmeter
from cogmeter.diagnosis import Check, Status


async def answer(home):
    result = await home.owner.slash(home.channel, "perf health")
    return result.response


def fields(embed):
    return {field.name: field.value for field in embed.fields}


async def test_a_bot_without_operations_shows_its_components(move_in):
    async with move_in() as home:
        message = await answer(home)
        (embed,) = message.embeds
    assert embed.title.startswith("Bot health: ")
    assert re.match(r"no active alerts; \d+ of \d+ component checks pass", embed.description)
    assert "healthy" in fields(embed)["Components"]
    assert "Services" not in fields(embed)


async def test_the_picture_shows_the_state_and_has_a_description(move_in):
    async with move_in() as home:
        cogmeter.record("knowledge-graph", "query", duration_ms=5)
        await home.flushed()
        message = await answer(home)
        (file,) = message.attachments
        picture = Image.open(io.BytesIO(await file.read()))
    assert picture.width == 1600
    assert message.embeds[0].image.url
    assert "State of the bot" in file.description


async def test_problems_are_listed_first_with_their_reason(move_in, monkeypatch):
    async with move_in() as home:
        for number in range(20):
            cogmeter.record("hostile *name* @everyone", f"x{number}", duration_ms=5, error="boom")
        await home.flushed()
        health = home.bot.get_cog("cogmeter").servers.health
        monkeypatch.setattr(health, "own", lambda: _now([Check("hooks", Status.UNHEALTHY, "the last runs failed")]))
        (embed,) = (await answer(home)).embeds
    lines = embed.description.splitlines()
    assert "\N{OCTAGONAL SIGN} **hooks** (Components): the last runs failed" in lines
    assert any("**hostile \\*name\\* @\u200beveryone** (Services): 20 of 20" in line for line in lines)


async def _now(value):
    return value


async def test_a_hundred_services_fit(move_in):
    async with move_in() as home:
        for number in range(100):
            for _ in range(3):
                cogmeter.record(f"service-{number:03} " + "x" * 80, "x", duration_ms=5, error="boom")
        await home.flushed()
        (embed,) = (await answer(home)).embeds
    assert len(embed) <= 6000
    assert re.search(r"and 9\d more$", embed.description)
    assert fields(embed)["Services"].startswith("100 degraded")


async def test_without_charts_the_answer_has_no_picture(move_in):
    async with move_in(PERFORMANCE_CHARTS="false") as home:
        message = await answer(home)
    assert not message.attachments


@pytest.mark.parametrize(("label", "title"), [("Refresh", "Bot health"), ("Summary", "Performance Summary")])
async def test_its_buttons_lead_to_further_answers(move_in, label, title):
    async with move_in(PERFORMANCE_CHARTS="false") as home:
        cogmeter.record("a", "x", duration_ms=5)
        await home.flushed()
        message = await answer(home)
        await home.owner.click(message, label=label)
        assert home.channel.last_message.embeds[0].title.startswith(title)


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf health")
    assert result.ephemeral
    assert not result.response.embeds
