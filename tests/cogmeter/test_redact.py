"""What must never be kept."""

import pytest

from cogmeter.redact import redact
from cogmeter.timing import MAX_ERROR, error_text

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
        ("node a.b.c is missing", "node a.b.c is missing"),
        ("https://example.com/webhooks/news", "https://example.com/webhooks/news"),
    ],
)
def test_secrets_are_taken_out_and_the_rest_stays(text, kept):
    assert redact(text) == kept


def test_an_error_is_redacted_and_cut():
    assert error_text(RuntimeError(f"token {TOKEN}")) == "RuntimeError: token [redacted]"
    assert len(error_text("x" * 10_000_000)) == MAX_ERROR


def test_an_error_is_text_that_any_database_takes():
    text = error_text(RuntimeError("a\ud800b\0c"))
    assert text.encode()
    assert "\0" not in text
