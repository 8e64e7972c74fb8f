"""``/perf slow``: the slowest runs, page by page, with their charts."""

import asyncio
import time

import discord
import pytest
from PIL import Image

import cogmeter
from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

COMMANDS = "discord.commands"
HOST = SpanRecord(1, 0, "http.api.example.com", "POST", 100_000, 3_000_000, Outcome.OK)


def trace(operation, duration_us, *spans, service=COMMANDS, error=None):
    outcome = Outcome.OK if error is None else Outcome.ERROR
    return TraceRecord(time.time_ns() // 1000 - 60_000_000, service, operation, duration_us, outcome, error, 0, spans)


async def seed(home, *traces):
    for one in traces:
        cogmeter.record(one.service, one.operation, duration_ms=one.duration_us / 1000)
    await home.flushed()
    await home.monitor.store.add_traces(traces)


async def answer(home, **options):
    return (await home.owner.slash(home.channel, "perf slow", **options)).response


def fields(embed):
    return {field.name: field.value for field in embed.fields}


async def test_without_slow_runs_it_says_so(move_in):
    async with move_in() as home:
        response = await answer(home)
        assert "100 ms or more" in response.embeds[0].description
        assert "Next" not in str(response.components)


async def test_the_slowest_command_comes_first_with_its_parts_its_chart_and_what_to_do(move_in):
    async with move_in() as home:
        await seed(home, trace("ask", 4_000_000, HOST), trace("look", 2_100_000))
        response = await answer(home)
        (embed,) = response.embeds
        assert embed.title == "/ask: 4 s"
        assert embed.description.startswith("**Slow upstream.** POST api.example.com took 3 s. Set a timeout")
        assert fields(embed)["Time by part"] == "other hosts 3 s (75%)\nown code 1 s (25%)"
        assert fields(embed)["Slowest"] == "**/ask 4 s** · /look 2.1 s"
        assert embed.footer.text == "Last 24 hours · Page 1 of 2"
        (picture,) = response.attachments
        assert embed.image.url.endswith(picture.filename)
        assert "http.api.example.com POST 3 s" in picture.description


async def test_the_next_page_is_explained_honestly_where_nothing_is_known(move_in):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        await seed(home, trace("ask", 4_000_000, HOST), trace("look", 2_100_000))
        message = await answer(home)
        await home.owner.click(message, label="Next")
        embed = message.embeds[0]
        assert embed.title == "/look: 2.1 s"
        assert embed.description.startswith("Own code 2.1 s, not broken down: nothing was recorded inside it.")
        await home.owner.click(message, label="Previous")
        assert message.embeds[0].title == "/ask: 4 s"


async def test_markup_in_the_name_of_the_slowest_step_is_shown_as_text(move_in):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        step = SpanRecord(1, 0, "shop", "**buy** `now`", 0, 900_000, Outcome.OK)
        await seed(home, trace("ask", 1_000_000, step))
        (embed,) = (await answer(home)).embeds
        assert r"900 ms of it in shop / \*\*buy\*\* \`now\`." in embed.description


async def test_one_command_begins_with_where_its_time_goes(move_in):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        await seed(home, *(trace("ask", 4_000_000, HOST) for _ in range(3)), trace("look", 2_000_000))
        message = await answer(home, service="/ask")
        embed = message.embeds[0]
        assert embed.title == "Where the time goes: /ask"
        assert embed.description == "From 3 traced runs of 3 runs; traces are kept of slow and failed runs."
        assert "other hosts        75%      3 s      3 s" in fields(embed)["Share, p50 and p95 of each part"]
        await home.owner.click(message, label="Next")
        assert fields(message.embeds[0])["Slowest"] == "**run 1 4 s** · run 2 4 s · run 3 4 s"


async def test_the_period_can_be_changed_and_slowest_leads_here(move_in):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        await seed(home, trace("ask", 4_000_000, HOST))
        message = (await home.owner.slash(home.channel, "perf summary")).response
        await home.owner.click(message, label="Slowest")
        await home.owner.click(message, label="Why slow")
        assert message.embeds[0].title == "/ask: 4 s"
        await home.owner.click(message, label="7d")
        assert message.embeds[0].footer.text == "Last 7 days"


async def test_an_unknown_name_is_answered_with_similar_ones_and_names_are_completed(move_in):
    async with move_in() as home:
        await seed(home, trace("ask", 4_000_000, HOST))
        assert "/ask" in str((await answer(home, service="/askk")).embeds[0].to_dict())
        choices = await home.owner.autocomplete(home.channel, "perf slow", "service", "as")
        assert "/ask" in [choice["value"] for choice in choices]


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        response = (await home.stranger.slash(home.channel, "perf slow")).response
        assert response.ephemeral
        assert not response.embeds


async def test_hostile_names_and_a_hundred_commands_keep_within_the_limits_and_mention_nobody(move_in):
    evil = "@everyone [x](https://evil.example) `" + "*_~|" * 15
    spans = [SpanRecord(number, number - 1, evil, evil, number, 9_000_000, Outcome.ERROR) for number in range(1, 101)]
    stall = SpanRecord(101, 0, "discord.stalls", evil, 0, 3_000_000, Outcome.OK)
    async with move_in() as home:
        await seed(
            home, trace(evil, 9_000_000, *spans, stall, error=evil * 5), *(trace(f"c{n}", 2_000_000) for n in range(99))
        )
        response = await answer(home)
        assert response.embeds[0].footer.text.endswith("Page 1 of 10")
        assert "@everyone" not in response.embeds[0].title.replace("@\u200b", "")


async def test_a_command_that_runs_is_traced_with_its_steps_and_its_first_response(move_in):
    async def prepare(home, _):
        @home.bot.tree.command()
        async def think(interaction: discord.Interaction) -> None:
            """Answer, then work in a step and in a thread."""
            await interaction.response.send_message("soon")
            with cogmeter.operation("model", "answer"):
                await asyncio.to_thread(_inside)

    async with move_in(prepare=prepare, PERFORMANCE_TRACE_THRESHOLD=0, PERFORMANCE_CHARTS=False) as home:
        await home.owner.slash(home.channel, "think")
        await home.flushed()
        (run,) = await home.monitor.store.traces(COMMANDS, "think", 0, limit=1)
        spans = {(one.service, one.operation): one for one in run.spans}
        assert {("model", "answer"), ("thread", "step"), ("discord.acknowledgement", "think")} <= set(spans)
        assert spans["thread", "step"].parent == spans["model", "answer"].id


def _inside():
    with cogmeter.operation("thread", "step"):
        pass


@pytest.mark.parametrize("pages", ["/ask"])
async def test_the_pictures_are_whole(move_in, pages):
    async with move_in() as home:
        await seed(home, trace("ask", 4_000_000, HOST))
        message = await answer(home, service=pages)
        for label in ("profile", "Next"):
            if label == "Next":
                await home.owner.click(message, label=label)
            (picture,) = message.attachments
            with Image.open(await _file(picture)) as image:
                assert image.size == (1600, 900)
                assert len(image.convert("RGB").getcolors(100_000)) > 4


async def _file(picture):
    import io

    return io.BytesIO(await picture.read())
