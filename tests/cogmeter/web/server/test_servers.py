"""Which servers there are, that a port in use harms nothing else, and that all of it ends on request."""

import asyncio
import errno
import re
import socket
from contextlib import suppress

import aiohttp
import pytest

from cogmeter.settings import Settings
from cogmeter.web.api.routing import Route
from cogmeter.web.server import limits
from cogmeter.web.server.servers import ServerPlan, is_loopback, plans, url_host

TOKEN = "a-token-of-more-than-32-characters-for-tests"


async def until(condition):
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be")


def listener(port=0):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    one.listen()
    return one


def free_ports(count):
    held = [listener() for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


# Which ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "environ", "wanted"),
    [
        ({}, {}, []),
        ({}, {"PORT": "80", "SERVER_PORT": "81"}, []),
        ({"http_port": 3000}, {}, [(3000, False)]),
        ({"http_port": 3000}, {"PORT": "80"}, [(3000, False)]),
        ({"analytics_dashboard": True}, {}, [(3001, True)]),
        ({"analytics_dashboard": True, "http_port": 3000}, {}, [(3000, False), (3001, True)]),
        ({"analytics_dashboard": True, "http_port": 3001}, {}, [(3001, True)]),
        ({"analytics_dashboard": True}, {"SERVER_PORT": "81", "PORT": "80"}, [(81, True)]),
        ({"analytics_dashboard": True}, {"PORT": "80"}, [(80, True)]),
        ({"analytics_dashboard": True, "dashboard_port": 4000}, {"PORT": "80"}, [(80, False), (4000, True)]),
        ({"analytics_dashboard": True, "http_port": 3000}, {"PORT": "80"}, [(3000, False), (3001, True)]),
        *(
            ({"analytics_dashboard": True}, {"PORT": text}, [(3001, True)])
            for text in ("", "x", "0", "65536", "-1", "٣")
        ),
    ],
)
def test_servers_follow_the_settings_and_a_bot_hosts_port(settings, environ, wanted):
    assert [(one.port, one.pages) for one in plans(Settings(**settings), environ)] == wanted


def test_an_invalid_port_of_a_bot_host_is_logged(caplog):
    plans(Settings(analytics_dashboard=True), {"PORT": "tcp://x"})
    assert caplog.messages == ["PORT=tcp://x is not a port, and is ignored. Use a number from 1 to 65535"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_is_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", "localhost.example.org", "", "127.1"])
def test_anything_else_is_no_loopback(host):
    assert not is_loopback(host)


def test_addresses_are_ones_that_a_browser_opens():
    hosts = ("0.0.0.0", "127.0.0.1", "localhost", "fe80::1", "10.0.0.1", "::1", "::")
    assert [url_host(host) for host in hosts] == [
        "localhost",
        "localhost",
        "localhost",
        "[fe80::1]",
        "10.0.0.1",
        "[::1]",
        "[::1]",
    ]
    assert ServerPlan(1, "X", pages=False).content == "API, health and metrics"


# Starting ---------------------------------------------------------------------------------------------------------


async def test_nothing_listens_and_nothing_is_loaded_in_a_host_that_does_not_ask_for_it(serving):
    async with serving(environ={"PORT": "80"}) as web:
        await web.servers.start()
        assert (web.servers.addresses, web.servers.findings()) == ([], [])
        assert web.servers._shared is None


async def test_two_ports_are_two_servers_and_the_dashboards_serves_the_api_too(serving):
    api, dashboard = free_ports(2)
    async with serving(http_port=api, dashboard_port=dashboard, analytics_dashboard=True) as web:
        await web.servers.start()
        assert web.servers.addresses == [f"http://localhost:{dashboard}/performance", f"http://localhost:{api}/api"]
        assert [one.well for one in web.servers.findings()] == [True, True]
        for port in (api, dashboard):
            async with web.session.get(f"http://127.0.0.1:{port}/openapi.json") as answer:
                assert answer.status == 200
        for port, home in ((api, "/api"), (dashboard, "/performance")):
            async with web.session.get(f"http://127.0.0.1:{port}/", allow_redirects=False) as answer:
                assert answer.headers["Location"] == home


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_an_open_address_without_a_token_does_not_start_and_says_so(serving, caplog, host):
    (port,) = free_ports(1)
    async with serving(http_port=port, http_host=host) as web:
        await web.servers.start()
        (found,) = web.servers.findings()
        assert (found.well, web.servers.addresses) == (False, [])
        assert f"PERFORMANCE_HTTP_HOST={host}" in found.text
        assert "PERFORMANCE_HTTP_TOKEN to 32 or more" in found.advice
        assert f"PERFORMANCE_HTTP_HOST={host}" in caplog.text
        with pytest.raises(aiohttp.ClientConnectionError):
            await web.get("/health")


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
async def test_other_words_for_this_machine_are_served_without_a_token(serving, needed, host):
    needed(host == "localhost" or has_ipv6(), "IPv6")
    (port,) = free_ports(1)
    async with serving(http_port=port, http_host=host) as web:
        await web.servers.start()
        (address,) = web.servers.addresses
        assert address == f"http://{'localhost' if host == 'localhost' else '[::1]'}:{port}/api"
        async with web.session.get(address) as answer:
            assert answer.status == 200


def has_ipv6():
    with suppress(OSError), socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", 0))
        return True
    return False


async def test_an_open_address_with_a_token_is_served(serving):
    (port,) = free_ports(1)
    async with serving(http_port=port, http_host="0.0.0.0", http_token=TOKEN) as web:
        await web.servers.start()
        assert (await web.get("/openapi.json")).status == 200
        assert (await web.get("/openapi.json", bare=True)).status == 401


async def test_a_port_in_use_is_reported_once_and_used_when_it_is_free(serving, caplog, monkeypatch):
    monkeypatch.setattr("cogmeter.web.server.servers.RETRY_S", (0.01,))
    with listener() as other:
        port = other.getsockname()[1]
        async with serving(http_port=port) as web:
            await web.servers.start()
            (found,) = web.servers.findings()
            assert (found.well, web.servers.addresses) == (False, [])
            assert found.text == f"PERFORMANCE_HTTP_PORT={port} on 127.0.0.1 is in use"
            await asyncio.sleep(0.1)  # some more tries
            assert caplog.text.count("is in use") == 1
            other.close()
            await until(lambda: web.servers.addresses)
            assert (await web.get("/openapi.json")).status == 200
            assert [one.well for one in web.servers.findings()] == [True]


async def test_a_server_that_still_tries_can_be_stopped(serving):
    with listener() as other:
        async with serving(http_port=other.getsockname()[1]) as web:
            await web.servers.start()
            await web.servers.stop()
            assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("cogmeter web")]


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "http://localhost", "two..dots", "x" * 80])
async def test_an_address_of_another_machine_is_reported(serving, caplog, host):
    (port,) = free_ports(1)
    async with serving(http_port=port, http_host=host, http_token=TOKEN) as web:
        await web.servers.start()
        (found,) = web.servers.findings()
        assert found.text.startswith(f"PERFORMANCE_HTTP_HOST={host} is not an address of this machine: ")
        assert found.text in caplog.text
        assert found.advice == "cogmeter retries by itself. To fix it, change PERFORMANCE_HTTP_HOST"


async def test_a_port_that_needs_an_administrator_is_reported(serving, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    (port,) = free_ports(1)
    async with serving(http_port=port) as web:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_server", refused)  # a test may run as root
        await web.servers.start()
        (found,) = web.servers.findings()
        assert found.text == f"cannot listen on PERFORMANCE_HTTP_PORT={port} on 127.0.0.1: Permission denied"
        assert found.advice.endswith("change PERFORMANCE_HTTP_PORT")


async def test_a_web_that_cannot_be_built_harms_nobody(serving, monkeypatch, caplog):
    def broken(shared, *, pages):
        raise RuntimeError("a template is missing")

    monkeypatch.setattr("cogmeter.web.server.app.build", broken)
    (port,) = free_ports(1)
    async with serving(http_port=port) as web:
        await web.servers.start()
        assert web.monitor.faults["web"] == 1
        assert not web.servers.findings()[0].well
        assert "a template is missing" in caplog.text
        await web.servers.stop()
        assert "did not stop" not in caplog.text
        assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("cogmeter web")]


async def test_a_stopped_server_can_be_started_again_on_its_port(served):
    async with served() as web:
        for _ in range(3):
            assert (await web.get("/openapi.json")).status == 200
            await web.servers.stop()
            with pytest.raises(aiohttp.ClientConnectionError):
                await web.get("/openapi.json")
            await web.servers.start()


# Limits -----------------------------------------------------------------------------------------------------------


async def endless(monitor, request):
    from aiohttp import web

    from cogmeter.web.api.routing import CONTEXT

    with request.app[CONTEXT].shared.streams.reserve():
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            await asyncio.sleep(0)


async def quiet(monitor, request):
    from aiohttp import web

    from cogmeter.web.api.routing import CONTEXT

    streams = request.app[CONTEXT].shared.streams
    with streams.reserve():
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"hello")
        await streams.ended.wait()
        await response.write(b"bye")
    return response


@pytest.fixture
def streaming(monkeypatch):
    from cogmeter.web.server import app

    routes = (Route("GET", "/endless", endless, "Floods"), Route("GET", "/quiet", quiet, "Waits"))
    monkeypatch.setattr(app, "ROUTES", (*app.ROUTES, *routes))


async def test_open_streams_end_with_the_servers(served, streaming):
    async with served() as web:
        async with web.session.get(web.url + "/quiet") as polite, web.session.get(web.url + "/endless") as rude:
            assert await polite.content.readexactly(5) == b"hello"
            await rude.content.readexactly(5)
            await asyncio.wait_for(web.servers.stop(), 20)
            assert await polite.content.read() == b"bye"
            with pytest.raises(aiohttp.ClientError):
                await rude.content.read()
        assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("cogmeter web")]


async def test_no_more_streams_are_open_than_may(served, streaming):
    async with served() as web:
        web.servers._shared.streams.most = 2
        async with web.session.get(web.url + "/quiet") as one, web.session.get(web.url + "/quiet") as two:
            assert (one.status, two.status) == (200, 200)
            refused = await web.get("/quiet")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
            one.close()
            await until(lambda: web.servers._shared.streams.open == 1)
            async with web.session.get(web.url + "/quiet") as three:
                assert three.status == 200


async def test_no_more_connections_are_served_than_may(served, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    async with served() as web:
        port = int(web.url.rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 503 ")
        writer.close()
        for _, other in held:
            other.close()
        server = web.servers._listeners[0].runner.server
        await until(lambda: len(server.connections) < 3)
        assert (await web.get("/openapi.json")).status == 200


async def test_a_client_that_takes_nothing_is_cut(served, streaming, monkeypatch):
    monkeypatch.setattr(limits, "SWEEP_S", 0.02)
    monkeypatch.setattr(limits, "STUCK_S", 0.1)
    async with served() as web:
        port = int(web.url.rpartition(":")[2])
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
        writer.write(f"GET /endless HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        server = web.servers._listeners[0].runner.server
        await until(lambda: server.connections)
        await until(lambda: not server.connections)
        assert web.servers._shared.streams.open == 0
        writer.close()


REQUEST = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "then", "limit"),
    [
        (b"", b"", "HEAD_S"),
        (b"", REQUEST[:-5], "HEAD_S"),
        (REQUEST, REQUEST[:-5], "HEAD_S"),
        (REQUEST, b"", "IDLE_S"),
    ],
)
async def test_a_client_without_a_complete_request_is_disconnected(served, monkeypatch, first, then, limit):
    monkeypatch.setattr(limits, "SWEEP_S", 0.02)
    async with served() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(web.url.rpartition(":")[2]))
        writer.write(first)
        if first:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.write(then)
        monkeypatch.setattr(limits, limit, 0.1)  # now, so that aiohttp's own timer does not come first
        with suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 20)
        writer.close()


async def test_a_stream_that_is_waited_for_is_not_idle(served, streaming, monkeypatch):
    monkeypatch.setattr(limits, "SWEEP_S", 0.01)
    async with served() as web, web.session.get(web.url + "/quiet") as answer:
        monkeypatch.setattr(limits, "IDLE_S", 0.0)
        assert await answer.content.readexactly(5) == b"hello"
        await asyncio.sleep(0.2)  # some more looks
        await web.servers.stop()
        assert await answer.content.read() == b"bye"


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"],
)
async def test_what_is_no_http_is_a_problem_without_a_version(served, sent):
    async with served() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(web.url.rpartition(":")[2]))
        writer.write(sent)
        said = await asyncio.wait_for(reader.read(), 20)
        assert b" 400 " in said
        assert b"application/problem+json" in said
        assert b"aiohttp" not in said
        writer.close()


@pytest.mark.parametrize("line", [b"X-%d: 1\r\n", b"X-%d: " + b"x" * 9_000 + b"\r\n"])
async def test_a_head_without_an_end_is_cut(served, line):
    async with served() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(web.url.rpartition(":")[2]))
        said = asyncio.create_task(reader.read())
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(ConnectionError):
            for number in range(1_000_000):
                writer.write(line % number)
                await writer.drain()
                if said.done():
                    break
        with suppress(ConnectionError):
            assert re.match(rb"HTTP/1\.[01] (400|431) |$", await asyncio.wait_for(said, 20))
        assert not web.servers._listeners[0].runner.server.connections
        writer.close()


async def test_too_many_headers_are_refused(served):
    async with served() as web:
        answer = await web.get("/openapi.json", headers={f"X-{number}": "1" for number in range(200)})
        assert answer.status == 400
