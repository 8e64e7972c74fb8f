"""The files that pages load, over a real socket."""

import gzip

import pytest

from cogmeter.web.server.assets import STATIC, STATIC_FOLDER, StaticFile, static_files

NAMES = sorted(static_files(STATIC_FOLDER))
PLAIN = {"headers": {"Accept-Encoding": "identity"}}


def test_all_that_pages_are_made_of_is_among_them():
    assert {"app.css", "app.js", "charts.js", "icon.svg", "theme.js"} <= set(NAMES)
    assert not [name for name in NAMES if name.endswith(".gz")]


def test_where_there_is_no_folder_there_are_no_files(tmp_path):
    assert static_files(tmp_path / "missing") == {}


def test_a_file_whose_text_changes_has_another_tag(tmp_path):
    path = tmp_path / "app.js"
    path.write_text("1")
    before = StaticFile.read(path)
    path.write_text("2")
    assert StaticFile.read(path).tag != before.tag


@pytest.mark.parametrize("name", ["app.css", "app.js", "icon.svg"])
async def test_they_are_sent_packed_to_who_takes_it_and_plain_to_who_does_not(served, name):
    wanted = (STATIC_FOLDER / name).read_bytes()
    async with served() as web:
        plain = await web.get(f"{STATIC}/{name}", **PLAIN)
        packed = await web.get(f"{STATIC}/{name}", headers={"Accept-Encoding": "br, gzip"})  # the client unpacks it
    assert plain.body == packed.body == wanted
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(gzip.compress(wanted, 9))
    assert plain.headers["Content-Type"].startswith(("text/css", "text/javascript", "image/svg+xml"))
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


async def test_what_the_browser_has_already_is_not_sent_again(served):
    async with served() as web:
        first = await web.get(f"{STATIC}/app.js")
        again = await web.get(f"{STATIC}/app.js", headers={"If-None-Match": first.headers["ETag"]})
        other = await web.get(f"{STATIC}/app.js", headers={"If-None-Match": '"another"'})
    assert (again.status, again.body) == (304, b"")
    assert other.status == 200
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-cache"


async def test_the_head_of_a_file_is_had_alone(served):
    async with served() as web:
        found = await web.request("HEAD", f"{STATIC}/app.js", **PLAIN)
    assert found.status == 200
    assert int(found.headers["Content-Length"]) == (STATIC_FOLDER / "app.js").stat().st_size


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing.js", "/..%2f__init__.py", "/../__init__.py", "/vendor", "/vendor/", "/%2e%2e/app.js", "/app.js/"],
)
async def test_nothing_else_is_to_be_had(served, path):
    async with served() as web:
        found = await web.get(f"{STATIC}{path}")
    assert found.status in {303, 308, 404}
    if found.status != 404:
        assert found.headers["Location"] == f"{STATIC}/app.js"
