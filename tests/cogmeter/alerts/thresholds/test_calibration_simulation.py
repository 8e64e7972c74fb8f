"""A week of three bots with nothing configured: what is usual for each raises no alert, what is wrong is found."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from traffic import Found, Incident, Service, Traffic, fired_s, simulate

from cogmeter.alerts.model import INFO
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState

SEED = 5
DAYS = 7
COMMANDS, REPLIES, TASKS = "discord.commands", "discord.replies", "discord.tasks"
MODEL_SPREAD = 0.8035  # a median of 4 s and a 95th percentile of 15 s
SLOW = frozenset({"response_time"})
FAILING, SILENT, DEAD = (frozenset({rule}) for rule in ("error_rate", "low_traffic", "dead_loops"))


def at(day, hour, minutes):
    since_s = day * 86_400.0 + hour * 3_600.0
    return since_s, since_s + 60.0 * minutes


@dataclass(frozen=True)
class Bot:
    """The traffic of one bot at its busiest, and what is wrong with it when."""

    name: str
    services: tuple[Service, ...]
    incidents: tuple[Incident, ...]
    check_s: float = 120.0
    learning_days: float = 3.1


def model(name, operation, per_minute):
    return Service(name, per_minute, 4_000, spread=MODEL_SPREAD, swing=0.8, operations=((operation, 1.0),))


LANGUAGE_MODEL = Bot(
    "language model",
    (
        model(COMMANDS, "ask", 6),
        model(REPLIES, "on_message", 7),
        Service(COMMANDS, 3, 120, swing=0.8, operations=(("ping", 0.8), ("help", 0.2))),
        Service(TASKS, 1, 400, swing=0.0, operations=(("Feed.poll", 1.0),)),
    ),
    (
        Incident("slow on the first day", COMMANDS, *at(0, 17, 45), 20 * 60, SLOW, operation="ask", slower=4.0),
        Incident("slow while it is learned", COMMANDS, *at(2, 14, 300), 20 * 60, SLOW, operation="ask", slower=4.0),
        Incident("error burst", COMMANDS, *at(3, 15, 25), 6 * 60, FAILING, failing=0.3),
        Incident("slow replies", REPLIES, *at(4, 16, 45), 20 * 60, SLOW, slower=4.0),
        Incident("silence", REPLIES, *at(5, 15, 40), 12 * 60, SILENT, volume=0.0),
        Incident("slow", COMMANDS, *at(6, 13, 45), 20 * 60, SLOW, operation="ask", slower=4.0),
        Incident("dead loop", TASKS, *at(6, 18, 30), 3 * 60, DEAD, operation="Feed.poll", dead=True),
    ),
)
POPULAR = Bot(
    "popular",
    (
        Service(COMMANDS, 280, 150, swing=0.9, operations=(("skip", 0.6), ("queue", 0.4))),
        Service(COMMANDS, 120, 1_500, swing=0.9, operations=(("play", 1.0),)),
        Service(TASKS, 1, 400, swing=0.0, operations=(("Cache.clean", 1.0),)),
    ),
    (
        Incident("error burst", COMMANDS, *at(1, 15, 20), 4 * 60, FAILING, failing=0.2),
        Incident("silence", COMMANDS, *at(3, 16, 30), 7 * 60, SILENT, volume=0.0),
        Incident("slow", COMMANDS, *at(4, 17, 30), 7 * 60, SLOW, operation="play", slower=4.0),
        Incident("failing command", COMMANDS, *at(5, 14, 30), 8 * 60, FAILING, operation="queue", failing=0.3),
        Incident("dead loop", TASKS, *at(6, 12, 30), 3 * 60, DEAD, operation="Cache.clean", dead=True),
    ),
)
QUIET = Bot(
    "quiet",
    (
        Service(COMMANDS, 0.012, 4_000, spread=MODEL_SPREAD, swing=0.8, operations=(("roll", 0.7), ("ask", 0.3))),
        Service(TASKS, 0.1, 400, swing=0.0, operations=(("Backup.run", 1.0),)),
    ),
    (
        Incident("dead loop", TASKS, *at(2, 12, 60), 6 * 60, DEAD, operation="Backup.run", dead=True),
        Incident(
            "lost tasks",
            "(bot)",
            *at(4, 12, 20),
            6 * 60,
            frozenset({"unhandled_errors"}),
            error="lost",
            unhandled=True,
        ),
    ),
    check_s=300.0,
    learning_days=7.0,
)
BOTS = (LANGUAGE_MODEL, POPULAR, QUIET)


async def lived(bot: Bot, seed: int, path) -> Found:
    traffic = Traffic(seed, days=DAYS, services=bot.services, incidents=bot.incidents)
    store = await open_store(f"sqlite:///{path}")
    try:
        return await simulate(traffic, store, {}, learning_days=bot.learning_days, check_s=bot.check_s)
    finally:
        await store.close()


def false_alerts(bot: Bot, found: Found):
    """What was sent above information without a reason."""
    return [
        (one.service, one.operation, one.severity, one.message, fired_s(one) / 3_600)
        for one in found.false(bot.incidents)
        if one.severity != INFO
    ]


def missed(bot: Bot, found: Found):
    """The incidents that were not found in time above information."""
    return [
        (one.kind, [fired_s(alert) - one.since_s for alert in found.of(one)])
        for one in bot.incidents
        if not any(alert.severity != INFO and fired_s(alert) - one.since_s <= one.within_s for alert in found.of(one))
    ]


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=BOTS, ids=lambda bot: bot.name)
def week(request, tmp_path_factory) -> tuple[Bot, Found]:
    path = tmp_path_factory.mktemp("calibration") / "performance.db"
    return request.param, asyncio.run(lived(request.param, SEED, path))


def test_what_is_usual_raises_no_alert_above_information(week):
    assert false_alerts(*week) == []


def test_every_incident_is_found_in_time(week):
    assert missed(*week) == []


def test_every_alert_ends(week):
    _, found = week
    assert {one.state for one in found.alerts} <= {AlertState.RESOLVED}
