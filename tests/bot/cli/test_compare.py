"""``cogmeter compare``: the verdict, both periods, JSON, --check, and refusals."""

from __future__ import annotations

import json

import pytest
from deployed_bot import deploy


@pytest.fixture
def deployed(seed, now_us):
    """A database with a version since which a command is slower."""

    async def add(store):
        await deploy(store, now_us, slower=1.5)

    return seed([], work=add)


def test_the_verdict_is_first_and_both_periods_follow(cogmeter, deployed):
    code, out, err = cogmeter("compare", "/ask", "--tz", "UTC")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Comparison of /ask (before and after version 1.4)"
    assert lines[2].startswith("Response times: Confident: ")
    assert "slower (p" in lines[2]
    assert "Errors: No significant change" in lines
    assert any(line.startswith("Before: ") and " operations" in line for line in lines)
    assert any(line.startswith("p95") for line in lines)


def test_json_is_that_of_the_api_and_check_fails_for_a_slower_command(cogmeter, deployed):
    code, out, _ = cogmeter("compare", "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "worse")
    assert cogmeter("compare", "--check")[0] == 1
    assert cogmeter("compare", "--check", "--before", "1h", "--after", "1h")[0] == 0  # not enough operations


def test_what_is_no_period_and_an_operation_without_a_service_are_refused(cogmeter, deployed):
    code, _, err = cogmeter("compare", "--before", "versoin 1.4")
    assert code != 0
    assert "--before" in err
    assert "version 1.4" in err
    assert cogmeter("compare", "--operation", "ask")[0] != 0
    assert cogmeter("compare", "/nobody")[0] != 0
