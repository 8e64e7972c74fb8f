"""The example bot's web pages: fetched within limits, and read from any HTML."""

import asyncio

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.services import web as service
from cogmeter_bot.services.web import extract, read

PAGE = """<!doctype html><html><head><title>A  page &amp; more</title><style>p { color: red }</style></head>
<body><h1>Hello</h1><script>alert("no")</script><p>World,
again.</p><a href="/next">on</a><a href="mailto:a@b.c">mail</a><a href="/next">same</a></body></html>"""


@pytest.fixture
async def site():
    """A web server on loopback; gives its address."""

    async def page(_):
        return web.Response(text=PAGE, content_type="text/html")

    async def away(request):
        raise web.HTTPFound(request.query["to"])

    async def circle(_):
        raise web.HTTPFound("/circle")

    async def endless(_):
        return web.Response(body=b"a" * (service.MAX_BYTES + 1000), content_type="text/plain")

    async def image(_):
        return web.Response(body=b"\x89PNG", content_type="image/png")

    async def slow(_):
        await asyncio.sleep(1)

    app = web.Application()
    for handler in (page, away, circle, endless, image, slow):
        app.router.add_get(f"/{handler.__name__}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def test_a_page_is_its_title_its_visible_text_and_its_links():
    page = extract(PAGE, "https://example.org/here")
    assert page.title == "A page & more"
    assert page.text == "Hello World, again. on mail same"
    assert page.links == ("https://example.org/next",)


@given(st.text(alphabet=st.sampled_from("<>/=\"'!- abc&;titlescr\n")))
def test_broken_html_never_fails(html):
    extract(html, "https://example.org/")


async def test_a_page_is_fetched_and_read(site):
    assert (await read(f"{site}/page", private=True)).title == "A page & more"


async def test_a_redirect_is_followed(site):
    assert (await read(f"{site}/away?to=/page", private=True)).title == "A page & more"


async def test_a_circle_of_redirects_ends(site):
    with pytest.raises(UserInputError, match="redirects more than"):
        await read(f"{site}/circle", private=True)


async def test_only_the_beginning_of_an_endless_page_is_read(site):
    assert len((await read(f"{site}/endless", private=True)).text) == service.MAX_BYTES


@pytest.mark.parametrize(
    ("path", "reason"), [("/image", "image/png"), ("/none", "could not be read")], ids=["no text", "not found"]
)
async def test_what_cannot_be_read_is_refused_with_the_reason(site, path, reason):
    with pytest.raises(UserInputError, match=reason):
        await read(site + path, private=True)


async def test_a_page_that_does_not_answer_in_time_is_an_error(site, monkeypatch):
    monkeypatch.setattr(service, "TIMEOUT_S", 0.2)
    with pytest.raises(UserInputError, match="in time"):
        await read(f"{site}/slow", private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "0x7f.1", "0.0.0.0", "[::ffff:7f00:1]"],
)
async def test_an_address_inside_the_own_network_is_refused(host):
    with pytest.raises(UserInputError, match="public internet"):
        await read(f"http://{host}:9/")


@pytest.mark.parametrize("url", ["ftp://example.org/", "example.org", "http://", "file:///etc/passwd", "http://[x"])
async def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(UserInputError, match="address"):
        await read(url)
