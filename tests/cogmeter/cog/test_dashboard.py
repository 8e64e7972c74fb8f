"""``/perf dashboard``: a link that only the user sees, with a one-time code where a token is set."""

import re
import socket
from types import SimpleNamespace

import aiohttp
import pytest

from cogmeter.web.server import login_codes

TOKEN = "a-token-of-more-than-32-characters-for-tests"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def dashboard(port):
    """The settings of a served dashboard with a token."""
    return {
        "ENABLE_ANALYTICS_DASHBOARD": "true",
        "PERFORMANCE_DASHBOARD_PORT": port,
        "PERFORMANCE_HTTP_TOKEN": TOKEN,
    }


async def requested(home, who=None):
    """The text of the answer; only the user sees it."""
    result = await (who or home.owner).slash(home.channel, "perf dashboard")
    assert result.ephemeral
    (embed,) = result.response.embeds
    assert embed.title == "Dashboard"
    return embed.description


def url_in(text):
    return re.search(r"<(http\S+?)>", text)[1]


async def pressed(url):
    """The status of the answer to the button on the link's page, and its cookie."""
    base, _, code = url.partition("/performance/open?code=")
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as page:
            assert page.status in {200, 410}
        headers = {"Origin": base, **FORM}
        async with session.post(
            f"{base}/performance/open", data={"code": code}, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Set-Cookie", "")


async def test_the_owner_gets_a_link_that_works_once(move_in, dashboard, port):
    async with move_in(**dashboard) as home:
        text = await requested(home)
        url = url_in(text)
        assert url.startswith(f"http://localhost:{port}/performance/open?code=")
        assert "It works once and expires <t:" in text
        assert f"ssh -N -L {port}:localhost:{port} user@your-server" in text
        status, cookie = await pressed(url)
        assert (status, "Max-Age=43200" in cookie) == (303, True)
        assert await pressed(url) == (410, "")
        assert home.channel.history() == []


async def test_a_stranger_gets_no_link(move_in, dashboard):
    async with move_in(**dashboard) as home:
        result = await home.stranger.slash(home.channel, "perf dashboard")
        assert result.ephemeral
        assert result.response.embeds == []
        assert "http" not in result.response.content
        servers = home.bot.get_cog("cogmeter").servers
        assert not servers._shared.guard.codes._by_user


async def test_a_link_expires_after_five_minutes(move_in, dashboard, monkeypatch):
    async with move_in(PERFORMANCE_ALERT_CHECK_INTERVAL=3600, PERFORMANCE_SAMPLE_INTERVAL=3600, **dashboard) as home:
        virtual = SimpleNamespace(perf_counter=lambda: home.env.now().timestamp())
        monkeypatch.setattr(login_codes, "time", virtual)
        url = url_in(await requested(home))
        codes = home.bot.get_cog("cogmeter").servers._shared.guard.codes
        await home.env.advance_time(299)
        assert codes.find(url.partition("code=")[2])
        await home.env.advance_time(2)
        assert await pressed(url) == (410, "")
        assert (await pressed(url_in(await requested(home))))[0] == 303


async def test_a_restart_in_between_makes_the_link_invalid_and_keeps_the_session(move_in, dashboard, port):
    async with move_in(**dashboard) as home:
        _, cookie = await pressed(url_in(await requested(home)))
        url = url_in(await requested(home))
        await home.bot.reload_extension("cogmeter.cog")
        await home.env.settle()
        assert await pressed(url) == (410, "")
        headers = {"Cookie": cookie.partition(";")[0]}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://localhost:{port}/performance", headers=headers) as page,
        ):
            assert page.status == 200


async def test_request_and_use_are_in_the_audit_log(move_in, dashboard):
    async with move_in(**dashboard) as home:
        url = url_in(await requested(home))
        await pressed(url)
        result = await home.owner.slash(home.channel, "perf thresholds audit")
        used, asked = result.response.embeds[0].description.splitlines()
    assert "**owner**: request dashboard link: valid until " in asked
    assert "**owner**: use dashboard link: requested at " in used
    assert url.partition("code=")[2] not in used + asked


async def test_the_link_leads_to_the_address_of_the_setting(move_in, dashboard):
    async with move_in(PERFORMANCE_DASHBOARD_URL="https://perf.example.com/", **dashboard) as home:
        text = await requested(home)
    assert url_in(text).startswith("https://perf.example.com/performance/open?code=")
    assert "ssh" not in text


async def test_without_a_token_the_link_needs_no_code(move_in, dashboard, port):
    del dashboard["PERFORMANCE_HTTP_TOKEN"]
    async with move_in(**dashboard) as home:
        text = await requested(home)
    assert url_in(text) == f"http://localhost:{port}/performance"
    assert "works once" not in text
    assert "It opens on the machine on which the bot runs." in text
    assert f"ssh -N -L {port}:localhost:{port} user@your-server" in text


async def test_a_dashboard_that_is_off_is_explained(move_in):
    async with move_in() as home:
        text = await requested(home)
    assert "Switch it on in `/perf setup`, or set `ENABLE_ANALYTICS_DASHBOARD=true`" in text


async def test_a_dashboard_that_could_not_start_is_explained(move_in, dashboard):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dashboard["PERFORMANCE_DASHBOARD_PORT"] = taken.getsockname()[1]
        async with move_in(**dashboard) as home:
            text = await requested(home)
    assert "The dashboard is not served now." in text
    assert "is in use" in text
