"""One-time codes: random, kept as hashes, valid once and for five minutes; the page that uses them; the audit log."""

import re
import time
from types import SimpleNamespace

import pytest

from cogmeter.web.server import login_codes
from cogmeter.web.server.login_codes import MOST, SESSION_S, VALID_S, LoginCodes
from cogmeter.web.server.security import ATTEMPTS
from cogmeter_storage.base import StorageError

TOKEN = "a-token-of-more-than-32-characters-for-tests"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OPEN = "/performance/open"


@pytest.fixture
def now(monkeypatch):
    """The clock of the codes, as a list of one number."""
    now = [1_000.0]
    monkeypatch.setattr(login_codes, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def link_of(web, user=1, actor="alice"):
    """The path and code of a new link."""
    url = web.servers.dashboard_link(user, actor).url
    assert url.startswith(f"http://localhost:{web.url.rpartition(':')[2]}{OPEN}?code=")
    return url[url.index(OPEN) :], url.partition("code=")[2]


async def pressed(web, code, **options):
    """The answer to the button of the link's page."""
    headers = {"Origin": web.url, **FORM, **options.pop("headers", {})}
    return await web.request("POST", OPEN, bare=True, data={"code": code}, headers=headers, **options)


async def test_a_restart_of_the_servers_ends_no_code_and_opens_no_ended_session(served):
    async with served(http_token=TOKEN) as web:
        guard, (path, code) = web.servers._shared.guard, link_of(web)
        ended = guard.start_session()
        guard._ended[ended.rpartition(".")[0]] = 0.0
        await web.servers.follow({"dashboard_port"})
        assert (await web.get(path, bare=True)).status == 200
        assert (await pressed(web, code)).status == 303
        assert web.servers._shared.guard.session_of(ended) is None


# The codes ----------------------------------------------------------------------------------------------------


def test_a_code_has_192_random_bits_and_is_kept_only_as_a_hash():
    codes = LoginCodes()
    code = codes.issue(1, "alice")
    assert re.fullmatch("[0-9a-f]{48}", code)
    assert code not in repr(codes._by_user)
    assert code != codes.issue(1, "alice")


def test_a_code_can_be_found_often_and_used_once():
    codes = LoginCodes()
    code = codes.issue(1, "alice")
    assert codes.find(code).actor == "alice"
    assert codes.find(code) is not None
    assert codes.use(code).actor == "alice"
    assert codes.use(code) is None
    assert codes.find(code) is None


def test_a_code_expires(now):
    codes = LoginCodes()
    code = codes.issue(1, "alice")
    now[0] += VALID_S - 1
    assert codes.find(code)
    now[0] += 1
    assert codes.use(code) is None
    assert not codes._by_user


def test_a_users_new_code_replaces_the_old_one_and_nobody_elses():
    codes = LoginCodes()
    first, other, second = codes.issue(1, "alice"), codes.issue(2, "bob"), codes.issue(1, "alice")
    assert codes.find(first) is None
    assert codes.find(second).actor == "alice"
    assert codes.find(other).actor == "bob"


def test_the_number_of_codes_is_bounded():
    codes = LoginCodes()
    issued = [codes.issue(user, "x") for user in range(MOST + 5)]
    assert len(codes._by_user) == MOST
    assert codes.find(issued[0]) is None
    assert codes.find(issued[-1])


@pytest.mark.parametrize("wrong", ["", "x", "0" * 48, "é", "\udcff"])
def test_an_unknown_code_is_none(wrong):
    codes = LoginCodes()
    codes.issue(1, "alice")
    assert codes.find(wrong) is None
    assert codes.use(wrong) is None


# The page -----------------------------------------------------------------------------------------------------


async def test_a_link_opens_the_dashboard_after_a_press_on_its_button(served):
    async with served(http_token=TOKEN) as web:
        path, code = link_of(web)
        page = await web.get(path, bare=True)
        assert page.status == 200
        assert f'name="code" value="{code}"' in page.text
        assert "Set-Cookie" not in page.headers
        answer = await pressed(web, code)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        for part in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_S}"):
            assert part in cookie
        assert "Secure" not in cookie
        assert code not in cookie
        assert (await web.get("/openapi.json", bare=True)).status == 200


async def test_crawlers_and_prefetches_leave_the_code_valid(served):
    async with served(http_token=TOKEN) as web:
        path, code = link_of(web)
        for headers in (
            {"User-Agent": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"},
            {"Sec-Purpose": "prefetch", "Purpose": "prefetch"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ):
            assert (await web.get(path, bare=True, headers=headers)).status == 200
            assert (await web.request("HEAD", path, bare=True, headers=headers)).status == 200
        assert (await pressed(web, code)).status == 303


async def test_a_code_that_is_used_expired_or_unknown_gets_a_page_with_the_next_step(served, now):
    async with served(http_token=TOKEN) as web:
        path, used = link_of(web)
        assert (await pressed(web, used)).status == 303
        old_path, expired = link_of(web)
        now[0] += VALID_S
        for code, to in ((used, path), (expired, old_path), ("f" * 48, f"{OPEN}?code={'f' * 48}"), ("", OPEN)):
            for answer in (await pressed(web, code), await web.get(to, bare=True)):
                assert answer.status == 410
                assert "Use <code>/perf dashboard</code> in Discord" in answer.text
                assert "Set-Cookie" not in answer.headers
                assert "<form" not in answer.text


async def test_guessed_codes_must_wait_and_a_valid_one_still_passes(served):
    async with served(http_token=TOKEN) as web:
        path, code = link_of(web)
        statuses = [(await pressed(web, f"{number:048x}")).status for number in range(ATTEMPTS + 1)]
        assert statuses == [410] * ATTEMPTS + [429]
        assert (await web.get(f"{OPEN}?code=x", bare=True)).status == 429
        assert (await web.get(path, bare=True)).status == 200
        assert (await pressed(web, code)).status == 303


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_a_press_on_another_sites_page_is_refused_and_the_code_stays_valid(served, headers):
    async with served(http_token=TOKEN) as web:
        _, code = link_of(web)
        assert (await pressed(web, code, headers=headers)).status == 403
        assert (await pressed(web, code)).status == 303


@pytest.mark.parametrize("headers", [{"X-Forwarded-Proto": "https"}, {"Host": "perf.example.com"}])
async def test_behind_https_the_cookie_insists_on_it(served, headers):
    async with served(http_token=TOKEN, dashboard_url="https://perf.example.com") as web:
        code = web.servers.dashboard_link(1, "alice").url.partition("code=")[2]
        headers = {"Origin": f"https://{headers['Host']}"} | headers if "Host" in headers else headers
        answer = await pressed(web, code, headers=headers)
        assert answer.status == 303
        assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_session_ends_after_twelve_hours_and_outlives_a_restart(served, monkeypatch):
    async with served(http_token=TOKEN) as web:
        _, code = link_of(web)
        value = (await pressed(web, code)).headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    async with served(http_token=TOKEN) as web:
        guard = web.servers._shared.guard
        assert guard.session_of(value)
        assert guard.codes.find(code) is None
        ended = time.time() + SESSION_S
        monkeypatch.setattr(time, "time", lambda: ended)
        assert guard.session_of(value) is None


async def test_a_restart_makes_codes_invalid(served):
    async with served(http_token=TOKEN) as web:
        path, code = link_of(web)
    async with served(http_token=TOKEN) as web:
        assert (await web.get(path, bare=True)).status == 410
        assert (await pressed(web, code)).status == 410


async def test_the_use_of_a_link_is_audited(served):
    async with served(http_token=TOKEN) as web:
        _, code = link_of(web)
        await pressed(web, code)
        (entry,) = await web.monitor.store.alerting.audit()
        assert (entry.actor, entry.action, entry.subject) == ("alice", "use", "dashboard link")
        assert re.fullmatch(r"requested at \S+Z, session until \S+Z", entry.after)
        assert code not in entry.after


async def test_a_failing_database_does_not_keep_the_owner_out(served, monkeypatch, caplog):
    async def fails(_):
        raise StorageError("disk full", permanent=False)

    async with served(http_token=TOKEN) as web:
        monkeypatch.setattr(web.monitor.store.alerting, "add_audit", fails)
        _, code = link_of(web)
        assert (await pressed(web, code)).status == 303
    assert "alice: use dashboard link" in caplog.text


async def test_without_a_token_no_code_is_needed(served):
    async with served() as web:
        link = web.servers.dashboard_link(1, "alice")
        port = web.url.rpartition(":")[2]
        assert link.url == f"http://localhost:{port}/performance"
        assert link.valid_until_us is None
        assert link.here
        assert link.tunnel == f"ssh -N -L {port}:localhost:{port} user@your-server"
        assert (await web.get(f"{OPEN}?code=x")).headers["Location"] == "/"
        answer = await web.request("POST", OPEN, data={"code": "x"}, headers={"Origin": web.url, **FORM})
        assert answer.headers["Location"] == "/"


async def test_the_link_uses_the_address_of_the_setting(served):
    async with served(http_token=TOKEN, dashboard_url="https://Perf.example.com/performance/") as web:
        link = web.servers.dashboard_link(1, "alice")
        assert link.url.startswith("https://perf.example.com/performance/open?code=")
        assert not link.here


async def test_an_address_that_needs_the_token_is_a_finding_without_it(served):
    async with served(dashboard_url="https://perf.example.com") as web:
        assert web.servers.dashboard_link(1, "alice").here
        (finding,) = [one for one in web.servers.findings() if not one.well]
        assert "PERFORMANCE_DASHBOARD_URL=https://perf.example.com cannot be used" in finding.text
        assert "PERFORMANCE_HTTP_TOKEN" in finding.advice
    async with served(dashboard_url="http://localhost:8080") as web:  # a tunnel from another port
        assert web.servers.dashboard_link(1, "alice").url == "http://localhost:8080/performance"
        assert all(one.well for one in web.servers.findings())


async def test_a_code_is_in_no_log(served, caplog):
    caplog.set_level("DEBUG")
    async with served(http_token=TOKEN) as web:
        path, code = link_of(web)
        await web.get(path, bare=True)
        await pressed(web, code)
        await pressed(web, code)
    assert code not in caplog.text
