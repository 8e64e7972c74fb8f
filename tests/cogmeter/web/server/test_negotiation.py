"""What clients accept and refuse, by weight: everywhere that an answer has more than one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.web.server.assets import STATIC
from cogmeter.web.server.negotiation import accepted, accepts_gzip, prefers_html, weight_of

OPEN, PLAIN = "application/openmetrics-text", "text/plain"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{OPEN};q=0", PLAIN),
        (f"{OPEN}; version=1.0.0; q=0.0, {PLAIN}", PLAIN),
        (f"{OPEN};q=0,*/*", PLAIN),
        (f"{PLAIN};q=0.9, {OPEN};q=0.5", PLAIN),
        (f"{OPEN};version=0.0.9, {PLAIN}", PLAIN),
        ("*/*", PLAIN),
        ("", PLAIN),
        (OPEN, OPEN),
        (f"{OPEN.upper()};Q=0", PLAIN),
        (f"{PLAIN};q=0.3, {OPEN};version=1.0.0;q=0.7", OPEN),
        (f"{OPEN};version=1.0.0,{PLAIN};version=0.0.4;q=0.5", OPEN),
    ],
)
async def test_metrics_come_in_the_format_that_weighs_most(served, accept, kind):
    async with served() as web:
        answer = await web.get("/metrics", headers={"Accept": accept})
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize("path", ["/metrics", f"{STATIC}/app.js", "/api/performance/export?format=ndjson"])
@pytest.mark.parametrize(
    ("encodings", "packed"),
    [
        ("gzip;q=0", False),
        ("GZIP; q=0.000", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("br", False),
        ("notgzip", False),
        ("gzip;q=0, *", False),
        ("gzip", True),
        ("br;q=1, gzip;q=0.2", True),
        ("*", True),
        ("x-gzip", True),
    ],
)
async def test_an_answer_is_packed_only_for_who_takes_it(served, path, encodings, packed):
    async with (
        served() as web,
        web.session.get(web.url + path, headers={"Accept-Encoding": encodings}, auto_decompress=False) as answer,
    ):
        assert answer.status == 200
        assert answer.headers.get("Content-Encoding") == ("gzip" if packed else None)
        assert (await answer.read())[:2] == (b"\x1f\x8b" if packed else (await answer.read())[:2])
        assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html;q=0, application/json", False),
        ("application/json, text/html;q=0.5", False),
        ("*/*", False),
        ("", False),
    ],
)
async def test_a_problem_is_a_page_for_who_prefers_html(served, accept, page):
    async with served() as web:
        answer = await web.get("/performance?range=never", headers={"Accept": accept})
        assert answer.status == 422
        assert answer.headers["Content-Type"].startswith("text/html" if page else "application/problem+json")


def test_the_most_specific_member_counts():
    assert weight_of("text/*;q=0.3, text/html;q=0.7, */*;q=0.9", "text/html") == 0.7
    assert weight_of("text/*;q=0.3, text/html;q=0.7, */*;q=0.9", "text/plain") == 0.3
    assert weight_of("text/*;q=0.3, */*;q=0.9", "image/png") == 0.9
    assert weight_of("text/*;q=0.3, */*;q=0.9", "image/png", ranges=False) == 0


@given(st.text(max_size=80))
def test_no_header_is_too_odd(header):
    assert all(0 <= one.weight <= 1 for one in accepted(header))
    assert accepts_gzip(header) in {True, False}
    assert prefers_html(header) in {True, False}
