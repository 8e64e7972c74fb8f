"""The embeds of the commands: of any names, numbers and lengths of lists, within the limits, and no loss unsaid."""

import itertools
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from discord_markup import PIECES, live_markup, texts_of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from loopback.limits import check_embed, embed_characters
from loopback.problems import Problems

from cogmeter.alerts.model import GrownObjects
from cogmeter.diagnosis import BotState, StateArea, StateItem, Status, Verdict
from cogmeter.exporters.table import EXPORTERS, exporter
from cogmeter.query.change_tests import TypicalFigures
from cogmeter.query.comparison import ChangeVerdict, ComparedPeriod, Comparison, MeasuredChange
from cogmeter.query.costs import GROUPINGS, CostForecast, CostReport
from cogmeter.query.records import Range
from cogmeter.query.regressions import DeployCheck, Regression
from cogmeter.query.resources import RESOURCES, ResourceLine, ResourceUse
from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
from cogmeter.query.slow_patterns import PATTERNS, Evidence, PatternMatch
from cogmeter.query.time_parts import TimePart, TimeShare
from cogmeter.render.embeds import limits, statistics
from cogmeter.render.embeds.comparison import comparison_embed
from cogmeter.render.embeds.cost import PAGE, cost_embed
from cogmeter.render.embeds.deploy_check import deploy_check_embed
from cogmeter.render.embeds.export import export_embed, too_large_embed
from cogmeter.render.embeds.forget import erased_embed, question_embed
from cogmeter.render.embeds.guide import CommandLine, guide_embed, guide_pages
from cogmeter.render.embeds.limits import BLANK
from cogmeter.render.embeds.live import LAG, MEMORY, live_embed
from cogmeter.render.embeds.resources import resources_embed
from cogmeter.render.embeds.slow import nothing_slow_embed, slow_run_embed, time_profile_embed
from cogmeter.render.embeds.state import state_embed
from cogmeter_storage.costs import CostSums
from cogmeter_storage.errors import ErrorGroup, ErrorKind, Frame
from cogmeter_storage.model import Erased, Marker, Outcome, SpanRecord, TraceRecord

NOW_US = 1_755_000_000_000_000
SPAN = Range(NOW_US - 86_400_000_000, NOW_US, "last 24 hours")

PHASES = (Phase.explicit, Phase.generate)  # a smaller example of three hundred lines takes minutes to find

names = st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
lengths = st.sampled_from([0, 1, 2, 11, 300])
amounts = st.sampled_from([0, 1, 999, 10**6]) | st.integers(0, 10**15)
values = st.none() | st.sampled_from([0.0, 0.004, 1.0]) | st.floats(0, 1e15)
pictures = st.sampled_from([None, SimpleNamespace(drawn=True, problem="")]) | names.map(
    lambda problem: SimpleNamespace(drawn=False, problem=problem)
)


def many(strategy):
    """Any number of a few drawn things, repeated: three hundred of them are quickly drawn."""
    return st.builds(
        lambda some, length: tuple(itertools.islice(itertools.cycle(some), length)),
        st.lists(strategy, min_size=1, max_size=2),
        lengths,
    )


def later(function, *args, **more):
    """A call with drawn arguments that the test makes itself."""
    return st.builds(partial, st.just(function), *args, **more)


parts = st.fixed_dictionaries({part: st.floats(0, 1e13) for part in TimePart})
spans = st.builds(
    SpanRecord, st.integers(1, 99), st.integers(0, 9), names, names, amounts, amounts, st.just(Outcome.OK)
)
traces = st.builds(
    TraceRecord, st.just(NOW_US), st.sampled_from(["discord.commands", "discord.replies"]) | names, names, amounts,
    st.sampled_from(Outcome), st.none() | names, amounts,
    st.lists(spans, max_size=2).map(tuple),
)  # fmt: skip
matches = st.builds(
    PatternMatch,
    st.sampled_from(list(PATTERNS.values())),
    st.builds(Evidence, names, st.floats(0, 1e15), amounts, values),
)
runs = st.builds(
    lambda trace, share, first, found, count, typical: SlowRun(
        trace, trace.spans, bool(trace.spans), share, first, tuple(found), count, typical
    ),
    traces, st.builds(TimeShare, parts, st.floats(0, 1e13)), st.none() | amounts, st.lists(matches, max_size=3),
    amounts,
    values,
)  # fmt: skip
profiles = st.builds(TimeProfile, amounts, amounts, st.booleans(), parts, parts, parts, parts, parts)
reports = st.builds(
    SlowReport, st.just(SPAN), st.none() | names, st.none() | names,
    many(runs).filter(len).map(lambda some: some[:10]), st.none() | profiles,
)  # fmt: skip
VERDICTS = [verdict for verdict in ChangeVerdict if verdict is not ChangeVerdict.NOT_JUDGED]  # of one of p50 and p95
changes = {
    statistic: st.builds(MeasuredChange, st.sampled_from(VERDICTS), st.just(statistic), values, values, st.just(0.1))
    for statistic in ("p50", "p95", "error_rate", "throughput")
}
compared = st.builds(
    ComparedPeriod,
    *(st.just(SPAN), amounts, amounts, amounts, amounts),
    *(st.just(TypicalFigures(None, None, 0.0, 0.0)), st.just(())),
)
frames = st.none() | st.builds(Frame, names, names, amounts, own=st.booleans())
groups = st.builds(
    lambda type_, message, place, count: ErrorGroup(
        1, "f", ErrorKind.FAILED, type_, message, place, count, count, NOW_US, NOW_US, None, None, 0, 0, None, "", None,
        None, (), (),
    ),
    names, names, frames, amounts,
)  # fmt: skip
markers = st.none() | names.map(lambda name: Marker(NOW_US, "version", name))
comparisons = st.builds(
    Comparison, st.none() | names, st.none() | names, markers,
    compared, compared, changes["p95"], st.tuples(changes["p50"], changes["p95"]), changes["error_rate"],
    changes["throughput"], st.just(()), st.integers(0, 24), st.sampled_from((None, NOW_US)), many(groups),
)  # fmt: skip
sums = st.builds(CostSums, amounts, amounts, amounts, amounts, amounts, amounts)
forecasts = st.builds(CostForecast, amounts, st.just(0), st.integers(0, 30), st.none() | amounts, amounts, amounts)
costs = st.builds(
    lambda by, total, named, unpriced, forecast, source, problem: CostReport(
        SPAN, by, total, list(named), 1, [], {}, dict(unpriced), forecast, total, total, None, source, problem
    ),
    st.sampled_from(GROUPINGS), sums, many(st.tuples(names, sums)), many(st.tuples(names, sums)), forecasts, names,
    names,
)  # fmt: skip
items = st.builds(StateItem, names, st.sampled_from(Status), names)
verdicts = st.builds(Verdict, st.sampled_from(Status), names)
states = st.builds(
    BotState,
    st.just(NOW_US),
    verdicts,
    st.lists(st.builds(StateArea, st.sampled_from(["Services", "Loops", "Shards"]), many(items)), max_size=8).map(
        tuple
    ),
)
lines = st.builds(
    lambda resource, first, growth, steady: ResourceLine(resource, (first,), (first,), (first,), growth, steady),
    st.sampled_from(RESOURCES), values, st.floats(-1e15, 1e15), st.booleans(),
)  # fmt: skip
uses = st.lists(lines, max_size=8).map(lambda some: ResourceUse(SPAN, 1, (0,), tuple(some), None, ()))
grown = st.none() | st.builds(GrownObjects, st.floats(1, 1e6), many(names))
live = st.builds(
    lambda rate, failed, total, share, time: SimpleNamespace(
        operations_per_second=rate, failed_operations=failed, total_operations=total, error_rate=share,
        p50_response_time=time, p95_response_time=time, at=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    st.floats(0, 1e12), amounts, amounts, st.floats(0, 1), values,
)  # fmt: skip
regressions = st.builds(
    Regression, names, names, st.sampled_from(["p50", "p95", "error_rate"]), st.floats(0, 1e15), st.floats(0, 1e15),
    st.tuples(amounts, amounts), st.just(0.0),
)  # fmt: skip
checks = st.builds(
    DeployCheck,
    amounts,
    names,
    st.just(NOW_US),
    st.sampled_from(["1 h", "24 h"]),
    st.just(NOW_US),
    amounts,
    st.just(()),
)
writers = st.sampled_from(list(EXPORTERS))
users = st.builds(SimpleNamespace, display_name=names, id=st.just(123456789012345678))
command_lines = st.builds(CommandLine, names, names, names)
guides = many(command_lines).flatmap(lambda some: names.map(lambda topic: guide_pages({topic: some})))


def slow_pages(report, picture):
    pages = len(report.runs)
    return [slow_run_embed(report, number, picture, page=number, pages=pages) for number in range(pages)]


def cost_pages(report, picture):
    pages = range(max(-(-len(report.groups) // PAGE), 1))
    return [cost_embed(report, picture, names={name: name for name, _ in report.groups}, page=page) for page in pages]


def export_pages(writer, services, limit, command):
    format_ = exporter(writer)
    return [export_embed(format_, SPAN, services, limit), too_large_embed(format_, SPAN, limit, command)]


EMBEDS = {
    "slow": later(slow_pages, reports, pictures),
    "where the time goes": later(partial(time_profile_embed, page=0, pages=2), reports, pictures),
    "nothing slow": later(nothing_slow_embed, reports),
    "compare": later(comparison_embed, comparisons, pictures),
    "cost": later(cost_pages, costs, pictures),
    "health": later(state_embed, states, pictures),
    "resources": later(resources_embed, uses, grown, pictures),
    "live": later(
        partial(live_embed, until_us=NOW_US), live, verdicts, st.fixed_dictionaries({LAG: amounts, MEMORY: amounts}),
        amounts, pictures, ended=names,
    ),
    "export": later(export_pages, writers, many(names), amounts, names),
    "forget": later(question_embed, users),
    "erased": later(erased_embed, st.none() | st.builds(Erased, amounts, amounts, amounts, amounts, amounts)),
    "help": later(lambda pages: [guide_embed(page, page=1, more=True) for page in pages], guides),
    "deploy check": later(deploy_check_embed, checks, many(regressions)),
}  # fmt: skip


def sendable(text):
    """Return the text as JSON can have it: a lone surrogate has no bytes."""
    return text.encode(errors="replace").decode()


def made(call):
    """Return the embeds that a call makes, as JSON, each with what ``fitted`` got to make it."""
    fitted = []

    def watched(embed):
        fitted.append((dict(embed), limits.fitted(embed)))
        return fitted[-1][1]

    with patch.object(statistics, "fitted", watched):
        call()
    return fitted


@pytest.mark.parametrize("command", EMBEDS)
@settings(max_examples=30, phases=PHASES)
@given(data=st.data())
def test_an_embed_of_anything_is_valid_and_without_live_markup(command, data):
    for _, embed in made(data.draw(EMBEDS[command])):
        problems = Problems()
        check_embed(problems, embed, "embed", frozenset(["chart.png"]))
        assert problems.found == []
        assert embed_characters(embed) <= 6000
        assert [text for text in texts_of({"embeds": [embed]}) if live_markup(text)] == []


@pytest.mark.parametrize("command", EMBEDS)
@settings(max_examples=30, phases=PHASES)
@given(data=st.data())
def test_nothing_but_a_title_is_cut_where_the_text_does_not_say_so(command, data):
    """Each embed counts what it leaves out itself, so that the one fitting function has nothing to cut."""
    for before, after in made(data.draw(EMBEDS[command])):
        assert after.get("description", "") == sendable(before.get("description", ""))
        values = [sendable(field["value"]) for field in before.get("fields", [])]
        assert [field["value"] for field in after["fields"]] == [value if value.strip() else BLANK for value in values]
        assert after.get("footer", {}).get("text", "") == sendable(before.get("footer", {}).get("text", ""))
