"""``cogmeter cost``: tokens and money by group, from a database and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from cogmeter_storage.costs import CostKey, CostSums
from cogmeter_storage.model import DAY_US, HOUR_US


@pytest.fixture
def spent(seed, now_us):
    """A database with the costs of two models in two days, one of them without a price."""

    async def add_costs(store):
        hour = now_us // HOUR_US * HOUR_US
        lines = {
            CostKey(hour, "ai", "/ask", "gpt-4o", "0000000a", "0000000b"): CostSums(2, 1_000, 100, 400, 3_500),
            CostKey(hour - DAY_US, "ai", "reply on_message", "nobody-knows"): CostSums(1, 50, 5, 0, 0, 1),
        }
        state = {"since": now_us - 5 * DAY_US, "prices": {"source": "genai-prices 0.2.3", "problem": ""}}
        await store.costs.add(lines, key="alerts.spending", state=json.dumps(state).encode())

    return seed([("ai", "chat", now_us - 9, 5_000, 0, None, None)], work=add_costs)


def test_groups_tokens_money_and_unknown_models_are_listed(cogmeter, spent):
    code, out, err = cogmeter("cost")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Cost by command (Last 30 Days)"
    assert "Total: $0.0035 for 3 model calls" in lines
    assert "Tokens: 1,050 input (400 cached), 105 output" in lines
    assert any(line.split()[:3] == ["/ask", "$0.0035", "100%"] for line in lines)
    assert any(line.startswith("(replies to messages)") for line in lines)
    assert any("nobody-knows: 1 model call" in line for line in lines)
    assert any("PERFORMANCE_COST_PRICES" in line for line in lines)
    assert "Prices: genai-prices 0.2.3" in lines


def test_the_uses_of_a_command_are_not_the_calls_inside_it(cogmeter, seed, now_us):
    async def add_costs(store):
        hour = now_us // HOUR_US * HOUR_US
        lines = {
            CostKey(hour, "ai", "/ask", "gpt-4o"): CostSums(8, 1_000, 100, 0, 6_000),
            CostKey(hour, "ai", "reply on_message", "gpt-4o"): CostSums(2, 1_000, 100, 0, 1_000),
            CostKey(hour, "ai", "", "gpt-4o"): CostSums(1, 1_000, 100, 0, 500),
        }
        await store.costs.add(lines, key="alerts.spending", state=b"{}")

    names = [("discord.commands", "ask")] * 4 + [("discord.replies", "on_message")] * 2
    seed([(*name, now_us - 9 - number, 5_000, 0, None, None) for number, name in enumerate(names)], work=add_costs)

    def groups(by):
        found = json.loads(cogmeter("cost", "--by", by, "--json")[1])["groups"]
        return {one["name"]: (one["operations"], one["uses"], one["perThousandMicroUsd"]) for one in found}

    assert groups("command") == {
        "/ask": (8, 4, 1_500_000),
        "(replies to messages)": (2, 2, 500_000),
        "(no command)": (1, None, None),
    }
    assert groups("reply")["reply on_message"] == (2, 2, 500_000)
    assert groups("model") == {"gpt-4o": (11, None, 681_818)}
    out = cogmeter("cost")[1]
    assert "per 1,000 uses" in out
    (line,) = [line for line in out.splitlines() if line.startswith("/ask")]
    assert line.split()[3:6] == ["8", "4", "$1.50"]


def test_the_column_of_operations_without_a_price_is_there_only_if_there_are_any(cogmeter, spent):
    assert "no price" in cogmeter("cost", "--by", "model")[1]
    recent = cogmeter("cost", "--by", "model", "--period", "6h")[1]  # the operation without a price is a day old
    assert "gpt-4o" in recent
    assert "no price" not in recent


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ("reply", "reply on_message"),
        ("model", "gpt-4o"),
        ("guild", "server 0000000a"),
        ("user", "user 0000000b"),
        ("service", "ai"),
    ],
)
def test_every_grouping_is_a_table(cogmeter, spent, by, name):
    code, out, _ = cogmeter("cost", "--by", by)
    assert code == 0
    assert any(line.startswith(name) for line in out.splitlines())


def test_json_has_the_fields_of_the_api_and_check_fails_for_an_unknown_price(cogmeter, spent):
    code, out, _ = cogmeter("cost", "--by", "model", "--json")
    document = json.loads(out)
    assert (code, document["by"], document["total"]["costMicroUsd"]) == (0, "model", 3_500)
    assert [(one["name"], one["costMicroUsd"]) for one in document["groups"]] == [
        ("gpt-4o", 3_500),
        ("nobody-knows", 0),
    ]
    assert document["unpriced"][0]["name"] == "nobody-knows"
    assert cogmeter("cost", "--check")[0] == 1


def test_a_range_without_costs_says_how_to_record_some(cogmeter, seed, now_us):
    seed([("ai", "chat", now_us - 9, 5_000, 0, None, None)])
    code, out, _ = cogmeter("cost", "--period", "24h")
    assert code == 0
    assert "No tokens and no costs were recorded in this period." in out
    assert "cogmeter.usage(response)" in out


def test_only_one_service_can_be_named(cogmeter, spent):
    assert cogmeter("cost", "--services", "ai")[0] == 0
    code, _, err = cogmeter("cost", "--services", "ai,other")
    assert code == 2
    assert "cost reads all services or one" in err


@pytest.mark.parametrize(("period", "step", "step_us"), [("6h", "hours", HOUR_US), ("30d", "days", DAY_US)])
def test_the_range_that_is_covered_is_stated_and_is_that_of_the_json(cogmeter, spent, now_us, period, step, step_us):
    lines = cogmeter("cost", "--period", period)[1].splitlines()
    (covered,) = [line for line in lines if line.startswith("Covers: ")]
    since = json.loads(cogmeter("cost", "--period", period, "--json")[1])["timeRange"]["since"]
    known = datetime.fromtimestamp(now_us / 1e6, UTC) - timedelta(days=5)
    recorded = f", recorded since {known.day} {known:%b}" if period == "30d" else ""
    assert covered.startswith(f"Covers: {since[:16].replace('T', ' ')} to ")
    assert covered.endswith(f", whole {step} (UTC){recorded}")
    at_us = round(datetime.fromisoformat(since).timestamp() * 1e6)
    assert at_us % step_us == 0
