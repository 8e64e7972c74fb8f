"""What must never be kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.recording.operation import MAX_ERROR, error_text
from cogmeter.redaction import _SECRETS, quoted, redact, shown, without_queries

# Built from parts: a scanner for leaked tokens would find them otherwise.
TOKEN = ".".join(("MTIzNDU2Nzg5MDEyMzQ1Njc4", "GhIjKl", "abcdefghijklmnopqrstuvwxyz0123456789AB"))  # noqa: FLY002 - see above


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"login with {TOKEN} failed", "login with [redacted] failed"),
        (
            "POST https://discord.com/api/webhooks/123456789012345678/aB-c_d0 404",
            "POST https://discord.com/api/webhooks/123456789012345678/[redacted] 404",
        ),
        (
            "/interactions/123456789012345678/aW50ZXJhY3Rpb24/callback",
            "/interactions/123456789012345678/[redacted]/callback",
        ),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "Authorization: Bearer [redacted]"),
        ("Bot abcdefghijklmnopqrstuvwxyz", "Bot [redacted]"),
        ("no answer of postgresql://bot:hunter2@db/perf", "no answer of postgresql://bot:[redacted]@db/perf"),
        ("node a.b.c is missing", "node a.b.c is missing"),
        ("https://example.com/webhooks/news", "https://example.com/webhooks/news"),
    ],
)
def test_secrets_are_taken_out_and_the_rest_stays(text, kept):
    assert redact(text) == kept


@given(
    st.text(max_size=40),
    st.from_regex(r"[A-Za-z0-9_-]{23,30}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}", fullmatch=True),
    st.text(max_size=40),
)
def test_a_token_is_taken_out_whatever_is_around_it(before, token, after):
    assert token not in redact(f"{before}{token}{after}")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{TOKEN},{TOKEN}", "[redacted],[redacted]"),
        (f"é{TOKEN}", "é[redacted]"),
        ("xBot abcdefghijklmnopqrstuvwxyz", "xBot abcdefghijklmnopqrstuvwxyz"),
        ("xmfa.abcdefghijklmnopqrstuvwxyz", "xmfa.abcdefghijklmnopqrstuvwxyz"),
        ("mfa.abcdefghijklmnopqrstuvwxyz", "[redacted]"),
        ("Bearer   \t abcdefghijklmnopqrstuvwxyz", "Bearer   \t [redacted]"),
        ("." * 2_000, "." * 2_000),
    ],
)
def test_the_borders_of_a_secret_are_kept(text, kept):
    assert redact(text) == kept


def test_a_text_is_searched_for_secrets_without_a_step_of_the_pattern_at_each_character():
    # Python's re skips to where a pattern's fixed beginning stands; without one, it tries the pattern everywhere.
    for word, pattern in _SECRETS.items():
        assert pattern.pattern.replace("\\", "").lstrip("()").startswith(word)


def test_an_error_is_redacted_and_cut():
    assert error_text(RuntimeError(f"token {TOKEN}")) == "RuntimeError: token [redacted]"
    assert len(error_text("x" * 10_000_000)) == MAX_ERROR


def test_an_error_is_text_that_any_database_takes():
    text = error_text(RuntimeError("a\ud800b\0c"))
    assert text.encode()
    assert "\0" not in text


def test_a_value_is_shown_on_one_line_without_terminal_control_characters():
    assert shown("a\nb\x1b[31m\x9b\u202e\ud800") == r"a\nb\x1b[31m\x9b\u202e\ud800"
    assert quoted("it's\n") == repr("it's\n")


def test_a_long_value_is_cut():
    assert shown("x" * 100_000) == "x" * 100 + "..."
    assert quoted("x" * 100_000, limit=5) == "'xxxxx...'"
    assert shown(10**5_000) == "(int)"


@pytest.mark.parametrize("before", [0, 40, 90])
def test_a_secret_that_is_cut_is_not_shown_in_part(before):
    assert TOKEN[:12] not in shown(f"{'x' * before} {TOKEN}")
    assert "hunter" not in shown(f"{'x' * before} postgresql://bot:{'hunter' * 40}@db")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://hooks.example.com/services/T0/B0/s3cret", "https://hooks.example.com/[redacted]"),
        ("https://me:hunter2@example.com/?key=s3cret", "https://example.com/[redacted]"),
        ("0123456789abcdef0123456789abcdef", "[redacted]"),
        ("x 0aB-_" + "c" * 30 + " y", "x [redacted] y"),
        ("http://host:99999", "http://host:99999"),
        ("PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME", "PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME"),
        ("sqlite:///data/performance.db", "sqlite:///data/performance.db"),
        ("123456789012345678", "123456789012345678"),
    ],
)
def test_where_a_secret_may_have_been_pasted_what_looks_like_one_is_hidden(value, kept):
    assert shown(value, strict=True) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("404, url='https://a.example/find?q=my+diary&key=1'", "404, url='https://a.example/find?[redacted]'"),
        ('for url "wss://b.example#s3cret" at 3', 'for url "wss://b.example#[redacted]" at 3'),
        ("GET http://c.example/a/b failed?", "GET http://c.example/a/b failed?"),
        ("what? nothing://x?y", "what? nothing://x?y"),
    ],
)
def test_queries_of_urls_are_hidden(text, kept):
    assert without_queries(text) == kept
