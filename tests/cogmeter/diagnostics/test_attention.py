"""What needs attention: one finding for each cause, the most harm first, with number and next step."""

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from factories import make_alert, make_errors

from cogmeter.alerts.incident_context import IncidentReader
from cogmeter.alerts.model import BOT
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnosis import EVERY, Check, Status, all_findings_text, status_of
from cogmeter.diagnostics.attention import AlertIncident, AttentionFacts, JudgedOperation, SlowPart, distinct, rank
from cogmeter.diagnostics.attention_reader import READ, Attention, slow_part
from cogmeter.diagnostics.judgement import Judgement
from cogmeter.query.query import Query
from cogmeter.query.records import AlertLine, IncidentContext, Range
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, COMMANDS, TASKS
from cogmeter.settings import Settings
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState, Step
from cogmeter_storage.errors import ErrorGroup, ErrorKind, Frame
from cogmeter_storage.model import DAY_US, ERROR_GROUP, HOUR_US, MINUTE_US, Marker, Outcome, SpanRecord, TraceRecord

NOW = 1_790_000_000_000_000 // HOUR_US * HOUR_US + 30 * MINUTE_US
SPAN = Range(NOW - DAY_US, NOW, "last 24 hours")
API = "http.api.openai.com"


def group(number=12, places=((COMMANDS, "ask", 41),), **more):
    values = {
        "id": number, "fingerprint": f"{number:016}", "kind": ErrorKind.FAILED, "type": "ValueError",
        "message": "no answer", "place": Frame("cogs/ask.py", "Ask.ask", 42, own=True), "count": 41, "total": 41,
        "first_us": NOW - HOUR_US, "last_us": NOW, "first_version": None, "last_version": None, "users": 7,
        "guilds": 2, "resolved_us": None, "resolved_by": "", "reopened_us": None, "muted_until_us": None,
        "places": places, "days": ((NOW // DAY_US, 41),),
    }  # fmt: skip
    return ErrorGroup(**values | more)


def context(users=12, error=None, markers=()):
    return IncidentContext(NOW - HOUR_US, NOW, 120, 41, users=users, error_group=error, markers=tuple(markers))


def active(uid, *, users=None, error=None, markers=(), operation="", part=None, **alert):
    stored = make_alert(NOW - 10 * MINUTE_US, uid=uid, **{"service": COMMANDS, **alert})
    known = None if users is None and error is None and not markers else context(users, error, markers)
    return AlertIncident(stored, known, operation or stored.operation, part)


def texts(*alerts, **facts):
    return [concern.text for concern in rank(AttentionFacts(SPAN, alerts, **facts))]


DEPLOY = Marker(NOW - 13 * MINUTE_US, "version", "version 1.4")
ASK = active("ask", users=12, error=group(), markers=[DEPLOY], operation="ask", severity="critical",
             message="Error rate of 34% exceeds threshold of 5%")  # fmt: skip
SLOW = active("slow", rule="response_time", users=3, operation="play", part=SlowPart(API, "", 0.92),
              message="Average response time of 12s exceeds threshold of 5s")  # fmt: skip
LOOP = active("loop", rule="dead_loops", service=TASKS, operation="Feeds.poll", severity="critical",
              message="Loop Feeds.poll has died: KeyError: 'items'")  # fmt: skip
HUNG = active("hung", rule="hung", operation="export", message="Running for 12 min at cogs/export.py:9 in run")
LATE = active("late", rule="acknowledgement", service=ACKNOWLEDGEMENT, operation="ask", users=4,
              message="12% late or missing first responses exceeds threshold of 5%")  # fmt: skip
LIMITED = active("limited", rule="rate_limits", service=BOT,
                 message="80 rate limits in 10 min, most of them of scope shared, exceeds threshold of 50")  # fmt: skip
GROWN = active("grown", rule="memory_growth", service=BOT, severity="info",
               message="Memory growth of 80% in 6.0 h, to 412 MB, exceeds threshold of 50%")  # fmt: skip

# Each kind of finding: its facts, its text, its next step, and what shows more.
KINDS = {
    "a command that fails since a deploy": (
        ASK,
        (
            "/ask: error rate of 34% exceeds threshold of 5%, for 12 users, began 3 min after version 1.4; "
            "most common error: ValueError in cogs/ask.py:42 in Ask.ask"
        ),
        ("Open its most common error", "error:12", (COMMANDS, "ask")),
    ),
    "a slow command": (
        SLOW,
        (
            "/play: average response time of 12 s exceeds threshold of 5 s, for 3 users; "
            "92% of its time is spent in http.api.openai.com"
        ),
        ("Look at its slowest operations", "slow", (COMMANDS, "play")),
    ),
    "an alert after a change that is not a version": (
        active(
            "grown",
            rule="memory_growth",
            service=BOT,
            severity="info",
            users=1,
            markers=[Marker(NOW - 13 * MINUTE_US, "start", "bot started")],
            message="Memory growth of 80% in 6.0 h",
        ),
        'Memory growth of 80% in 6.0 h, for 1 user, began 3 min after "bot started"',
        ("Give caches and histories a maximum size", "doctor", None),
    ),
    "a dead loop": (
        LOOP,
        "Loop Feeds.poll has died: KeyError: 'items'",
        ("Handle errors inside of the loop, and start it again", "errors", (TASKS, "Feeds.poll")),
    ),
    "an operation that hangs": (
        HUNG,
        "/export: running for 12 min at cogs/export.py:9 in run",
        ("Give what it waits for a timeout: asyncio.timeout(30)", "running", (COMMANDS, "export")),
    ),
    "late first responses": (
        LATE,
        "12% late or missing first responses exceeds threshold of 5%, most of them of ask, for 4 users",
        ("Call interaction.response.defer() before slow work", "stats", (ACKNOWLEDGEMENT, "ask")),
    ),
    "rate limits": (
        LIMITED,
        "80 rate limits in 10 min, most of them of scope shared, exceeds threshold of 50",
        ("Send fewer requests: edit less often, and cache what is fetched", "stats", ("discord.rest", "")),
    ),
    "memory that grows": (
        GROWN,
        "Memory growth of 80% in 6.0 h, to 412 MB, exceeds threshold of 50%",
        ("Give caches and histories a maximum size", "doctor", None),
    ),
}


@pytest.mark.parametrize(("alert", "text", "leads"), KINDS.values(), ids=KINDS)
def test_each_kind_is_one_sentence_with_its_number_and_the_next_step(alert, text, leads):
    (concern,) = rank(AttentionFacts(SPAN, [alert]))
    assert concern.text == text
    assert (concern.next_step, concern.target, concern.subject) == leads
    assert concern.severity == alert.alert.severity


def test_a_rule_that_nobody_acts_on_is_information():
    line = AlertLine("response_time", "web-crawling", 4, 0, 0, 0, 4, None, 6e7)
    (concern,) = rank(AttentionFacts(SPAN, ignored=[line]))
    assert concern.text == "Response time of web-crawling fired 4 times in the last 7 days, and nobody acted on it"
    assert (concern.severity, concern.target) == ("info", "report")
    assert status_of(concern.severity) is Status.HEALTHY


def test_nothing_wrong_is_no_finding():
    assert rank(AttentionFacts(SPAN)) == []


def test_severity_and_then_people_decide_the_order_and_three_are_shown():
    many = active("many", users=40, operation="play")
    order = rank(AttentionFacts(SPAN, [GROWN, LIMITED, LATE, many, ASK, LOOP]))
    assert [(concern.severity, concern.people) for concern in order] == [
        ("critical", 12), ("critical", None), ("warning", 40),
    ]  # fmt: skip


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.harms_everyone])
def test_what_everybody_notices_comes_before_one_command_of_a_few(rule):
    whole = active("whole", rule=rule, service=BOT, message="The bot as a whole")
    assert texts(active("few", users=20, operation="ask"), whole)[0] == "The bot as a whole"


def test_what_a_person_handles_comes_last_and_names_them():
    handled = active("handled", users=12, operation="play", state=AlertState.ACKNOWLEDGED, acknowledged_by="Ada")
    first, last = texts(handled, active("open", users=2, operation="ask"))
    assert first.startswith("/ask")
    assert last.endswith("for 12 users (acknowledged by Ada)")


@pytest.mark.parametrize("state", [AlertState.PENDING, AlertState.MUTED, AlertState.RESOLVED])
def test_what_has_not_fired_and_what_is_muted_needs_no_attention(state):
    assert texts(active("quiet", users=12, state=state)) == []


# Alerts with one cause, and the one that is shown.
ONE_CAUSE = {
    "an operation and its service": (
        [active("a", users=5, operation="ask"), active("b", rule="logged_errors", operation="ask")], "/ask"),
    "the same error": (
        [ASK, active("new", rule="new_error", operation="ValueError in Ask.ask (error 12)", error=group())], "/ask"),
    "a dependency, and the command that waits for it": (
        [SLOW, active("api", rule="dependency", service=API)], "/play"),
    "what one rule explains by another": (
        [active("rate", service="shop"), active("burn", rule="burn_rate", service="shop")], "shop"),
    "a lost connection, and the traffic that it stops": (
        [active("lost", rule="disconnects", service=BOT, message="No connection to Discord for 5 min"),
         active("low", rule="low_traffic", service="shop")], "No connection"),
}  # fmt: skip


@pytest.mark.parametrize(("alerts", "start"), ONE_CAUSE.values(), ids=ONE_CAUSE)
@pytest.mark.parametrize("backwards", [False, True])
def test_one_cause_is_one_finding(alerts, start, backwards):
    (text,) = texts(*(reversed(alerts) if backwards else alerts))
    assert text.startswith(start)


def test_a_group_of_alerts_is_one_finding_that_counts_the_others():
    members = [active(f"m{number}", service=f"service-{number}", group="root") for number in range(5)]
    root = active("root", rule="many_services", service=BOT, message="5 alerts")
    (text,) = texts(root, *members)
    assert text.startswith("service-0: error rate of 7.8%")
    assert text.endswith("; 4 more alerts at the same time")


def judged(
    service,
    operation="",
    *,
    error=None,
    failures=3,
    status=Status.DEGRADED,
    slow=False,
    reason="3 of 4 operations failed",
):
    return JudgedOperation(service, operation, Judgement(status, not slow, slow, reason), failures, error)


def test_figures_beyond_a_threshold_count_where_no_alert_is_about_them():
    ask = judged(COMMANDS, "ask", error=group())
    (concern,) = rank(AttentionFacts(SPAN, judged=[ask], deploy=Marker(NOW - 2 * HOUR_US, "version", "version 1.4")))
    assert concern.text == (
        "/ask: 3 of 4 operations failed, in the last 24 hours; most common error: ValueError in cogs/ask.py:42 in "
        "Ask.ask, new since version 1.4"
    )
    assert (concern.people, concern.target) == (7, "error:12")
    slow = judged("shop", slow=True, reason="0 of 40 operations failed; average response time of 9 s, more than 5 s")
    (concern,) = rank(AttentionFacts(SPAN, judged=[slow]))
    assert (concern.next_step, concern.target) == (RULES["response_time"].next_step, "slow")
    assert texts(ASK, judged=[ask]) == texts(ASK)  # the same operation
    whole = active("whole", service=COMMANDS)
    assert texts(whole, judged=[ask]) == texts(whole)  # its service
    assert texts(ASK, judged=[judged(COMMANDS)]) == texts(ASK)  # the service of the operation
    assert len(texts(ASK, judged=[judged(COMMANDS, "play")])) == 2
    assert texts(judged=[judged("", reason="30 of 400 operations failed, more than 5%")]) == [
        "All services: 30 of 400 operations failed, more than 5%, in the last 24 hours"
    ]


UNWELL = Check("shop", Status.UNHEALTHY, "9 of 30 operations failed, more than 5%")


def test_a_service_that_is_unhealthy_before_an_alert_fires_is_a_finding():
    (concern,) = rank(AttentionFacts(SPAN, now=[UNWELL]))
    assert (concern.severity, concern.target, concern.subject) == ("critical", "stats", ("shop", ""))
    assert concern.text == "shop now: 9 of 30 operations failed, more than 5%"
    (concern,) = rank(AttentionFacts(SPAN, now=[replace(UNWELL, status=Status.DEGRADED)]))
    assert concern.severity == "warning"


@pytest.mark.parametrize(
    "facts",
    [
        {"alerts": [active("a", service="shop")]},
        {"judged": [judged("shop", "buy")]},
    ],
)
def test_it_is_no_second_finding_where_another_one_is_about_it(facts):
    assert ", now" not in "".join(concern.text for concern in rank(AttentionFacts(SPAN, now=[UNWELL], **facts)))


@pytest.mark.parametrize(("failures", "severity"), [(1, "info"), (2, "info"), (3, "warning")])
def test_a_few_failures_of_a_rare_command_are_information(failures, severity):
    rare = judged(COMMANDS, "rare", failures=failures, reason=f"{failures} of {failures} operations failed")
    (concern,) = rank(AttentionFacts(SPAN, judged=[rare]))
    assert concern.severity == severity


@pytest.mark.parametrize(
    ("severity", "status"), [("info", Status.HEALTHY), ("warning", Status.DEGRADED), ("critical", Status.UNHEALTHY)]
)
def test_a_severity_means_a_status(severity, status):
    assert status_of(severity) is status


def test_every_rule_has_a_next_step():
    for rule in RULES.values():
        assert rule.next_step[:1].isupper()
        assert not rule.next_step.endswith(".")
        assert rule.leads_to in {"errors", "stats", "slow", "alerts", "running", "doctor", "cost"}


def trace(whole_ms, *spans):
    records = [SpanRecord(number, parent, service, operation, 0, ms * 1000, Outcome.OK)
               for number, (parent, service, operation, ms) in enumerate(spans, 1)]  # fmt: skip
    return TraceRecord(NOW, COMMANDS, "play", whole_ms * 1000, Outcome.OK, None, 0, tuple(records))


def test_the_time_goes_where_most_of_it_is_spent_and_not_to_what_only_waits():
    calls = trace(10_000, (0, "music", "find", 9_800), (1, API, "POST", 9_200))
    assert slow_part([calls, calls]) == SlowPart(API, "", 0.92)
    own = trace(10_000, (0, "music", "find", 9_800), (1, API, "POST", 100))
    assert slow_part([own]).label == "music / find"
    assert slow_part([trace(10_000, (0, API, "POST", 3_000))]) is None
    assert slow_part([]) is slow_part([trace(0)]) is None


def test_the_worst_causes_are_read_first():
    alerts = [make_alert(NOW, uid=f"a{n}", service=f"s{n}", severity="critical" if n == 7 else "warning")
              for n in range(9)]  # fmt: skip
    assert distinct(alerts)[0][0].uid == "a7"


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'attention.db'}")
    yield store
    await store.close()


async def seed(store, *, failing=True, group="ask"):
    """A command that fails for three users within five minutes, another one that works, and one failure too few.

    ``group`` is the name of the error group that ``make_errors`` gives its failures.
    """
    ask, play, rare = await store.series_ids([(COMMANDS, "ask"), (COMMANDS, "play"), ("shop", "buy")])
    rows = []
    for number in range(60):
        person = json.dumps({"user": f"{number % 3:08x}", "guild": "0000000a", ERROR_GROUP: group.rjust(16, "0")})
        outcome = Outcome.ERROR if failing and number % 2 else Outcome.OK
        error = "ValueError: no node ask" if outcome else None
        rows.append((ask, NOW - 240_000_000 + number * 1_000_000, 20_000, outcome, error, person))
        rows.append((play, NOW - 240_000_000 + number * 1_000_000, 20_000, Outcome.OK, None, None))
    rows += [
        (rare, NOW - 60_000_000 + one, 5_000, Outcome.ERROR if one else Outcome.OK, None, None) for one in (0, 1, 2)
    ]
    rows.sort(key=lambda row: row[1])
    await store.append([rows], now_us=NOW)


def reader(store, **settings):
    limits = Limits(Settings(_env_file=None, **settings), MappingProxyType({}))
    query = Query(store, clock=lambda: NOW)
    incidents = IncidentReader(store, window_s=300)
    return Attention(query, incidents=lambda: incidents, limits=lambda: limits), query


async def test_facts_are_read_from_the_store(store):
    await seed(store)
    await store.errors.add([make_errors("ask", NOW - 4 * MINUTE_US, count=30, where=(COMMANDS, "ask"))])
    await store.add_marker(Marker(NOW - 7 * MINUTE_US, "version", "version 1.4"))
    alert = make_alert(NOW - 4 * MINUTE_US, service=COMMANDS, seen_us=NOW,
                       message="Error rate of 25% exceeds threshold of 5%")  # fmt: skip
    attention, query = reader(store)
    first, second = await attention.concerns(await query.overview(SPAN), [alert])
    assert first.text == (
        "/ask: error rate of 25% exceeds threshold of 5%, for 3 users, began 3 min after version 1.4; "
        "most common error: ValueError in cogs/graph.py:42 in Graph.ask"
    )
    assert (first.people, first.target, first.subject) == (3, "error:1", (COMMANDS, "ask"))
    assert second.text == "shop: 2 of 3 operations failed, too few for an alert (20 needed), in the last 24 hours"
    only = await attention.concerns(await query.overview(SPAN, services={"shop"}), [alert], {"shop"})
    assert [concern.text for concern in only] == [second.text]


def test_an_alert_that_cannot_be_judged_now_affected_people():
    calm = active("calm", users=26, rule="response_time",
                  message="Average response time of 17 s exceeds threshold of 5 s (no breach now)")  # fmt: skip
    (concern,) = rank(AttentionFacts(SPAN, alerts=[calm]))
    assert "; it affected 26 users" in concern.text
    assert ", for 26 users" not in concern.text


async def test_a_logged_error_is_not_the_most_common_error_of_failures(store):
    await seed(store)
    logged = make_errors("log", NOW - 4 * MINUTE_US, count=900, where=(COMMANDS, "ask"), kind=ErrorKind.LOGGED)
    await store.errors.add([make_errors("ask", NOW - 4 * MINUTE_US, count=30, where=(COMMANDS, "ask")), logged])
    attention, query = reader(store)
    first, _ = await attention.concerns(await query.overview(SPAN), [])
    assert first.text.endswith("most common error: ValueError in cogs/graph.py:42 in Graph.ask")


async def test_a_finding_leads_to_the_error_that_an_inner_operation_raised(store):
    await seed(store, group="web")
    inner = make_errors("web", NOW - 4 * MINUTE_US, count=30, where=("web", "fetch"), message="no node ask")
    await store.errors.add([inner])
    attention, query = reader(store)
    first, _ = await attention.concerns(await query.overview(SPAN), [])
    assert first.text.startswith(
        "/ask: 30 of 60 operations failed, more than 5%, in the last 24 hours; most common error:"
    )
    assert (first.target, first.people) == ("error:1", None)


async def test_ignored_rules_are_read_from_the_alerts_of_a_week(store):
    past = [
        make_alert(NOW - number * HOUR_US, uid=f"p{number}", rule="throughput", state=AlertState.RESOLVED,
                   fired_us=NOW - number * HOUR_US, resolved_us=NOW - number * HOUR_US + 1)
        for number in range(1, 5)
    ]  # fmt: skip
    await store.alerting.save([Step(alert) for alert in past])
    attention, query = reader(store)
    (concern,) = await attention.concerns(await query.overview(SPAN), ())
    assert concern.text.startswith("Throughput of knowledge-graph fired 4 times")


async def test_however_many_alerts_are_active_few_incidents_are_read(store, monkeypatch):
    await seed(store, failing=False)
    read = []
    real = IncidentReader.of

    async def counted(self, alert):
        read.append(alert.uid)
        return await real(self, alert)

    monkeypatch.setattr(IncidentReader, "of", counted)
    alerts = [make_alert(NOW, uid=f"a{number}", service=f"service-{number}") for number in range(50)]
    attention, query = reader(store)
    overview = await query.overview(SPAN)
    assert len(await attention.concerns(overview, alerts)) == 3
    assert len(read) == READ
    await attention.concerns(overview, alerts)
    assert len(read) == READ  # a page that is shown again soon reads none again


def test_the_findings_that_are_not_listed_are_counted():
    five = [judged(f"service-{number}") for number in range(5)]
    found = rank(AttentionFacts(SPAN, judged=five))
    assert (len(found), found.left_out) == (3, 2)
    assert rank(AttentionFacts(SPAN, judged=five[:3])).left_out == 0
    whole = rank(AttentionFacts(SPAN, judged=five), EVERY)
    assert (len(whole), whole.left_out, whole[:3]) == (5, 0, found)
    assert all_findings_text(found) == all_findings_text(whole) == "All 5 findings"


def test_a_blocked_loop_leads_to_what_blocks_it():
    assert RULES["stall"].leads_to == "doctor"  # the page with "Blocked by", and the doctor's findings
