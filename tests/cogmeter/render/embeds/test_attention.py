"""The lines about what needs attention, and the command that each leads to."""

import pytest

from cogmeter.alerts.rules import RULES
from cogmeter.diagnosis import Concern, ConcernList
from cogmeter.recording.service_names import COMMANDS
from cogmeter.render.embeds.attention import attention_lines, command_of

ASK = (COMMANDS, "ask")
TARGETS = [
    ("stats", ASK, "/perf stats service:/ask"),
    ("stats", (COMMANDS, ""), "/perf stats service:discord.commands"),
    ("stats", ("shop", "buy"), "/perf stats service:shop operation:buy"),
    ("slow", ASK, "/perf slow service:/ask"),
    ("slow", ("shop", "buy"), "/perf slow service:shop"),
    ("stats", None, "/perf summary"),
    ("errors", ASK, "/perf errors"),
    ("error:12", ASK, "/perf errors (error 12)"),
    ("running", None, "/perf running"),
    ("doctor", None, "/perf doctor"),
    ("report", None, "/perf report"),
    ("alerts", None, "/perf alerts"),
    ("cost", None, "/perf cost"),
]


def concern(target, subject, text="/ask: error rate of 34%", severity="critical"):
    return Concern(severity, 12, text, "Open its most common error", subject, target)


@pytest.mark.parametrize(("target", "subject", "command"), TARGETS)
def test_a_finding_names_the_command_that_shows_more(target, subject, command):
    first, second = attention_lines(ConcernList([concern(target, subject)]), "perf")
    assert first == "\N{OCTAGONAL SIGN} /ask: error rate of 34%."
    assert second == f"\N{DOWNWARDS ARROW WITH TIP RIGHTWARDS} See its most common error: `{command}`"


def test_each_target_of_a_rule_is_a_command_that_exists():
    known = {"stats", "slow", "errors", "running", "doctor", "report", "alerts", "summary", "cost"}
    for rule in RULES.values():
        command = command_of(concern(rule.leads_to, ASK), "perf")
        assert command.removeprefix("/perf ").split()[0] in known


def test_nothing_wrong_is_one_line():
    assert attention_lines(ConcernList(), "perf") == ["Nothing needs attention."]


def test_names_of_the_host_are_no_markup():
    first, second = attention_lines(
        ConcernList([concern("stats", ("`a`", "**b**"), "**@everyone** [x](https://y)")]), "perf"
    )
    assert "**" not in first.replace("\\*", "")
    assert "@everyone" not in first
    assert second.count("`") == 2


def test_findings_that_are_left_out_are_counted():
    found = ConcernList([concern("stats", None)], left_out=2)
    assert attention_lines(found, "perf")[-1] == "and 2 more findings"
