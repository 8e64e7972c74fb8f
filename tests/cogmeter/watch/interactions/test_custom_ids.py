"""Templates of custom ids: words stay, numbers and random parts go."""

from __future__ import annotations

import os
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.recording.recorder import valid_name
from cogmeter.watch.interactions.custom_ids import readable, template_of


@pytest.mark.parametrize(
    ("custom_id", "template"),
    [
        ("panel:press", "panel:press"),
        ("confirmDelete", "confirmDelete"),
        ("vote:81234567890123456:yes", "vote:{}:yes"),
        ("page2", "page{}"),
        ("shop-row12-item_7", "shop-row{}-item_{}"),
        ("range:1-2_3", "range:{}"),
        ("9f86d081884c7d65", "{}"),
        ("ticket 3e4666bf-d5e5-4aa7-b8ce-cefe41c7568a close", "ticket {} close"),
        ("t|Zx8Qk2LmPq9", "t|{}"),
        ("t|xKqRtZpWvB", "t|{}"),
        ("abcdefghijklmnopqrstuvwxyzabcdef", "{}"),
        ("{}", "{}"),
        ("größe:٣", "größe:{}"),
    ],
)
def test_numbers_and_random_parts_become_holes(custom_id, template):
    assert template_of(custom_id) == template


def test_the_random_custom_ids_of_discord_py_and_uuids_leave_nothing():
    assert {template_of(os.urandom(16).hex()) for _ in range(200)} == {"{}"}
    assert {template_of(str(uuid.uuid4())) for _ in range(200)} == {"{}"}


@given(st.text(max_size=100))
def test_a_template_is_a_series_name_without_a_digit_whatever_the_custom_id(custom_id):
    template = template_of(custom_id)
    assert valid_name(template)
    assert not any(char.isdecimal() for char in template)


def test_a_dynamic_items_pattern_is_read_with_its_groups_names():
    assert readable(r"vote:(?P<poll>[0-9]+):(?P<side>yes|no)") == "vote:{poll}:{side}"
