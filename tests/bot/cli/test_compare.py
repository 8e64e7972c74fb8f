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
    assert lines[0] == 'Comparison of /ask (before and after "version 1.4")'
    assert lines[2].startswith("Response times: Confident: ")
    assert "slower (p" in lines[2]
    assert "Errors: No significant change" in lines
    assert any(line.startswith("Before: ") and " operations" in line for line in lines)
    assert any(line.startswith("p95") for line in lines)


def test_json_is_that_of_the_api(cogmeter, deployed):
    code, out, _ = cogmeter("compare", "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "worse")


@pytest.mark.parametrize(("periods", "code"), [((), 1), (("--before", "1h", "--after", "1h"), 0)])
def test_check_fails_for_what_is_worse_with_confidence_only(cogmeter, deployed, periods, code):
    assert cogmeter("compare", "--check", *periods)[0] == code


def test_what_is_no_period_is_refused_with_the_name_of_the_option(cogmeter, deployed):
    code, _, err = cogmeter("compare", "--before", "versoin 1.4")
    assert code != 0
    assert "--before" in err
    assert "version 1.4" in err


@pytest.mark.parametrize("arguments", [("--operation", "ask"), ("/nobody",)])
def test_an_operation_without_a_service_and_an_unknown_command_are_refused(cogmeter, deployed, arguments):
    assert cogmeter("compare", *arguments)[0] != 0
