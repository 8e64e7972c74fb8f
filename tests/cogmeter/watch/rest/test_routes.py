"""Names of requests contain no id, token or emoji, whoever made the route, and are short enough."""

from __future__ import annotations

import inspect
import re

import pytest
from discord import http
from discord.webhook import async_
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.watch.rest.rest import operation_name

ID = "123456789012345678"


@pytest.mark.parametrize("module", [http, async_])
def test_every_route_of_discord_py_keeps_its_template(module):
    templates = re.findall(r"Route\(\s*'(\w+)',\s*'(/[^']*)'", inspect.getsource(module))
    assert len(templates) > 10
    for method, path in templates:
        assert operation_name(method, path) == f"{method} {path}"[:100]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"/channels/{ID}/messages/{ID}", "/channels/{id}/messages/{id}"),
        (
            f"/channels/{ID}/messages/{ID}/reactions/%F0%9F%91%8D/@me",
            "/channels/{id}/messages/{id}/reactions/{emoji}/@me",
        ),
        (f"/webhooks/{ID}/a-token_1", "/webhooks/{id}/{token}"),
        (f"/webhooks/{ID}/a-token_1/messages/@original", "/webhooks/{id}/{token}/messages/@original"),
        (f"/webhooks/{ID}", "/webhooks/{id}"),
        (f"/interactions/{ID}/aW50ZX:J/callback", "/interactions/{id}/{token}/callback"),
        ("/webhooks/{webhook_id}/a-token_1", "/webhooks/{webhook_id}/{token}"),
        ("/invites/abc", "/invites/{code}"),
        ("/users/@me", "/users/@me"),
    ],
)
def test_ids_tokens_and_codes_in_a_path_become_placeholders(path, name):
    assert operation_name("GET", path) == f"GET {name}"


@given(st.text(min_size=1, alphabet=st.characters(exclude_characters="/{}", min_codepoint=33, max_codepoint=126)))
def test_no_token_of_any_shape_survives(token):
    for path in (f"/webhooks/{ID}/{token}", f"/interactions/{ID}/{token}/callback"):
        assert operation_name("POST", path).split("/")[2:4] == ["{id}", "{token}"]


def test_a_long_path_is_cut():
    assert len(operation_name("GET", "/a" * 100)) == 100
