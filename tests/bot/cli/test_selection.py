"""``cogmeter selection``: what happened in a few minutes, from a database and from a bot."""

import json

import pytest

from cogmeter_storage import Marker


@pytest.fixture
def ten_minutes(seed, now_us):
    """Two operations of ten minutes ago, one of two hours ago, and a deploy."""

    async def deploy(store):
        await store.add_marker(Marker(now_us - 9 * 60_000_000, "mark", "deployed \x1b[31m1.4"))

    rows = [
        ("graph", "query", now_us - 7_200_000_000, 9_000_000, 0, None, None),
        ("graph", "query", now_us - 600_000_000, 4_000_000, 1, "ValueError: no \x1b[31mnode", None),
        ("vision", "look", now_us - 590_000_000, 1_000, 0, None, None),
    ]
    return seed(rows, work=deploy)


def test_the_last_minutes_are_shown_with_operations_errors_alerts_and_markers(cogmeter, ten_minutes):
    code, out, err = cogmeter("selection", "--tz", "UTC")
    assert (code, err) == (0, "")
    assert "2, 50% failed" in out
    assert "graph / query" in out
    assert "vision / look" in out
    assert "ValueError: no" in out
    assert "No alert fired." in out
    assert "deployed" in out
    assert "\x1b" not in out


def test_a_service_and_a_range_narrow_it(cogmeter, ten_minutes):
    assert "graph / query" not in cogmeter("selection", "vision")[1]
    code, out, _ = cogmeter("selection", "graph", "--since", "3h", "--check")
    assert "9 s" in out
    assert code == 1


def test_as_json_it_is_the_document_of_the_api(cogmeter, ten_minutes):
    answer = json.loads(cogmeter("selection", "graph", "--json")[1])
    assert answer["stats"]["totalOperations"] == 1
    assert [marker["name"] for marker in answer["markers"]]


def test_an_unknown_name_is_refused(cogmeter, ten_minutes):
    code, _, err = cogmeter("selection", "grap")
    assert code == 2
    assert "grap" in err
