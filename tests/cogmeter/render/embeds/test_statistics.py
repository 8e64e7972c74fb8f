"""The embeds answer the question in readable numbers, within the limits for any names."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.diagnosis import Status
from cogmeter.query.records import (
    SUBJECT,
    Figures,
    Range,
    RankedOperation,
    ServiceStats,
    Summary,
    Timeline,
    UnknownNameError,
)
from cogmeter.render.charts.chart import Chart, Picture, describe
from cogmeter.render.embeds import statistics
from cogmeter.render.palette import DisplayState
from cogmeter_storage.model import OperationRecord, Outcome

UNTIL_US = 1_755_454_020_000_000
SPAN = Range(UNTIL_US - 86_400_000_000, UNTIL_US, "last 24 hours")
LINE = Timeline("All services", SPAN, 900_000_000, [], [], [], [], [], [])


def figures(operations, failures=0, mean_us=None):
    times = [mean_us, mean_us * 0.7, mean_us * 2, mean_us * 4, int(mean_us * 9)] if mean_us else [None] * 5
    return Figures(operations, (operations - failures, failures, 0, 0, 0), 86_400_000_000, *times)


NONE = figures(0)
SUMMARY = Summary(
    range=SPAN,
    total=figures(1247, 35, 1_234_000),
    before=figures(1100, 20, 1_300_000),
    services=[("core-intelligence", figures(456, 10, 1e6)), ("context_memory", figures(198, 7, 1e6))],
    timeline=LINE,
    last_end_us=UNTIL_US - 12_000_000,
)
COMMANDS = [
    RankedOperation("discord.commands", "ask", figures(120, 12, 4_600_000)),
    RankedOperation("discord.commands", "help_me", figures(8, 0, 1e5)),
    RankedOperation("discord.components", "Shop.buy", figures(3, 0, 1e5)),
]
STATS = ServiceStats(
    range=SPAN,
    service="sentiment-analysis",
    operation=None,
    total=figures(234, 3, 145_000),
    before=figures(240, 9, 120_000),
    operations=[("analyze", figures(200, 3, 1e5)), ("embed", figures(34, 0, 1e5))],
    slowest=[OperationRecord(1, "sentiment-analysis", "analyze", UNTIL_US, 1_200_000, Outcome.OK)],
    errors=[OperationRecord(2, "sentiment-analysis", "analyze", UNTIL_US, 9, Outcome.ERROR, "Rate limit @everyone")],
    timeline=LINE,
    last_end_us=None,
)


def fields(embed):
    return {field.name: field.value for field in embed.fields}


def test_the_summary_says_the_guides_figures_with_the_success_rate_first():
    embed = statistics.summary_embed(SUMMARY, Picture(Chart(LINE), b"\x89PNG"))
    assert embed.title == "Performance Summary (Last 24 Hours)"
    assert "2 active services" in embed.description
    assert list(fields(embed).items()) == [
        ("Success Rate", "**97.2%**\n▼ 1 point vs previous 24 h"),
        ("Error Rate", "2.8% (35 failed)\n▲ 1 point vs previous 24 h"),
        ("Total Operations", "1,247 (52/h)\n▲ 13% vs previous 24 h"),
        ("Average Response Time", "1.2 s\n▼ 5% vs previous 24 h"),
        ("Percentiles", "p50~864~ms\np95~2.5~s\np99~4.9~s\np95: ▼ 5% vs previous 24 h".replace("~", "\xa0")),
        (
            "Top Services by Volume",
            "1. core-intelligence: 456~ops (97.8%~success)\n2. context\\_memory: 198~ops (96.5%~success)".replace(
                "~", "\xa0"
            ),
        ),
    ]
    assert embed.footer.text == "Last 24 hours · 1,247 ops · newest 12 s ago"
    assert embed.image.url == "attachment://chart.png"


@pytest.mark.parametrize("summary", [SUMMARY, dataclasses.replace(SUMMARY, total=NONE)])
def test_a_summary_says_how_many_operations_were_dropped_and_what_to_raise(summary):
    assert "dropped" not in statistics.summary_embed(summary).description
    embed = statistics.summary_embed(dataclasses.replace(summary, dropped=2_500), buffer_setting="PERFORMANCE_X")
    assert (
        "⚠ 2,500 operations were dropped in this period because the buffer was full. Raise PERFORMANCE\\_X."
        in embed.description
    )


def test_the_summary_of_a_bot_without_own_services_lists_its_commands():
    services = [("discord.commands", figures(128)), ("discord.components", figures(3))]
    embed = statistics.summary_embed(dataclasses.replace(SUMMARY, services=services, commands=COMMANDS))
    assert embed.description == "**Healthy** · 2 commands, 1 component"
    assert list(fields(embed))[4:] == ["Percentiles", "Top Commands"]
    assert fields(embed)["Top Commands"].splitlines() == [
        line.replace("~", "\xa0")
        for line in (
            "1. /ask: 120~ops (90%~success), p95~9.2~s",
            "2. /help\\_me: 8~ops (100%~success), p95~200~ms",
            "3. button Shop.buy: 3~ops (100%~success), p95~200~ms",
        )
    ]


def test_the_summary_of_a_bot_with_both_has_six_fields_at_most():
    services = [*SUMMARY.services, ("discord.commands", figures(128)), ("discord.components", figures(3))]
    embed = statistics.summary_embed(dataclasses.replace(SUMMARY, services=services, commands=COMMANDS))
    assert embed.description == "**Healthy** · 2 commands, 1 component, 2 services"
    assert list(fields(embed))[3:] == ["Average Response Time", "Top Commands", "Top Services by Volume"]
    assert fields(embed)["Average Response Time"].splitlines() == [
        "1.2 s",
        "▼ 5% vs previous 24 h",
        "p50\xa0864\xa0ms",
        "p95\xa02.5\xa0s",
        "p99\xa04.9\xa0s",
    ]
    assert "discord.commands" not in fields(embed)["Top Services by Volume"]


def test_the_statistics_of_a_command_have_its_label_as_title():
    command = dataclasses.replace(STATS, service="discord.commands", operation="ask")
    assert statistics.stats_embed(command).title == "/ask Statistics (Last 24 Hours)"
    empty = statistics.stats_embed(dataclasses.replace(command, total=NONE))
    assert "No operation of /ask ended" in empty.description


def test_the_statistics_lead_to_the_dashboard_where_there_is_a_link():
    link = "https://perf.example.com/performance/services/x?from=2025-08-17T17:07:00Z"
    embed = statistics.stats_embed(STATS, link=link)
    assert embed.url == link
    assert embed.description.endswith(f"[Open in the dashboard]({link})")
    assert "dashboard" not in statistics.stats_embed(STATS).description


def test_an_unknown_command_is_named_with_similar_labels():
    embed = statistics.unknown_embed(UnknownNameError(SUBJECT, "/asc", ["/ask"]))
    assert embed.title == "Unknown service or command"
    assert embed.description.endswith("Did you mean `/ask`?")


def test_the_statistics_say_slowest_operations_and_recent_errors_with_their_times():
    embed = statistics.stats_embed(STATS)
    said = fields(embed)
    assert embed.title == "sentiment-analysis Service Statistics (Last 24 Hours)"
    assert len(said) <= 6
    assert said["Success Rate"].startswith("**98.7%** (231 successful)\nFailed: 3 (1.3%)")
    assert said["Average Response Time"] == "145 ms\n▲ 21% vs previous 24 h"
    assert said["Slowest Operations"] == "1.2 s analyze <t:1755454020:R>"
    assert said["Recent Errors"] == "<t:1755454020:R>: analyze Rate limit @\u200beveryone"


def test_statistics_of_one_operation_name_it_once():
    embed = statistics.stats_embed(dataclasses.replace(STATS, operation="analyze"))
    assert embed.title == "sentiment-analysis / analyze Statistics (Last 24 Hours)"
    assert fields(embed)["Slowest Operations"] == "1.2 s <t:1755454020:R>"


def test_without_a_period_before_nothing_is_compared_and_the_reason_is_shown():
    embed = statistics.summary_embed(dataclasses.replace(SUMMARY, before=NONE))
    assert "No operations in the previous 24 h to compare with." in embed.description
    assert fields(embed)["Total Operations"] == "1,247 (52/h)"


def test_an_answer_without_its_chart_says_why():
    embed = statistics.summary_embed(SUMMARY, Picture(Chart(LINE), problem="The chart process ended (code -9)."))
    assert "No chart: The chart process ended (code -9)." in embed.description
    assert embed.image.url is None


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.HEALTHY, DisplayState.HEALTHY),
        (Status.DEGRADED, DisplayState.DEGRADED),
        (Status.UNHEALTHY, DisplayState.UNHEALTHY),
    ],
)
def test_the_status_has_a_colour_and_a_word(status, state):
    embed = statistics.summary_embed(SUMMARY, status=status)
    assert embed.colour.value == state.colour
    assert embed.description.startswith(f"**{state.word.capitalize()}**")


@pytest.mark.parametrize("embed", [
    statistics.summary_embed(dataclasses.replace(SUMMARY, total=NONE)),
    statistics.stats_embed(dataclasses.replace(STATS, total=NONE)),
])  # fmt: skip
def test_an_empty_period_says_so_and_how_to_record(embed):
    assert embed.title == "Nothing recorded yet"
    assert 'with cogmeter.operation("knowledge-graph", "query"):' in embed.description
    assert embed.colour.value == DisplayState.NEUTRAL.colour


def test_an_unknown_name_suggests_near_ones():
    error = UnknownNameError("service", "know`ledge", ["knowledge-graph", "knowledge"])
    assert statistics.unknown_embed(error).description.endswith("Did you mean `knowledge-graph` or `knowledge`?")
    assert "Autocomplete" in statistics.unknown_embed(UnknownNameError("service", "x", [])).description


def test_the_picture_carries_its_description():
    chart = Chart(LINE)
    file = statistics.chart_file(b"\x89PNG", chart)
    assert (file.filename, file.description) == ("chart.png", describe(chart))


names = st.text(st.characters() | st.sampled_from("*_`[]<>@\n"), min_size=1, max_size=100)


@given(names, names, st.text(max_size=500), st.lists(names, max_size=30))
def test_answers_with_any_names_keep_to_the_limits(service, operation, error, services):
    failed = OperationRecord(2, service, operation, UNTIL_US, 9, Outcome.ERROR, error)
    several = [(name, figures(5, 1, 1e5)) for name in services]
    stats = dataclasses.replace(STATS, service=service, slowest=[failed] * 5, errors=[failed] * 5, operations=several)
    answers = [
        statistics.summary_embed(dataclasses.replace(SUMMARY, services=several), Picture(Chart(LINE), problem=error)),
        statistics.stats_embed(stats),
        statistics.stats_embed(dataclasses.replace(stats, operation=operation)),
        statistics.stats_embed(dataclasses.replace(stats, total=NONE)),
        statistics.unknown_embed(UnknownNameError("service", service, services[:3])),
    ]
    for embed in answers:
        assert len(embed) <= 6000
        assert len(embed.title) <= 256
        assert len(embed.fields) <= 6
        assert all(0 < len(field.value.strip()) <= 1024 for field in embed.fields)
