"""The known patterns: each is found in ten traces made for it, and none in fifty healthy ones."""

import random

import pytest

from cogmeter.query.slow_patterns import PATTERNS, Evidence, PatternMatch, TracedRun, matches
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, COMMANDS, COMPONENTS, RATE_LIMITS, REST, STALLS
from cogmeter.recording.stall_places import COLLECTION, NO_TURN
from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

CALLBACK = "POST /interactions/{interaction_id}/{interaction_token}/callback"
SEND = "POST /channels/{channel_id}/messages"
EDIT = "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}"
SEED = 17


class Making:
    """A run in the making: spans are added one after the other, in milliseconds."""

    def __init__(self, number, service=COMMANDS):
        self.random = random.Random(SEED * 1_000 + number)
        self.service, self.now, self.spans = service, 0.0, []

    def between(self, low, high):
        return self.random.uniform(low, high)

    def wait(self, low, high):
        self.now += self.between(low, high)
        return self

    def call(self, service, operation, low, high, *, parent=0, outcome=Outcome.OK, overlap=False):
        length = self.between(low, high)
        number = len(self.spans) + 1
        self.spans.append(
            SpanRecord(number, parent, service, operation, round(self.now * 1e3), round(length * 1e3), outcome)
        )
        self.now += 0 if overlap else length
        return self

    def defer(self, low=60, high=140):
        return self.call(REST, CALLBACK, low, high)

    def reply(self):
        return self.call(REST, EDIT, 60, 140)

    def ended(self, **context):
        spans = tuple(sorted(self.spans, key=lambda span: span.start_us + span.duration_us))
        trace = TraceRecord(1_000, self.service, "ask", round(self.now * 1e3), Outcome.OK, None, 0, spans)
        return TracedRun(trace, spans, **context)


def blocking(number):
    run = Making(number).wait(5, 40).defer().wait(10, 50)
    for _ in range(run.random.randint(1, 3)):
        run.call(STALLS, "services/images.py:41 thumbnail", 250, 900).wait(1, 30)
    return run.reply().ended()


def missing_defer(number):
    run = Making(number, service=COMPONENTS if number % 2 else COMMANDS).wait(5, 40)
    if number % 3:
        run.call("db.postgresql", "SELECT users", 20, 90)
    run.wait(2_100, 5_000)
    refused = run.now > 3_000
    outcome = Outcome.USER if refused else Outcome.OK
    if number % 4:
        return run.call(REST, CALLBACK, 60, 140, outcome=outcome).ended()
    return run.call(ACKNOWLEDGEMENT, "ask", 60, 140, outcome=Outcome.ERROR if refused else Outcome.OK).ended()


def sequential(number):
    run = Making(number).wait(5, 40).defer().wait(5, 20)
    parent = 0
    if number % 2:
        parent = 99
    for step in range(run.random.randint(3, 6)):
        if number % 3:
            run.call(f"http.api{step}.example.com", "GET", 190, 420, parent=parent)
        else:
            run.call(REST, f"GET /guilds/{{guild_id}}/part{step}", 190, 420, parent=parent)
        run.wait(1, 15)
    return run.reply().ended()


def n_plus_one(number):
    run = Making(number).wait(5, 40).defer().wait(5, 20)
    names = [
        ("db.postgresql", "SELECT users"),
        (REST, "GET /guilds/{guild_id}/members/{user_id}"),
        ("http.api.example.com", "GET"),
        (REST, "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"),
    ]
    for _ in range(run.random.randint(6, 30)):
        run.call(*names[number % 4], 25, 90).wait(0.2, 5)
    return run.reply().ended()


def rate_limit(number):
    run = Making(number).wait(5, 40).defer().wait(5, 60)
    for _ in range(run.random.randint(1, 4)):
        run.call(RATE_LIMITS, SEND, 400, 1_500).call(REST, SEND, 60, 140)
    return run.ended()


def slow_upstream(number):
    services = [("http.api.openai.com", "POST"), ("db.postgresql", "SELECT"), ("gen_ai.openai", "chat"), (REST, SEND)]
    run = Making(number).wait(5, 40).defer().wait(5, 60)
    outcome = Outcome.UPSTREAM if number % 3 == 0 else Outcome.OK
    return run.call(*services[number % 4], 1_800, 30_000, outcome=outcome).wait(5, 100).reply().ended()


def cold_start(number):
    run = Making(number).wait(5, 40).defer().wait(900, 4_000)
    return run.reply().ended(warm=frozenset(), typical_us=run.between(150e3, 450e3))


MADE = {
    "blocking": blocking,
    "missing_defer": missing_defer,
    "sequential": sequential,
    "n_plus_one": n_plus_one,
    "rate_limit": rate_limit,
    "slow_upstream": slow_upstream,
    "cold_start": cold_start,
}


def quick(run):
    return run.wait(2, 60).defer().ended(warm=frozenset(), typical_us=120e3)


def own_work(run):
    """Long by nature: it answers at once, then waits for a press."""
    return run.wait(5, 60).defer().wait(1_000, 90_000).reply().ended(typical_us=20e6)


def a_model(run):
    return run.wait(5, 60).defer().call("http.api.openai.com", "POST", 300, 950).wait(5, 60).reply().ended()


def streamed(run):
    """A streamed reply: its edits are many by design."""
    run.wait(5, 60).defer()
    for _ in range(run.random.randint(6, 12)):
        run.wait(310, 740).call(REST, EDIT, 60, 140)
    return run.ended()


def gathered(run):
    run.wait(5, 60).defer()
    for step in range(4):
        run.call(f"http.api{step}.example.com", "GET", 200, 600, overlap=True)
    return run.wait(600, 650).reply().ended()


def small_queries(run):
    run.wait(5, 60).defer()
    for step in range(run.random.randint(2, 12)):
        run.call("db.postgresql", f"SELECT table{step}", 2, 12).wait(5, 40)
    return run.reply().ended()


def few_queries(run):
    run.wait(5, 60).defer()
    for _ in range(run.random.randint(2, 4)):
        run.call("db.postgresql", "SELECT users", 5, 40)
    return run.wait(20, 400).reply().ended()


def two_requests(run):
    run.wait(5, 60).defer().call("http.api.example.com", "GET", 200, 500).wait(2, 10)
    return run.call("http.api2.example.com", "GET", 200, 500).reply().ended()


def retried(run):
    """Attempts that fail quickly are retries, no repeated call."""
    run.wait(5, 60).defer()
    for _ in range(3):
        run.call("http.api.example.com", "GET", 20, 60, outcome=Outcome.UPSTREAM).wait(100, 200)
    return run.call("http.api.example.com", "GET", 100, 300).reply().ended()


def short_waits(run):
    run.wait(5, 60).defer().call(RATE_LIMITS, SEND, 10, 90).call(REST, SEND, 60, 140)
    return run.call(STALLS, "json/decoder.py:337 decode", 60, 95).wait(900, 1_200).reply().ended()


HEALTHY = (
    *(quick, own_work, a_model, streamed, gathered),
    *(small_queries, few_queries, two_requests, retried, short_waits),
)


def keys(run):
    return [match.pattern.key for match in matches(run)]


@pytest.mark.parametrize("key", PATTERNS)
def test_each_pattern_is_found_in_ten_traces_made_for_it(key):
    for number in range(10):
        run = MADE[key](number)
        assert keys(run)[:1] == [key], (number, run)
        (match, *_) = matches(run)
        assert 0 < match.evidence.cost_us <= run.trace.duration_us


@pytest.mark.parametrize("make", HEALTHY)
def test_no_pattern_is_found_in_fifty_healthy_traces(make):
    for number in range(5):
        run = make(Making(number))
        assert keys(run) == [], (number, run)


def test_there_are_fifty_healthy_traces_and_ten_for_each_pattern():
    assert len(HEALTHY) * 5 == 50
    assert set(MADE) == set(PATTERNS)


def test_every_pattern_has_all_facts():
    for key, pattern in PATTERNS.items():
        assert pattern.key == key
        assert pattern.title
        assert pattern.cause.endswith(".")
        assert pattern.advice.endswith(".")
        assert "{time}" in pattern.cause
        pattern.cause.format(what="GET /users", time="1.2 s", count=3, total=" in total")


def test_the_most_expensive_pattern_comes_first_and_at_most_three_are_named():
    run = Making(1).wait(1, 2).defer()
    run.call(STALLS, "bot.py:3 ask", 600, 600).call(RATE_LIMITS, SEND, 700, 700).call(
        "db.sqlite", "SELECT", 1_800, 1_900
    )
    for _ in range(6):
        run.call("http.api.example.com", "GET", 150, 150)
    found = keys(run.ended())
    assert len(found) == 3
    costs = [match.evidence.cost_us for match in matches(run.ended())]
    assert costs == sorted(costs, reverse=True)


def test_a_blocked_loop_before_the_first_response_is_no_missing_defer():
    run = Making(1).wait(5, 10).call(STALLS, "bot.py:3 ask", 2_500, 2_600).defer().ended()
    assert keys(run) == ["blocking"]


def test_a_prefix_command_needs_no_defer():
    run = Making(1, service="discord.replies").wait(2_500, 2_600).call(REST, SEND, 60, 140).ended()
    assert keys(run) == []


def test_a_run_without_duration_or_with_impossible_times_has_no_pattern():
    spans = (
        SpanRecord(1, 0, STALLS, "x", -5_000_000, 10, Outcome.OK),
        SpanRecord(2, 2, REST, "GET /x", 9, -1, Outcome.OK),
    )
    for duration_us in (0, 1, 10**15):
        trace = TraceRecord(0, COMMANDS, "ask", duration_us, Outcome.OK, None, 0, spans)
        assert matches(TracedRun(trace, spans)) == ()


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("cogs/music.py:88 search", "Move the blocking call to a thread"),
        (NO_TURN, "Give the bot more CPU time"),
        (COLLECTION, "Keep fewer objects alive"),
    ],
)
def test_the_advice_about_a_blocked_loop_depends_on_its_place(place, advice):
    match = PatternMatch(PATTERNS["blocking"], Evidence(place, 1_000_000))
    assert match.advice.startswith(advice)
    assert match.advice.endswith(".")
