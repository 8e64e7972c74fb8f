"""Learning from a real store: first thresholds, settled ones, restarts, damage, and learning again."""

import asyncio
import json

import numpy as np
import pytest

from cogmeter.alerts.model import BOT, CALIBRATED, NO_HISTORY, PROVISIONAL, Subject
from cogmeter.alerts.thresholds import learning
from cogmeter.alerts.thresholds.learning import KEY, Calibrator, stored_calibration, stored_limits
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnostics.judgement import settings_of_bot, store_health, stored_health
from cogmeter.recording import background
from cogmeter.settings import Settings
from cogmeter.startup import DamagedStateError
from cogmeter_storage import open_store
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import HOUR_US, MINUTE_US, Retention

BEGIN_US = 20_000 * 24 * HOUR_US
ASK, PING, CHAT = (
    Subject("response_time", *names)
    for names in (("discord.commands", "ask"), ("discord.commands", "ping"), ("chat", ""))
)
COMMANDS, WHOLE = Subject("response_time", "discord.commands"), Subject("response_time", BOT)
NAMES = {"ask": ("discord.commands", "ask"), "ping": ("discord.commands", "ping"), "chat": ("chat", "stream")}


class Bot:
    """A bot whose operations are stored hour by hour, with its limits and what it has learned."""

    def __init__(self, store, **settings):
        self.store, self.hour = store, 0
        self.settings = Settings(_env_file=None, **settings)
        self.start()

    def start(self):
        """As after a restart: nothing is known but what is stored."""
        self.limits = Limits(self.settings)
        self.calibrator = Calibrator(self.limits)
        return self

    @property
    def now_us(self):
        return BEGIN_US + self.hour * HOUR_US

    async def live(self, hours, **durations_ms):
        """Store whole hours; each name has its duration, or its operations in an hour and their duration."""
        ids = dict(zip(NAMES, await self.store.series_ids(list(NAMES.values())), strict=True))
        rows = []
        for _ in range(hours):
            for name, value in durations_ms.items():
                count, duration_ms = value if isinstance(value, tuple) else (30, value)
                for number in range(count):
                    at_us = self.now_us + (number + 1) * (HOUR_US - MINUTE_US) // count
                    rows.append((ids[name], at_us, int(duration_ms * 1000), 0, None, None))
            self.hour += 1
        await self.store.append([sorted(rows, key=lambda row: row[1])], now_us=self.now_us)
        await self.store.fold(now_us=self.now_us)
        return self

    async def learn(self):
        await self.calibrator.learn(self.store, self.now_us)
        return self

    async def settle(self, **durations_ms):
        """Live for three days, and learn at their end."""
        await self.live(73, **durations_ms)
        return await self.learn()

    async def each_hour(self, hours, **durations_ms):
        for _ in range(hours):
            await self.live(1, **durations_ms)
            await self.learn()
        return self

    def found(self, *subjects):
        return [(self.limits.of(one).threshold, self.limits.of(one).basis) for one in subjects]


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def test_a_slow_and_a_fast_command_are_learned_each_by_itself(store):
    bot = await Bot(store).learn()
    assert bot.found(ASK, PING, COMMANDS, CHAT) == [(5_000, NO_HISTORY)] * 4
    await bot.each_hour(2, ask=6_000, ping=50, chat=4_000)
    assert bot.found(ASK, PING, CHAT) == [(12_000, PROVISIONAL), (5_000, ""), (8_000, PROVISIONAL)]
    assert bot.limits.of(COMMANDS).basis == bot.limits.of(WHOLE).basis == PROVISIONAL
    await (await bot.live(70, ask=6_000, ping=50, chat=4_000)).learn()
    assert bot.found(ASK, PING, CHAT) == [(12_000, CALIBRATED), (5_000, ""), (8_000, CALIBRATED)]
    assert bot.calibrator.known[ASK].operations == 72 * 30


async def test_one_whole_hour_is_needed_and_twenty_operations(store):
    bot = await Bot(store).each_hour(1, ask=6_000)
    assert bot.found(ASK) == [(5_000, NO_HISTORY)]
    bot = await bot.each_hour(5, chat=(3, 6_000), ask=6_000)
    assert bot.found(ASK, CHAT) == [(12_000, PROVISIONAL), (5_000, NO_HISTORY)]
    assert bot.found(CHAT) == [(5_000, NO_HISTORY)]
    await bot.each_hour(2, chat=(3, 6_000))
    assert bot.found(CHAT) == [(12_000, PROVISIONAL)]


async def test_a_throughput_is_learned_from_a_whole_day(store):
    bot, rate = Bot(store), Subject("throughput", "chat")
    await (await bot.live(24, chat=(4_200, 10))).learn()
    assert bot.found(rate) == [(100, NO_HISTORY)]
    await bot.each_hour(1, chat=(4_200, 10))
    assert bot.found(rate) == [(210, PROVISIONAL)]


async def test_a_provisional_threshold_only_rises_and_a_settled_one_is_that_of_all_hours(store):
    bot = await Bot(store).each_hour(3, ask=6_000)
    await bot.each_hour(5, ask=2_000)
    assert bot.found(ASK) == [(12_000, PROVISIONAL)]
    await bot.each_hour(6, ask=8_000)
    assert bot.found(ASK) == [(12_000, PROVISIONAL)]
    await (await bot.live(60, ask=3_000)).learn()
    assert bot.found(ASK) == [(6_000, CALIBRATED)]
    settled = bot.calibrator.known[ASK]
    await bot.settle(ask=20_000)
    assert bot.calibrator.known[ASK] == settled  # it does not drift


async def test_hours_beyond_a_provisional_threshold_do_not_raise_it(store):
    bot = await Bot(store).each_hour(2, ask=6_000)
    await bot.each_hour(8, ask=24_000)
    assert bot.found(ASK) == [(12_000, PROVISIONAL)]


async def test_an_outage_of_a_third_of_the_first_days_does_not_become_normal(store):
    bot = await Bot(store).each_hour(4, ask=6_000)
    await bot.live(26, ask=6_000)
    await bot.each_hour(4, ask=60_000)
    assert bot.found(ASK) == [(12_000, PROVISIONAL)]
    await bot.live(20, ask=60_000)
    await (await bot.live(18, ask=6_000)).learn()
    assert bot.found(ASK) == [(12_000, CALIBRATED)]


async def test_a_day_whose_hours_are_gone_is_learned_from_once(store, monkeypatch):
    monkeypatch.setattr(learning, "PIECE", 8)  # hours: less than a day is read at once
    bot = await Bot(store).live(120, ask=6_000)
    await store.clean(Retention(raw_hours=1.0, hour_hours=24.0, day_hours=24_000.0), now_us=bot.now_us)
    ids = [one.id for one in await store.series() if one.operation == "ask"]
    (periods,) = await learning.read_periods(store, [ids], [BEGIN_US], bot.now_us)
    assert periods.operations.sum() == 120 * 30


async def test_few_operations_take_longer_than_three_days(store):
    bot = await Bot(store).live(20, chat=(2, 6_000), ask=6_000)
    await bot.learn()
    await (await bot.live(60, chat=(2, 6_000), ask=6_000)).learn()
    assert bot.found(CHAT, ASK) == [(12_000, PROVISIONAL), (12_000, CALIBRATED)]
    await (await bot.live(22, chat=(2, 6_000))).learn()  # after three days it is looked at once a day
    assert bot.found(CHAT) == [(12_000, PROVISIONAL)]
    await (await bot.live(8, chat=(2, 6_000))).learn()
    assert bot.found(CHAT) == [(12_000, CALIBRATED)]
    assert 200 <= bot.calibrator.known[CHAT].operations <= 260


async def test_an_older_database_is_learned_from_its_last_three_days_at_once(store):
    bot = Bot(store)
    await bot.live(100, ask=30_000)
    await bot.live(73, ask=6_000)
    await bot.learn()
    assert bot.found(ASK) == [(12_000, CALIBRATED)]


async def test_learned_values_survive_a_restart_and_learning_continues(store):
    bot = await (await Bot(store).live(40, ask=6_000)).learn()
    before = dict(bot.calibrator.known)
    await bot.start().calibrator.restore(store)
    assert bot.calibrator.known == before
    assert bot.found(ASK) == [(12_000, PROVISIONAL)]
    await bot.live(10)  # it was down, and is slower now
    await (await bot.live(30, ask=7_000)).learn()
    assert bot.found(ASK) == [(12_000, CALIBRATED)]
    assert (await stored_limits(store, bot.settings)).of(ASK) == bot.limits.of(ASK)
    await store_health(store, [], bot.settings, now_us=1)  # the command line has the settings of the bot from there
    outside = settings_of_bot(Settings(_env_file=None), await stored_health(store))
    assert (await stored_limits(store, outside)).of(ASK) == bot.limits.of(ASK)


async def test_nothing_is_read_or_stored_where_calibration_is_off(store):
    bot = Bot(store, alert_calibrate=False)
    await bot.calibrator.restore(store)
    await bot.settle(ask=6_000)
    await bot.calibrator.learn_again(store, [ASK], bot.now_us)
    assert bot.found(ASK) == [(5_000, "")]
    assert await store.get_value(KEY) is None
    assert await stored_calibration(store, bot.settings) is None


async def test_a_rule_that_a_person_has_set_is_not_learned(store):
    bot = await Bot(store, alert_threshold_response_time=5_000).settle(ask=6_000)
    assert {subject.rule for subject in bot.calibrator.known} == {"throughput"}
    bot.limits.override({"throughput": "100"})
    before = dict(bot.calibrator.known)
    await bot.each_hour(3, chat=6_000)
    assert bot.calibrator.known == before


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\x00",
        b"[]",
        b"{}",
        b'{"version": 2, "subjects": []}',
        b'{"version": 1, "subjects": [["response_time"]]}',
        b'{"version": 1, "subjects": [["response_time", "a", "", {"average": -1}, 1, 1, 1, true]]}',
        b'{"version": 1, "subjects": [["response_time", "a", "", {"average": NaN}, 1, 1, 1, true]]}',
    ],
)
async def test_a_damaged_value_is_reported_and_learned_again(store, damaged):
    bot = await Bot(store).settle(ask=6_000)
    await store.set_value(KEY, damaged)
    bot.start()
    with pytest.raises(DamagedStateError):
        await bot.calibrator.restore(store)
    assert bot.found(ASK) == [(5_000, NO_HISTORY)]
    assert await stored_calibration(store, bot.settings) is None
    await bot.learn()
    assert bot.found(ASK) == [(12_000, CALIBRATED)]
    assert json.loads(await store.get_value(KEY))["version"] == 1


async def test_a_store_that_does_not_answer_loses_nothing(store, monkeypatch):
    bot = await Bot(store).settle(ask=6_000)
    stored = await store.get_value(KEY)
    bot.start()

    async def failing(_):
        raise StorageError("locked", permanent=False)

    with monkeypatch.context() as patched:
        patched.setattr(store, "get_value", failing)
        with pytest.raises(StorageError):
            await bot.calibrator.restore(store)
        with pytest.raises(StorageError):
            await bot.learn()
        assert bot.found(ASK) == [(5_000, "")]  # the guide's, as it is
    assert await store.get_value(KEY) == stored
    await bot.learn()
    assert bot.found(ASK) == [(12_000, CALIBRATED)]


async def test_what_a_run_learned_before_it_failed_takes_effect_at_the_next_run(store, monkeypatch):
    bot, read, reads = await Bot(store).live(73, chat=6_000), learning.read_periods, []

    async def failing_at_the_operations(*args):
        reads.append(args)
        if len(reads) == 3:
            raise StorageError("locked", permanent=False)
        return await read(*args)

    with monkeypatch.context() as patched:
        patched.setattr(learning, "read_periods", failing_at_the_operations)
        with pytest.raises(StorageError):
            await bot.learn()
    await bot.learn()
    assert bot.found(WHOLE, CHAT) == [(12_000, CALIBRATED)] * 2
    assert await stored_calibration(store, bot.settings) == bot.calibrator.known


async def test_what_could_not_be_stored_is_stored_by_the_next_run(store, monkeypatch):
    bot = await Bot(store).live(73, ask=6_000)

    async def failing(*_):
        raise StorageError("locked", permanent=False)

    with monkeypatch.context() as patched:
        patched.setattr(store, "set_value", failing)
        with pytest.raises(StorageError):
            await bot.learn()
    assert await store.get_value(KEY) is None
    await bot.learn()
    assert await stored_calibration(store, bot.settings) == bot.calibrator.known


async def test_other_tasks_run_between_two_subjects(store, monkeypatch):
    bot, turns, seen = await Bot(store).live(73, ask=6_000, ping=50), [0], []
    note = bot.calibrator._note

    async def count_turns():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    def noting(*args):
        seen.append(turns[0])
        note(*args)

    monkeypatch.setattr(background, "PIECE_S", -1)
    monkeypatch.setattr(bot.calibrator, "_note", noting)
    other = asyncio.create_task(count_turns())
    await bot.learn()
    other.cancel()
    assert len(seen) == len(set(seen)) == 5  # the bot, two services and two commands


async def test_a_rule_that_this_version_does_not_calibrate_is_left_out(store):
    bot = await Bot(store).settle(ask=6_000)
    state = json.loads(await store.get_value(KEY))
    state["subjects"].append(["of_a_later_version", *state["subjects"][0][1:]])
    await store.set_value(KEY, json.dumps(state).encode())
    known = dict(bot.calibrator.known)
    await bot.start().calibrator.restore(store)
    assert bot.calibrator.known == known
    assert bot.calibrator.covered(Subject("response_time", ""))


@pytest.mark.parametrize(
    ("again", "changed"),
    [
        (Subject("response_time", ""), {ASK, PING, CHAT}),
        (COMMANDS, {ASK, PING}),
        (ASK, {ASK}),
        (Subject("throughput", ""), set()),
    ],
)
async def test_it_is_learned_again_on_request_from_the_last_three_days(store, again, changed):
    bot = await Bot(store).settle(ask=6_000, ping=6_000, chat=6_000)
    await bot.settle(ask=9_000, ping=9_000, chat=9_000)
    await bot.calibrator.learn_again(store, [again], bot.now_us)
    for one in (ASK, PING, CHAT):
        assert bot.found(one) == [(18_000 if one in changed else 12_000, CALIBRATED)]
    await bot.start().calibrator.restore(store)
    assert bot.found(ASK) == [(18_000 if ASK in changed else 12_000, CALIBRATED)]


async def test_a_new_database_gets_what_is_known_and_another_keeps_its_own(store, tmp_path):
    bot = await Bot(store).settle(ask=6_000)
    other = await open_store(f"sqlite:///{tmp_path / 'other.db'}")
    try:
        await bot.calibrator.move(other)
        assert await other.get_value(KEY) == await store.get_value(KEY)
        slower = await Bot(other).each_hour(1)
        slower.hour = 0
        await slower.live(73, ask=9_000)
        slower.calibrator.known.clear()
        await slower.learn()
        await bot.calibrator.move(other)
        assert bot.calibrator.known == slower.calibrator.known
        await other.set_value(KEY, b"damaged")
        await bot.calibrator.move(other)
        assert await stored_calibration(other, bot.settings) == bot.calibrator.known
    finally:
        await other.close()


async def test_a_clock_that_was_set_back_delays_learning_by_a_day_at_most(store):
    bot = await Bot(store).each_hour(3, ask=6_000)
    bot.calibrator._due_us = dict.fromkeys(bot.calibrator._due_us, bot.now_us + 400 * 24 * HOUR_US)
    await (await bot.live(70, ask=6_000)).learn()
    assert bot.found(ASK) == [(12_000, CALIBRATED)]


async def test_noisy_durations_of_a_language_model_allow_for_its_tail(store):
    dice, bot = np.random.default_rng(1), Bot(store)
    (series,) = await store.series_ids([NAMES["ask"]])
    for _ in range(73):
        times = np.sort(dice.integers(bot.now_us, bot.now_us + HOUR_US, 120))
        durations = (4e6 * np.exp(dice.normal(0, 0.8035, 120))).astype(int)
        rows = [
            (series, at_us, lasted, 0, None, None)
            for at_us, lasted in zip(times.tolist(), durations.tolist(), strict=True)
        ]
        bot.hour += 1
        await store.append([rows], now_us=bot.now_us)
        await store.fold(now_us=bot.now_us)
    await bot.learn()
    known = bot.calibrator.known[ASK]
    assert known.thresholds["p95"] == pytest.approx(3 * 15_000, rel=0.1)
    assert 14_000 <= known.thresholds["average"] <= 18_000
