"""What is used of Discord's patience within ten minutes is never counted too low, and names what uses it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cogmeter.watch.rest.budget import BIN_S, INVALID_LIMIT, WINDOW_S, Budget, SlidingCounts

SEND = "POST /channels/{channel_id}/messages"
steps = st.lists(st.tuples(st.floats(0, 400), st.sampled_from("abc"), st.integers(1, 5)), max_size=40)


@given(steps, st.floats(0, 700))
def test_the_window_contains_all_of_the_last_ten_minutes_and_at_most_a_bin_more(steps, later_s):
    counts, all_of_them, now_s = SlidingCounts[str](), [], 0.0
    for pause_s, key, amount in steps:
        now_s += pause_s
        counts.add(key, now_s, amount)
        all_of_them.append((now_s, key, amount))
    now_s += later_s
    totals = counts.totals(now_s)
    for key in "abc":
        least = sum(amount for at, one, amount in all_of_them if one == key and at >= now_s - WINDOW_S)
        most = sum(amount for at, one, amount in all_of_them if one == key and at >= now_s - WINDOW_S - BIN_S)
        assert least <= totals[key] <= most


def test_invalid_requests_are_401_403_and_429_but_for_the_shared_scope():
    budget = Budget()
    for status, scope in ((200, None), (404, None), (500, None), (429, "shared")):
        budget.answered(SEND, status, scope, 1.0)
    assert budget.share(1.0) == 0
    for status, scope in ((401, None), (403, None), (429, "user"), (429, "global"), (429, "proxy")):
        budget.answered(SEND, status, scope, 1.0)
    assert budget.share(1.0) == 5 / INVALID_LIMIT
    assert budget.share(1.0 + WINDOW_S + 2 * BIN_S) == 0


def test_rate_limits_are_counted_by_scope_and_waits_are_added_up():
    budget = Budget()
    for scope in ("user", "user", "shared", "global"):
        budget.answered(SEND, 429, scope, 1.0)
    budget.waited(SEND, 1500, 1.0)
    assert budget.gauges(2.0) == {
        "rest.rate_limited.user": 2,
        "rest.rate_limited.shared": 1,
        "rest.rate_limited.global": 1,
        "rest.rate_limited.proxy": 0,
        "rest.rate_limit_wait_s": 1.5,
        "rest.invalid_share": 3 / INVALID_LIMIT,
    }


def test_a_tenth_of_the_limit_passes_and_more_names_what_uses_it_and_the_fix():
    budget = Budget()
    for _ in range(INVALID_LIMIT // 10):
        budget.answered(SEND, 403, None, 1.0)
    assert budget.finding(1.0).well
    budget.answered("GET /users/{user_id}", 429, "user", 1.0)
    found = budget.finding(1.0)
    assert not found.well
    assert "1,001 of 10,000" in found.text
    assert f"1,000 of them 403 of {SEND}" in found.text
    assert "permission" in found.advice
