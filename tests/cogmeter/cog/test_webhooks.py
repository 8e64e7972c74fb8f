"""Webhooks of a running bot receive alerts while the bot continues; one that is gone receives nothing more."""

import asyncio

import pytest
from aiohttp import web

import cogmeter
from cogmeter.query.records import Period

SECRET = "T0ken-s3cret"


@pytest.fixture
async def endpoint():
    """An endpoint, what it received, and the status that it answers with."""
    received, answer = [], {"status": 200}

    async def take(request):
        received.append(await request.json())
        return web.Response(status=answer["status"])

    app = web.Application()
    app.router.add_post(f"/{SECRET}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}", received, answer
    await runner.cleanup()


async def until(true):
    for _ in range(2_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def breach(home):
    for _ in range(50):
        cogmeter.record("knowledge-graph", "query", duration_ms=5, error="Rate limit exceeded")
    await home.flushed()
    await home.monitor.alerting.check()


async def test_an_alert_reaches_the_endpoint_and_its_request_is_no_operation_of_the_hosts(move_in, endpoint):
    url, received, _ = endpoint
    async with move_in(PERFORMANCE_ALERT_WEBHOOK_URL=url) as home:
        await breach(home)
        await until(lambda: received)
        await home.flushed()
        assert [(one["type"], one["service"], one["kind"]) for one in received if one["type"] == "error_rate"] == [
            ("error_rate", "knowledge-graph", "fired")
        ]
        # Names that other tests in this process recorded may be known; no operation stands under them.
        summary = await home.monitor.query.summary(Period.HOUR)
        assert not any("rest" in service for service, _ in [*summary.services, *summary.background])


async def test_an_endpoint_that_is_gone_is_reported_in_the_log_and_in_the_channel_without_its_address(
    move_in, endpoint, caplog
):
    url, received, answer = endpoint
    answer["status"] = 404

    async def prepare(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

    async with move_in(prepare=prepare, PERFORMANCE_ALERT_WEBHOOK_URL=url) as home:
        delivery = home.monitor.alerting.delivery
        await breach(home)
        await until(lambda: delivery.stopped)
        assert "PERFORMANCE_ALERT_WEBHOOK_URL answered 404" in delivery.stopped["webhook"]
        await until(lambda: any("webhook receives no more" in shown(one) for one in home.channel.history()))
        await breach(home)
        assert len(received) == 1
        assert "receives no more alerts until the next start" in caplog.text
        said = [one.text for one in delivery.findings()] + [shown(one) for one in home.channel.history()]
        said += [attempt.error for attempt in await home.monitor.store.alerting.attempts()]
        assert SECRET not in "".join([caplog.text, *said])


def shown(message):
    return "".join(str(embed.to_dict()) for embed in message.embeds)


async def test_a_test_says_of_each_target_how_it_fared(move_in, endpoint):
    url, received, answer = endpoint
    async with move_in(PERFORMANCE_ALERT_WEBHOOK_URL=url) as home:
        delivery = home.monitor.alerting.delivery
        assert await delivery.test("Ada") == {"log": "", "webhook": ""}
        assert received[0]["test"] is True
        answer["status"] = 503
        assert await delivery.test("Ada") == {"log": "", "webhook": "PERFORMANCE_ALERT_WEBHOOK_URL answered 503."}
