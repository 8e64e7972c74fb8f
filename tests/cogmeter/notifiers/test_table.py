"""Which notifiers the settings switch on, and what they are given of them."""

import pytest

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.table import NOTIFIERS, NotifierContext, build
from cogmeter.settings import Settings

HOOK = "https://discord.com/api/webhooks/123456789012345678/T0ken"
ALL = {"alert_channel_id": 5, "alert_discord_webhook": HOOK, "alert_webhook_url": "http://localhost/alerts"}


async def nothing(alert):
    return None


def built(**settings):
    around = NotifierContext(None, Settings(_env_file=None, **settings), nothing, nothing)
    return {one.name: one for one in build(around)}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["log"]),
        ({"alert_channel_id": 5}, ["log", "channel"]),
        ({"alert_discord_webhook": HOOK}, ["log", "discord_webhook"]),
        ({"alert_webhook_url": "http://localhost/alerts"}, ["log", "webhook"]),
        (ALL, ["log", "channel", "discord_webhook", "webhook"]),
    ],
)
def test_each_target_has_a_setting_but_the_log(settings, names):
    assert list(built(**settings)) == names


def test_they_are_known_by_the_names_that_deliveries_are_stored_under():
    assert list(built(**ALL)) == list(NOTIFIERS)


def test_an_escalation_pings_once_in_the_channel_where_there_is_one():
    ping = {"alert_escalate_role_id": 11, "alert_escalate_user_id": 22}
    assert built(**ALL, **ping)["discord_webhook"]._ping == {"roles": None, "users": None}
    assert built(alert_discord_webhook=HOOK, **ping)["discord_webhook"]._ping == {"roles": 11, "users": 22}


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_setting_for_private_redirects_reaches_the_webhook(receiver, make_notice, allowed):
    receiver.script.append((307, {"Location": "/moved"}))
    webhook = built(alert_webhook_url=receiver.url(), alert_webhook_private_redirects=allowed)["webhook"]
    if allowed:
        await webhook.notify(make_notice())
    else:
        with pytest.raises(NotifyError, match="PERFORMANCE_ALERT_WEBHOOK_PRIVATE_REDIRECTS"):
            await webhook.notify(make_notice())
    assert len(receiver.seen) == 1 + allowed
