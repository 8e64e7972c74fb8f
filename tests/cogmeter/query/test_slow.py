"""The slowest runs with their parts: one of each command, those of one command, and where its time goes."""

import pytest

from cogmeter.query.query import Query
from cogmeter.query.records import Period, UnknownNameError
from cogmeter.query.selection import select
from cogmeter.query.slow import LISTED, OF_ONE, slow_runs
from cogmeter.query.time_parts import TimePart, first_output_us, time_share
from cogmeter_storage import open_store
from cogmeter_storage.model import MINUTE_US, Marker, Outcome, SpanRecord, TraceRecord

NOW_US = 1_800_000_000_000_000 + 17 * MINUTE_US + 3_000_000
COMMANDS = "discord.commands"


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


def query(store):
    return Query(store, clock=lambda: NOW_US)


def span(number, service, operation, start_us, duration_us, *, parent=0, outcome=Outcome.OK):
    return SpanRecord(number, parent, service, operation, start_us, duration_us, outcome)


async def ran(store, *runs, traced=True):
    """Store runs as (service, operation, start_us, duration_us, spans), each with its trace."""
    ids = await store.series_ids([run[:2] for run in runs])
    rows = [(number, run[2] + run[3], run[3], 0, None, None) for number, run in zip(ids, runs, strict=True)]
    await store.append([sorted(rows, key=lambda row: row[1])], now_us=NOW_US)
    if traced:
        await store.add_traces(
            [
                TraceRecord(at_us, *names, length_us, Outcome.OK, None, 0, tuple(spans))
                for *names, at_us, length_us, spans in runs
            ]
        )


async def test_each_command_and_reply_is_listed_once_and_background_services_never(store):
    runs = [(COMMANDS, "ask", NOW_US - number * 9_000_000, 2_000_000 + number, ()) for number in range(1, 20)]
    await ran(store, *runs, (COMMANDS, "look", NOW_US - 8_000_000, 4_000_000, ()))
    await ran(store, ("discord.tasks", "Chores.night", NOW_US - 400_000_000, 300_000_000, ()), traced=False)
    await ran(store, ("discord.replies", "on_message", NOW_US - 9_000_000, 3_000_000, ()), traced=False)
    report = await slow_runs(query(store), Period.DAY)
    assert [(run.label, run.trace.duration_us, run.traced) for run in report.runs] == [
        ("/look", 4_000_000, True),
        ("reply on_message", 3_000_000, False),
        ("/ask", 2_000_019, True),
    ]
    assert (report.runs[2].runs, report.profile) == (19, None)


async def test_at_most_ten_commands_are_listed_and_quick_ones_not_at_all(store):
    names = [f"command{number}" for number in range(LISTED + 5)]
    await ran(store, *((COMMANDS, name, NOW_US - 5_000_000, 1_000_000, ()) for name in names))
    await ran(store, (COMMANDS, "ping", NOW_US - 5_000_000, 99_999, ()))
    report = await slow_runs(query(store), Period.HOUR)
    assert len(report.runs) == LISTED
    assert "/ping" not in {run.label for run in report.runs}


async def test_one_command_has_its_slowest_runs_and_the_profile_of_all_its_traces(store):
    spans = (span(1, "http.api.example.com", "GET", 100_000, 600_000),)
    runs = [(COMMANDS, "ask", NOW_US - number * 9_000_000, 1_000_000 * number, spans) for number in range(1, 9)]
    await ran(store, *runs)
    await ran(store, *((COMMANDS, "ask", NOW_US - number, 10_000, ()) for number in range(1, 5)), traced=False)
    report = await slow_runs(query(store), Period.DAY, "/ask")
    assert [run.trace.duration_us for run in report.runs] == [8_000_000 - 1_000_000 * place for place in range(OF_ONE)]
    profile = report.profile
    assert (profile.traced, profile.runs, profile.truncated) == (8, 12, False)
    assert profile.total[TimePart.HOST] == 8 * 600_000
    assert profile.part_p50[TimePart.HOST] == 600_000
    assert sum(profile.p50.values()) == pytest.approx(4_500_000)
    assert sum(profile.p95.values()) == pytest.approx(8_000_000)


async def test_a_range_has_an_end_and_a_service_inside_traces_leads_to_the_commands_that_use_it(store):
    spans = (span(1, "knowledge-graph", "query", 0, 900_000),)
    await ran(
        store,
        (COMMANDS, "ask", NOW_US - 2_000_000_000, 2_000_000, spans),
        (COMMANDS, "help", NOW_US - 3_000_000, 500_000, ()),
    )
    await ran(store, ("knowledge-graph", "query", NOW_US - 1_999_000_000, 900_000, ()), traced=False)
    report = await slow_runs(query(store), Period.HOUR, "knowledge-graph")
    assert [run.label for run in report.runs] == ["/ask"]
    past = query(store).span(Period.HOUR).before
    assert (await slow_runs(query(store), past, "knowledge-graph")).runs == ()


async def test_an_operation_of_a_service_that_outlasts_its_traces_is_listed_with_them(store):
    inside = (span(1, "graph", "query", 100_000, 600_000),)
    await ran(store, (COMMANDS, "ask", NOW_US - 90_000_000, 1_000_000, inside))
    await ran(
        store,
        ("graph", "query", NOW_US - 89_900_000, 600_000, ()),  # the one inside
        ("graph", "index", NOW_US - 60_000_000, 45_000_000, ()),
        traced=False,
    )
    report = await slow_runs(query(store), Period.DAY, "graph")
    assert [(run.trace.operation, run.trace.duration_us, run.traced) for run in report.runs] == [
        ("index", 45_000_000, False),
        ("ask", 1_000_000, True),
    ]


async def test_a_loop_that_is_long_by_nature_is_one_entry(store):
    await ran(
        store,
        *(("discord.tasks", "Chores.night", NOW_US - number * 70_000_000, 60_000_000, ()) for number in range(1, 30)),
        traced=False,
    )
    await ran(store, ("discord.tasks", "Chores.day", NOW_US - 5_000_000, 3_000_000, ()), traced=False)
    report = await slow_runs(query(store), Period.DAY, "discord.tasks")
    assert [run.trace.operation for run in report.runs] == ["Chores.night", "Chores.day"]


async def test_an_unknown_name_is_refused_and_an_empty_database_is_an_empty_report(store):
    assert (await slow_runs(query(store), Period.DAY)).runs == ()
    with pytest.raises(UnknownNameError):
        await slow_runs(query(store), Period.DAY, "/nothing")


async def test_a_stall_that_other_code_caused_is_part_of_the_run_that_waited_for_it(store):
    at_us, place = NOW_US - 9_000_000, "services/images.py:41 thumbnail"
    await ran(store, ("discord.stalls", place, at_us + 500_000, 1_200_000, ()), traced=False)
    await ran(store, (COMMANDS, "ask", at_us, 2_000_000, ()))
    (run,) = (await slow_runs(query(store), Period.HOUR)).runs
    assert run.time.parts[TimePart.BLOCKED] == 1_200_000
    assert [match.pattern.key for match in run.patterns] == ["blocking"]
    assert run.patterns[0].evidence.what == place


async def test_longer_stalls_at_other_times_change_nothing_in_a_run(store):
    at_us, place = NOW_US - 3_000_000_000, "bot.py:3 on_message"
    others = [("discord.stalls", place, at_us + number * 5_000_000, 2_000_000, ()) for number in range(1, 301)]
    await ran(store, ("discord.stalls", place, at_us + 500_000, 300_000, ()), *others, traced=False)
    await ran(store, (COMMANDS, "ask", at_us, 1_500_000, ()))
    (run,) = (await slow_runs(query(store), Period.DAY)).runs
    assert run.time.parts[TimePart.BLOCKED] == 300_000


async def test_a_stall_of_the_run_itself_counts_once(store):
    at_us, place = NOW_US - 9_000_000, "services/images.py:41 thumbnail"
    await ran(store, ("discord.stalls", place, at_us + 500_000, 1_200_000, ()), traced=False)
    await ran(store, (COMMANDS, "ask", at_us, 2_000_000, (span(1, "discord.stalls", place, 500_000, 1_200_000),)))
    (run,) = (await slow_runs(query(store), Period.HOUR)).runs
    assert len(run.spans) == 1


async def test_the_first_run_after_a_start_is_cold_if_others_are_quick(store):
    start_us = NOW_US - 30 * MINUTE_US
    await store.add_marker(Marker(start_us, "start", "started"))
    await ran(store, (COMMANDS, "ask", start_us + 5_000_000, 4_000_000, ()))
    await ran(
        store, *((COMMANDS, "ask", start_us + number * MINUTE_US, 200_000, ()) for number in range(2, 9)), traced=False
    )
    (run,) = (await slow_runs(query(store), Period.HOUR)).runs
    assert [match.pattern.key for match in run.patterns] == ["cold_start"]
    await ran(store, (COMMANDS, "ask", start_us + 20 * MINUTE_US, 5_000_000, ()))
    (later,) = (await slow_runs(query(store), Period.HOUR)).runs
    assert later.patterns == ()


@pytest.mark.parametrize(("ran_before", "found"), [("query", []), ("link", ["cold_start"])])
async def test_a_first_run_is_cold_only_if_its_slow_step_has_not_run_before(store, ran_before, found):
    """A service that others use is slow for another reason, such as an incident."""
    start_us = NOW_US - 30 * MINUTE_US
    await store.add_marker(Marker(start_us, "start", "started"))
    await ran(store, ("graph", ran_before, start_us + 1_000_000, 200_000, ()), traced=False)
    step = span(1, "graph", "query", 100_000, 3_800_000)
    await ran(store, (COMMANDS, "ask", start_us + 5_000_000, 4_000_000, (step,)))
    usual = [(COMMANDS, "ask", start_us + number * MINUTE_US, 200_000, ()) for number in range(2, 9)]
    await ran(store, *usual, traced=False)
    (run,) = (await slow_runs(query(store), Period.HOUR)).runs
    assert [match.pattern.key for match in run.patterns] == found


async def test_a_dependency_knows_its_usual_time(store):
    await ran(
        store, *(("http.api.example.com", "GET", NOW_US - number, 200_000, ()) for number in range(1, 30)), traced=False
    )
    spans = (span(1, "http.api.example.com", "GET", 100_000, 3_000_000),)
    await ran(store, (COMMANDS, "ask", NOW_US - 9_000_000, 3_500_000, spans))
    (run,) = (await slow_runs(query(store), Period.HOUR)).runs
    (match,) = run.patterns
    assert match.evidence.usual_us == pytest.approx(200_000, rel=0.05)


async def test_a_reply_without_a_trace_knows_its_first_output(store):
    (number,) = await store.series_ids([("discord.replies", "on_message")])
    await store.append([[(number, NOW_US - 5, 2_100_000, 0, None, '{"first_ms": 412.5}')]], now_us=NOW_US)
    (run,) = (await slow_runs(query(store), Period.HOUR)).runs
    assert (run.traced, run.first_output_us, run.time.parts[TimePart.OWN]) == (False, 412_500, 2_100_000)


def test_every_moment_counts_once_and_parts_add_up_to_the_duration():
    share = time_share(
        1_000,
        (
            span(1, "own", "step", 0, 800),
            span(2, "http.x", "GET", 100, 200),
            span(3, "http.x", "GET", 200, 200),  # overlaps the one before
            span(4, "db.sqlite", "SELECT", 300, 200),  # and this one half of it
            span(5, "discord.stalls", "bot.py:3", 450, 100),  # blocks the end of it
            span(6, "discord.rest", "GET /x", 950, 500),  # ends after the run
        ),
    )
    parts = {part.key: us for part, us in share.parts.items()}
    assert parts == {"own_code": 500, "rest": 50, "hosts": 250, "database": 100, "rate_limit": 0, "blocked": 100}
    assert (share.whole_us, share.unnamed_us) == (1_000, 150)


def test_without_spans_all_is_own_code_that_is_not_broken_down():
    share = time_share(2_100_000, ())
    assert (share.parts[TimePart.OWN], share.unnamed_us) == (2_100_000, 2_100_000)
    assert time_share(0, ()).whole_us == 0


def test_the_first_output_is_the_end_of_the_first_request_that_shows_something():
    rest = "discord.rest"
    spans = (
        span(1, rest, "GET /users/@me", 0, 100),
        span(2, rest, "POST /channels/{channel_id}/messages", 300, 100, outcome=Outcome.UPSTREAM),
        span(3, rest, "POST /channels/{channel_id}/messages", 500, 100),
    )
    trace = TraceRecord(0, COMMANDS, "ask", 1_000, Outcome.OK, None, 0, spans)
    assert first_output_us(trace) == 600
    assert first_output_us(TraceRecord(0, COMMANDS, "ask", 1_000, Outcome.OK, None, 0, ())) is None


@pytest.mark.parametrize("service", [None, "/ask"])
async def test_the_overview_is_read_once_for_the_slow_runs_and_for_a_selection(store, monkeypatch, service):
    await ran(store, (COMMANDS, "ask", NOW_US - 9_000_000, 2_000_000, ()))
    read, real = [], Query.overview

    async def counted(self, period, **options):
        view = await real(self, period, **options)
        read.append(view.range)
        return view

    monkeypatch.setattr(Query, "overview", counted)
    one = query(store)
    view = await one.overview(Period.DAY)
    assert (await slow_runs(one, Period.DAY, service, overview=view)).runs == (
        await slow_runs(one, Period.DAY, service)
    ).runs
    assert len(read) == 2
    read.clear()
    found = await select(one, view.range, service, markers=())
    assert [run.label for run in found.runs] == ["/ask"]
    assert read.count(view.range) == 1
