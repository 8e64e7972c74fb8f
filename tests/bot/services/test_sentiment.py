"""The mood of a text: a score within its bounds, and the words that decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter_bot.services.sentiment import analyze


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This is great, thank you", "positive"),
        ("The bot crashed again, terrible", "negative"),
        ("It was not good", "negative"),
        ("The meeting is at ten", "neutral"),
        ("", "neutral"),
        ("That isn\N{RIGHT SINGLE QUOTATION MARK}t bad", "positive"),
    ],
)
def test_the_mood_of_a_plain_sentence_is_read(text, label):
    assert analyze(text).label == label


def test_a_booster_makes_a_word_weigh_more():
    assert analyze("very good").score > analyze("good").score > 0


def test_the_words_that_decided_are_named_once_and_in_order():
    assert analyze("good but slow, good but slow").words == ("good", "slow")


@given(st.text())
def test_a_score_lies_between_minus_one_and_one_whatever_the_text(text):
    assert -1 < analyze(text).score < 1
