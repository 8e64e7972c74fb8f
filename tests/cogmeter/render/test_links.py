"""Links to the dashboard lead to the service and time, and exist only where the dashboard can be reached."""

import dataclasses
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from factories import make_alert

from cogmeter.recording.service_names import BOT
from cogmeter.render.links import LONGEST, alert_answer_link, alert_link, stats_link
from cogmeter.schemas.alerts import AlertAnswer
from cogmeter.settings import Settings
from cogmeter.times import parse_iso

NOW_US = 1_755_454_020_400_000  # 2025-08-17 18:07:00.4 UTC
TOKEN = "t" * 32
URL = "https://perf.example.com"


def settings(**changed):
    values = {"dashboard_url": URL, "http_token": TOKEN, "ENABLE_ANALYTICS_DASHBOARD": True, "alert_window": 300}
    return Settings(**(values | changed))


def alert(**changed):
    return dataclasses.replace(make_alert(NOW_US, service="graph"), started_us=NOW_US - 600_000_000, **changed)


def read(link):
    parts = urlsplit(link)
    return (
        f"{parts.scheme}://{parts.netloc}",
        parts.path,
        {name: value for name, (value,) in parse_qs(parts.query).items()},
    )


def test_an_alert_links_to_its_service_from_its_window_to_its_last_measurement():
    origin, path, query = read(alert_link(settings(), alert(operation="query", seen_us=NOW_US)))
    assert (origin, path) == (URL, "/performance/services/graph")
    assert query == {"operation": "query", "from": "2025-08-17T17:52:00Z", "to": "2025-08-17T18:07:01Z"}


def test_the_range_of_a_resolved_alert_ends_with_it():
    resolved = alert(resolved_us=NOW_US - 60_000_000, seen_us=NOW_US)
    assert read(alert_link(settings(), resolved))[2]["to"] == "2025-08-17T18:06:01Z"
    assert read(alert_link(settings(), resolved, NOW_US))[2]["to"] == "2025-08-17T18:07:01Z"


@pytest.mark.parametrize(
    "name", ["a/b", "two words", "日本語 🎉", "50% & more?x=1#y", "(parentheses)", "..", "é" * 100]
)
def test_names_of_every_kind_survive_the_link(name):
    link = alert_link(settings(), alert(operation=name), NOW_US)
    changed = dataclasses.replace(alert(operation=name), service=name)
    path = urlsplit(alert_link(settings(), changed)).path
    assert link.isascii()
    assert not set(link) & set(" ()<>")  # Discord's markdown would end the link there
    assert read(link)[2]["operation"] == name
    assert unquote(path.removeprefix("/performance/services/")) == name
    assert "/" not in path.removeprefix("/performance/services/")


def test_a_link_that_discord_would_refuse_leaves_the_operation_out():
    long = dataclasses.replace(alert(operation="🎉" * 100), service="🎉" * 100)
    link = alert_link(settings(), long)
    assert len(link) <= LONGEST
    assert set(read(link)[2]) == {"from", "to"}


def test_an_alert_about_the_whole_bot_links_to_the_page_of_its_loop_and_connection():
    assert read(alert_link(settings(), dataclasses.replace(alert(), service=BOT)))[1] == "/performance/discord"


@pytest.mark.parametrize(
    "changed",
    [
        {"dashboard_url": None},
        {"ENABLE_ANALYTICS_DASHBOARD": False},
        {"http_token": None},  # only this machine's names are served without a token
    ],
)
def test_there_is_no_link_to_a_dashboard_that_cannot_be_reached(changed):
    assert alert_link(settings(**changed), alert()) is None


def test_the_dashboard_of_this_machine_is_linked_without_a_token():
    assert alert_link(settings(dashboard_url="http://localhost:3001", http_token=None), alert())


def test_the_api_and_the_bot_give_an_alert_the_same_link():
    one = alert(operation="query", seen_us=NOW_US)
    assert alert_answer_link(settings(), AlertAnswer.of(one)) == alert_link(settings(), one)


def test_a_range_is_never_empty():
    query = read(alert_link(settings(alert_window=10), alert(), NOW_US - 700_000_000))[2]
    assert parse_iso(query["from"]) < parse_iso(query["to"])


def test_statistics_link_to_their_service_and_range():
    from cogmeter.query.records import Period, ServiceStats

    stats = ServiceStats(Period.HOUR.range_at(NOW_US), "graph", None, None, None, [], [], [], None, None)
    _, path, query = read(stats_link(settings(), stats))
    assert path == "/performance/services/graph"
    assert query == {"from": "2025-08-17T17:07:00Z", "to": "2025-08-17T18:07:01Z"}
