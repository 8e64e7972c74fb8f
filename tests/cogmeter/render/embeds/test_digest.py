"""The digest's embed with everything in it, and with names of any length."""

from dataclasses import replace
from datetime import date

import pytest

from cogmeter.diagnosis import Concern, ConcernList
from cogmeter.query.records import (
    Advice,
    AlertLine,
    AlertReport,
    Digest,
    Figures,
    PeriodCost,
    Range,
    Summary,
    Timeline,
)
from cogmeter.recording.service_names import COMMANDS
from cogmeter.render.embeds.digest import digest_embed
from cogmeter_storage.errors import ErrorGroup, ErrorKind, Frame
from cogmeter_storage.model import DAY_US, Marker
from cogmeter_storage.usage import DistinctCounts

SPAN = Range(20_000 * DAY_US, 20_001 * DAY_US, "last 24 hours")
LINE = Timeline("All services", SPAN, 900_000_000, [], [], [], [], [], [])
PLACE = Frame("cogs/graph.py", "Graph.ask", 42, own=True)
FIGURES = Figures(1_247, (1_200, 47, 0, 0, 0), DAY_US, 1e6, 7e5, 2e6, 4e6, 9_000_000)


def digest(name):
    """A digest in which everything has this name, ten times."""
    line = AlertLine("response_time", name, 9, 3, 1, 2, 6, 6e7, 9e7)
    advice = Advice("response_time", name, "", "threshold", f"response_time@{name}", 1_000, 1_900, 9, 7, 3)
    times = (SPAN.since_us, SPAN.until_us - 1, "1.4", "1.4", 2, 1, None, "", None, None)
    group = ErrorGroup(7, "0" * 16, ErrorKind.FAILED, name, name, PLACE, 30, 30, *times, (), ())
    return Digest(
        summary=Summary(SPAN, FIGURES, FIGURES, services=[(name, FIGURES)], timeline=LINE, last_end_us=None),
        people=DistinctCounts(30, 4),
        people_before=DistinctCounts(20, 4),
        concerns=ConcernList(
            [Concern("critical", 12, f"{name}: error rate of 34%", "Open", (COMMANDS, name), "stats")] * 3, left_out=2
        ),
        changes=(Marker(SPAN.since_us, "version", name), Marker(SPAN.since_us, "start", "bot started")) * 10,
        new_errors=(group,) * 10,
        reopened_errors=(group,) * 10,
        resolved_errors=(group,) * 10,
        report=AlertReport(SPAN, line, (line,) * 10, (line,) * 10, (advice,) * 10),
        cost=PeriodCost(12.5, 10, (date(2026, 11, 1), date(2026, 11, 1))),
    )


@pytest.mark.parametrize("name", ["ask", "_*`[x](https://y)" * 30])
def test_a_full_digest_has_six_fields_of_whole_lines(name):
    embed = digest_embed(digest(name), None, group="perf", kind="daily")
    names = [field.name for field in embed.fields]
    assert names == [
        "Operations", "Error rate", "Slow response (p95)", "What changed", "Errors", "Alerts (last 24 hours)"
    ]  # fmt: skip
    assert "and 2 more findings: see `/perf summary`" in embed.description.splitlines()
    assert len(embed) <= 6_000
    for field in embed.fields[3:]:
        assert 0 < len(field.value) <= 1024
        assert not field.value.endswith("…")


def test_people_are_counted_by_whole_hours_and_a_range_that_cuts_one_says_so():
    whole, cut = digest("ask"), digest("ask")
    cut = replace(cut, summary=replace(cut.summary, range=Range(SPAN.since_us + 1, SPAN.until_us + 1, SPAN.label)))
    lines = [digest_embed(one, None, group="perf").fields[0].value.splitlines()[-1] for one in (whole, cut)]
    assert lines == [
        "30 users (▲ 50%) in 4 servers",
        "30 users (▲ 50%) in 4 servers, counted by whole hours",
    ]


def test_suggested_thresholds_follow_the_number_of_alerts():
    alerts = digest_embed(digest("ask"), None, group="perf").fields[-1].value.splitlines()
    assert alerts[0].startswith("**9 alerts**")
    assert alerts[1].startswith("Suggested: Raise `response_time@ask` to 1.9 s")
    assert alerts[7].startswith("Response time of ask: 9 times")
