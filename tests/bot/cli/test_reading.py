"""Alerts, errors, slow operations and the doctor; --check and --json; hostile names; terminals."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import signal

import pytest
from factories import make_alert
from rich.cells import cell_len

from cogmeter_storage.alerting import AlertState, Step

MINUTE_US = 60_000_000
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def alert(now_us, *, uid="u1", service="knowledge-graph", state=AlertState.FIRING):
    return make_alert(
        now_us - MINUTE_US,
        uid=uid,
        service=service,
        state=state,
        started_us=now_us - 10 * MINUTE_US,
        fired_us=now_us - 9 * MINUTE_US,
        resolved_us=now_us - MINUTE_US if state is AlertState.RESOLVED else None,
    )


@pytest.fixture
def alarmed(seed, some, now_us):
    steps = [Step(alert(now_us)), Step(alert(now_us, uid="u2", service="other", state=AlertState.RESOLVED))]
    return seed(some, work=lambda store: store.alerting.save(steps))


def test_active_and_past_alerts_are_listed(cogmeter, alarmed):
    code, out, _ = cogmeter("alerts")
    assert code == 0
    assert out.startswith("Active Alerts\n=====")
    assert "firing  warning" in out
    assert out.endswith("knowledge-graph  Error rate of 7.8% exceeds threshold of 5%\n")
    assert cogmeter("alerts", "--history")[1].count("7.8%") == 2
    assert "other" not in cogmeter("alerts", "--history", "--services", "knowledge-graph")[1]
    assert cogmeter("alerts", "--since", "2020-01-01", "--until", "2020-01-02")[1].endswith("looks further back.\n")
    assert cogmeter("alerts", "--history", "--limit", "1")[1].endswith("1 more. Raise --limit.\n")


def test_a_range_lists_the_alerts_that_were_active_in_it(cogmeter, seed, some, now_us):
    long_ago = dataclasses.replace(alert(now_us), started_us=now_us - 3 * 3_600_000_000, seen_us=now_us)
    seed(some, work=lambda store: store.alerting.save([Step(long_ago)]))

    def listed(since_min, until_min):
        times = (dt.datetime.fromtimestamp(now_us / 1e6 - ago * 60, dt.UTC) for ago in (since_min, until_min))
        since, until = (f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in times)
        return "7.8%" in cogmeter("alerts", "--since", since, "--until", until)[1]

    assert listed(120, 60)  # in the middle of it
    assert listed(240, 170)
    assert not listed(240, 190)


def test_the_doctor_lists_an_alert_of_the_range_that_has_resolved(cogmeter, seed, some, now_us):
    ended = Step(alert(now_us, state=AlertState.RESOLVED))
    seed(some, work=lambda store: store.alerting.save([ended]))
    line = "- knowledge-graph: Error rate peaked at 7.8% (threshold 5%), lasted 9 min"
    assert line in cogmeter("doctor")[1].splitlines()
    assert line not in cogmeter("doctor", "--period", "1m")[1].splitlines()


def test_no_alert_of_a_service_names_the_service(cogmeter, seed, some):
    seed(some)
    assert "No alert of knowledge-graph is active." in cogmeter("alerts", "--services", "knowledge-graph")[1]


@pytest.mark.parametrize("command", [("summary",), ("alerts",), ("stats", "core")])
def test_what_a_stopped_bot_shows_of_now_says_that_it_has_stopped(cogmeter, seed, now_us, command):
    running = seed([("core", "go", now_us - MINUTE_US, 5, 0, None, None)], "running.db")
    stopped = seed([("core", "go", now_us - 180 * MINUTE_US, 5, 0, None, None)], "stopped.db")
    assert cogmeter(*command, "--database", running)[2] == ""
    assert re.fullmatch(
        r"Note: The bot does not run or does not respond: the last record is 3 h( 0 min)? old\."
        r" Active alerts and states are from that time\.\n",
        cogmeter(*command, "--database", stopped)[2],
    )


def test_alerts_of_an_unknown_rule_are_listed_under_its_stored_name(cogmeter, seed, some, now_us):
    unknown = dataclasses.replace(alert(now_us), rule="warp_core", severity="fatal", message="Warp core unstable")
    seed(some, work=lambda store: store.alerting.save([Step(unknown)]))
    for command in (("alerts",), ("alerts", "--history"), ("summary",), ("doctor",)):
        code, out, _ = cogmeter(*command)
        assert "Traceback" not in out
        assert code == 0 or command == ("doctor",)
        assert "Warp core unstable" in out or command == ("doctor",)
    (one,) = json.loads(cogmeter("alerts", "--json")[1])["alerts"]
    assert (one["type"], one["severity"]) == ("warp_core", "fatal")


def test_the_json_of_alerts_is_the_guides(cogmeter, alarmed):
    (one,) = json.loads(cogmeter("alerts", "--json")[1])["alerts"]
    guides = ("type", "service", "message", "threshold", "current", "severity")
    assert [one[name] for name in guides] == [
        "error_rate",
        "knowledge-graph",
        "Error rate of 7.8% exceeds threshold of 5%",
        0.05,
        0.078,
        "warning",
    ]


def test_a_summary_lists_alerts(cogmeter, alarmed):
    assert cogmeter("summary")[1].endswith(
        "\nActive Alerts:\n- warning: knowledge-graph: Error rate of 7.8% exceeds threshold of 5%\n"
    )


@pytest.fixture
def commanded(seed, now_us):
    """A bot without services of its own."""
    names = [("commands", "ask")] * 5 + [("commands", "config set")] * 3 + [("components", "Shop.buy")]
    rows = [
        (f"discord.{service}", name, now_us - place * MINUTE_US, 1_000_000, int(place == 1), None, None)
        for place, (service, name) in enumerate(names, 1)
    ]
    return seed, rows


def test_a_summary_lists_commands_by_name(cogmeter, commanded):
    seed, rows = commanded
    seed(rows)
    out = cogmeter("summary")[1]
    assert out.endswith(
        "Active: 2 commands, 1 component\n\n"
        "Top Commands:\n1. /ask: 5 ops (80% success)\n2. /config set: 3 ops (100% success)\n"
        "3. button Shop.buy: 1 op (100% success)\n"
    )
    assert "Services" not in out


def test_a_summary_lists_own_services_besides_commands(cogmeter, commanded, now_us):
    seed, rows = commanded
    seed([*rows, ("graph", "query", now_us - 5, 1_000, 0, None, None)])
    out = cogmeter("summary", "--top", "1")[1]
    assert out.endswith(
        "Active: 2 commands, 1 component, 1 service\n\nTop Commands:\n1. /ask: 5 ops (80% success)\n\n"
        "Top Services by Volume:\n1. graph: 1 op (100% success)\n"
    )
    live = cogmeter("live", "--count", "1", "--period", "1h")[1]
    ranking = live.partition("Commands and Services:\n")[2].splitlines()
    names = [re.split(r" +\d", line)[0].strip() for line in ranking[1:5]]
    assert names == ["/ask", "/config set", "button Shop.buy", "graph"]


def test_stats_takes_a_command_by_its_label(cogmeter, commanded):
    seed, rows = commanded
    seed(rows)
    for typed in ("/ask", "ask"):
        code, out, _ = cogmeter("stats", typed)
        assert (code, out.splitlines()[0]) == (0, "/ask Statistics")
        assert "Total Operations: 5\n" in out
    answer = json.loads(cogmeter("stats", "button Shop.buy", "--json")[1])
    assert (answer["serviceName"], answer["operation"]) == ("discord.components", "Shop.buy")
    code, out, err = cogmeter("stats", "/akc")
    assert (code, out) == (2, "")
    assert "No service or command '/akc' has been recorded. Did you mean /ask?" in err


@pytest.mark.slow
def test_check_ends_with_1_when_something_is_unhealthy_and_with_0_else(cogmeter, alarmed, seed, now_us):
    for command in (("summary",), ("alerts",), ("errors",), ("doctor",), ("live", "--count", "1")):
        assert cogmeter(*command)[0] == 0, command
        assert cogmeter(*command, "--check")[0] == 1, command
    assert cogmeter("stats", "knowledge-graph", "--check")[0] == 0
    assert cogmeter("stats", "=cmd|'/c calc'!A0", "--check")[0] == 1
    assert cogmeter("slow", "--check")[0] == 0
    assert cogmeter("slow", "--check", PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME="100")[0] == 1
    seed([("fine", "one", now_us - 1_000_000, 5_000, 0, None, None)], "fine.db")
    for command in ("summary", "alerts", "errors", "slow", "doctor"):
        assert cogmeter(command, "--check", "--database", "fine.db")[0] == 0, command


@pytest.mark.slow
def test_hostile_names_and_texts_are_shown_and_do_nothing(cogmeter, seed, some):
    seed(some)
    for command in (("summary",), ("errors",), ("stats", "=cmd|'/c calc'!A0"), ("slow",), ("live", "--count", "1")):
        code, out, err = cogmeter(*command)
        assert (code, err) == (0, "")
        assert "\x1b" not in out
        assert "\r" not in out
    assert "Recent Errors:\n- " in cogmeter("stats", "=cmd|'/c calc'!A0")[1]
    code, out, _ = cogmeter("errors", PYTHONIOENCODING="latin-1")
    assert code == 0
    assert "\\u2603" in out


def test_names_in_wide_letters_stay_in_their_columns(cogmeter, seed, now_us):
    names = ("\u65e5\u672c\u8a9e", "plain", "\U0001f600")
    seed([(name, "run", now_us - 5, 5_000, 1, "Mark", None) for name in names])
    lines = cogmeter("errors")[1].splitlines()[3:]
    assert len({cell_len(line.partition("Mark")[0]) for line in lines}) == 1


def test_the_trend_of_several_services_is_theirs_together(cogmeter, seed, now_us):
    minutes = [now_us - place * MINUTE_US for place in range(1, 25)]
    rows = [("early", "run", at, 5, 0, None, None) for at in minutes[12:]]
    seed([*rows, *(("late", "run", at, 5, 0, None, None) for at in minutes[:12])])

    def trend(services):
        out = cogmeter("live", "--count", "1", "--services", services)[1]
        return re.search(r"Last 30 Minutes: (\S+)", out)[1].count("\u2588")

    assert trend("early,late") == trend("late,early") == trend("early") + trend("late")
    assert trend("early") >= 11
    assert trend("late") >= 11


def test_a_database_that_is_named_goes_before_an_address_that_is_set_for_all_commands(cogmeter, seed, some):
    path = seed(some)
    everywhere = {"COGMETER_URL": "http://127.0.0.1:9"}
    assert cogmeter("summary", **everywhere)[0] == 3
    assert cogmeter("summary", "--database", path, **everywhere)[0] == 0


def test_errors_are_grouped_and_can_be_narrowed(cogmeter, seed, some, now_us):
    seed([*some, ("core", "go", now_us - 1, 5, 2, "timeout after 5 s", None)])
    out = cogmeter("errors")[1].splitlines()
    assert out[0] == "Errors (Last 24 Hours)"
    assert out[2].split() == ["count", "last", "(UTC)", "service", "/", "operation", "outcome", "error"]
    assert len(out) == 3 + 3
    asked = ("errors", "--services", "core", "--operation", "go", "--json")
    (group,) = json.loads(cogmeter(*asked)[1])["groups"]
    assert (group["error"], group["count"], group["outcome"]) == ("timeout after # s", 1, "upstream")


def test_the_slowest_come_first_without_the_background_unless_it_is_named(cogmeter, seed, now_us):
    seed(
        [
            ("discord.tasks", "loop", now_us - 5, 60_000_000, 0, None, None),
            ("core", "go", now_us - 4, 2_000_000, 0, None, None),
            ("core", "stop", now_us - 3, 3_000_000, 0, None, None),
        ]
    )
    assert [" ".join(line.split()[:2]) for line in cogmeter("slow")[1].splitlines()[3:]] == ["3 s", "2 s"]
    assert "2 s" not in cogmeter("slow", "--operation", "stop")[1]
    assert "1 min" in cogmeter("slow", "--services", "discord.tasks,core")[1]


def test_the_doctor_reports_an_old_record_and_a_lost_gateway(cogmeter, seed, now_us):
    async def disconnected(store):
        await store.add_samples(now_us - 1, {"gateway.shards_connected": 0.0})

    seed([("core", "go", now_us - 3_600_000_000, 5, 0, None, None)])
    found = {one["name"]: one for one in json.loads(cogmeter("doctor", "--json")[1])["findings"]}
    assert not found["freshness"]["well"]
    assert found["database"]["well"]
    unknown = found["service core"]
    assert (unknown["well"], unknown["known"]) == (True, False)
    lines = cogmeter("doctor")[1].splitlines()
    assert lines[2] == "Result: unhealthy; 1 of 9 external checks fails, 1 is not known"
    assert any(line.startswith("[--] service core: ") for line in lines)
    seed([("core", "go", now_us - 1, 5, 0, None, None)], "b.db", work=disconnected)
    out = cogmeter("doctor", "--database", "b.db")[1]
    assert "\nResult: unhealthy; 1 of 10 external checks fails\n[!!] gateway: not connected to Discord. " in out


# On a terminal


@pytest.mark.parametrize("columns", [60, *(pytest.param(columns, marks=pytest.mark.slow) for columns in (40, 80, 200))])
def test_a_terminal_gets_tables_that_fit_from_60_columns_on(terminal, alarmed, columns):
    for command in ("summary", "errors", "slow", "alerts"):
        said, code = terminal(command, columns=columns)
        assert code == 0
        lines = [line for line in ESCAPES.sub("", said).splitlines() if "─" in line or "…" in line]
        assert lines
        assert max(map(len, lines)) <= max(columns, 60)
    assert re.search(r" 100 +75%|100 +", ESCAPES.sub("", terminal("summary", columns=columns)[0]))


@pytest.mark.parametrize(
    "command", [("summary",), ("stats", "knowledge-graph"), ("slow",), ("alerts",), ("live", "--count", "1")]
)
def test_a_terminal_has_a_space_before_each_unit(terminal, alarmed, command):
    said = ESCAPES.sub("", terminal(*command)[0])
    assert re.search(r"\d (ms|s)\b", said) or command == ("alerts",)
    assert not re.search(r"\b[\d.,]+(ms|s|min|MB|GB)\b", said)


def test_date_and_message_stay_at_80_columns_and_the_zone_is_stated(terminal, alarmed):
    head = ESCAPES.sub("", terminal("alerts", "--tz", "Asia/Kolkata")[0]).splitlines()[2].split()
    assert head == ["#", "state", "began", "(IST)", "service", "message"]
    head = ESCAPES.sub("", terminal("slow", TZ="Europe/Berlin")[0]).splitlines()[2].split()
    assert head[:3] == ["duration", "ended", "(CET/CEST)"]


@pytest.mark.parametrize("columns", [60, 100])
def test_an_alert_is_whole_on_a_narrow_terminal_too(terminal, alarmed, columns):
    said = " ".join(ESCAPES.sub("", terminal("alerts", columns=columns)[0]).split())
    assert "knowledge-graph" in said
    assert "…" not in said
    assert all(word in said for word in ("firing", "Error", "7.8%", "exceeds", "threshold", "5%"))


def test_the_live_view_fits_a_small_terminal_and_its_last_look_stays(terminal, seed, now_us):
    rows = [(f"service-{n}", "run", now_us - n, 5_000, n % 2, "timeout", None) for n in range(40)]
    seed(rows, work=lambda store: store.alerting.save([Step(alert(now_us + 50_000_000))]))
    said, code = terminal("live", "--count", "1", rows=24)
    assert code == 0
    screen, left = (ESCAPES.sub("", part).strip() for part in said.split("\x1b[?1049l"))
    assert left.splitlines()[0] == "Live (data/performance.db)"
    for shown in (screen, left):
        assert len(shown.splitlines()) <= 24
        assert "\nServices (5 of 40):" in shown.replace("\r", "")
        assert "warning: knowledge-graph: Error rate of 7.8%" in shown
        assert shown.count(": timeout") == 2


def test_colours_come_with_a_terminal_alone_and_no_color_takes_them_away(terminal, cogmeter, alarmed):
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert coloured.search(terminal("summary")[0])
    assert not coloured.search(terminal("summary", NO_COLOR="1")[0])
    assert "\x1b" not in terminal("summary", TERM="dumb")[0]
    assert "\x1b" not in cogmeter("summary")[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_the_live_view_cleanly(alarmed, on_terminal, number, code):
    shown = on_terminal("live", "--interval", "0.5")
    assert "knowledge-graph" in shown.read("Last Failures")
    shown.process.send_signal(number)
    said = shown.read()
    assert shown.close() == code
    assert said.endswith("\x1b[?1049l")  # the screen from before is back
    assert "Traceback" not in said


def test_the_live_view_waits_for_a_database_that_goes_away(alarmed, on_terminal):
    aside = alarmed.with_name("aside.db")
    alarmed.rename(aside)
    shown = on_terminal("live", "--interval", "0.5")
    shown.read("Retrying every 0.5 s")
    aside.rename(alarmed)
    shown.read("Last Failures")
    shown.process.send_signal(signal.SIGINT)
    shown.read()
    assert shown.close() == 0


def test_the_live_view_as_json_has_nothing_but_json_on_standard_output(cogmeter, seed, some, terminal):
    seed(some)
    for out in (cogmeter("live", "--count", "1", "--json")[1], terminal("live", "--count", "1", "--json")[0]):
        assert set(json.loads(out)) == {"dashboard", "recentFailures"}
    code, out, err = cogmeter("live", "--count", "2", "--interval", "0.5", "--json", "--database", "none.db")
    assert (code, out) == (3, "")
    assert err.count("Retrying every 0.5 s.\n") == 1


def test_a_progress_bar_is_shown_on_a_terminal_and_gone_in_the_end(terminal, alarmed, tmp_path):
    said, code = terminal("export", "-o", "x.json")
    assert code == 0
    assert "Exporting" in said
    assert ESCAPES.sub("", said).splitlines()[-1].startswith("Wrote x.json (200 operations, ")


def test_the_summary_begins_with_what_needs_attention(cogmeter, seed, now_us):
    minute_us = 60_000_000
    rows = [
        ("discord.commands", "ask", now_us - place * minute_us, 20_000, int(place % 2), "ValueError: no", None)
        for place in range(1, 31)
    ]
    seed(rows)
    _, output, _ = cogmeter("summary")
    assert output.splitlines()[2:5] == [
        "Needs Attention:",
        (
            "1. warning: /ask: 15 of 30 operations failed, more than 5%, in the last 24 hours. "
            "See its most common error: `cogmeter errors`"
        ),
        "",
    ]
    _, output, _ = cogmeter("summary", "--json")
    (concern,) = json.loads(output)["attention"]
    assert (concern["service"], concern["operation"]) == ("discord.commands", "ask")


def test_the_history_includes_an_alert_that_was_measured_after_the_command_began(cogmeter, seed, some, now_us):
    later = dataclasses.replace(alert(now_us), seen_us=now_us + 60_000_000)
    seed(some, work=lambda store: store.alerting.save([Step(later)]))
    assert "7.8%" in cogmeter("alerts", "--history")[1]


def test_a_slow_operation_leads_to_why_it_is_slow(cogmeter, seed, now_us):
    rows = [("vision", "look", now_us - number, 20_000_000, 0, None, None) for number in range(1, 40)]
    seed([*rows, *[("discord.commands", "ask", now_us - number, 20_000_000, 0, None, None) for number in range(1, 40)]])
    out = cogmeter("summary")[1]
    assert "See `cogmeter slow vision`" in out
    assert "See `cogmeter slow /ask`" in out


def test_the_option_findings_sets_how_many_findings_the_summary_lists(cogmeter, seed, now_us):
    seed(
        [
            (f"shop-{number}", "buy", now_us - place * 60_000_000, 20_000, 1, "ValueError: no", None)
            for number in range(5)
            for place in range(1, 31)
        ]
    )
    output = cogmeter("summary")[1]
    assert output.count("30 of 30 operations failed") == 3
    assert "and 2 more findings. List them with --findings 5" in output
    output = cogmeter("summary", "--findings", "5")[1]
    assert output.count("30 of 30 operations failed") == 5
    assert "more findings" not in output
