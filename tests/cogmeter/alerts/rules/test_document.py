"""docs/alerts.md says what the code does: every rule, its setting, default, unit and limits, and what explains it."""

import math
import re
from pathlib import Path

import pytest

from cogmeter.alerts.model import SEVERITIES, Subject
from cogmeter.alerts.rules import RULES, failures, traffic
from cogmeter.alerts.rules.burn import LEVELS
from cogmeter.alerts.rules.rule import ANY_RULE
from cogmeter.alerts.thresholds.keys import FIELDS
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.settings import Settings, env_name
from cogmeter_storage.alerting import AlertState

ROOT = Path(__file__).resolve().parents[4]
TEXT = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")


def table(head):
    """The cells of the table that begins with this head, without backticks."""
    lines = TEXT[TEXT.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


ROWS = {row[0]: row[1:] for row in table("| Rule | About |")}


def test_the_readme_counts_the_rules():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{len(RULES)} rules](docs/alerts.md)" in readme


def section(rule):
    return TEXT.split(f"### {rule}\n")[1].split("\n#")[0]


def test_every_rule_is_listed_and_no_other():
    assert list(ROWS) == list(RULES)
    assert re.findall(r"^### (\w+)$", TEXT, re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("name", RULES)
def test_the_table_of_a_rule_is_true(name):
    rule = RULES[name]
    about, default, unit, setting, recovery, for_s, minimum = ROWS[name]
    assert (about, unit, setting) == (rule.about, rule.threshold_unit or rule.unit, env_name(rule.setting))
    assert float(default) == Settings.model_fields[rule.setting].default
    limit = Limits(Settings(_env_file=None, alert_min_operations=77, **{rule.setting: 0.4})).of(Subject(name, "web"))
    assert f"{limit.for_s:g} s" == for_s
    assert {"setting": 77, "none": 0}.get(minimum, minimum) in {limit.min_operations, str(limit.min_operations)}
    if " at " in recovery:
        value, threshold = recovery.split(" at ")
        assert rule.recovery(float(threshold)) == pytest.approx(float(value))
    else:
        assert limit.recovery == pytest.approx(float(recovery) * 0.4)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_says_when_it_helps_and_when_it_misleads(name):
    assert "**Helps**" in section(name)
    assert "**Misleads**" in section(name)


def test_the_levels_of_a_burning_budget_are_those_of_the_code():
    said = re.findall(r"(?:^|[ :])([\d.]+) over (\d+) (h|days) and (\d+) (min|h) \((\w+)\)", section("burn_rate"))
    unit_s = {"min": 60, "h": 3_600, "days": 86_400}
    levels = [
        (float(factor), int(long) * unit_s[longer], int(short) * unit_s[shorter], severity)
        for factor, long, longer, short, shorter, severity in said
    ]
    names = {"information": "info"}
    assert [(*one[:3], names.get(one[3], one[3])) for one in levels] == [
        (level.factor, level.long_s, level.short_s, level.severity) for level in LEVELS
    ]


def test_what_is_no_chance_is_that_of_the_code():
    assert f"At least {failures.FEWEST} operations must have failed" in section("error_rate")
    assert math.exp(failures.IMPROBABLE) == pytest.approx(1e-5)
    assert "ln 10⁻⁵" in section("error_rate")
    assert math.exp(failures.UNLIKELY) == pytest.approx(1e-2)
    assert "ln 10⁻²" in section("error_rate")
    assert math.exp(traffic.IMPROBABLE) == pytest.approx(1e-6)
    assert "ln 10⁻⁶" in section("low_traffic")


def test_every_echo_is_listed():
    said = {re.match(r"\w+", row[0])[0]: row[1] for row in table("| Explained | By |")[1:]}
    explained = {name for name, rule in RULES.items() if rule.explained_by or rule.explained_by_bot}
    assert said.keys() == explained
    for name in explained:
        if others := RULES[name].explained_by:
            wanted = "any rule" if others == (ANY_RULE,) else " or ".join(others)
            assert said[name] == f"{wanted} of the same service"
        else:
            assert said[name] == f"{RULES[name].explained_by_bot[0]} of the bot"


def test_fields_severities_and_states_are_all_named():
    assert all(f"`.{field}`" in TEXT for field in FIELDS)
    assert [row[0] for row in table("| Severity | Means |")] == list(SEVERITIES)
    assert all(f"`{state}`" in TEXT for state in AlertState)
