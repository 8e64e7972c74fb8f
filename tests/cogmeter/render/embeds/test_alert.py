"""An alert's embed has what is wrong, how bad, since when and for which users, within the limits for any names."""

import dataclasses
import math

import pytest
from factories import make_alert
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.rules import KINDS
from cogmeter.query.records import IncidentContext, Period
from cogmeter.recording.service_names import BOT
from cogmeter.render import formatting, rule_text
from cogmeter.render.charts.builder import breach_chart, breach_period
from cogmeter.render.embeds.alert import alert_embed_data, details_embed_data, headline, several, subject
from cogmeter.render.palette import Look, look_of
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Attempt
from cogmeter_storage.errors import ErrorGroup, ErrorKind, Frame
from cogmeter_storage.model import MINUTE_US, Marker, OperationRecord, Outcome

NOW_US = 1_755_454_020_000_000  # 2025-08-17 18:07 UTC
START_US = NOW_US - 12 * MINUTE_US
ALERT = make_alert(
    NOW_US, severity="critical", worst=0.124, started_us=START_US, changed_us=START_US, fired_us=START_US, id=12
)
STORY = IncidentContext(
    since_us=START_US - 5 * MINUTE_US,
    until_us=NOW_US,
    operations=1280,
    failures=41,
    users=7,
    guilds=3,
    most_common_error="Rate limit exceeded for @everyone",
    most_common_count=30,
    example=OperationRecord(1, "knowledge-graph", "query", NOW_US - 4_000_000, 1_200_000, Outcome.ERROR, "Rate limit"),
    example_url="https://discord.com/channels/1/2/3",
    markers=(
        Marker(START_US - MINUTE_US, "mark", "deployed 1.4"),
        Marker(START_US - 9 * MINUTE_US, "start", "started"),
    ),
)
RESOLVED = dataclasses.replace(
    ALERT, state=AlertState.RESOLVED, resolved_us=NOW_US, acknowledged_us=START_US + MINUTE_US, acknowledged_by="Ada"
)


def fields(data):
    return {field["name"]: field["value"] for field in data["fields"]}


def test_blocks_of_the_event_loop_are_counted_as_blocks_and_not_as_failures():
    context = dataclasses.replace(STORY, operations=19, failures=0, users=None, guilds=None)
    alert = make_alert(NOW_US, rule="stall", service=BOT, threshold=200.0, current=720.0, worst=720.0)
    data = alert_embed_data(alert, context, chart=False, now_us=NOW_US)
    since = f"since <t:{STORY.since_us // 1_000_000}:t>"
    assert fields(data)["Affected"] == f"everything waited during 19 blocks of the event loop {since}"
    assert "19 blocks since" in data["footer"]["text"]


def test_an_alert_leads_to_the_dashboard_where_there_is_a_link():
    link = "https://perf.example.com/performance/services/graph?from=2025-08-17T17:07:00Z"
    for data in (
        alert_embed_data(ALERT, STORY, chart=True, now_us=NOW_US, link=link),
        details_embed_data(ALERT, STORY, now_us=NOW_US, link=link),
    ):
        assert data["url"] == link
        assert f"[Open in the dashboard]({link})" in data["description"]
    assert "url" not in alert_embed_data(ALERT, STORY, chart=True, now_us=NOW_US)


def test_the_most_common_error_is_shown_with_its_place_and_number():
    group = ErrorGroup(
        id=7,
        fingerprint="0" * 16,
        kind=ErrorKind.FAILED,
        type="RateLimitError",
        message="Rate limit exceeded",
        place=Frame("cogs/ask.py", "Ask.ask", 42, own=True),
        count=30,
        total=30,
        first_us=START_US,
        last_us=NOW_US,
        first_version=None,
        last_version=None,
        users=7,
        guilds=3,
        resolved_us=None,
        resolved_by="",
        reopened_us=None,
        muted_until_us=None,
        places=(),
        days=(),
    )
    data = alert_embed_data(ALERT, dataclasses.replace(STORY, error_group=group), chart=True, now_us=NOW_US)
    assert fields(data)["Most common error"].endswith("(30 times)\n`cogs/ask.py:42 in Ask.ask` · Error 7")


def test_a_firing_alert_says_it_all_with_the_number_that_matters_first():
    data = alert_embed_data(ALERT, STORY, chart=True, now_us=NOW_US)
    assert data["title"] == "\N{OCTAGONAL SIGN} Critical: Error rate of knowledge-graph"
    assert data["description"] == "**Error rate of 7.8% exceeds threshold of 5%**"
    assert data["color"] == Look.CRITICAL.colour
    assert data["image"] == {"url": "attachment://chart.png"}
    assert data["footer"]["text"] == "Alert 12 · 89abcdef · 1,280 operations since 17:50 UTC"
    since = f"since <t:{STORY.since_us // 1_000_000}:t>"
    assert list(fields(data).items()) == [
        ("Now", "**7.8%**\nthreshold 5%\npeak 12.4%"),
        ("Began", "<t:1755453300:f>\n<t:1755453300:R>\nfired <t:1755453300:t>"),
        ("Affected", f"41 of 1,280 operations failed in total, {since}\n7 users · 3 servers"),
        ("Most common error", "Rate limit exceeded for @\u200beveryone (30 times)"),
        (
            "Example",
            "query took 1.2 s, error, <t:1755454016:R> [open in Discord](https://discord.com/channels/1/2/3)",
        ),
        ("Recent changes", "<t:1755453240:R> deployed 1.4\n<t:1755452760:R> started"),
    ]


def test_a_resolved_alert_says_how_long_it_lasted_and_who_took_it_up():
    data = alert_embed_data(RESOLVED, STORY, chart=False, now_us=NOW_US)
    assert data["title"] == "\N{WHITE HEAVY CHECK MARK} Resolved (critical): Error rate of knowledge-graph"
    assert data["description"].splitlines() == [
        "**Error rate peaked at 12.4% (threshold 5%), lasted 12 min**",
        "Acknowledged by Ada <t:1755453360:R>",
    ]
    assert fields(data)["Peak"] == "**12.4%**\nthreshold was 5%"
    assert fields(data)["Began"] == "<t:1755453300:f>\nfired <t:1755453300:t>\nresolved <t:1755454020:t>"
    assert data["color"] == Look.RESOLVED.colour
    assert "image" not in data


def test_a_mute_flapping_an_escalation_and_a_missing_chart_are_shown():
    muted = dataclasses.replace(
        ALERT, state=AlertState.MUTED, muted_until_us=NOW_US + MINUTE_US, flapping=True, operation="query"
    )
    said = alert_embed_data(muted, None, chart=False, now_us=NOW_US, chart_problem="the process ended (code -9)")
    assert said["title"].endswith("Muted (critical): Error rate of knowledge-graph / query")
    assert said["description"].splitlines()[1:] == [
        "Muted until <t:1755454080:f>",
        "Flapping: 3 or more alerts within 1 h. It stays open until 10 min or more pass without a breach.",
        "No chart: the process ended (code -9)",
    ]
    escalated = alert_embed_data(dataclasses.replace(ALERT, escalated=True), None, chart=False, now_us=NOW_US)
    assert "Escalated: nobody has acknowledged it" in escalated["description"]


def test_a_group_lists_its_alerts_the_worst_first_and_says_how_many_more_there_are():
    members = [
        dataclasses.replace(ALERT, service=f"service-number-{number:02}-with-a-name", severity=severity)
        for number, severity in enumerate(["warning"] * 30 + ["critical"])
    ]
    root = dataclasses.replace(ALERT, rule="many_services", service="(bot)", current=31, worst=31, threshold=4)
    data = alert_embed_data(root, STORY, members, chart=False, now_us=NOW_US)
    assert headline(root) == "\N{OCTAGONAL SIGN} Critical: Many alerts at once"
    lines = fields(data)["Alerts"].splitlines()
    assert lines[0] == "\N{OCTAGONAL SIGN} Error rate of service-number-30-with-a-name: 12.4%"
    assert lines[-1] == f"and {31 - (len(lines) - 1)} more"
    assert len(fields(data)["Alerts"]) <= 1024
    assert "Most common error" not in fields(data)
    assert fields(data)["Now"].startswith("**31 alerts**")


def test_a_test_is_marked_as_one():
    data = alert_embed_data(ALERT, None, chart=False, now_us=NOW_US, test=True)
    assert data["title"] == f"Test: \N{OCTAGONAL SIGN} {subject(ALERT)}"
    assert "Began" not in fields(data)


def test_a_link_that_could_break_out_of_its_markdown_is_left_out():
    story = dataclasses.replace(STORY, example_url="https://discord.com/1)[x](https://evil.example")
    assert "evil" not in fields(alert_embed_data(ALERT, story, chart=False, now_us=NOW_US))["Example"]


@pytest.mark.parametrize(
    ("rule", "value", "said"),
    [
        ("error_rate", 0.078, "7.8%"),
        ("response_time", 8234, "8.2 s"),
        ("throughput", 120, "120/min"),
        ("low_traffic", 0.04, "4% of usual"),
        ("burn_rate", 14.4, "14.4x"),
        ("acknowledgement", 0.1, "10%"),
        ("stall", 20_000, "20 s"),
        ("gateway_latency", 1500, "1.5 s"),
        ("disconnects", 1, "1 time"),
        ("dead_loops", 2, "2 loops"),
        ("rate_limits", 1200, "1,200 times"),
        ("invalid_requests", 0.31, "31%"),
        ("memory_growth", 1.5, "150%"),
        ("cost", 1234.5, "$1,234.50"),
        ("cost_growth", 4.25, "4.2x"),
        ("deviation", 0.973, "0.97"),
        ("many_services", 5, "5 alerts"),
        ("unheard_of", 1.5, "1.5"),
        ("throughput", math.inf, formatting.NOTHING),
        ("response_time", math.nan, formatting.NOTHING),
    ],
)
def test_numbers_are_written_in_the_unit_of_their_rule(rule, value, said):
    assert rule_text.measured(rule, value) == said


@pytest.mark.parametrize(
    ("rule", "worst", "threshold", "text"),
    [
        ("response_time", 8234, 5000, ("Response time peaked at 8.2 s", "threshold 5 s")),
        ("low_traffic", 0.04, 0.1, ("Low traffic fell to 4% of usual", "threshold 10% of usual")),
        ("dead_loops", 1, 1, None),
        ("disconnects", 1, 3, None),  # one lost connection that lasts is a breach below the threshold
        ("unheard_of", 2, 1, None),
    ],
)
def test_only_a_worst_value_beyond_the_threshold_describes_a_past_alert(rule, worst, threshold, text):
    assert rule_text.extreme(rule, worst, threshold) == text


def test_a_rule_that_is_not_known_here_is_named_as_it_is():
    assert subject(dataclasses.replace(ALERT, rule="unheard_of")) == "Unheard of of knowledge-graph"


@pytest.mark.parametrize(
    ("severity", "state", "look"),
    [
        ("info", AlertState.FIRING, Look.INFO),
        ("warning", AlertState.FIRING, Look.WARNING),
        ("critical", AlertState.PENDING, Look.CRITICAL),
        ("critical", AlertState.ACKNOWLEDGED, Look.ACKNOWLEDGED),
        ("critical", AlertState.MUTED, Look.MUTED),
        ("critical", AlertState.RESOLVED, Look.RESOLVED),
        ("unheard of", AlertState.FIRING, Look.WARNING),
    ],
)
def test_an_alert_looks_by_its_state_and_before_that_by_its_severity(severity, state, look):
    assert look_of(severity, state) is look


def test_looks_differ_in_icon_colour_and_word():
    for part in ("icon", "colour", "word"):
        assert len({getattr(look, part) for look in Look}) == len(Look)


def test_details_add_the_history_and_the_deliveries():
    changes = [
        AlertChange(ALERT.uid, "acknowledged", AlertState.ACKNOWLEDGED, "critical", "m", 0.08, 0.05, NOW_US, "Ada"),
        AlertChange(ALERT.uid, "fired", AlertState.FIRING, "critical", "m", 0.078, 0.05, START_US),
    ]
    attempts = [
        Attempt(2, "webhook", ALERT.uid, NOW_US, 2_000_000, "retry", "500 Internal Server Error"),
        Attempt(1, "channel", ALERT.uid, START_US, 300_000, "sent"),
    ]
    data = details_embed_data(ALERT, STORY, (), changes, attempts, now_us=NOW_US)
    assert fields(data)["History"].splitlines() == [
        "<t:1755454020:R> acknowledged by Ada, 8%",
        "<t:1755453300:R> fired, 7.8%",
    ]
    assert fields(data)["Deliveries"].splitlines() == [
        "<t:1755454020:R> webhook: retry in 2 s: 500 Internal Server Error",
        "<t:1755453300:R> channel: sent in 300 ms",
    ]


@pytest.mark.parametrize(
    ("minutes", "period"), [(0, Period.HOUR), (40, Period.HOUR), (41, Period.SIX_HOURS), (30 * 24 * 60, Period.MONTH)]
)
def test_a_chart_covers_the_breach_and_some_of_what_was_before_it(minutes, period):
    begun = dataclasses.replace(ALERT, started_us=NOW_US - minutes * MINUTE_US)
    assert breach_period(begun, NOW_US) is period


def test_a_breach_is_shaded_from_its_window_to_its_end_with_the_markers(timeline):
    chart = breach_chart(RESOLVED, timeline(Period.HOUR), window_us=5 * MINUTE_US, markers=STORY.markers)
    assert chart.breaches == ((START_US - 5 * MINUTE_US, NOW_US),)
    assert chart.markers[0] == (START_US - MINUTE_US, "deployed 1.4")


@pytest.mark.parametrize(
    ("rule", "drawn"),
    [
        ("response_time", {"latency_threshold_us": 50.0, "latency_statistic": "p95"}),
        ("throughput", {"throughput_threshold": 0.05}),
        ("error_rate", {}),
        ("deviation", {}),
    ],
)
def test_a_threshold_is_drawn_where_the_chart_has_its_unit(timeline, rule, drawn):
    alert = dataclasses.replace(ALERT, rule=rule)
    chart = breach_chart(alert, timeline(Period.HOUR), window_us=0, statistic="p95")
    nothing = {"latency_threshold_us": None, "throughput_threshold": None, "latency_statistic": ""}
    assert {name: getattr(chart, name) for name in nothing} == nothing | drawn


@given(st.lists(st.text(min_size=1, max_size=300), max_size=40), st.integers(20, 1024), st.integers(0, 999))
def test_a_list_keeps_to_its_limit_and_accounts_for_every_line(lines, limit, more):
    lines = [line.replace("\n", " ").replace("\r", " ") or " " for line in lines]
    said = several(lines, limit, more=more)
    assert len(said) <= limit
    if said != "\n".join(lines):
        *kept, last = said.split("\n")
        assert kept == lines[: len(kept)]
        assert last == f"and {len(lines) - len(kept) + more} more"


names = st.text(st.characters() | st.sampled_from("*_`[]()<>@\n\u202e"), max_size=300)
numbers = st.floats() | st.sampled_from([0.0, -1.0, 1e300, math.inf])
alerts = st.builds(
    Alert,
    uid=names,
    rule=st.sampled_from([*KINDS, "unheard_of"]) | names,
    service=names,
    operation=names,
    state=st.sampled_from(AlertState),
    severity=st.sampled_from(["info", "warning", "critical"]) | names,
    message=names,
    threshold=numbers,
    current=numbers,
    worst=numbers,
    started_us=st.integers(0, NOW_US),
    seen_us=st.integers(0, NOW_US),
    changed_us=st.integers(0, NOW_US),
    acknowledged_us=st.none() | st.integers(0, NOW_US),
    acknowledged_by=names,
    resolved_us=st.none() | st.integers(0, NOW_US),
    muted_until_us=st.none() | st.integers(0, NOW_US),
    flapping=st.booleans(),
)
stories = st.none() | st.builds(
    IncidentContext,
    since_us=st.integers(0, NOW_US),
    until_us=st.integers(0, NOW_US),
    operations=st.integers(0, 10**12),
    failures=st.integers(0, 10**12),
    users=st.none() | st.integers(0, 10**9),
    most_common_error=st.none() | names,
    most_common_count=st.integers(0, 10**9),
    example=st.none()
    | st.builds(
        OperationRecord,
        id=st.just(1),
        service=names,
        operation=names,
        end_us=st.integers(0, NOW_US),
        duration_us=st.integers(0, 10**12),
        outcome=st.sampled_from(Outcome),
    ),
    example_url=st.none() | names,
    markers=st.lists(st.builds(Marker, st.integers(0, NOW_US), names, names), max_size=20).map(tuple),
)


@given(alerts, stories, st.lists(alerts, max_size=8), names, st.lists(names, max_size=5))
def test_any_alert_keeps_to_discords_limits(alert, story, members, trouble, notes):
    changes = [
        AlertChange("u", note, AlertState.FIRING, "info", note, math.nan, 0.0, NOW_US, note, note) for note in notes
    ]
    attempts = [Attempt(1, note, "u", NOW_US, 5, note, note) for note in notes]
    for data, most in (
        (alert_embed_data(alert, story, members, chart=False, chart_problem=trouble, now_us=NOW_US), 6),
        (details_embed_data(alert, story, members, changes, attempts, now_us=NOW_US), 8),
    ):
        texts = [data["title"], data["description"], data["footer"]["text"]]
        texts += [words for field in data["fields"] for words in (field["name"], field["value"])]
        assert sum(map(len, texts)) <= 6000
        assert len(data["title"]) <= 256
        assert len(data["fields"]) <= most
        assert all(0 < len(field["value"].strip()) <= 1024 for field in data["fields"])
        assert "@everyone" not in "".join(texts)
