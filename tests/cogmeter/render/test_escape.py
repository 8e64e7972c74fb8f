"""Words from users are shown as they are, and nothing in them is obeyed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.render.escape import code, plain, when


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("sentiment_analysis", "sentiment\\_analysis"),
        ("**bold** `code` ~~no~~ ||spoiler||", "\\*\\*bold\\*\\* \\`code\\` \\~\\~no\\~\\~ \\|\\|spoiler\\|\\|"),
        ("[click](https://evil.example)", "\\[click\\](https\\://evil.example)"),
        ("<@123> <#4> </perf:5> <t:1:R>", "\\<@123\\> \\<#4\\> \\</perf:5\\> \\<t:1:R\\>"),
        ("@everyone and @here", "@\u200beveryone and @\u200bhere"),
        ("# heading", "\\# heading"),
        ("-# small", "\\-# small"),
        ("1. first", "1\\. first"),
        ("two\nlines", "two lines"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_markup_is_shown_and_not_obeyed(words, shown):
    assert plain(words, 100) == shown


@given(st.text(), st.integers(1, 60))
def test_no_sign_of_markup_is_without_its_backslash(words, limit):
    rest = re.sub(r"\\[^0-9A-Za-z\s]", "", plain(words, limit))
    assert not set(rest) & set("\\*_~|`[]<>")
    assert "@everyone" not in rest
    assert len(rest) <= limit + rest.count("\u200b")


@given(st.text(), st.integers(1, 60))
def test_code_cannot_be_left(words, limit):
    shown = code(words, limit)
    assert shown[0] == shown[-1] == "`"
    assert "`" not in shown[1:-1]
    assert 1 <= len(shown) - 2 <= limit


def test_a_moment_is_shown_to_each_reader_in_their_own_time():
    assert when(1_755_426_600_999_999) == "<t:1755426600:R>"
