"""The Discord webhook, against a real receiver that responds like Discord."""

import asyncio
import json

import pytest
from aiohttp import web
from pydantic import SecretStr

from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.alerts.out_of_band import Outage, OutOfBandAlerts, OutOfBandLog
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_webhook import DISCORD_EPOCH_MS, FIELD, DiscordWebhookNotifier, posted_us
from cogmeter.notifiers.http import Http, Timeouts
from cogmeter.query.records import IncidentContext
from cogmeter.recording.operation import now_ns
from cogmeter.settings import env_name
from cogmeter_storage.alerting import AlertState, Step

NOW_US = 1_755_426_610_000_000
PATH = "/api/webhooks/123456789012345678/T0ken-s3cret"
SETTING = "PERFORMANCE_ALERT_DISCORD_WEBHOOK"
NEW = (NOW_US // 1_000 - DISCORD_EPOCH_MS) << 22  # an id of this very moment


async def context_of(alert):
    return IncidentContext(alert.started_us, NOW_US, operations=500, failures=39, users=7)


def notifier(receiver, path=PATH, *, timeouts=None, **options):
    http = Http(env_name(FIELD), timeouts=timeouts)
    url = path if path.startswith("http") else receiver.url(path)
    return DiscordWebhookNotifier(
        SecretStr(url), **{"context_of": context_of, **options}, http=http, clock=lambda: NOW_US
    )


def response(status, **body):
    async def answer(request):
        return web.json_response(body, status=status)

    return answer


@pytest.fixture
def messages(receiver):
    """Discord's responses to posts: messages with new ids."""
    receiver.script += [response(200, id=str(NEW + number)) for number in range(10)]
    return receiver


async def refused(notifier, notice):
    with pytest.raises(NotifyError) as raised:
        await notifier.notify(notice)
    return raised.value


async def test_an_alert_is_an_embed_that_pings_nobody_and_its_receipt_is_the_message(messages, make_notice):
    assert await notifier(messages).notify(make_notice(message="@everyone look")) == str(NEW)
    (seen,) = messages.seen
    assert (seen.method, seen.path) == ("POST", f"{PATH}?wait=true")
    assert (seen.json["allowed_mentions"], seen.json["flags"]) == ({"parse": []}, 0)
    (embed,) = seen.json["embeds"]
    assert "knowledge-graph" in embed["title"]
    assert any("500 operations" in field["value"] for field in embed["fields"])
    assert "content" not in seen.json


async def test_the_first_alert_of_a_rule_explains_the_rule_also_after_an_edit(messages, make_notice):
    introduced = []

    async def introduces(alert):
        introduced.append(alert.uid)
        return alert.uid == introduced[0]

    sender = notifier(messages, introduces=introduces, group="health")
    receipt = await sender.notify(make_notice())
    await sender.notify(make_notice("resolved", state=AlertState.RESOLVED, receipt=receipt))
    for seen in messages.seen:
        (text,) = [field["value"] for field in seen.json["embeds"][0]["fields"] if field["name"] == "About this rule"]
        assert "`/health thresholds set rule:" in text


async def test_later_changes_edit_that_message(messages, make_notice):
    sender = notifier(messages)
    receipt = await sender.notify(make_notice())
    assert await sender.notify(make_notice("resolved", state=AlertState.RESOLVED, receipt=receipt)) == receipt
    posted, edited = messages.seen
    assert (edited.method, edited.path) == ("PATCH", f"{PATH}/messages/{NEW}")
    assert edited.json["embeds"][0]["title"] != posted.json["embeds"][0]["title"]
    assert edited.json["allowed_mentions"] == {"parse": []}


async def test_the_thread_in_the_url_is_kept(messages, make_notice):
    sender = notifier(messages, PATH + "?thread_id=5")
    await sender.notify(make_notice("resolved", receipt=await sender.notify(make_notice())))
    assert [seen.path for seen in messages.seen] == [
        f"{PATH}?thread_id=5&wait=true",
        f"{PATH}/messages/{NEW}?thread_id=5",
    ]


async def test_a_deleted_message_is_posted_again(receiver, make_notice):
    receiver.script += [response(404, code=10008, message="Unknown Message"), response(200, id="2")]
    assert await notifier(receiver).notify(make_notice("worsened", receipt="1")) == "2"
    assert [seen.method for seen in receiver.seen] == ["PATCH", "POST"]


async def test_a_message_that_allows_no_more_edits_gets_a_short_follow_up(receiver, make_notice):
    receiver.script += [response(400, code=30046, message="Maximum number of edits"), response(200, id="2")]
    notice = make_notice("resolved", state=AlertState.RESOLVED, receipt=str(NEW))
    assert await notifier(receiver).notify(notice) == str(NEW)
    followup = receiver.seen[1].json
    assert "Resolved" in followup["content"]
    assert (followup["flags"], followup["allowed_mentions"]) == (4096, {"parse": []})
    assert "embeds" not in followup


async def test_the_resolution_of_an_old_alert_is_also_a_message_of_its_own(messages, make_notice):
    old = str(1)  # of 2015
    await notifier(messages).notify(make_notice("resolved", state=AlertState.RESOLVED, receipt=old))
    assert [seen.method for seen in messages.seen] == ["PATCH", "POST"]


async def test_an_escalation_pings_the_role_and_user_of_the_settings_and_nobody_else(messages, make_notice):
    await notifier(messages, ping_role=11, ping_user=22).notify(make_notice("escalated", receipt=str(NEW)))
    await notifier(messages).notify(make_notice("escalated", receipt=str(NEW)))
    await notifier(messages, ping_role=11).notify(make_notice("escalated"))
    named, unnamed, alone = [seen.json for seen in messages.seen if seen.method == "POST"]
    assert named["content"].startswith("<@&11> <@22> ")
    assert named["allowed_mentions"] == {"parse": [], "roles": ["11"], "users": ["22"]}
    assert ("<@" in unnamed["content"], unnamed["allowed_mentions"]) == (False, {"parse": []})
    assert alone["content"].startswith("<@&11> ")
    assert alone["embeds"]
    assert (named["flags"], alone["flags"]) == (0, 0)


@pytest.mark.parametrize(("severity", "flags"), [("info", 4096), ("warning", 0), ("critical", 0)])
async def test_only_alerts_of_low_severity_are_silent(messages, make_notice, severity, flags):
    await notifier(messages).notify(make_notice(severity=severity))
    assert messages.seen[0].json["flags"] == flags


async def test_a_test_is_marked_and_not_silent(messages, make_notice):
    await notifier(messages).notify(make_notice(id=0, rule="test", severity="info", test=True))
    (seen,) = messages.seen
    assert "Test" in seen.json["embeds"][0]["title"]
    assert seen.json["flags"] == 0  # whoever tries the way wants to see it


async def test_an_out_of_band_alert_is_one_message_that_shows_its_resolution(messages):
    since_ns = [now_ns()]
    outage = Outage("gateway", 0.01, lambda: since_ns[0], "Connection to Discord has been lost for {:.0f}s".format)
    out_of_band = OutOfBandAlerts([outage], [notifier(messages)], OutOfBandLog())
    out_of_band.start()
    try:
        await until(lambda: messages.seen)
        since_ns[0] = None
        await until(lambda: len(messages.seen) > 1)
    finally:
        out_of_band.stop()
    posted, edited, *_ = messages.seen  # a short message may follow: by its id the message is more than an hour old
    assert (posted.method, edited.method) == ("POST", "PATCH")
    assert edited.path == f"{PATH}/messages/{NEW}"
    assert "Critical: Lost connection to Discord" in posted.json["embeds"][0]["title"]
    assert "Resolved (critical): Lost connection to Discord" in edited.json["embeds"][0]["title"]


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_an_alert_without_its_incident_context_is_still_sent(messages, make_notice, caplog):
    async def broken(alert):
        raise RuntimeError("no incident context")

    assert await notifier(messages, context_of=broken).notify(make_notice()) == str(NEW)
    assert "Alert 12 is sent without its incident context" in caplog.text


async def test_a_response_that_breaks_off_counts_as_delivered(receiver, make_notice):
    receiver.script.append(receiver.drip)
    assert await notifier(receiver, timeouts=Timeouts(body_s=0.2)).notify(make_notice()) is None


@pytest.mark.parametrize(
    ("status", "body", "permanent", "gone", "retry_after_s"),
    [
        (404, {"code": 10015, "message": "Unknown Webhook"}, True, True, None),
        (401, {"code": 50027, "message": "Invalid Webhook Token"}, True, True, None),
        (403, {"code": 50013}, True, False, None),
        (400, {"code": 50035}, True, False, None),
        (429, {"retry_after": 1.337, "global": False}, False, False, 1.337),
        (500, {}, False, False, None),
    ],
)
@pytest.mark.parametrize("receipt", [None, "1"])
async def test_each_refusal_is_permanent_temporary_or_the_end_of_the_target(
    receiver, make_notice, secret_free, status, body, permanent, gone, retry_after_s, receipt
):
    receiver.script.append(response(status, **body))
    error = await refused(notifier(receiver), make_notice("worsened", receipt=receipt))
    assert (error.permanent, error.gone, error.retry_after_s) == (permanent, gone, retry_after_s)
    assert f"{SETTING} answered {status}" in str(error)
    if "code" in body:
        assert str(body["code"]) in str(error)
    secret_free(error)


@pytest.mark.parametrize(
    ("status", "code", "words", "permanent", "gone"),
    [
        (400, 220001, "Add ?thread_id=ID of one of its posts to the URL", True, True),
        (400, 220003, "Remove thread_name from the URL", True, True),
        (403, 50013, "the bot lacks a permission", True, False),
        (404, 10015, "the webhook was deleted. Create a webhook in the channel's settings", True, True),
        (401, 50027, "the webhook's token is wrong. Copy the webhook's complete URL again", True, True),
        (400, 30007, "maximum of 15 webhooks. Delete an unused one", True, False),
        (400, 50083, "the thread is archived", False, False),
        (400, 200000, "AutoMod blocked the message", True, False),
        (503, 130000, "Discord is overloaded", False, False),
        (400, 987654, "Discord's code 987654: its own text", True, False),
    ],
)
async def test_a_refusal_is_reported_with_its_reason_and_the_fix(
    receiver, make_notice, status, code, words, permanent, gone
):
    receiver.script.append(response(status, code=code, message="its own text"))
    error = await refused(notifier(receiver), make_notice())
    assert words in str(error)
    assert "its own text" in str(error)
    assert str(error).startswith(f"{SETTING} answered {status}: ")
    assert (error.permanent, error.gone) == (permanent, gone)


async def test_an_invalid_part_of_the_message_is_named(receiver, make_notice):
    errors = {"embeds": {"0": {"title": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Too long"}]}}}}
    receiver.script.append(response(400, code=50035, message="Invalid Form Body", errors=errors))
    error = await refused(notifier(receiver), make_notice())
    assert "Invalid Form Body; embeds.0.title: Too long" in str(error)


@pytest.mark.parametrize("kind", ["forum", "media"])
async def test_a_forums_webhook_without_a_thread_is_found_before_the_first_alert(receiver, kind):
    receiver.script += [response(200, id="1", type=1, channel_id="77")] * 3
    seen = []

    def kind_of(channel):
        seen.append(channel)
        return kind

    with pytest.raises(NotifyError, match=r"forum channel, which accepts posts only\. Add \?thread_id=ID") as raised:
        await notifier(receiver, kind_of=kind_of).prepare()
    assert raised.value.gone
    assert seen == [77]
    await notifier(receiver, f"{PATH}?thread_id=88", kind_of=kind_of).prepare()
    await notifier(receiver, kind_of=lambda _: "text").prepare()


async def test_a_webhook_that_only_follows_a_channel_is_found_before_the_first_alert(receiver):
    receiver.script.append(response(200, id="1", type=2, channel_id="77"))
    with pytest.raises(NotifyError, match="only follows another channel's announcements"):
        await notifier(receiver).prepare()


async def test_a_rate_limit_without_a_body_is_read_from_the_header(receiver, make_notice):
    receiver.script.append((429, {"Retry-After": "3"}))
    error = await refused(notifier(receiver), make_notice())
    assert error.retry_after_s == 3


@pytest.mark.parametrize("receipt", ["x", "", "12/../../other", json.dumps({"message": 1})])
async def test_an_invalid_receipt_never_becomes_part_of_a_url(messages, make_notice, receipt):
    await notifier(messages).notify(make_notice("worsened", receipt=receipt))
    assert [(seen.method, seen.path) for seen in messages.seen] == [("POST", f"{PATH}?wait=true")]


async def test_the_check_at_the_start_reads_the_webhook_and_posts_nothing(receiver, secret_free):
    receiver.script += [response(200, id="123456789012345678"), response(404, code=10015)]
    await notifier(receiver).prepare()
    with pytest.raises(NotifyError, match=f"{SETTING} answered 404") as raised:
        await notifier(receiver).prepare()
    assert raised.value.gone
    assert [(seen.method, seen.path) for seen in receiver.seen] == [("GET", PATH)] * 2
    secret_free(raised.value)


@pytest.mark.parametrize(
    "path",
    [
        "/T0ken-s3cret",
        "/api/webhooks/T0ken-s3cret",
        "/api/webhooks/12/T0ken-s3cret/slack",
        "http://discord.example" + PATH,
        "https://discord.example/x" + PATH,
    ],
)
async def test_a_url_that_is_not_a_discord_webhook_is_refused_with_the_fix(receiver, secret_free, path):
    with pytest.raises(NotifyError, match=f"{SETTING} is not a Discord webhook; copy it from") as raised:
        await notifier(receiver, path).prepare()
    assert raised.value.gone
    assert receiver.seen == []
    secret_free(raised.value)


async def test_through_the_outbox_an_alert_is_one_message_that_is_edited(receiver, store, make_notice):
    receiver.script += [response(200, id=str(NEW))]
    delivery = Dispatcher(store, [notifier(receiver)])
    for kind, state in (("fired", AlertState.FIRING), ("acknowledged", AlertState.ACKNOWLEDGED)):
        notice = make_notice(kind, state=state, id=0)
        await store.alerting.save([Step(notice.alert, notice.change, ("discord_webhook",))])
        await delivery.deliver_due()
    assert [(seen.method, seen.path) for seen in receiver.seen] == [
        ("POST", f"{PATH}?wait=true"),
        ("PATCH", f"{PATH}/messages/{NEW}"),
    ]
    assert await store.alerting.receipt("5f0c", "discord_webhook") == str(NEW)


def test_an_id_contains_the_time_when_its_message_was_posted():
    assert posted_us(175928847299117063) == 1_462_015_105_796_000  # Discord's documentation, "Snowflakes"
