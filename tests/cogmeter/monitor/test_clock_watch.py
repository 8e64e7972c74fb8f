"""The watch on the clock: it notices each step, is not misled by a machine that slept, and doubts a leap forward."""

from __future__ import annotations

import time

import pytest

from cogmeter.monitor.clock_watch import ClockWatch, clock_finding, clock_text, impossible_finding
from cogmeter_storage.clock import RELEASED_US, clock
from cogmeter_storage.model import DAY_US, HOUR_US, ClockSteps

NOW_US = 1_800_000_000_000_000
YEARS_US = 3650 * DAY_US
SECOND_US = 1_000_000


class World:
    """A wall clock that can be set, a clock that cannot, and what a watch between them says."""

    def __init__(self) -> None:
        self.wall_us = NOW_US
        self.steady_us = 7 * SECOND_US
        self.ahead_s: float | None = None
        self.steps: list[tuple[int, int]] = []
        self.watch = ClockWatch(self._stepped, ahead_s=lambda: self.ahead_s, steady_ns=lambda: self.steady_us * 1000)

    async def _stepped(self, step):
        self.steps.append(tuple(step))

    def pass_time(self, us, *, rate=1.0):
        self.steady_us += us
        self.wall_us += int(us * rate)


@pytest.fixture
async def world(monkeypatch):
    world = World()
    monkeypatch.setattr(time, "time_ns", lambda: world.wall_us * 1000)
    yield world
    await world.watch.stop()


@pytest.mark.parametrize("step_us", [-YEARS_US // 10, -HOUR_US, -3 * SECOND_US, 3 * SECOND_US, HOUR_US, YEARS_US])
async def test_a_step_is_noticed_once_and_logged(world, caplog, step_us):
    world.watch.start(NOW_US)
    world.pass_time(SECOND_US)
    world.wall_us += step_us
    assert await world.watch.look() == (step_us, step_us)
    assert await world.watch.look() is None
    assert world.steps == [(step_us, step_us)]
    assert (world.watch.back, world.watch.forward) == (int(step_us < 0), int(step_us > 0))
    assert f"The clock was set {'back' if step_us < 0 else 'forward'}" in caplog.text
    assert [one.name for one in world.watch.findings(ClockSteps()) if one.name == "clock steps"]


async def test_a_suspended_machine_and_a_smeared_leap_second_make_no_step(world):
    world.watch.start(NOW_US)
    world.pass_time(9 * HOUR_US)  # the steady clock counts the suspension
    assert await world.watch.look() is None
    for _ in range(24 * 60):
        world.pass_time(60 * SECOND_US, rate=1 + 1 / 86_400)
        assert await world.watch.look() is None
    assert all(one.well for one in world.watch.findings(ClockSteps()))


async def test_time_continues_when_the_clock_falls_back_to_an_impossible_time(world, monkeypatch):
    monkeypatch.setattr(time, "perf_counter_ns", lambda: world.steady_us * 1000)
    world.watch.start(NOW_US)
    world.wall_us = 0
    world.pass_time(SECOND_US)
    step = await world.watch.look()
    assert step is not None
    assert step.time_us == 0
    assert clock.now_us() == NOW_US + SECOND_US
    assert "1970-01-01" in world.watch.doubt()
    assert impossible_finding() is not None
    world.wall_us = NOW_US + SECOND_US
    step = await world.watch.look()
    assert step is not None
    assert step.time_us == 0
    assert world.watch.doubt() == ""


async def test_a_start_at_an_impossible_time_continues_from_the_last_operation(world, monkeypatch):
    monkeypatch.setattr(time, "perf_counter_ns", lambda: world.steady_us * 1000)
    world.wall_us = RELEASED_US - DAY_US
    world.watch.start(NOW_US)
    world.pass_time(SECOND_US)
    assert clock.now_us() == NOW_US + SECOND_US
    await world.watch.stop()
    assert clock.now_us() == RELEASED_US - DAY_US + SECOND_US


async def test_a_leap_forward_is_doubted_until_discord_or_a_week_confirms_it(world):
    world.watch.start(NOW_US)
    assert world.watch.doubt() == ""
    world.wall_us += YEARS_US
    await world.watch.look()
    assert "no answer of Discord" in world.watch.doubt()
    world.ahead_s = YEARS_US / 1e6
    assert "ahead of Discord's" in world.watch.doubt()
    world.ahead_s = 0.3
    assert world.watch.doubt() == ""
    world.ahead_s = None
    world.pass_time(7 * DAY_US)
    assert world.watch.doubt() == ""


async def test_a_leap_forward_that_is_taken_back_is_doubted_no_more(world):
    world.watch.start(NOW_US)
    world.wall_us += YEARS_US
    await world.watch.look()
    assert world.watch.doubt()
    world.wall_us -= YEARS_US
    await world.watch.look()
    assert world.watch.doubt() == ""


@pytest.mark.parametrize(("gap_us", "doubted"), [(HOUR_US, False), (YEARS_US, True)])
async def test_a_start_long_after_the_last_operation_has_to_be_confirmed(world, gap_us, doubted):
    world.watch.start(NOW_US - gap_us)
    assert bool(world.watch.doubt()) is doubted


def test_the_words_say_what_was_set_apart_and_what_was_moved():
    assert clock_finding(ClockSteps()).well
    assert "3 operations moved forward" in clock_text(ClockSteps(clamped=3))
    found = clock_finding(ClockSteps(0, 50, 2, NOW_US + YEARS_US, NOW_US + YEARS_US))
    assert not found.well
    assert "50 operations and 2 other records from the future (from 2037-" in found.text
    assert "set_apart" in found.advice
