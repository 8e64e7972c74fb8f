"""The operator's own endpoint, against a real receiver: the payload, and the effect of each response."""

import asyncio
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from yarl import URL

from cogmeter import __version__
from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import MAX_REASON, Http, Timeouts, reason_of
from cogmeter.notifiers.webhook import FIELD, WebhookNotifier, payload
from cogmeter.query.query import now_us
from cogmeter.settings import env_name
from cogmeter_storage.alerting import AlertState, Step

NOW_US = 1_755_426_610_000_000
QUICK = Timeouts(connect_s=2, answer_s=0.3, body_s=0.2)
SETTING = "PERFORMANCE_ALERT_WEBHOOK_URL"


def notifier(url, *, key=None, timeouts=None, **options):
    secret = None if key is None else SecretStr(key)
    http = Http(env_name(FIELD), timeouts=timeouts, **options)
    return WebhookNotifier(SecretStr(url), secret, http=http, clock=lambda: NOW_US)


async def refused(notifier, notice):
    with pytest.raises(NotifyError) as raised:
        await notifier.notify(notice)
    return raised.value


async def test_it_posts_the_guides_fields_and_the_change_of_the_alert(receiver, make_notice):
    assert await notifier(receiver.url()).notify(make_notice()) is None
    (seen,) = receiver.seen
    assert (seen.method, seen.headers["Content-Type"]) == ("POST", "application/json")
    assert seen.json == {
        "type": "error_rate",
        "service": "knowledge-graph",
        "message": "Error rate of 7.8% exceeds threshold of 5%",
        "threshold": 0.05,
        "current": 0.078,
        "timestamp": "2025-08-17T10:30:00Z",
        "severity": "warning",
        "id": "5f0c-7",
        "version": 1,
        "alert": "5f0c",
        "kind": "fired",
        "state": "firing",
        "operation": None,
        "startedAt": "2025-08-17T10:30:00Z",
        "resolvedAt": None,
        "acknowledgedBy": None,
    }
    assert seen.headers["Idempotency-Key"] == "5f0c-7"
    assert seen.headers["User-Agent"] == f"cogmeter/{__version__}"
    assert "X-Cogmeter-Signature" not in seen.headers


def test_a_response_time_is_in_whole_milliseconds_and_nan_is_null(make_notice):
    fields = payload(make_notice(rule="response_time", current=8234.4, threshold=5000.0))
    assert (fields["current"], fields["threshold"]) == (8234, 5000)
    assert payload(make_notice(current=float("inf")))["current"] is None


def test_a_resolution_names_its_time_and_who_acknowledged_the_alert(make_notice):
    started_us = 1_755_426_600_000_000
    fields = payload(
        make_notice(
            "resolved",
            state=AlertState.RESOLVED,
            acknowledged_us=started_us + 60_000_000,
            acknowledged_by="Ada",
            resolved_us=started_us + 120_000_000,
            changed_us=started_us + 120_000_000,
            operation="query",
        )
    )
    assert (fields["state"], fields["operation"]) == ("resolved", "query")
    assert (fields["resolvedAt"], fields["acknowledgedBy"]) == ("2025-08-17T10:32:00Z", "Ada")


async def test_the_payload_leads_to_the_dashboard_where_it_can_be_reached(receiver, make_notice):
    public = WebhookNotifier(
        SecretStr(receiver.url()), link_of=lambda alert, until_us: f"https://x/{alert.uid}/{until_us}"
    )
    notice = make_notice()
    await public.notify(notice)
    (seen,) = receiver.seen
    assert seen.json["dashboardUrl"] == f"https://x/{notice.alert.uid}/{notice.change.at_us}"


def test_later_changes_do_not_alter_the_payload_of_an_earlier_one(make_notice):
    notice = make_notice()
    later = make_notice(
        state=AlertState.FIRING,
        acknowledged_us=NOW_US,
        acknowledged_by="Ada",
        resolved_us=NOW_US + 1,
    )
    assert payload(notice) == payload(later)


def test_a_group_lists_its_members_and_a_test_is_marked(make_notice):
    members = [make_notice(uid="a").alert, make_notice(uid="b", service="web-crawling").alert]
    fields = payload(make_notice(members=members, test=True))
    assert [(one["alert"], one["service"], one["state"]) for one in fields["members"]] == [
        ("a", "knowledge-graph", "firing"),
        ("b", "web-crawling", "firing"),
    ]
    assert fields["test"] is True


async def test_a_receiver_can_verify_the_signature(receiver, make_notice):
    await notifier(receiver.url(), key="hmac-key").notify(make_notice(message="Größe: 5%"))
    (seen,) = receiver.seen
    at_s = seen.headers["X-Cogmeter-Timestamp"]
    expected = hmac.new(b"hmac-key", at_s.encode() + b"." + seen.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(seen.headers["X-Cogmeter-Signature"], f"v1={expected}")
    assert int(at_s) == NOW_US // 1_000_000


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_delivered(receiver, make_notice, status):
    receiver.script.append(status)
    await notifier(receiver.url()).notify(make_notice())
    assert len(receiver.seen) == 1


@pytest.mark.parametrize(
    ("status", "permanent", "gone"),
    [
        (400, True, False),
        (403, True, False),
        (413, True, False),
        (422, True, False),
        (401, True, True),
        (404, True, True),
        (410, True, True),
        (408, False, False),
        (425, False, False),
        (429, False, False),
        (500, False, False),
        (502, False, False),
        (503, False, False),
        (304, True, False),
    ],
)
async def test_each_other_status_fails_retries_or_stops_the_target(
    receiver, make_notice, secret_free, status, permanent, gone
):
    receiver.script.append(status)
    error = await refused(notifier(receiver.url(), key="hmac-key"), make_notice())
    assert (error.permanent, error.gone, error.retry_after_s) == (permanent, gone, None)
    assert f"{SETTING} answered {status}" in str(error)
    secret_free(error)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"message": "signature is missing"}', "signature is missing"),
        ('{"error": {"code": 7, "message": "quota of 100 a day is used up"}}', "quota of 100 a day is used up"),
        ('{"detail": "no route\\nfor this key"}', "no route for this key"),
        ("Cannot POST /alerts/T0ken-s3cret", "Cannot POST [redacted]"),
        ("Cannot POST /alerts/T0ken-s3cret?x=1 at http://10.0.0.1/T0ken-s3cret", "Cannot POST [redacted]?x=1 at (URL)"),
        ("<html><head><title>404 Not &amp; Found</title></head></html>", "404 Not & Found"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("x" * 5_000, "x" * 199 + "\u2026"),
    ],
)
async def test_a_refusal_is_reported_with_the_endpoints_text_and_without_the_address(
    receiver, make_notice, secret_free, body, reason
):
    async def answer(_):
        return web.Response(status=400, text=body)

    receiver.script.append(answer)
    error = await refused(notifier(receiver.url()), make_notice())
    assert str(error) == f'{SETTING} answered 400: it does not accept this alert. Its response: "{reason}".'
    secret_free(error)


@pytest.mark.parametrize(
    ("status", "fix"),
    [(405, "Set the address that receives such requests"), (413, "Raise its limit"), (404, "Copy the address again")],
)
async def test_a_status_with_a_known_fix_names_it(receiver, make_notice, status, fix):
    receiver.script.append(status)
    assert fix in str(await refused(notifier(receiver.url()), make_notice()))


@given(body=st.binary(max_size=600))
def test_a_reason_is_one_short_line_whatever_an_endpoint_responds(body):
    reason = reason_of(body + b"T0ken-s3cret", URL("https://example.org/hooks/T0ken-s3cret"))
    assert reason.isprintable()
    assert len(reason) <= MAX_REASON
    assert "T0ken-s3cret" not in reason


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("17", 17),
        ("0", 0),
        ("1.5", 1.5),
        (format_datetime(datetime.fromtimestamp(NOW_US / 1e6 + 90, UTC), usegmt=True), 90),
        (format_datetime(datetime.fromtimestamp(NOW_US / 1e6 - 90, UTC), usegmt=True), 0),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
async def test_retry_after_is_read_in_seconds_or_as_a_date(receiver, make_notice, status, wish, seconds):
    receiver.script.append((status, {"Retry-After": wish}))
    error = await refused(notifier(receiver.url()), make_notice())
    assert error.retry_after_s == seconds


async def test_a_request_without_a_response_is_retried(receiver, make_notice, secret_free):
    receiver.script.append(receiver.hang)
    error = await refused(notifier(receiver.url(), timeouts=QUICK), make_notice())
    assert (str(error), error.permanent) == (f"{SETTING}: no response in time", False)
    secret_free(error)


async def test_a_connection_that_is_closed_without_a_response_is_retried(receiver, make_notice, secret_free):
    receiver.script.append(receiver.hang_up)
    error = await refused(notifier(receiver.url()), make_notice())
    assert (str(error), error.permanent) == (f"{SETTING}: the connection was closed before a response", False)
    secret_free(error)


async def test_a_refused_connection_is_retried(receiver, make_notice, secret_free, unused_port):
    error = await refused(notifier(f"http://127.0.0.1:{unused_port}/T0ken-s3cret"), make_notice())
    assert (str(error), error.permanent) == (f"{SETTING}: no connection (Connection refused)", False)
    secret_free(error)


async def test_an_unknown_host_name_is_retried(make_notice, secret_free, names):
    error = await refused(notifier("http://T0ken-s3cret.example/", resolver=names()), make_notice())
    assert (str(error), error.permanent) == (f"{SETTING}: the host name could not be resolved", False)
    secret_free(error)


async def test_a_response_that_is_not_http_is_retried(make_notice, secret_free):
    async def talk(reader, writer):
        writer.write(b"SSH-2.0-T0ken-s3cret\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(notifier(f"http://127.0.0.1:{port}/"), make_notice())
    assert not error.permanent
    secret_free(error)


async def test_a_failed_tls_handshake_is_retried(receiver, make_notice, secret_free):
    error = await refused(notifier(receiver.url().replace("http:", "https:")), make_notice())
    assert (str(error), error.permanent) == (
        f"{SETTING}: the certificate or the TLS connection was not accepted",
        False,
    )
    secret_free(error)


async def test_a_body_that_never_ends_changes_nothing(receiver, make_notice):
    receiver.script += [receiver.drip, receiver.flood]
    for _ in range(2):
        await notifier(receiver.url(), timeouts=Timeouts(body_s=0.2)).notify(make_notice())
    assert len(receiver.seen) == 2


async def test_a_redirect_that_keeps_the_method_is_followed_to_allowed_addresses(receiver, make_notice):
    for status in (307, 308):
        receiver.script += [(status, {"Location": "/moved"}), (status, {"Location": receiver.url("/again")}), 204]
        await notifier(receiver.url(), key="hmac-key", private_redirects=True).notify(make_notice())
    assert [seen.path for seen in receiver.seen] == ["/alerts/T0ken-s3cret", "/moved", "/again"] * 2
    assert len({seen.body for seen in receiver.seen}) == 1
    assert {seen.method for seen in receiver.seen} == {"POST"}
    assert {seen.headers["Idempotency-Key"] for seen in receiver.seen} == {"5f0c-7"}


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_drops_the_body_is_refused_with_the_fix(receiver, make_notice, secret_free, status):
    receiver.script.append((status, {"Location": receiver.url("/moved/T0ken-s3cret")}))
    error = await refused(notifier(receiver.url(), private_redirects=True), make_notice())
    assert error.permanent
    assert not error.gone
    assert f"{SETTING} answers with a redirect ({status}) that drops the request body; set the final address" in str(
        error
    )
    assert len(receiver.seen) == 1
    secret_free(error)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "inside.example",
        "half.example",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "2130706433",
        "127.1",
        "0x7f.1",
        "10.0.0.8",
        "169.254.169.254",
        "0.0.0.0",
    ],
)
async def test_a_redirect_to_a_private_address_is_refused_whatever_name_it_has(
    receiver, make_notice, secret_free, names, host
):
    receiver.script.append((307, {"Location": f"http://{host}:{receiver.port}/T0ken-s3cret"}))
    resolver = names(
        outside_example="127.0.0.1",  # the setting's own address may be private
        inside_example="127.0.0.1",
        half_example="93.184.216.34 127.0.0.1",
        localhost="127.0.0.1",
        **{"0x7f_1": "127.0.0.1"},
    )
    error = await refused(notifier(receiver.url(host="outside.example"), resolver=resolver), make_notice())
    assert error.permanent
    assert "PERFORMANCE_ALERT_WEBHOOK_PRIVATE_REDIRECTS=true" in str(error)
    assert [seen.path for seen in receiver.seen] == ["/alerts/T0ken-s3cret"]
    secret_free(error)


async def test_a_name_is_looked_up_once_for_the_check_and_the_connection(receiver, make_notice, names):
    resolver = names(outside_example="127.0.0.1", inside_example="127.0.0.1")
    receiver.script.append((307, {"Location": receiver.url("/moved", host="inside.example")}))
    sender = notifier(receiver.url(host="outside.example"), resolver=resolver, private_redirects=True)
    await sender.notify(make_notice())
    assert resolver.names == ["outside.example", "inside.example"]


async def test_circular_redirects_end(receiver, make_notice):
    receiver.script += [(307, {"Location": "/round"})] * 10
    error = await refused(notifier(receiver.url(), private_redirects=True), make_notice())
    assert (str(error), error.permanent) == (f"{SETTING}: more than 3 redirects in a row", True)
    assert len(receiver.seen) == 4


@pytest.mark.parametrize("place", ["", "mailto:T0ken-s3cret@example.org", "http://[T0ken-s3cret", "ftp://h/"])
async def test_a_redirect_without_a_valid_target_is_refused(receiver, make_notice, secret_free, place):
    receiver.script.append((307, {"Location": place}))
    error = await refused(notifier(receiver.url(), private_redirects=True), make_notice())
    assert (str(error), error.permanent) == (f"{SETTING} answers with a redirect (307) without a valid target", True)
    secret_free(error)


async def until(true):
    for _ in range(3_000):
        if await true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def test_whatever_the_receiver_does_nothing_is_lost_or_doubled_and_no_secret_is_logged(
    receiver, store, make_notice, secret_free, monkeypatch
):
    monkeypatch.setattr("cogmeter.alerts.delivery.target_worker.delay_us", lambda attempts, retry_after_s: 1_000)
    monkeypatch.setattr(WebhookNotifier, "rate", None)
    receiver.script += [
        *[500, 200, (429, {"Retry-After": "0"}), receiver.hang, 204, receiver.hang_up, 503, 200, 400],
        *[receiver.drip, (302, {"Location": "/T0ken-s3cret"}), 502],
    ]
    steps = []
    for number in range(8):
        for kind in ("fired", "resolved"):
            notice = make_notice(kind, uid=f"alert-{number}", id=0, changed_us=now_us())
            steps.append(Step(notice.alert, notice.change, ("webhook",)))
    delivery = Dispatcher(store, [notifier(receiver.url(), key="hmac-key", timeouts=QUICK)])
    delivery.start()
    await store.alerting.save(steps)
    delivery.wake()

    async def over():
        return await store.alerting.next_due_us() is None

    await until(over)
    await delivery.stop()
    attempts = await store.alerting.attempts(limit=1_000)
    outcomes = [attempt.outcome for attempt in attempts]
    assert (outcomes.count("sent"), outcomes.count("failed")) == (14, 2)  # 400 and 302 are meant for good
    assert (delivery.delivered, delivery.failed, delivery.stopped) == ({"webhook": 14}, {"webhook": 2}, {})
    posted = [(seen.json["alert"], seen.json["kind"], seen.headers["Idempotency-Key"]) for seen in receiver.seen]
    assert len({key for *_, key in posted}) == len({(alert, kind) for alert, kind, _ in posted}) == 16
    for number in range(8):  # in order, however often each was tried
        kinds = [kind for alert, kind, _ in posted if alert == f"alert-{number}"]
        assert kinds == sorted(kinds)
    assert all(json.loads(seen.body)["id"] == seen.headers["Idempotency-Key"] for seen in receiver.seen)
    secret_free(texts=[attempt.error for attempt in attempts] + [one.text for one in delivery.findings()])


async def test_status_404_stops_the_target_and_the_finding_names_the_setting(receiver, store, make_notice):
    receiver.script += [200, 404]
    delivery = Dispatcher(store, [notifier(receiver.url())])
    notices = [make_notice(uid=uid, id=0) for uid in "abc"]
    await store.alerting.save([Step(one.alert, one.change, ("webhook",)) for one in notices])
    await delivery.deliver_due()
    assert len(receiver.seen) == 2
    (finding,) = delivery.findings()
    assert not finding.well
    assert finding.text.startswith(f"stopped: {SETTING} answered 404")
