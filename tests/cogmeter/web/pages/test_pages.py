"""What the pages say, as they leave the server."""

import dataclasses
import re
import time
from datetime import datetime, timedelta
from html import unescape
from urllib.parse import quote

import pytest
from factories import make_alert
from large_dataset import HOSTILE, LONG, SECRET, SLOW

from cogmeter.alerts.model import Reading, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.diagnosis import ConcernList
from cogmeter.diagnostics.attention import AlertIncident, AttentionFacts, rank
from cogmeter.query.records import AlertLine, Period
from cogmeter.render.formatting import LIVE_WINDOW
from cogmeter.web.pages.frame import displayed
from cogmeter.web.pages.overview import LISTED
from cogmeter.web.pages.sparks import STEP
from cogmeter.web.server.assets import unbroken
from cogmeter_bot.cli.live import live
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import Outcome

PATHS = ["/performance", "/performance/services/knowledge-graph"]
HTML = {"headers": {"Accept": "text/html"}}


def names_in(page, key):
    """The services or operations in a table, in their order."""
    table = re.search(rf'data-key="{key}".*?</table>', page, re.DOTALL)[0]
    return [unescape(one) for one in re.findall(r'<th scope="row"[^>]*><a [^>]*>(.*?)</a>', table)]


async def test_the_overview_shows_the_figures_that_the_api_returns(seeded):
    async with seeded() as web:
        page = (await web.get("/performance", **HTML)).text
        answer = (await web.get("/api/performance/dashboard")).json()
    assert names_in(page, "services-table") == list(answer["serviceStats"])
    assert f"<strong>{answer['overallStats']['totalOperations']}</strong>" in page
    assert f"<strong>{answer['overallStats']['overallErrorRate'] * 100:g}%" in page


async def test_the_overview_ranks_commands_by_their_own_names(served):
    async with served() as web:
        for service, name, count in (("commands", "ask", 9), ("components", "Shop.buy", 3), ("commands", "help", 5)):
            for _ in range(count):
                web.monitor.recorder.record(f"discord.{service}", name, duration_ms=5)
        await web.flushed()
        page = (await web.get("/performance", **HTML)).text
        web.monitor.recorder.record("memory", "load", duration_ms=5)
        await web.flushed()
        both = (await web.get("/performance", **HTML)).text
    assert names_in(page, "commands-table") == names_in(both, "commands-table") == ["/ask", "/help", "button Shop.buy"]
    assert "2 commands, 1 component" in page
    assert '<h2 id="commands-title">Commands</h2>' in page
    assert 'data-key="services-table"' not in page
    assert names_in(both, "services-table") == ["memory"]
    assert "2 commands, 1 component, 1 service" in both
    assert 'href="/performance/services/discord.commands?operation=ask"' in page


async def test_a_label_leads_to_the_page_of_its_command(served):
    async with served() as web:
        web.monitor.recorder.record("discord.commands", "config set", duration_ms=5)
        await web.flushed()
        moved = await web.get("/performance/services/%2Fconfig%20set?period=7d", **HTML)
        page = (await web.get(moved.headers["Location"], **HTML)).text
    assert moved.status == 302
    assert moved.headers["Location"] == "/performance/services/discord.commands?period=7d&operation=config%20set"
    assert re.search(r"<h1>/config set[ <]", page)


async def test_the_overview_says_how_many_operations_were_dropped_and_what_to_raise(seeded):
    async with seeded() as web:
        assert 'data-key="dropped"' not in (await web.get("/performance", **HTML)).text
        web.monitor.recorder.buffer.drop(2_500)
        await web.flushed()
        page = (await web.get("/performance", **HTML)).text
        answer = (await web.get("/api/performance/dashboard")).json()
    assert "2,500 operations were dropped in this period because the buffer was full." in page
    assert "Raise PERFORMANCE_MAX_BUFFER_MB." in page
    assert answer["overallStats"]["droppedOperations"] == 2_500


async def test_the_overview_lists_the_busiest_services_and_says_how_many_more_there_are(served):
    async with served() as web:
        for number in range(LISTED + 3):
            for _ in range(2 if number >= 3 else 1):
                web.monitor.recorder.record(f"service-{number}", "run", duration_ms=1)
        await web.flushed()
        page = (await web.get("/performance", **HTML)).text
        answer = (await web.get("/api/performance/dashboard")).json()
        link = re.search(r'href="(/api/performance/dashboard[^"]*)">all of them as JSON', page)[1]
        span = (await web.get(unescape(link))).json()["timeRange"]
    assert len(answer["serviceStats"]) == LISTED + 3
    assert names_in(page, "services-table") == list(answer["serviceStats"])[:LISTED]
    assert "and 3 more" in page
    assert page.count('<option value="service-') == LISTED + 3
    assert datetime.fromisoformat(span["until"]) - datetime.fromisoformat(span["since"]) > timedelta(hours=23)


@pytest.mark.parametrize("path", ["/performance", "/performance/services/context-memory"])
async def test_sparklines_begin_with_the_first_record_as_charts_do(seeded, path):
    async with seeded() as web:  # with operations of three hours, in pages over 24 hours
        page = (await web.get(path, **HTML)).text
    first = [float(x) for x in re.findall(r'<svg class="spark"[^>]*><path class="all" d="M([0-9.]+) ', page)]
    assert first
    assert max(first) <= 2 * STEP


async def test_a_service_shows_its_operations_failures_and_where_time_goes(crowded):
    async with crowded() as web:
        page = (await web.get(f"/performance/services/{quote(HOSTILE, safe='')}", **HTML)).text
        other = (await web.get(f"/performance/services/{SLOW}", **HTML)).text
    assert names_in(page, "operations-table") == [HOSTILE]
    text = unescape(page)
    assert "<script>alert(#)</script> failed for # after # s" in text
    assert f"{HOSTILE} failed for [id] after" in text
    assert "40 s" in other
    assert 'class="trace"' in page
    assert 'class="trace"' not in other
    assert "No trace of a slow or failed command" in other


async def test_one_operation_of_a_service_can_be_looked_at_alone(seeded):
    async with seeded() as web:
        whole = (await web.get("/performance/services/context-memory", **HTML)).text
        one = (await web.get("/performance/services/context-memory?operation=retrieve&period=1h", **HTML)).text
        none = await web.get("/performance/services/context-memory?operation=retreive", **HTML)
    assert "/performance/services/context-memory?operation=retrieve" in whole
    assert re.search(
        r'data-src="/api/performance/series\?since=[^"&]+&amp;service=context-memory&amp;operation=retrieve"', one
    )
    assert none.status == 404
    assert "retrieve" in none.text


async def test_an_unknown_service_is_reported_with_similar_names(seeded):
    async with seeded() as web:
        found = await web.get("/performance/services/knowledge-grap", **HTML)
        filtered = await web.get("/performance?service=knowledge-grap", **HTML)
    assert (found.status, filtered.status) == (404, 404)
    assert "knowledge-graph" in found.text


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("/performance/services/knowledge-grap", "/performance/services/knowledge-graph"),
        ("/performance/services/context-memory?operation=retreive", "/performance/services/context-memory?operation="),
        ("/performance/alrets", "/performance/alerts"),
        ("/knowledge-grap", "/performance/services/knowledge-graph"),
        ("/performance/live", "/performance/running"),
        ("/performance/Live", "/performance"),
        ("/performance/costs", "/performance/cost"),
        ("/performance/runing", "/performance/running"),
        ("/performance/summary", "/performance"),
        ("/performance/memory", "/performance/resources"),
        ("/performance/errors/8", "/performance/errors"),
        ("/performance/doctor", "/performance/health"),
        ("/performance/deploys", "/performance/compare"),
    ],
)
async def test_a_page_that_does_not_exist_leads_to_similar_ones_and_to_every_page(seeded, path, link):
    async with seeded() as web:
        found = await web.get(path, **HTML)
        plain = await web.get(path, headers={"Accept": "application/json"})
    menu = re.search(r'<nav aria-label="Pages".*?</nav>', found.text, re.DOTALL)[0]
    similar = re.search(r"Did you mean.*?</ul>", found.text, re.DOTALL)[0]
    assert (found.status, plain.status) == (404, 404)
    assert menu.count("<a href=") == 7
    assert f'href="{link}' in similar
    assert ("services/" in similar) == ("services/" in link)  # no service that only has the same letters
    assert plain.problem["status"] == 404


@pytest.mark.parametrize("path", PATHS)
async def test_links_keep_what_is_looked_at(seeded, path):
    async with seeded() as web:
        page = (await web.get(f"{path}?period=7d&refresh=60", **HTML)).text
    links = [unescape(one) for one in re.findall(r'href="(/performance[^"]*)"', page)]
    # A comparison has two periods of its own.
    links = [one for one in links if "/static/" not in one and "/performance/compare" not in one]
    assert links
    assert [one for one in links if "period=7d" not in one or "refresh=60" not in one] == []


@pytest.mark.parametrize("path", ["/performance?period=&service=&refresh=", "/performance/cost?days="])
async def test_what_a_form_sends_empty_is_not_chosen(seeded, path):
    async with seeded() as web:
        found = await web.get(path, **HTML)
    assert found.status == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=2024-02-03T10:05&until=2024-02-03T11:20", "3 Feb 2024 10:05 to 11:20 UTC"),
        ("since=2024-02-03&until=2024-02-03", "3 Feb 2024 00:00 to 23:59 UTC"),
        ("since=2023-12-31T23:00&until=2024-01-01T01:00", "31 Dec 2023 23:00 to 1 Jan 2024 01:00 UTC"),
    ],
)
@pytest.mark.parametrize("path", ["/performance", "/performance/cost"])
async def test_a_range_is_shown_in_words_and_selected(seeded, path, query, words):
    async with seeded() as web:
        page = (await web.get(f"{path}?{query}", **HTML)).text
    assert re.search(f'<option value="" selected data-range="[^"]+">{words}</option>', page)
    assert re.search(f'<p class="hint"><span data-range="[^"]+">{words}</span>, ', page)


@pytest.mark.parametrize(
    "query",
    [
        "period=2h",
        "refresh=-1",
        "refresh=soon",
        "since=yesterday",
        "since=2024-02-02&until=2024-01-01",
        "x=1",
        "from=soon",
    ],
)
async def test_an_invalid_parameter_is_422_and_named(seeded, query):
    async with seeded() as web:
        found = await web.get(f"/performance?{query}", **HTML)
    assert found.status == 422
    assert query.partition("=")[0] in found.text


@pytest.mark.parametrize(
    "path", ["/performance", f"/performance/services/{quote(HOSTILE, safe='')}", f"/performance/services/{LONG}"]
)
async def test_names_and_texts_of_the_host_are_text_and_ids_are_hidden(crowded, path):
    async with crowded() as web:
        page = (await web.get(path, **HTML)).text
    assert "<script>alert" not in page
    assert SECRET not in page
    assert not re.search(r"<[^>]+\s(on\w+|style)=", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)


@pytest.mark.parametrize("name", ["a/b", "a b?c#d", "%2e%2e", "ünï", "=1+1", "a\"b'c"])
async def test_every_name_leads_to_its_page(served, name):
    async with served() as web:
        web.monitor.recorder.record(name, name, duration_ms=5)
        await web.flushed()
        page = (await web.get("/performance", **HTML)).text
        link = re.search(
            r'data-key="services-table".*?<th scope="row" class="names"><a href="([^"]+)"', page, re.DOTALL
        )[1]
        found = await web.get(unescape(link), **HTML)
    assert found.status == 200
    assert names_in(found.text, "operations-table") == [name]


async def test_without_any_operation_the_page_says_so_and_how_there_come_to_be_some(served):
    async with served() as web:
        before = (await web.get("/performance", **HTML)).text
        web.monitor.recorder.record("memory", "recall", duration_ms=5)
        await web.flushed()
        after = (await web.get("/performance", **HTML)).text
        past = (await web.get("/performance?since=2024-01-01&until=2024-01-02", **HTML)).text
    assert before.count("No operations in this period.") == past.count("No operations in this period.") == 1
    assert "No alert is active now." in before
    assert "No operations yet</h2>" in before
    assert "No operations yet</h2>" not in after + past


@pytest.mark.parametrize("page", ["/performance", "/performance/errors"])
async def test_the_service_of_overflowed_series_is_an_option_only_if_there_are_any(served, page):
    option = "(other)</option>"
    async with served() as web:
        web.monitor.recorder.record("one", "run", duration_ms=5)
        await web.flushed()
        before = (await web.get(page, **HTML)).text
        chosen = (await web.get(f"{page}?service=(other)", **HTML)).text
        for number in range(2001):
            web.monitor.recorder.record("many", f"run-{number}", duration_ms=5)
        await web.flushed()
        after = (await web.get(page, **HTML)).text
    assert option not in before
    assert option in chosen
    assert option in after


def test_what_turns_the_direction_of_writing_is_shown_and_turns_nothing():
    assert displayed("\u202elive\u202c \u2066x\u2069") == "\ufffdlive\ufffd \ufffdx\ufffd"
    assert displayed("שלום 日本 123456789012345678") == "שלום 日本 [id]"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("between 2 and 3 s; 0.5%", "between 2 and 3_s; 0.5%"),
        ("2 h 5 min", "2_h 5_min"),
        ("12.4 k operations of 3 services", "12.4_k operations of 3 services"),
        (7, "7"),
    ],
)
def test_a_number_stays_on_one_line_with_its_unit(words, kept):
    assert unbroken(words) == kept.replace("_", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize("path", ["/performance", "/performance/services/service-001", "/performance/discord"])
async def test_charts_shade_breaches_of_rules_that_there_are(crowded, path):
    async with crowded() as web:
        page = (await web.get(path, **HTML)).text
    named = {rule for names in re.findall(r'data-rules="([^"]*)"', page) for rule in names.split()}
    assert named
    assert named <= RULES.keys()


async def test_the_chart_is_to_be_had_as_a_picture(seeded):
    async with seeded() as web:
        found = await web.get("/performance/chart.png?service=knowledge-graph")
        unknown = await web.get("/performance/chart.png?service=knowledge-grap")
    assert found.headers["Content-Type"] == "image/png"
    assert found.body.startswith(b"\x89PNG")
    assert unknown.status == 404


async def test_the_picture_says_its_time_in_words(seeded):
    async with seeded() as web:
        drawn, draw = [], web.monitor.chart_builder.timeline

        async def noted(timeline, **options):
            drawn.append(timeline.range.label)
            return await draw(timeline, **options)

        web.monitor.chart_builder.timeline = noted
        await web.get("/performance/chart.png?since=2024-02-03T10:05&until=2024-02-03T11:20")
        await web.get("/performance/chart.png")
    assert drawn == ["3 Feb 2024 10:05 to 11:20", "last 24 hours"]


async def test_the_icon_is_served_where_browsers_look_for_it(served):
    async with served() as web:
        found = await web.get("/favicon.ico")
    assert found.status == 200
    assert found.headers["Content-Type"] == "image/svg+xml"


async def test_the_overview_begins_with_what_needs_attention_and_its_verdict_follows(served, monkeypatch):
    monkeypatch.setattr("cogmeter.diagnostics.health.FRESH_NS", 0)
    async with served() as web:
        page = (await web.get("/performance", **HTML)).text
        assert '<h2 id="attention-title">Nothing needs attention</h2>' in page
        for number in range(30):
            error = "ValueError: no" if number % 2 else None
            web.monitor.recorder.record("shop", "<b>buy</b>", duration_ms=1, error=error)
        await web.flushed()
        page = (await web.get("/performance", **HTML)).text
        (answer,) = (await web.get("/api/performance/dashboard")).json()["attention"]
        assert page.index('data-key="attention"') < page.index('class="kpis"')
        assert "shop: 15 of 30 operations failed, more than 5%, in the last 24 hours." in page
        assert 'href="/performance/errors"' in page
        health = re.search(r"Bot health(?:</a>)?</dt><dd><strong>(.*?)</strong>", page, re.DOTALL)[1]
        assert "unhealthy" in health
        assert answer == {
            "severity": "warning",
            "people": None,
            "text": "shop: 15 of 30 operations failed, more than 5%, in the last 24 hours",
            "nextStep": "Open its most common error",
            "service": "shop",
            "operation": None,
            "target": "errors",
            "alert": None,
        }
        one = (await web.get("/api/performance/dashboard?services=shop")).json()
        assert one["attention"] == [answer]


async def test_health_is_that_of_now_and_what_exceeded_in_the_range_has_its_own_mark(served):
    async with served() as web:
        store, now_us = web.monitor.store, time.time_ns() // 1000
        mood, look = await store.series_ids([("discord.commands", "mood"), ("discord.commands", "look")])
        failed = [(look, now_us - 10 * 60_000_000, 9, Outcome.ERROR, "gone", None)] * 30
        await store.append([[*failed, (mood, now_us - 10 * 60_000_000, 9, Outcome.OK, None, None)]], now_us=now_us)
        overview = (await web.get("/performance?period=1h", **HTML)).text
        pages = [
            (await web.get(f"/performance/services/discord.commands?period=1h&operation={name}", **HTML)).text
            for name in ("mood", "look")
        ]
    assert re.findall(r'data-label="Health now" data-value="3"><span class="badge unknown">unknown</span>', overview)
    assert overview.count("exceeded in this range") == 1
    for page in pages:
        assert '<span class="badge unknown">unknown</span></h1>' in page
        assert "Now: no runs in the last 5 min" in page
    assert "Exceeded in this range" not in pages[0]
    assert "Exceeded in this range: 30 of 30 operations failed, more than 5%" in pages[1]


async def test_an_alert_that_begins_after_the_pages_clock_has_no_negative_age(served):
    async with served(alert_for=0, alert_check_interval=300) as web:
        soon_us = time.time_ns() // 1000 + 60_000_000
        wrong = Reading(
            Subject("error_rate", "graph"), 0.5, 0.05, "Error rate of 50% exceeds threshold of 5%", "critical"
        )
        await web.monitor.alerting.engine.step([wrong], soon_us - 1)
        await web.monitor.alerting.engine.step([wrong], soon_us)
        pages = [(await web.get(path, **HTML)).text for path in ("/performance", "/performance/alerts")]
    for page in pages:
        assert "just now" in page
        assert not re.search(r"-\d[\d.]* (?:ms|s|min) ago", page)


@pytest.mark.parametrize(
    ("severities", "tile"),
    [
        (("critical",), '<strong>1</strong> <span class="badge critical">critical</span>'),
        (("critical", "warning"), '<strong>2</strong> <span class="badge critical">1 critical</span>'),
    ],
)
async def test_the_tile_of_active_alerts_counts_those_of_the_worst_severity(served, severities, tile):
    async with served(alert_for=0, alert_check_interval=300) as web:
        now_us = time.time_ns() // 1000
        wrong = [
            Reading(Subject("error_rate", f"graph-{number}"), 0.5, 0.05, "Error rate of 50%", severity)
            for number, severity in enumerate(severities)
        ]
        await web.monitor.alerting.engine.step(wrong, now_us - 1)
        await web.monitor.alerting.engine.step(wrong, now_us)
        page = (await web.get("/performance", **HTML)).text
    assert f"<dt>Active alerts now</dt><dd>{tile}" in page


async def test_the_alerts_page_says_that_the_minimum_is_for_the_begin(served):
    async with served(alert_min_operations=15) as web:
        page = (await web.get("/performance/alerts", **HTML)).text
    assert "needs 15 operations in it to begin, and half of them to continue" in page


async def test_the_overview_links_to_all_findings_and_back_and_the_api_has_a_parameter_for_their_number(served):
    async with served() as web:
        for number in range(5):
            for _ in range(30):
                web.monitor.recorder.record(f"shop-{number}", "buy", duration_ms=1, error="ValueError: no")
        await web.flushed()
        page = (await web.get("/performance?period=1h", **HTML)).text
        link = unescape(re.search(r'<a href="([^"]*)">All 5 findings</a>', page)[1])
        whole = (await web.get(link.partition("#")[0], **HTML)).text
        answers = [(await web.get(f"/api/performance/dashboard{query}")).json() for query in ("", "?findings=100")]
        refused = await web.get("/api/performance/dashboard?findings=0")
    assert page.count("30 of 30 operations failed, more than 5%, in the last hour.") == 3
    assert "and 2 more findings" in page
    assert 'id="attention-title"' in whole
    assert link.endswith("#attention-title")
    assert whole.count("30 of 30 operations failed, more than 5%, in the last hour.") == 5
    assert "more findings" not in whole
    assert re.search(r'<a href="/performance\?period=1h#attention-title">Only the worst 3</a>', whole)
    assert [(len(one["attention"]), one["attentionLeftOut"]) for one in answers] == [(3, 2), (5, 0)]
    assert refused.status == 422


async def test_every_advice_leads_to_a_page_and_to_a_part_that_is_on_it(seeded, monkeypatch):
    """One alert of each rule, whose subject is a service with operations; and a rule that offers no action."""
    async with seeded() as web:
        now_us = time.time_ns() // 1000
        span = Period.DAY.range_at(now_us)
        web.monitor.recorder.record("ai", "chat", duration_ms=5, metadata={"cost_usd": 0.5})  # else no page lists costs
        await web.flushed()
        wrong = Reading(Subject("error_rate", "knowledge-graph"), 1, 0.05, "Error rate of 100%", "critical")
        await web.monitor.alerting.engine.step([wrong], now_us)
        (active,) = web.monitor.alerting.engine.active
        other = dataclasses.replace(active, rule="alert_target", state=AlertState.FIRING)  # an alert without a rule
        alerts = [other, *(make_alert(now_us, uid=name, rule=name) for name in RULES)]
        facts = [AttentionFacts(span, [AlertIncident(one)]) for one in alerts]
        ignored = AlertLine("error_rate", "knowledge-graph", 4, 0, 0, 0, 4, None, 6e7)
        facts.append(AttentionFacts(span, ignored=[ignored]))
        found = ConcernList(concern for one in facts for concern in rank(one))

        async def concerns(*_, **__):
            return found

        monkeypatch.setattr(web.monitor.attention, "concerns", concerns)
        page = (await web.get("/performance?period=1h", **HTML)).text
        section = re.search(r'data-key="attention">(.*?)</section>', page, re.DOTALL)[1]
        links = [unescape(one) for one in re.findall(r'<a href="([^"]*)">', section)]
        assert len(links) == len(found) == len(RULES) + 2
        for link in set(links):
            path, _, part = link.partition("#")
            answer = await web.get(path, **HTML)
            assert answer.status == 200, link
            assert not part or f'id="{part}"' in answer.text, link
    by_rule = dict(zip(["alert_target", *RULES], links, strict=False))
    assert by_rule["alert_target"] == f"/performance/alerts?period=1h#alert-{active.uid}"
    assert by_rule["stall"] == "/performance/discord?period=1h#blockers"
    assert by_rule["response_time"] == "/performance/services/knowledge-graph?period=1h#slowest-title"
    assert by_rule["version_skew"] == "/performance/fleet?period=1h"
    assert links[-1] == "/performance/alerts?period=1h#thresholds"


async def test_live_figures_have_one_name_on_every_surface(served):
    async with served() as web:
        page = " ".join((await web.get("/performance")).text.split())
    assert f">Live ({LIVE_WINDOW})<" in page
    assert f"over {LIVE_WINDOW}, or over the given range" in " ".join(live.help.split())
