"""Every surface shows the same verdict, alerts, values, counts, peaks, begins and thresholds at ten moments."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TIMEOUT_S = 600
MOMENTS = [
    "quiet",
    "pending",
    "fired",
    "worse",
    "acknowledged",
    "a second service",
    "partly recovered",
    "resolved",
    "restarted",
    "a day later",
]
VERDICTS = ["healthy", None, None, "unhealthy", "unhealthy", "unhealthy", "degraded", "healthy", "healthy", "healthy"]
FIRST, SECOND = "knowledge-graph", "web-crawling"
ACTIVE = [0, 0, 1, 1, 1, 2, 1, 0, 0, 0]
PERCENT = r"[\d.,]+%"
VALUE = rf"{PERCENT}|[\d.,]+ (?:ms|s)|[\d.,]+ min(?: \d+ s)?"
TITLES = {"error_rate": "Error rate", "response_time": "Response time"}


@pytest.fixture(scope="module")
def moments(tmp_path_factory):
    """What every surface shows, by moment."""
    folder = tmp_path_factory.mktemp("incident")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "scripted_incident.py")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["moment"] for one in shown] == MOMENTS
    return {one["moment"]: one for one in shown}


@pytest.fixture(params=MOMENTS)
def shown(request, moments):
    return moments[request.param]


def sent(shown):
    """The firing and acknowledged alerts of REST, which has all facts, oldest first."""
    alerts = [one for one in shown["rest"]["alerts"] if one["state"] in {"firing", "acknowledged"}]
    return sorted(alerts, key=lambda one: one["startedAt"])


def past(shown):
    return [one for one in shown["rest"]["alerts"] if one["state"] == "resolved"]


def written(alert, field):
    """A value of REST as people read it."""
    number = alert[field]
    if alert["type"] == "error_rate":
        return f"{number * 100:.1f}".removesuffix(".0") + "%"
    return f"{number / 1000:.1f}".removesuffix(".0") + " s"


def seconds(time):
    return int(datetime.fromisoformat(time).astimezone(UTC).timestamp())


def verdicts(shown):
    """The verdict by surface."""
    head = shown["overview"].partition("Bot health\n")[2]
    return {
        "/perf summary": re.match(r"\*\*(\w+)\*\*", shown["summary"]["description"])[1].lower(),
        "overview": head.partition("\n")[0],
        "/health": shown["health"][0]["verdict"]["status"],
        "/health/performance": shown["health"][1]["status"],
        "/health/ai-services": shown["health"][2]["status"],
        "doctor of the database": shown["database"]["status"],
        "doctor of the URL": shown["url"]["status"],
        "terminal": re.match(r"● (\w+)", shown["terminal"]["health"])[1],
    }


def test_every_surface_has_the_same_verdict(shown):
    found = verdicts(shown)
    assert len(set(found.values())) == 1, found
    expected = VERDICTS[MOMENTS.index(shown["moment"])]
    assert expected in {None, found["overview"]}


def test_a_verdict_that_is_not_healthy_has_a_finding_about_its_service(shown):
    if verdicts(shown)["overview"] == "healthy":
        return
    texts = {
        "/perf summary": shown["summary"]["description"],
        "overview": shown["overview"].partition("Needs attention\n")[2].partition("Active alerts now\n")[0],
        "REST": "\n".join(one["text"] for one in shown["dashboard"]["attention"]),
        "terminal": shown["terminal"]["attention"],
    }
    assert [surface for surface, text in texts.items() if FIRST not in text] == []


def test_the_status_of_health_never_contradicts_the_verdict(shown):
    served = shown["health"][0]
    statuses = {check["status"] for check in served["checks"].values()}
    assert statuses == {"healthy"}  # nothing that a restart of the bot would mend
    assert served["status"] == ("healthy" if served["verdict"]["status"] == "healthy" else "degraded")


def test_each_set_of_checks_has_a_name_of_its_own(shown):
    assert re.search(r"; \d+ of \d+ component checks pass$", shown["health"][0]["verdict"]["text"])
    for doctor in ("database", "url"):
        result = re.search(r"; (\d+) of \d+ external checks (\w+)$", shown[doctor]["lines"][0])
        assert result[2] in ({"passes", "fails"} if result[1] == "1" else {"pass", "fail"})


@pytest.mark.parametrize("doctor", ["database", "url"])
def test_the_number_of_external_checks_does_not_depend_on_the_state(moments, doctor):
    names = {
        name: {line[5:].partition(":")[0] for line in shown[doctor]["lines"][1:]} for name, shown in moments.items()
    }
    assert len({frozenset(checks) for checks in names.values()}) == 1, names
    for shown in moments.values():
        counted = int(re.search(r"of (\d+) external checks", shown[doctor]["lines"][0])[1])
        assert counted == len(shown[doctor]["lines"]) - 1


def test_the_verdict_follows_from_the_same_facts_everywhere(shown):
    text = shown["health"][0]["verdict"]["text"]
    assert text in shown["summary"]["description"]
    assert text in shown["overview"]
    assert shown["url"]["verdict"] == text
    alerts = text.partition(";")[0]
    assert shown["database"]["verdict"].startswith(alerts)
    assert alerts in shown["terminal"]["health"]
    for doctor in ("database", "url"):
        assert any(alerts in line for line in shown[doctor]["lines"]), shown[doctor]["lines"]


def test_every_surface_lists_the_same_active_alerts(shown):
    expected = [(one["type"], one["service"]) for one in sent(shown)]
    assert len(expected) == ACTIVE[MOMENTS.index(shown["moment"])]
    for answer in (shown["dashboard"]["alerts"],):
        assert sorted((one["type"], one["service"]) for one in answer) == sorted(expected)
    assert len(shown["terminal"]["active"]) == len(expected)
    for rule, service in expected:
        assert f"{TITLES[rule]} of {service}" in " ".join(shown["alerts"]["description"].split())
        assert service in shown["summary"]["description"]
        assert any(service in row for row in shown["terminal"]["active"])
        assert service in section(shown["overview"], "Active alerts now", "Bot health")
        assert service in section(shown["page"], "Active now", "Mutes")
    if not expected:
        assert "No alert is active now." in section(shown["overview"], "Active alerts now", "Bot health")


def test_every_surface_lists_the_active_alerts_in_the_same_order(moments):
    shown = moments["a second service"]
    expected = [alert["service"] for alert in shown["dashboard"]["alerts"]]
    assert set(expected) == {FIRST, SECOND}
    texts = {
        "/perf alerts": shown["alerts"]["description"],
        "overview": section(shown["overview"], "Active alerts now", "Bot health"),
        "alerts page": section(shown["page"], "Active now", "Mutes"),
        "terminal": json.dumps(shown["terminal"]["active"]),
        **{
            f"doctor of the {one}": "\n".join(shown[one]["lines"]).partition("alerts: ")[2]
            for one in ("database", "url")
        },
    }
    for surface, text in texts.items():
        assert sorted(expected, key=text.index) == expected, (surface, text)


def section(page, head, until):
    """The part of a page between two headings."""
    return page.partition(f"\n{head}\n")[2].partition(f"\n{until}\n")[0]


def texts(shown, alert):
    """Every text about one alert, by surface."""
    service = alert["service"]
    (row,) = [row for row in shown["terminal"]["active"] if service in row]
    (message,) = [one for one in shown["messages"] if service in one["title"]]
    lines = shown["alerts"]["description"].split("\n")
    (place,) = [number for number, line in enumerate(lines) if service in line]
    return {
        "/perf summary": next(
            line
            for line in shown["summary"]["description"].split("\n")
            if service in line and "component checks" not in line  # the verdict names unhealthy services, too
        ),
        "/perf alerts": "\n".join(lines[place : place + 2]),
        "message": "\n".join([message["description"], *(field["value"] for field in message["fields"][:2])]),
        "overview": around(section(shown["overview"], "Active alerts now", "Bot health"), service),
        "alerts page": around(section(shown["page"], "Active now", "Mutes"), service),
        "terminal": " ".join(row),
        "terminal's first lines": next(line for line in shown["terminal"]["attention"].split("\n") if service in line),
    }


def around(part, service):
    """The lines of one alert in a list."""
    lines = part.split("\n")
    place = lines.index(service)
    return "\n".join(lines[place : place + 9])


def test_every_surface_shows_the_same_value_and_threshold(shown):
    for alert in sent(shown):
        value, limit = written(alert, "current"), written(alert, "threshold")
        for surface, text in texts(shown, alert).items():
            values = re.findall(VALUE, text.replace("**", ""))
            assert value in values, (surface, value, text)
            assert limit in values, (surface, limit, text)


def test_each_value_and_its_counts_come_from_the_same_reading(shown):
    for alert in sent(shown):
        if alert["type"] != "error_rate":
            continue
        failed, operations = alert["failedOperations"], alert["operations"]
        assert round(failed / operations, 3) == alert["current"]
        for surface, text in texts(shown, alert).items():
            if surface != "/perf alerts":
                assert f"({failed:,} of {operations:,} failed)" in text, (surface, text)


def test_every_surface_shows_the_same_begin_and_peak(shown):
    for alert in sent(shown):
        began, peak = seconds(alert["startedAt"]), written(alert, "worst")
        found = texts(shown, alert)
        clock = datetime.fromtimestamp(began, UTC)
        assert f"<t:{began}:" in found["/perf alerts"]
        assert f"<t:{began}:" in found["message"]
        for surface in ("overview", "alerts page"):
            time = re.search(r"began\s+\[([^\]]+)\]", found[surface])[1]
            assert seconds(time) == began, (surface, found[surface])
        assert f"{clock:%H:%M}" in found["terminal"]
        assert f"peak {peak}" in found["message"]
        if alert["worst"] != alert["current"]:
            assert f"peak {peak}" in found["/perf alerts"]
            assert f"peak {peak}" in found["alerts page"]


def test_a_resolved_alert_shows_its_peak_and_duration_in_the_past_tense(shown):
    for alert in past(shown):
        peak = f"peaked at {written(alert, 'worst')}"
        lasted = seconds(alert["resolvedAt"]) - seconds(alert["startedAt"])
        assert peak in shown["past"]["description"].replace("**", "")
        history = shown["page"].partition("\nHistory\n")[2]
        assert peak in history
        (message,) = [one for one in shown["messages"] if alert["service"] in one["title"]]
        assert peak in message["description"]
        assert f"lasted {lasted // 60} min" in message["description"]
        assert "exceeds" not in message["description"]


def test_an_alert_that_is_over_has_the_same_sentence_in_each_answer_of_the_api_on_the_page_and_in_discord(moments):
    over = [(shown, alert) for shown in moments.values() for alert in past(shown)]
    assert over
    for shown, alert in over:
        sentence = alert["message"]
        lasted = seconds(alert["resolvedAt"]) - seconds(alert["startedAt"])
        found = re.fullmatch(
            rf"{TITLES[alert['type']]} peaked at {written(alert, 'worst')} "
            rf"\(threshold {written(alert, 'threshold')}\), lasted (\d+) min(?: (\d+) s)?",
            sentence,
        )
        assert abs(60 * int(found[1]) + int(found[2] or 0) - lasted) <= 1  # of times without fractions of a second
        (detail,) = [one for one in shown["details"] if one["alert"]["id"] == alert["id"]]
        assert detail["alert"]["message"] == sentence
        assert [one["message"] for one in detail["changes"] if one["kind"] == "resolved"] == [sentence]
        assert sentence in shown["page"].partition("\nHistory\n")[2].split("\n")
        (message,) = [one for one in shown["messages"] if alert["service"] in one["title"]]
        assert sentence in message["description"].replace("\\", "")


@pytest.mark.parametrize("kind", ["service", "operation"])
def test_the_health_of_a_service_and_of_an_operation_is_the_same_everywhere(shown, kind):
    found = shown[kind]
    status, reason = found["rest"]["status"], found["rest"]["reason"]
    name = FIRST if kind == "service" else "query"
    assert f"\n{name}\n{status}\n" in found["page"].partition("Now: ")[0]
    assert f"Now: {reason}" in found["page"]
    assert found["discord"].startswith(f"**{status.capitalize()}** now")
    assert (found["url"]["status"], found["url"]["reason"]) == (status, reason)
    assert found["database"]["status"] == status


def test_the_health_of_a_service_follows_the_incident(moments):
    statuses = [moments[name]["service"]["rest"]["status"] for name in ("quiet", "worse", "resolved")]
    assert statuses == ["healthy", "unhealthy", "healthy"]


def test_the_doctor_judges_now_and_lists_the_past_apart(moments):
    quiet, resolved, later = moments["quiet"], moments["resolved"], moments["a day later"]
    for doctor in ("database", "url"):
        assert quiet[doctor]["past"] == []
        assert any(line.startswith(FIRST) for line in resolved[doctor]["past"])
        assert not [line for line in resolved[doctor]["lines"] if line.startswith("[!!] service")]
        assert later[doctor]["past"] == []


# What the guide's formats, and formats of one surface alone, look like.
WRONG = {
    "a space before %": r"\d %",
    "milliseconds from 1,000 on": r"\b\d{1,3},\d{3} ?ms\b|\b\d{4,} ?ms\b",
    "a unit without a space": r"\b\d[\d.]*(?:ms|s|MB|GB)\b",
    "an amount without separators": r"(?<![\d.:#\w/-])\d{4,}(?= (?:operations|ops|alerts|windows|runs))",
    "an abbreviated amount": r"\b\d[\d.]* [kMG]\b(?!B)",
}


def people_read(shown):
    """Every text for people, without the guide's JSON and plain layout."""
    for name in ("summary", "alerts", "past"):
        yield name, json.dumps(shown[name], ensure_ascii=False)
    yield "messages", json.dumps(shown["messages"], ensure_ascii=False)
    for name in ("overview", "page"):
        yield name, shown[name]
    for doctor in ("database", "url"):
        yield f"doctor of the {doctor}", "\n".join([*shown[doctor]["lines"], *shown[doctor]["past"]])
    yield "terminal", json.dumps(shown["terminal"], ensure_ascii=False)


@pytest.mark.parametrize("what", WRONG)
def test_numbers_have_one_format_on_every_surface(moments, what):
    for shown in moments.values():
        for surface, text in people_read(shown):
            found = re.search(rf".{{0,40}}(?:{WRONG[what]}).{{0,20}}", text)
            assert found is None, (shown["moment"], surface, found[0])
