"""What is proposed for a bot of some days, in sentences, with how often it would have fired."""

import pytest

from cogmeter.alerts.review.proposals import proposals
from cogmeter.settings import Settings
from cogmeter_storage import open_store
from cogmeter_storage.model import HOUR_US, MINUTE_US

NOW_US = 20_000 * 24 * HOUR_US
NAMES = {"ask": ("discord.commands", "ask"), "ping": ("discord.commands", "ping"), "chat": ("chat", "stream")}


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def lived(store):
    """Three days; /ask takes 6 s, and twice for half an hour 40 s."""
    ids = dict(zip(NAMES, await store.series_ids(list(NAMES.values())), strict=True))
    rows = []
    for minute in range(72 * 60):
        at_us = NOW_US - 72 * HOUR_US + minute * MINUTE_US
        slow = 1_000 <= minute < 1_030 or 3_000 <= minute < 3_030
        lasted_us = 40_000_000 if slow else 6_000_000
        rows += [(ids["ask"], at_us + second * 1_000_000, lasted_us, 0, None, None) for second in range(0, 60, 12)]
        rows.append((ids["ping"], at_us + 59_000_000, 50_000, 0, None, None))
    await store.append([rows], now_us=NOW_US)
    await store.fold(now_us=NOW_US)


async def test_the_slow_command_comes_first_with_how_often_it_would_have_fired(store):
    await lived(store)
    ask, ping = await proposals(store, Settings(_env_file=None), now_us=NOW_US)
    assert ask.text == (
        "95% of /ask take under 6 s; an alert above 12 s (average) would have fired twice in the last 3 d"
    )
    assert ask.what_if.now_times > 0
    assert ping.text.startswith("95% of /ping take under 50")
    assert ping.text.endswith("an alert above 5 s (average) would not have fired in the last 3 d")


async def test_nothing_is_proposed_without_operations(store):
    assert await proposals(store, Settings(_env_file=None), now_us=NOW_US) == []
