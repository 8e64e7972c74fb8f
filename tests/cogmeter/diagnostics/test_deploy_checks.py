"""Checks after a deploy: when they are due, what they find, mutes, and that they survive a restart."""

import numpy as np
import pytest

from cogmeter.diagnostics.deploy_checks import CURRENT_US, KEY, DeployChecks
from cogmeter.query.comparison import compare
from cogmeter.query.comparison_periods import UnknownPeriodError
from cogmeter.query.query import Query
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker

DEPLOY_US = 1_800_025_200_000_000
NAMES = [("discord.commands", "ask"), ("discord.commands", "help"), ("graph", "load"), ("http.api", "GET")]


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def deployed(store, *, slower=(), failing=(), until_us=DEPLOY_US + 25 * HOUR_US, per_hour=20, names=NAMES):
    """Store two days before and a day after a version; some operations become slower, or fail, with it."""
    rng, rows = np.random.default_rng(3), []
    for (_, operation), series in zip(names, await store.series_ids(names), strict=True):
        count = int((until_us - DEPLOY_US + 2 * DAY_US) / HOUR_US * per_hour)
        ends = rng.integers(DEPLOY_US - 2 * DAY_US, until_us, count)
        after = ends > DEPLOY_US
        durations = 2e5 * rng.lognormal(0, 0.3, count) * np.where(after & (operation in slower), 1.5, 1)
        failed = rng.random(count) < np.where(after & (operation in failing), 0.3, 0.01)
        rows += [
            (series, *row, None, None)
            for row in zip(ends.tolist(), durations.astype(int).tolist(), failed.astype(int).tolist(), strict=True)
        ]
    await store.append([sorted(rows, key=lambda row: row[1])], now_us=until_us)
    return await store.add_marker(Marker(DEPLOY_US, "version", "version 2"))


def checks_at(store, at_us):
    return DeployChecks(Query(store, clock=lambda: at_us))


async def test_a_check_is_made_after_an_hour_and_after_a_day_once(store):
    await deployed(store)
    assert await checks_at(store, DEPLOY_US + 59 * MINUTE_US).run_due() is None
    first = await checks_at(store, DEPLOY_US + 61 * MINUTE_US).run_due()
    assert (first.stage, first.regressions, first.subjects) == ("1 h", (), 0)
    assert await checks_at(store, DEPLOY_US + 62 * MINUTE_US).run_due() is None  # also after a restart
    second = await checks_at(store, DEPLOY_US + 24 * HOUR_US + MINUTE_US).run_due()
    assert (second.stage, second.regressions, second.subjects) == ("24 h", (), 3)
    assert [check.stage for check in (await checks_at(store, DEPLOY_US).log()).checks] == ["1 h", "24 h"]


async def test_only_what_became_worse_is_found_and_dependencies_are_left_out(store):
    await deployed(store, slower=("ask", "GET"), failing=("load",))
    check = await checks_at(store, DEPLOY_US + 24 * HOUR_US + MINUTE_US).run_due()
    found = {(one.service, one.operation, one.statistic) for one in check.regressions}
    assert found <= {
        ("discord.commands", "ask", "p50"),
        ("discord.commands", "ask", "p95"),
        ("graph", "", "error_rate"),
    }
    assert {one[0] for one in found} == {"discord.commands", "graph"}
    assert check.post == "waiting"


@pytest.mark.parametrize(("age_us", "length_us"), [(61 * MINUTE_US, HOUR_US), (25 * HOUR_US, DAY_US)])
async def test_the_comparison_that_a_check_leads_to_has_the_same_periods_and_values(store, age_us, length_us):
    await deployed(store, slower=("ask",), per_hour=100, names=NAMES[:1])
    check = await checks_at(store, DEPLOY_US + age_us).run_due()
    (worst, *_) = check.regressions
    for now_us in (DEPLOY_US + age_us, DEPLOY_US + 6 * DAY_US):  # whenever it is opened
        query = Query(store, clock=lambda at_us=now_us: at_us)
        found = await compare(query, worst.service, worst.operation, before=check.before)
        assert (found.after.range.since_us, found.after.range.until_us) == (DEPLOY_US, DEPLOY_US + length_us)
        assert (found.before.operations, found.after.operations) == worst.operations
        assert (found.latency.statistic, found.latency.before, found.latency.after) == (
            worst.statistic,
            worst.before,
            worst.after,
        )


@pytest.mark.parametrize("length", ["9x", "0s", "900d"])
async def test_a_length_after_a_marker_that_is_none_is_refused_or_has_no_effect(store, length):
    marker = await deployed(store)
    query = Query(store, clock=lambda: DEPLOY_US + DAY_US)
    if length == "9x":
        with pytest.raises(UnknownPeriodError):
            await compare(query, before=f"marker:{marker.id}:{length}")
    else:
        found = await compare(query, before=f"marker:{marker.id}:{length}")
        assert found.after.range.until_us == DEPLOY_US + DAY_US


async def test_a_day_later_only_news_are_posted(store):
    await deployed(store, slower=("ask",), per_hour=100, names=NAMES[:1])
    first = await checks_at(store, DEPLOY_US + 61 * MINUTE_US).run_due()
    assert [one.operation for one in first.regressions] == ["ask"]
    second = await checks_at(store, DEPLOY_US + 24 * HOUR_US + MINUTE_US).run_due()
    assert [one.operation for one in second.regressions] == ["ask"]
    assert (first.post, second.post) == ("waiting", "done")


async def test_a_mute_covers_the_attention_and_later_posts(store):
    marker = await deployed(store, slower=("ask",))
    at_us = DEPLOY_US + 24 * HOUR_US + MINUTE_US
    checks = checks_at(store, at_us)
    await checks.run_due()
    check, loud = await checks.current()
    assert loud == check.regressions
    await checks.mute(marker.id, "24 h")
    assert await checks_at(store, at_us).current() is None
    assert await checks_at(store, at_us).mute(marker.id + 1, "24 h") is None


async def test_an_old_check_needs_no_attention(store):
    await deployed(store, slower=("ask",))
    at_us = DEPLOY_US + 24 * HOUR_US + MINUTE_US
    await checks_at(store, at_us).run_due()
    assert await checks_at(store, at_us + CURRENT_US + 1).current() is None


async def test_missed_checks_are_made_up_for_but_not_for_ever(store):
    await deployed(store)
    assert (await checks_at(store, DEPLOY_US + 6 * HOUR_US).run_due()).stage == "1 h"
    assert await checks_at(store, DEPLOY_US + 8 * HOUR_US).run_due() is None
    assert await checks_at(store, DEPLOY_US + 4 * DAY_US).run_due() is None


async def test_of_several_changes_within_an_hour_the_last_one_is_checked(store):
    await store.add_marker(Marker(DEPLOY_US - 3 * MINUTE_US, "mark", "deployed 2"))
    await deployed(store)
    check = await checks_at(store, DEPLOY_US + 61 * MINUTE_US).run_due()
    assert check.name == "version 2"
    assert await checks_at(store, DEPLOY_US + 62 * MINUTE_US).run_due() is None


@pytest.mark.parametrize("value", [b"[]", b'{"checks": [{}]}', b"\xff", b'{"checks": 3}'])
async def test_results_of_another_version_are_ignored(store, value, caplog):
    await store.set_value(KEY, value)
    assert (await checks_at(store, DEPLOY_US).log()).checks == ()
    assert "cannot be read" in caplog.text


async def test_a_later_deploy_ends_the_attention_for_the_check_of_an_earlier_one(store):
    await deployed(store, slower=("ask",))
    at_us = DEPLOY_US + 24 * HOUR_US + MINUTE_US
    await checks_at(store, at_us).run_due()
    await store.add_marker(Marker(at_us, "start", "bot started"))  # a restart alone changes nothing
    assert await checks_at(store, at_us + MINUTE_US).current() is not None
    await store.add_marker(Marker(at_us, "mark", "deployed 1.5"))
    assert await checks_at(store, at_us + MINUTE_US).current() is None
