"""Who is served, and whose changes are: token, session, origin, host name, and what every answer carries."""

import asyncio
import re
import time

import pytest
from aiohttp import hdrs

from cogmeter.web.api.routing import Route
from cogmeter.web.server.limits import RateLimit
from cogmeter.web.server.security import (
    ATTEMPTS,
    ATTEMPTS_S,
    PUBLIC,
    PUBLIC_BELOW,
    Guard,
    host_name,
    host_of_origin,
    is_public,
)

TOKEN = "a-token-of-more-than-32-characters-for-tests"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def change(monitor):
    from aiohttp import web

    return web.Response(text="changed")


@pytest.fixture
def changeable(monkeypatch):
    """Adds a route that changes something."""
    from cogmeter.web.server import app

    monkeypatch.setattr(app, "ROUTES", (*app.ROUTES, Route("POST", "/change", change, "Changes", changes=True)))


async def signed_in(web, *, token=TOKEN, **options):
    """The answer to the login form."""
    headers = {"Origin": web.url, **FORM, **options.pop("headers", {})}
    path = options.pop("path", "/performance/login")
    return await web.request("POST", path, bare=True, data={"token": token}, headers=headers, **options)


# The token ----------------------------------------------------------------------------------------------------


async def test_with_a_token_every_route_but_health_and_the_login_asks_for_it(served):
    from cogmeter.web.pages.table import PAGE_ROUTES
    from cogmeter.web.server.app import ROUTES

    async with served(http_token=TOKEN) as web:
        for route in (*ROUTES, *PAGE_ROUTES):
            path = re.sub(r"{\w+}", "1", route.path)
            if is_public(path):
                continue
            answer = await web.request(route.method, path, bare=True)
            assert answer.status == 401, route
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="cogmeter"'
            assert answer.problem["title"] == "Not signed in"


def test_nothing_is_public_but_health_status_the_login_and_static_files():
    status = ("/status", "/status.json", "/status/badge.svg")
    assert ("/health", "/favicon.ico", "/performance/login", "/performance/open", *status) == PUBLIC
    assert PUBLIC_BELOW == ("/health/", "/performance/static/")
    assert not is_public("/healthy")
    assert not is_public("/performance/login/x")
    assert not is_public("/performance/open/x")
    assert not is_public("/status/x")


@pytest.mark.parametrize(
    "path", ["/health/../openapi.json", "/health/%2e%2e/openapi.json", "//openapi.json", "/nothing"]
)
async def test_no_spelling_of_a_path_gets_around_the_token(served, path):
    from yarl import URL

    async with (
        served(http_token=TOKEN) as web,
        web.session.get(URL(web.url + path, encoded=True), allow_redirects=False) as answer,
    ):
        assert answer.status in {401, 404}
        assert "openapi" not in (await answer.text()).replace("openapi.json", "")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer é",
        "Bearer \udcff",
    ],
)
async def test_a_wrong_token_is_refused(served, header):
    async with served(http_token=TOKEN) as web:
        header = header.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        answer = await web.request("GET", "/openapi.json", bare=True, headers={"Authorization": header})
        assert answer.status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_token_is_taken(served, scheme):
    async with served(http_token=TOKEN) as web:
        answer = await web.request("GET", "/openapi.json", bare=True, headers={"Authorization": f"{scheme} {TOKEN}"})
        assert answer.status == 200


async def test_too_many_wrong_tokens_must_wait_and_the_right_one_still_passes(served):
    async with served(http_token=TOKEN) as web:
        wrong = {"Authorization": "Bearer wrong"}
        statuses = [(await web.request("GET", "/api", bare=True, headers=wrong)).status for _ in range(ATTEMPTS + 1)]
        assert statuses == [401] * ATTEMPTS + [429]
        answer = await web.request("GET", "/api", bare=True, headers=wrong)
        assert 0 < int(answer.headers["Retry-After"]) <= ATTEMPTS_S
        assert (await signed_in(web, token="wrong")).status == 429
        assert (await web.get("/openapi.json")).status == 200
        assert (await signed_in(web)).status == 303


def test_tries_are_forgotten_after_their_time_and_counted_by_address():
    now = [0.0]
    tries = RateLimit(ATTEMPTS, ATTEMPTS_S, lambda: now[0])
    assert [tries.count("a") for _ in range(ATTEMPTS)] == [0] * ATTEMPTS
    assert tries.count("a") == ATTEMPTS_S
    assert tries.count("b") == 0
    now[0] = ATTEMPTS_S
    assert tries.count("a") == 0


def test_no_more_addresses_are_remembered_than_fit():
    tries = RateLimit(ATTEMPTS, ATTEMPTS_S)
    for number in range(5_000):
        tries.count(str(number))
    assert len(tries._counted) == 1_000


# Sessions -----------------------------------------------------------------------------------------------------


async def test_the_login_page_gives_a_session_that_is_not_the_token(served):
    async with served(http_token=TOKEN) as web:
        assert "Sign in" in (await web.get("/performance/login", bare=True)).text
        answer = await signed_in(web)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert TOKEN not in cookie
        for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"):
            assert part in cookie
        assert "Secure" not in cookie
        assert (await web.get("/openapi.json", bare=True)).status == 200


async def test_behind_a_proxy_that_ends_tls_the_cookie_insists_on_it(served):
    async with served(http_token=TOKEN) as web:
        answer = await signed_in(web, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_wrong_token_in_the_form_is_reported_there(served):
    async with served(http_token=TOKEN) as web:
        answer = await signed_in(web, token="<script>")
        assert answer.status == 401
        assert "Wrong token. Use the value of PERFORMANCE_HTTP_TOKEN" in answer.text
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("&".join("a=1" for _ in range(100)), 422),
        ("token=a&" * 11, 422),
        ("token=%ff%fe", 401),
        ("token=a%00b&token=", 401),
        ("=&;%", 401),
        ("", 401),
        ("token=" + "x" * 70_000, 413),
    ],
)
async def test_no_form_is_a_fault_of_ours(served, form, status):
    async with served(http_token=TOKEN) as web:
        headers = {"Origin": web.url, **FORM}
        answer = await web.request("POST", "/performance/login", bare=True, data=form, headers=headers)
        assert answer.status == status
        assert not web.monitor.faults["web"]


@pytest.mark.parametrize(
    ("wanted", "sent_to"),
    [
        ("/performance/services?range=7d", "/performance/services?range=7d"),
        *(
            (one, "/")
            for one in ("//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\r\nX: y", "")
        ),
    ],
)
async def test_after_the_login_only_our_own_pages_are_gone_to(served, wanted, sent_to):
    async with served(http_token=TOKEN) as web:
        answer = await signed_in(web, params={"next": wanted})
        assert (answer.status, answer.headers["Location"]) == (303, sent_to)


async def test_a_page_leads_to_the_login_and_back(served):
    async with served(http_token=TOKEN) as web:
        answer = await web.get("/performance?range=7d&x=1", bare=True, headers={"Accept": "text/html"})
        assert answer.status == 303
        assert answer.headers["Location"] == "/performance/login?next=/performance%3Frange%3D7d%26x%3D1"
        page = await web.get(answer.headers["Location"], bare=True)
        action = re.search(r'action="([^"]*)"', page.text).group(1)
        answer = await signed_in(web, path=action)
        assert answer.headers["Location"] == "/performance?range=7d&x=1"


async def test_a_link_from_elsewhere_asks_again_with_the_strict_cookie(served):
    async with served(http_token=TOKEN) as web:
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site"}
        answer = await web.get('/performance?a="><script>', bare=True, headers=headers)
        assert answer.status == 200
        assert 'http-equiv="refresh" content="0; url=/performance?a=' in answer.text
        assert re.findall("<script[^>]*>", answer.text) == ['<script src="/performance/static/theme.js">']  # ours


async def test_a_forged_cut_or_old_session_is_none(served, monkeypatch):
    guard = Guard(TOKEN)
    value = guard.start_session()
    assert guard.session_of(value)
    assert Guard(TOKEN).session_of(value)  # it outlives a restart
    assert Guard(TOKEN[::-1]).session_of(value) is None
    number, _, signature = value.rpartition(".")
    later = f"{int(number.split('.')[0]) + 1}.{number.split('.')[1]}.{signature}"
    for wrong in ("", ".", "..", number, value[:-1], value + "0", later, f"é{value}", value.upper(), "9" * 5_000):
        assert guard.session_of(wrong) is None
    monkeypatch.setattr(time, "time", lambda: float(number.split(".")[0]))
    assert guard.session_of(value) is None


async def test_logging_out_ends_the_session_wherever_its_cookie_is(served):
    async with served(http_token=TOKEN) as web:
        cookie = (await signed_in(web)).headers["Set-Cookie"].partition(";")[0]
        guard = web.servers._shared.guard
        number = guard.session_of(cookie.partition("=")[2])
        headers = {"Origin": web.url, **FORM}
        refused = await web.request("POST", "/performance/logout", bare=True, data={}, headers=headers)
        assert refused.status == 403
        data = {"csrf": guard._sign("csrf", number)}
        answer = await web.request("POST", "/performance/logout", bare=True, data=data, headers=headers)
        assert (answer.status, answer.headers["Location"]) == (303, "/performance/login")
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
        assert (await web.get("/api", bare=True, headers={"Cookie": cookie})).status == 401


async def test_without_a_token_there_is_nothing_to_sign_in_to(served):
    async with served() as web:
        assert (await web.get("/performance/login")).headers["Location"] == "/"


# Changes ------------------------------------------------------------------------------------------------------


async def test_a_change_from_our_own_page_is_made(served, changeable):
    async with served() as web:
        assert (await web.send("POST", "/change")).text == "changed"
        same = {"Sec-Fetch-Site": "same-origin"}
        assert (await web.send("POST", "/change", headers=same)).text == "changed"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize("session", [False, True])
async def test_a_change_from_elsewhere_is_refused(served, changeable, headers, session):
    async with served(**({"http_token": TOKEN} if session else {})) as web:
        number = ""
        if session:
            guard = web.servers._shared.guard
            cookie = (await signed_in(web)).headers["Set-Cookie"].partition(";")[0]
            number = guard.session_of(cookie.partition("=")[2])
        csrf = web.servers._shared.guard._sign("csrf", number)
        sent = {"Origin": web.url, "X-CSRF-Token": csrf, **headers}
        answer = await web.request("POST", "/change", bare=True, headers=sent)
        assert answer.status == 403, headers
        assert (
            await web.request(
                "POST", "/change", bare=True, headers={**sent, "Origin": web.url, "Sec-Fetch-Site": "same-origin"}
            )
        ).status == 200


async def test_a_change_that_does_not_say_from_where_needs_the_token(served, changeable):
    async with served() as web:
        answer = await web.request("POST", "/change", headers={"X-CSRF-Token": web.csrf})
        assert answer.problem["status"] == 403
    async with served(http_token=TOKEN) as web:
        assert (await web.request("POST", "/change")).text == "changed"


@pytest.mark.parametrize("csrf", ["", "x", "é", "0" * 64])
async def test_a_change_without_the_pages_token_is_refused(served, changeable, csrf):
    async with served() as web:
        answer = await web.send("POST", "/change", csrf=csrf)
        assert (answer.status, "X-CSRF-Token" in answer.problem["detail"]) == (403, True)


async def test_a_pages_token_is_its_sessions_own(served, changeable):
    async with served(http_token=TOKEN) as web:
        guard = web.servers._shared.guard
        other = guard.session_of(guard.start_session())
        await signed_in(web)
        headers = {"Origin": web.url, "X-CSRF-Token": guard._sign("csrf", other)}
        assert (await web.request("POST", "/change", bare=True, headers=headers)).status == 403


def test_without_a_token_pages_of_an_earlier_start_are_too_old():
    assert Guard(None)._sign("csrf", "") != Guard(None)._sign("csrf", "")


# Where it is asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:3000", "[::1]"])
async def test_without_a_token_this_machines_names_are_served(served, host):
    async with served() as web:
        assert (await web.get("/openapi.json", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", "0.0.0.0", "127.1", ""),
        *("[", "[::1", "::1", "[localhost]", "[127.0.0.1]", "[::ffff:127.0.0.1]", "[::1%25lo]", "2130706433"),
        *(
            "[::1].evil",
            "[::1]evil.example:80",
            "[::1]@evil.example",
            "a@b",
            "evil@localhost",
            "localhost@evil.example",
        ),
        *("localhost:", "localhost:80:80", "localhost:evil", "localhost:80.evil.example", "localhost."),
        *("localhost/.evil.example", "localhost?.evil.example", "localhost#.evil.example", "localhost\\.evil.example"),
        *("local\thost", "localhost,evil.example", "localhost evil.example", "http://localhost"),
    ],
)
async def test_without_a_token_no_other_name_is(served, host):
    async with served() as web:
        for path in ("/openapi.json", "/health", "/nothing"):
            assert (await web.get(path, headers={"Host": host})).status == 403


async def test_with_a_token_any_name_is(served):
    async with served(http_token=TOKEN) as web:
        assert (await web.get("/openapi.json", headers={"Host": "perf.example"})).status == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"])
async def test_a_proxy_needs_the_token(served, name):
    async with served() as web:
        assert (await web.get("/openapi.json", headers={name: "10.0.0.1"})).status == 403
    async with served(http_token=TOKEN) as web:
        assert (await web.get("/openapi.json", headers={name: "10.0.0.1"})).status == 200


async def test_without_a_token_another_sites_page_gets_nothing_and_a_link_from_it_does(served):
    async with served() as web:
        for mode, status in (("no-cors", 403), ("cors", 403), ("navigate", 200)):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
            assert (await web.get("/api/performance/dashboard", headers=headers)).status == status
        assert (await web.get("/openapi.json", headers={"Sec-Fetch-Site": "same-origin"})).status == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
        "GET /openapi.json HTTP/1.1\r\nHost: evil.example\r\nHost: localhost",
        "GET http://evil.example/openapi.json HTTP/1.1\r\nHost: localhost",
        "GET /openapi.json HTTP/1.0",
    ],
)
async def test_without_a_token_two_hosts_or_none_are_refused(served, head):
    async with served() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(web.url.rpartition(":")[2]))
        writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        await writer.wait_closed()
    assert status in {400, 403}


def test_a_host_name_is_read_without_port_and_brackets():
    assert host_name("[::1]:80") == "::1"
    assert host_name("LocalHost:80") == "localhost"
    assert host_name("perf_1.example") == "perf_1.example"
    assert host_name("[") is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("HTTPS://Perf.Example", "perf.example"),
        ("http://[::1]:80", "[::1]:80"),
        *((odd, None) for odd in ("null", "", "://localhost", "localhost", "file://localhost", "data://localhost")),
        *(
            (odd, None)
            for odd in ("http://localhost/", "http://a@localhost", "http://[::1].evil", "http://", "http:///x")
        ),
    ],
)
def test_the_host_of_an_origin_is_read_and_odd_ones_have_none(origin, host):
    assert host_of_origin(origin) == host


# What every answer carries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/api", "/nothing", "/health", "/performance/login", "/", "/api?x=1"]
)
@pytest.mark.parametrize("token", [None, TOKEN])
async def test_every_answer_is_guarded_and_names_no_version(served, path, token):
    async with served(**({"http_token": token} if token else {})) as web:
        for bare in (False, True):
            answer = await web.get(path, bare=bare)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers[hdrs.SERVER] == "cogmeter"
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_token_is_in_no_log_and_no_answer(served, caplog):
    caplog.set_level("DEBUG")
    async with served(http_token=TOKEN) as web:
        await signed_in(web)
        for path in ("/openapi.json", "/api", "/performance/login", "/nothing"):
            assert TOKEN not in (await web.get(path)).text
        await web.get(f"/api?token={TOKEN}")
    assert TOKEN not in caplog.text
