"""The family of notifiers: every member states every fact, and the settings switch the members on."""

import re
from collections import Counter

import pytest

from cogmeter.notifiers.base import Notifier, NotifierContext, NotifyError, SendRate
from cogmeter.notifiers.table import UnavailableNotifier, build, build_out_of_band, notifier_classes
from cogmeter.settings import Settings, example
from cogmeter.startup import StartupGuard

HOOK = "https://discord.com/api/webhooks/123456789012345678/T0ken"
ALL = {"alert_channel_id": 5, "alert_discord_webhook": HOOK, "alert_webhook_url": "http://localhost/alerts"}


def built(**settings):
    context = NotifierContext(Settings(_env_file=None, **settings))
    return {notifier.name: notifier for notifier in build(context)}


@pytest.mark.parametrize("notifier", notifier_classes(), ids=lambda notifier: notifier.__name__)
def test_each_notifier_states_every_fact_in_its_own_class(notifier):
    facts = vars(notifier)
    assert set(Notifier.__annotations__) - set(facts) == set()
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", facts["name"])
    assert facts["label"].strip()
    assert facts["setting"] is None or facts["setting"] in Settings.model_fields
    assert {type(facts[name]) for name in ("edits_in_place", "per_alert", "out_of_band")} == {bool}
    assert facts["rate"] is None or isinstance(facts["rate"], SendRate)
    assert {"create", "notify"} <= set(facts)
    assert notifier.__doc__


@pytest.mark.parametrize("fact", ["name", "label", "setting"])
def test_no_two_notifiers_share_a_name_a_label_or_a_setting(fact):
    values = [getattr(notifier, fact) for notifier in notifier_classes()]
    assert len(set(values)) == len(values)


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
def test_its_setting_switches_each_notifier_on_and_the_log_is_always_on(settings, names):
    assert list(built(**settings)) == names


def test_the_example_of_its_setting_switches_each_notifier_on():
    settings = {notifier.setting: example(notifier.setting) for notifier in notifier_classes() if notifier.setting}
    assert [type(notifier) for notifier in built(**settings).values()] == list(notifier_classes())


def test_webhooks_have_a_rate_and_other_notifiers_have_none():
    rate = SendRate(burst=5, per_s=1.0)
    assert {notifier.name: notifier.rate for notifier in notifier_classes() if notifier.rate} == {
        "discord_webhook": rate,
        "webhook": rate,
    }


def test_only_notifiers_that_need_nothing_of_the_bot_send_out_of_band():
    names = [notifier.name for notifier in build_out_of_band(Settings(_env_file=None, **ALL))]
    assert names == ["discord_webhook", "webhook"]


async def test_a_notifier_that_cannot_be_created_refuses_each_delivery(monkeypatch, make_notice):
    def fail(_context):
        raise RuntimeError("an internal error")

    (log,) = [notifier for notifier in notifier_classes() if notifier.name == "log"]
    monkeypatch.setattr(log, "create", fail)
    parts = StartupGuard(Counter())
    (notifier,) = build(NotifierContext(Settings(_env_file=None)), parts)
    assert isinstance(notifier, UnavailableNotifier)
    for refused in (notifier.prepare(), notifier.notify(make_notice())):
        with pytest.raises(NotifyError, match="The log target could not be started: see the log") as error:
            await refused
        assert not error.value.permanent


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
