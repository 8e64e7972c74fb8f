"""The contract of page(), stream() and failure_groups(), compared with plain lists."""

from __future__ import annotations

import asyncio
import json
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_places import place_of

from cogmeter_storage import Outcome, Retention, StorageError, failure_groups
from cogmeter_storage.failure_groups import kind_of
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, MINUTE_US

NOON = 1_750_075_200_000_000
FOREVER = 2**62
OPERATIONS = st.tuples(
    st.integers(1, 4),
    st.one_of(st.integers(0, 20_000_000), st.sampled_from([0, MINUTE_US, 20 * MINUTE_US, HOUR_US, 7 * HOUR_US])),
    st.one_of(st.integers(0, 9), st.integers(0, 10**8)),
    st.sampled_from(Outcome),
    st.sampled_from([None, "", "no answer", "timeout after 3 s", "timeout after 17 s", "no 0xAF in deadbeef01-77"]),
)
QUESTIONS = st.fixed_dictionaries(
    {
        "series": st.one_of(st.none(), st.frozensets(st.integers(1, 9), max_size=4)),
        "since_us": st.one_of(st.just(0), st.integers(NOON - HOUR_US, NOON + 2 * DAY_US)),
        "until_us": st.one_of(st.just(FOREVER), st.integers(NOON, NOON + 3 * DAY_US)),
        "outcomes": st.one_of(st.none(), st.frozensets(st.sampled_from(Outcome))),
        "slower_than_us": st.sampled_from([0, 1, 5, 50_000_000]),
        "limit": st.integers(1, 7),
        "rows": st.integers(1, 9),
    }
)


async def paged(store, ask, **more):
    """Return the ids of all pages of one query."""
    ids, before_id = [], None
    while True:
        found = await store.page(
            ask["series"], ask["since_us"], ask["until_us"], limit=ask["limit"], before_id=before_id, **more
        )
        assert len(found) <= ask["limit"]
        ids += [place_of(one) for one in found]
        if len(found) < ask["limit"]:
            return ids
        before_id = found[-1].id


async def everything(store, series=None, since_us=0, until_us=FOREVER, **options):
    return [one async for chunk in store.stream(series, since_us, until_us, **options) for one in chunk]


def grouped(rows):
    """Return the expected error groups of these (id, row) pairs, largest first."""
    groups = {}
    for number, (series, end_us, _, outcome, error, _) in rows:
        if outcome in FAILURES:
            groups.setdefault((series, kind_of(error or ""), outcome), []).append((end_us, number))
    made = [(key, len(of), min(of)[0], max(of)[0], max(of)[1]) for key, of in groups.items()]
    return sorted(made, key=lambda one: (-one[1], -one[4]))


async def check(backend, operations, ask, *, folded, cleaned):
    store = await backend.open()
    try:
        await store.series_ids([("alpha", "one"), ("alpha", "two"), ("beta", "one"), ("beta", "two")])
        rows, now_us = [], NOON
        for series, gap_us, duration_us, outcome, error in operations:
            now_us += gap_us
            rows.append((series, now_us, duration_us, outcome, error, None))
        await store.append((rows[i : i + 7] for i in range(0, len(rows), 7)), now_us=now_us)
        kept = list(enumerate(rows, 1))
        if folded:
            await store.fold(now_us=now_us)
        if cleaned:
            removed = (await store.clean(Retention(raw_hours=3), now_us=now_us)).operations
            kept = kept[removed:]
        wanted = [
            (number, row)
            for number, row in kept
            if (ask["series"] is None or row[0] in ask["series"]) and ask["since_us"] <= row[1] < ask["until_us"]
        ]
        fitting = [
            number
            for number, row in wanted
            if (ask["outcomes"] is None or row[3] in ask["outcomes"]) and row[2] >= ask["slower_than_us"]
        ]
        more = {"outcomes": ask["outcomes"], "slower_than_us": ask["slower_than_us"]}
        assert await paged(store, ask, **more) == fitting[::-1]
        at = (ask["series"], ask["since_us"], ask["until_us"])
        streamed = await everything(store, *at, rows=ask["rows"])
        assert [(place_of(one), one.end_us, one.duration_us, one.outcome, one.error) for one in streamed] == [
            (number, *row[1:5]) for number, row in wanted
        ]
        ids = {(one.service, one.operation): one.id for one in await store.series()}
        found = [
            (
                (ids[one.service, one.operation], one.kind, one.outcome),
                one.count,
                one.first_us,
                one.last_us,
                place_of(one.example),
            )
            for one in await store.failure_groups(*at)
        ]
        assert found == grouped(wanted)
    finally:
        await store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, min_size=1, max_size=60), QUESTIONS, st.booleans(), st.booleans())
def test_answers_agree_with_a_plain_list(backend_class, operations, ask, folded, cleaned):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(backend_class(Path(folder)), operations, ask, folded=folded, cleaned=cleaned))


async def test_recent_is_the_first_page(store, append, make_rows, noon):
    await append(store, make_rows(200, noon))
    for failed, outcomes in ((False, None), (True, FAILURES)):
        recent = await store.recent([1, 3], noon, noon + HOUR_US, limit=9, failed=failed)
        assert recent == await store.page([1, 3], noon, noon + HOUR_US, limit=9, outcomes=outcomes)
        assert len(recent) == 9


async def test_pages_continue_where_the_last_one_ended_though_more_is_recorded(store, append, make_rows, noon):
    await append(store, make_rows(50, noon))
    first = await store.page(None, 0, FOREVER, limit=20)
    await append(store, make_rows(30, noon + HOUR_US))
    second = await store.page(None, 0, FOREVER, limit=40, before_id=first[-1].id)
    assert [place_of(one) for one in first + second] == list(range(50, 0, -1))


async def test_pages_end_where_a_clean_up_has_been(backend, store, append, make_rows, noon):
    await append(store, make_rows(600, noon, gap_us=MINUTE_US))
    now_us = noon + 10 * HOUR_US
    await store.append([], now_us=now_us)
    await store.fold(now_us=now_us)
    page = await store.page(None, 0, FOREVER, limit=100)
    await store.clean(Retention(raw_hours=1), now_us=now_us)
    assert [place_of(one) for one in page] == list(range(600, 500, -1))
    removed = max((backend.raw_cut(now_us, 1) - noon) // MINUTE_US, 0)
    left = [*range(600, removed, -1)]
    after = await store.page(None, 0, FOREVER, limit=1000, before_id=page[-1].id)
    assert [place_of(one) for one in after] == [one for one in left if one < 501]
    assert [place_of(one) for one in await store.page(None, 0, FOREVER, limit=1000)] == left


async def test_hours_of_the_first_few_of_three_hundred_series_are_searched(store, append, make_rows, noon):
    await store.series_ids([("bot", f"command {number}") for number in range(300)])
    await append(store, make_rows(60, noon, gap_us=MINUTE_US))
    now_us = noon + 3 * HOUR_US
    await store.append([], now_us=now_us)
    await store.fold(now_us=now_us)
    assert len(await store.page(None, 0, FOREVER, limit=100)) == 60
    assert [place_of(one) for one in await store.page(None, 0, FOREVER, limit=100, outcomes=FAILURES)] == list(
        range(60, 0, -10)
    )
    slowest = await store.slowest([1, 2, 3], 0, FOREVER, limit=2)
    assert [one.duration_us for one in slowest] == [60_000, 59_000]


async def test_a_cursor_that_is_no_id_of_the_range_is_no_trouble(store, append, make_rows, noon):
    await append(store, make_rows(50, noon))
    (newest,) = await store.page(None, 0, FOREVER, limit=1)
    first = newest.id - 49
    for before_id, expected in ((first + 10**9, 50), (first + 50, 50), (first, None), (first - 1, None), (-5, None)):
        found = await store.page(None, 0, FOREVER, limit=1, before_id=before_id)
        assert [place_of(one) for one in found] == ([] if expected is None else [expected])
    assert await store.page(None, noon + HOUR_US, FOREVER, limit=5, before_id=first + 20) == []


async def test_a_page_of_nothing_is_empty(store, append, make_rows, noon):
    assert await store.page(None, 0, FOREVER, limit=5) == []
    await append(store, make_rows(50, noon))
    for more in ({"limit": 0}, {"limit": -1}, {"limit": 5, "outcomes": ()}, {"limit": 5, "slower_than_us": 10**9}):
        assert await store.page(None, 0, FOREVER, **more) == []
    assert await store.page([], 0, FOREVER, limit=5) == []
    assert await store.page(None, FOREVER, 0, limit=5) == []


async def test_a_stream_returns_everything_of_an_operation(backend, store, append, noon):
    hostile = '<script>alert("1")</script>\n\r\t\0\N{SNOWMAN}\U0001f600, \'; DROP TABLE operation; --'
    if backend.raw_width_us == DAY_US:
        hostile = hostile.replace("\0", "\ufffd")  # PostgreSQL stores no NUL character
    (number,) = await store.series_ids([(hostile, hostile)])
    await append(store, [(number, noon, 12, Outcome.UPSTREAM, hostile, json.dumps({hostile: [hostile, 1.5, None]}))])
    (operation,) = await everything(store)
    assert (operation.service, operation.operation, operation.error) == (hostile, hostile, hostile)
    assert operation.metadata == {hostile: [hostile, 1.5, None]}
    assert [operation] == await store.page(None, 0, FOREVER, limit=1)
    (group,) = await store.failure_groups(None, 0, FOREVER)
    assert (group.service, group.operation, group.example) == (hostile, hostile, operation)


async def test_a_stream_comes_in_full_chunks_and_ends(store, append, make_rows, noon):
    await append(store, make_rows(250, noon))
    assert [len(chunk) async for chunk in store.stream(None, 0, FOREVER, rows=100)] == [100, 100, 50]
    assert [len(chunk) async for chunk in store.stream(None, 0, FOREVER)] == [250]
    assert [chunk async for chunk in store.stream([], 0, FOREVER)] == []
    assert [chunk async for chunk in store.stream(None, FOREVER, 0)] == []


async def test_a_stream_of_no_rows_at_once_is_refused(store):
    with pytest.raises(ValueError, match="rows is at least 1, not 0"):
        await everything(store, rows=0)


async def test_a_stream_finds_the_rare_among_many(store, append, noon):
    rare = {17, 25_000, 49_999}
    rows = [(2 if i in rare else 1, noon + i * 1000, 5, 0, None, None) for i in range(50_000)]
    await append(store, rows)
    assert [place_of(one) - 1 for one in await everything(store, [2])] == sorted(rare)


async def test_a_stream_leaves_out_what_is_recorded_after_it_began(store, append, make_rows, noon):
    await append(store, make_rows(300, noon))
    seen = []
    async for chunk in store.stream(None, 0, FOREVER, rows=50):
        seen += chunk
        await append(store, make_rows(20, noon + HOUR_US))
    assert [place_of(one) for one in seen] == list(range(1, 301))


async def test_a_clean_up_continues_while_a_stream_is_open(backend, store, append, make_rows, noon):
    await append(store, make_rows(900, noon, gap_us=MINUTE_US))
    now_us = noon + 15 * HOUR_US
    await store.append([], now_us=now_us)
    await store.fold(now_us=now_us)
    stream = store.stream(None, 0, FOREVER, rows=100)
    first = await anext(stream)
    removed = (await store.clean(Retention(raw_hours=5), now_us=now_us)).operations
    assert removed == max((backend.raw_cut(now_us, 5) - noon) // MINUTE_US, 0)
    rest = [place_of(one) async for chunk in stream for one in chunk]
    assert [place_of(one) for one in first] == list(range(1, 101))
    assert rest == list(range(max(removed, 100) + 1, 901))


async def test_other_questions_are_answered_between_two_chunks(store, append, make_rows, noon):
    await append(store, make_rows(300, noon))
    stream = store.stream(None, 0, FOREVER, rows=100)
    await anext(stream)
    assert (await store.status()).operations == 300
    assert len(await everything(store)) == 300
    assert [len(chunk) async for chunk in stream] == [100, 100]


async def test_a_stream_keeps_no_more_than_its_chunks(backend, append, noon):
    async with backend.store() as store:
        await store.series_ids([("alpha", "one")])
        metadata = json.dumps({"model": "m", "tokens_in": 512})
        for start in range(0, 60_000, 5_000):
            rows = [(1, noon + i * 1000, 5, 1, f"error {i}", metadata) for i in range(start, start + 5_000)]
            await append(store, rows)
        tracemalloc.start()
        try:
            count = 0
            async for chunk in store.stream(None, 0, FOREVER, rows=500):
                count += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == 60_000
    assert peak < 3_000_000  # all of them would take fifty


async def test_the_largest_groups_come_first_and_a_limit_cuts_the_rest(store, append, noon):
    texts = ["gone", *["timeout after %d s"] * 5, *["limit %d of 0xAB%d"] * 3]
    rows = [
        (1, noon + i * 1_000_000, 5, Outcome.ERROR, text % tuple([i] * text.count("%")), None)
        for i, text in enumerate(texts)
    ]
    rows += [(1, noon + MINUTE_US, 5, Outcome.USER, "timeout after 9 s", None), (1, noon + MINUTE_US, 5, 0, None, None)]
    await append(store, rows)
    groups = await store.failure_groups([1], noon, noon + HOUR_US)
    assert [(one.kind, one.count) for one in groups] == [("timeout after # s", 5), ("limit # of #", 3), ("gone", 1)]
    assert groups[0].example.error == "timeout after 5 s"
    assert (groups[0].first_us, groups[0].last_us) == (noon + 1_000_000, noon + 5_000_000)
    assert not any(one.truncated for one in groups)
    assert await store.failure_groups([1], noon, noon + HOUR_US, limit=2) == groups[:2]
    assert await store.failure_groups([1], noon, noon + HOUR_US, limit=0) == []


async def test_failures_that_ended_differently_are_apart(store, append, noon):
    await append(store, [(1, noon + i, 5, outcome, "503", None) for i, outcome in enumerate([1, 2, 2])])
    groups = await store.failure_groups(None, 0, FOREVER)
    assert [(one.outcome, one.count) for one in groups] == [(Outcome.UPSTREAM, 2), (Outcome.ERROR, 1)]


async def test_groups_say_when_older_failures_were_not_looked_at(store, append, noon):
    rows = [(1, noon + i * 1000, 5, Outcome.ERROR, f"{i}", None) for i in range(1600)]
    await append(store, rows)
    for most, truncated in ((1600, False), (1599, True), (1000, True), (1, True)):
        (group,) = await failure_groups.group_failures(store, None, 0, FOREVER, limit=5, max_failures=most)
        assert (group.count, group.truncated) == (most, truncated)
        assert group.last_us == rows[-1][1]
        assert group.first_us == rows[-most][1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 503 after 1.5 s", "HTTP 502 after 22.75 s"),
        ("no message 1234567890123456789", "no message 98765432109876543"),
        ("at 0x7f00AB", "at 0x1"),
        ("job 6f9619ff-8b86-d011-b42d-00c04fc964ff", "job 00000000-8b86-d011-b42d-00c04fc964ff"),
    ],
)
def test_texts_that_differ_in_numbers_and_ids_are_of_one_kind(one, other):
    assert kind_of(one) == kind_of(other) != one


def test_texts_that_differ_in_words_are_of_two_kinds():
    assert kind_of("no answer") == "no answer" != kind_of("no anchor")


async def test_a_store_for_reading_alone_answers_and_a_closed_one_says_so(backend, store, append, make_rows, noon):
    await append(store, make_rows(30, noon))
    async with backend.store(read_only=True) as reading:
        assert len(await everything(reading)) == 30
        assert len(await reading.page(None, 0, FOREVER, limit=50)) == 30
        assert sum(one.count for one in await reading.failure_groups(None, 0, FOREVER)) == 3
        stream = reading.stream(None, 0, FOREVER, rows=10)
        await anext(stream)
    for call in (anext(stream), reading.page(None, 0, 1, limit=1), reading.failure_groups(None, 0, 1)):
        with pytest.raises(StorageError, match="closed"):
            await call
