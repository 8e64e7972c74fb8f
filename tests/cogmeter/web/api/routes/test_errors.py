"""Error groups over HTTP: lists, stacks, resolving and muting, and the groups of failures with a text."""

import pytest
from factories import make_errors

from cogmeter.query.query import now_us
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import Marker

PATH = "/api/performance/error-groups"
SECOND_US = 1_000_000
SECRET = "123456789012345678"


@pytest.fixture
def failing(served, stored):
    """Opens a served monitor with three error groups: the newest first, they are failed, logged and unhandled."""

    class Opened:
        async def __aenter__(self):
            self._web = served()
            web = await self._web.__aenter__()
            at_us = now_us()
            metadata = {"error_group": "000000000000000a"}
            await stored(web, ("knowledge-graph", "query", 0.01, 5, 1, "ValueError: no node a", metadata))
            await web.monitor.store.add_marker(Marker(at_us - 60 * SECOND_US, "version", "version 1.4"))
            kinds = zip("abc", ErrorKind, strict=True)
            await web.monitor.store.errors.add(
                [
                    make_errors(name, at_us - place * 50 * SECOND_US, count=place + 1, kind=kind)
                    for place, (name, kind) in enumerate(kinds)
                ]
            )
            return web

        async def __aexit__(self, *error):
            await self._web.__aexit__(*error)

    return Opened


async def test_groups_have_place_people_and_trend_and_the_new_ones_are_marked(failing):
    async with failing() as web:
        page = (await web.get(PATH)).json()
    first = page["groups"][-1]
    assert [group["kind"] for group in page["groups"]] == ["unhandled", "logged", "failed"]  # 3, 2 and 1 of them
    assert [group["isNew"] for group in page["groups"]] == [False, True, True]
    assert first["place"] == {"file": "cogs/graph.py", "function": "Graph.a", "line": 42, "own": True}
    assert (first["type"], first["message"], first["users"], first["guilds"]) == ("ValueError", "no node a", 2, 1)
    assert (first["count"], first["trend"][-1], len(first["trend"]), first["previousCount"]) == (1, 1, 14, 0)
    assert first["operations"] == [{"service": "knowledge-graph", "operation": "query", "count": 1}]
    assert (page["deploy"]["name"], page["next"]) == ("version 1.4", None)


async def test_pages_lead_to_the_end_and_filters_narrow(failing):
    async with failing() as web:
        whole = (await web.get(PATH)).json()["groups"]
        found, cursor = [], ""
        while cursor is not None:
            page = (await web.get(f"{PATH}?limit=1{cursor}")).json()
            found += page["groups"]
            cursor = page["next"] and f"&cursor={page['next']}"
        logged = (await web.get(f"{PATH}?kinds=logged,unhandled&resolved=false")).json()["groups"]
        assert (await web.get(f"{PATH}?services=knowledge-grap")).status == 404
        assert (await web.get(f"{PATH}?services=knowledge-graph&operation=quer")).status == 404
        assert (await web.get(f"{PATH}?kinds=lost")).status == 422
        assert (await web.get(f"{PATH}?resolved=true")).json()["groups"] == []
    assert found == whole
    assert [group["kind"] for group in logged] == ["unhandled", "logged"]


async def test_a_group_has_its_stacks_with_the_chain_of_causes(failing):
    async with failing() as web:
        detail = (await web.get(f"{PATH}/1")).json()
        unknown = await web.get(f"{PATH}/9")
    (example,) = detail["examples"]
    assert [link["type"] for link in example["chain"]] == ["ValueError", "KeyError"]
    assert [frame["own"] for frame in example["chain"][0]["frames"]] == [False, True]
    assert (example["version"], detail["runningVersion"]) == ("1.4", "1.4")
    assert unknown.status == 404
    assert unknown.problem["title"] == "Unknown error group"


async def test_resolving_and_muting_are_audited_with_who_did_it(failing):
    async with failing() as web:
        resolved = (await web.send("POST", f"{PATH}/1/resolve")).json()
        again = (await web.send("POST", f"{PATH}/1/resolve", json={})).json()
        muted = (await web.send("POST", f"{PATH}/2/mute", json={"seconds": 3600})).json()
        unmuted = (await web.send("POST", f"{PATH}/2/mute", json={"seconds": None})).json()
        audit = (await web.get("/api/performance/audit")).json()["entries"]
    assert (resolved["resolved"], resolved["resolvedBy"]) == (True, "dashboard")
    assert again["resolvedAt"] == resolved["resolvedAt"]
    assert muted["mutedUntil"] is not None
    assert unmuted["mutedUntil"] is None
    assert [(entry["action"], entry["actor"]) for entry in audit] == [
        ("unmute error", "dashboard"),
        ("mute error", "dashboard"),
        ("resolve error", "dashboard"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("9/resolve", None, 404), ("9/mute", {"seconds": 60}, 404), ("1/mute", {}, 422), ("1/mute", {"seconds": 1}, 422)],
)
async def test_a_change_that_is_not_possible_is_refused(failing, path, body, status):
    async with failing() as web:
        assert (await web.send("POST", f"{PATH}/{path}", json=body)).status == status
        assert (await web.get("/api/performance/audit")).json()["entries"] == []


async def test_a_change_needs_the_token_of_the_page(failing):
    async with failing() as web:
        assert (await web.send("POST", f"{PATH}/1/resolve", csrf="wrong")).status == 403


async def test_failures_with_a_text_name_their_group_and_keep_their_figures(failing, stored):
    async with failing() as web:
        await stored(web, ("knowledge-graph", "query", 0, 5, 1, "something else", None))
        groups = {group["error"]: group for group in (await web.get("/api/performance/errors")).json()["groups"]}
    known, other = groups["ValueError: no node a"], groups["something else"]
    assert (known["count"], known["outcome"], known["example"]["error"]) == (1, "error", "ValueError: no node a")
    assert (known["groupId"], known["type"], known["kind"], known["users"]) == (1, "ValueError", "failed", 2)
    assert (known["place"]["file"], known["isNew"], known["resolved"]) == ("cogs/graph.py", True, False)
    gained = ("groupId", "type", "place", "kind", "users", "guilds", "firstSeen", "lastSeen", "isNew", "resolved")
    assert [other[name] for name in gained] == [None] * len(gained)


async def test_ids_are_hidden_in_every_text_of_a_group(served):
    async with served() as web:
        batch = make_errors(SECRET, now_us(), type=f"T{SECRET}", message=SECRET, version=SECRET)
        await web.monitor.store.errors.add([batch])
        for path in (PATH, f"{PATH}/1"):
            answer = await web.get(path)
            assert answer.status == 200
            assert SECRET not in answer.text.replace(f"T{SECRET}", "")
