"""The embed of the fleet."""

from __future__ import annotations

import pytest
from fleet_store import FOUR, LONG_NAME, MANY, Member

from cogmeter.diagnosis import Check, Status
from cogmeter.query.fleet import ONE_PROCESS, FleetHealth, FleetProcess, ProcessHealth, ProcessState
from cogmeter.query.records import Figures, Range
from cogmeter.render.embeds.fleet import LISTED, fleet_embed
from cogmeter.render.embeds.limits import DESCRIPTION

SPAN = Range(0, 300_000_000, "last 5 min")


def judged(member, status=Status.HEALTHY, reason="0 of 100 operations failed"):
    figures = Figures(100, (60, 40, 0, 0, 0), 300_000_000, 1e4, 1e4, 2e4, 3e4, 40_000)
    silent_us = int(member.silent_s * 1e6)
    state = ProcessState.SILENT if silent_us > 60e6 else ProcessState.ALIVE
    process = FleetProcess(
        member.name, member.version, member.shards, "host", 1, 0, 0, silent_us, state, figures, member.lag_ms * 1000
    )
    life = "alive" if state is ProcessState.ALIVE else "silent for 2 min 5 s"
    return ProcessHealth(process, Check(member.name, status, reason), life)


def embed_of(*processes, text="the fleet"):
    return fleet_embed(FleetHealth(SPAN, processes, {}, text))


def test_a_database_of_one_process_has_one_sentence():
    assert embed_of().description == ONE_PROCESS


def test_each_process_has_its_figures_and_the_bad_ones_the_reason():
    silent = judged(FOUR[1], Status.UNHEALTHY, "no sign of life, and no orderly end")
    failing = judged(FOUR[2], Status.UNHEALTHY, "40 of 100 operations failed, more than 5%")
    embed = embed_of(silent, failing, judged(FOUR[0]), text="2 of 3 alive")
    lines = embed.description.splitlines()
    assert embed.title == "Fleet: unhealthy"
    assert lines[0] == "**2 of 3 alive**"
    assert lines[2] == "\N{OCTAGONAL SIGN} **shards 4-7** silent for 2 min 5 s · version 1.5"
    assert lines[3] == "\N{OCTAGONAL SIGN} **shards 8-11** alive · version 1.5"
    assert lines[4].endswith(
        "20/min · 40% failed · p95 20 ms · loop lag 3 ms; 40 of 100 operations failed, more than 5%"
    )
    assert lines[5] == "**shards 0-3** alive · version 1.4"
    assert lines[6].endswith("20/min · 40% failed · p95 20 ms · loop lag 3 ms")


def test_at_most_25_processes_are_listed_and_the_rest_is_counted():
    embed = embed_of(*(judged(member) for member in MANY))
    assert embed.description.count("alive ·") == LISTED == 25
    assert embed.description.splitlines()[-1] == "and 39 more"


@pytest.mark.parametrize("name", [LONG_NAME, "@everyone **bold** `code` [a](https://b) <@1>", "\u202e" + "x" * 300])
def test_long_and_hostile_names_fit_and_are_harmless(name):
    embed = embed_of(*(judged(Member(f"{name} {place}", version=name)) for place in range(64)))
    assert len(embed.description) <= DESCRIPTION
    assert "@everyone" not in embed.description
    assert "**bold**" not in embed.description
    assert "\u202e" not in embed.description
