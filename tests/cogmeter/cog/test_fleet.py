"""``/perf fleet``, and the option ``process`` of ``/perf summary`` and ``/perf stats``."""

from __future__ import annotations

import pytest
from fleet_store import FOUR, fill_fleet

from cogmeter.diagnostics.doctor import examine
from cogmeter.query.fleet import ONE_PROCESS


@pytest.fixture
def fleet_home(move_in, postgres_url):
    """Opens a home whose bot is the process ``self`` of a fleet."""

    async def fill(members=FOUR):
        await fill_fleet(postgres_url, members)
        return move_in(
            PERFORMANCE_DATABASE_URL=postgres_url, PERFORMANCE_PROCESS_NAME="self", PERFORMANCE_CHARTS="false"
        )

    return fill


async def embed_of(home, command, **options):
    result = await home.owner.slash(home.channel, command, **options)
    return result.response.embeds[0]


async def test_a_file_of_one_process_is_explained(move_in):
    async with move_in() as home:
        assert (await embed_of(home, "perf fleet")).description == ONE_PROCESS


async def test_every_process_is_listed(fleet_home):
    async with await fleet_home() as home:
        embed = await embed_of(home, "perf fleet")
    lines = embed.description.splitlines()
    assert lines[0].startswith("**4 of 5 processes alive; silent: shards 4-7 (2 min")
    assert [line for line in lines if "**self** alive" in line]
    assert "**shards 4-7** silent for 2 min" in lines[2]


async def test_summary_and_stats_of_one_process(fleet_home):
    async with await fleet_home() as home:
        summary = await embed_of(home, "perf summary", process="shards 8-11")
        stats = await embed_of(home, "perf stats", service="alpha", process="shards 8-11")
        unknown = await embed_of(home, "perf summary", process="shards 8-12")
    assert "Only the process **shards 8-11**" in summary.description
    assert [field.value.split()[0] for field in summary.fields if field.name == "Total Operations"] == ["100"]
    assert "Only the process **shards 8-11**" in stats.description
    assert [field.value.split()[0] for field in stats.fields if field.name == "Total Operations"] == ["50"]
    assert unknown.title == "Unknown process"
    assert "shards 8-11" in unknown.description


async def test_the_doctor_names_the_silent_process(fleet_home):
    async with await fleet_home() as home:
        (finding,) = [one for one in await examine(home.monitor) if one.name == "fleet"]
    assert not finding.well
    assert finding.text.startswith("4 of 5 processes alive; silent: shards 4-7 (2 min")


async def test_the_doctor_of_one_process_says_nothing_of_a_fleet(fleet_home):
    async with await fleet_home([]) as home:
        assert not [one for one in await examine(home.monitor) if one.name == "fleet"]
