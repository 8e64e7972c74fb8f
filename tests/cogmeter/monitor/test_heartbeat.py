"""The heartbeat: sent while nothing is wrong, else withheld or reported; never shown with its address."""

import logging
import math

import pytest
from aiohttp import web

from cogmeter.monitor.heartbeat import Heartbeat, filled


class Listener:
    """A server that counts the pings, and answers with a status."""

    def __init__(self):
        self.paths = []
        self.status = 200
        self.body = ""

    async def answer(self, request):
        self.paths.append(request.path_qs)
        return web.Response(
            status=self.status, text=self.body, headers={"Location": "/elsewhere"} if self.status == 302 else {}
        )


@pytest.fixture
async def listener():
    listener = Listener()
    app = web.Application()
    app.router.add_get("/{tail:.*}", listener.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}/push/secret-key"
    yield listener
    await runner.cleanup()


@pytest.fixture
def heart(listener):
    def beating(trouble=lambda: "", url=listener.url, ping_s=0.0421):
        return Heartbeat(url, trouble, lambda: ping_s)

    return beating


async def test_each_beat_is_one_request_while_all_checks_pass(heart, listener):
    heartbeat = heart()
    await heartbeat.beat()
    await heartbeat.beat()
    assert listener.paths == ["/push/secret-key"] * 2
    (finding,) = heartbeat.findings()
    assert finding.well
    assert finding.text == "2 sent"


async def test_nothing_is_sent_while_a_check_fails_and_the_change_is_logged_once(heart, listener, caplog):
    trouble = ["the database was last written 90 s ago"]
    heartbeat = heart(lambda: trouble[0])
    with caplog.at_level(logging.INFO, logger="cogmeter.heartbeat"):
        await heartbeat.beat()
        await heartbeat.beat()
    assert listener.paths == []
    assert caplog.messages == ["The heartbeat: withheld, the database was last written 90 s ago"]
    assert not heartbeat.findings()[0].well
    trouble[0] = ""
    await heartbeat.beat()
    assert listener.paths == ["/push/secret-key"]
    assert heartbeat.findings()[0].well


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_an_answer_that_is_no_success_is_a_finding_without_the_address(heart, listener, caplog, status):
    listener.status = status
    heartbeat = heart()
    await heartbeat.beat()
    await heartbeat.beat()
    (finding,) = heartbeat.findings()
    assert not finding.well
    assert str(status) in finding.text
    assert len(caplog.messages) == 1
    assert "secret-key" not in caplog.text + finding.text
    assert "/elsewhere" not in listener.paths


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("OK (not found)", "OK (not found)"),
        ("OK (rate limited)", "OK (rate limited)"),
        ('{"ok": false, "msg": "Monitor not found or not active."}', "Monitor not found or not active."),
        ('{"success": false}', "it was not accepted"),
        ('{"error": "unknown key /push/secret-key"}', "unknown key [redacted]"),
    ],
)
async def test_a_success_that_says_the_address_is_not_known_is_a_finding(heart, listener, caplog, body, words):
    listener.body = body
    heartbeat = heart()
    await heartbeat.beat()
    (finding,) = heartbeat.findings()
    assert not finding.well
    assert f'answered 200, but says: "{words}". Copy its URL again' in finding.text
    assert heartbeat.sent == 0
    assert "secret-key" not in caplog.text + finding.text


@pytest.mark.parametrize("body", ["", "OK", '{"ok": true}', "{}", "[]", "pong", '{"ok": true, "msg": ""}'])
async def test_a_plain_success_is_a_heartbeat(heart, listener, body):
    listener.body = body
    heartbeat = heart()
    await heartbeat.beat()
    assert heartbeat.findings()[0].well
    assert heartbeat.sent == 1


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1:9", "no connection (Connection refused)"),
        ("nobody.invalid", "could not be resolved"),
        (f"{'a' * 70}.invalid", ""),  # longer than a part of a name may be
        ("user:secret-key@127.0.0.1:9", "no connection"),
    ],
)
async def test_a_server_that_is_not_there_is_a_finding_without_the_address(heart, caplog, host, words):
    heartbeat = heart(url=f"http://{host}/push/secret-key")
    await heartbeat.beat()
    (finding,) = heartbeat.findings()
    assert not finding.well
    assert finding.text.startswith("PERFORMANCE_HEARTBEAT_URL")
    assert words in finding.text
    assert "secret-key" not in caplog.text + finding.text


# Placeholders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "up", "ping_s", "requested"),
    [
        (
            "http://h/push/k?status={status}&msg=OK&ping={ping}",
            True,
            0.0421,
            "http://h/push/k?status=up&msg=OK&ping=42",
        ),
        ("http://h/push/k?status={status}&ping={ping}", False, math.inf, "http://h/push/k?status=down&ping="),
        ("http://h/push/k?ping={ping}", True, math.nan, "http://h/push/k?ping="),
        ("http://h/uuid/{status}", True, 0.1, "http://h/uuid/0"),
        ("http://h/uuid/{status}?rid=1", False, 0.1, "http://h/uuid/1?rid=1"),
        ("http://h/push/k?status=up&msg=OK&ping=", True, 0.1, "http://h/push/k?status=up&msg=OK&ping="),
        ("http://h/%7Bping%7D?a={%22b%22:1}", False, 0.1, "http://h/%7Bping%7D?a={%22b%22:1}"),
    ],
)
def test_placeholders_are_replaced_as_each_service_expects(url, up, ping_s, requested):
    assert filled(url, up=up, ping_s=ping_s) == requested


async def test_a_heartbeat_has_the_status_and_the_latency(heart, listener):
    await heart(url=f"{listener.url}?status={{status}}&msg=OK&ping={{ping}}").beat()
    assert listener.paths == ["/push/secret-key?status=up&msg=OK&ping=42"]


async def test_a_url_with_a_status_reports_a_problem_from_its_second_time_on(heart, listener):
    trouble = ["the bot is not connected to Discord yet"]
    heartbeat = heart(lambda: trouble[0], url=f"{listener.url}/{{status}}")
    await heartbeat.beat()
    assert listener.paths == []
    await heartbeat.beat()
    await heartbeat.beat()
    assert listener.paths == ["/push/secret-key/1"] * 2
    assert heartbeat.findings()[0].text == "down: the bot is not connected to Discord yet"
    trouble[0] = ""
    await heartbeat.beat()
    assert listener.paths[2:] == ["/push/secret-key/0"]
    assert heartbeat.findings()[0].well


async def test_a_url_without_a_status_reports_no_problem(heart, listener):
    heartbeat = heart(lambda: "trouble", url=f"{listener.url}?ping={{ping}}")
    await heartbeat.beat()
    await heartbeat.beat()
    assert listener.paths == []
    assert heartbeat.findings()[0].text == "withheld: trouble"
