"""docs/webhooks.md says what is true."""

import json
import re
from pathlib import Path

from pydantic import SecretStr

from cogmeter.notifiers.http import Http
from cogmeter.notifiers.webhook import FIELD, WebhookNotifier, payload
from cogmeter.query import now_us

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_the_example_has_the_fields_that_are_posted_in_their_order(make_notice):
    (example,) = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)
    assert list(json.loads(example)) == list(payload(make_notice()))


async def test_the_pages_way_to_verify_a_signature_works(receiver, make_notice):
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    genuine = names["is_genuine"]
    for clock in (now_us, lambda: now_us() - 3_600_000_000):
        sender = WebhookNotifier(SecretStr(receiver.url()), SecretStr("key"), http=Http(FIELD), clock=clock)
        await sender.notify(make_notice())
    new, old = receiver.seen
    assert genuine(new.headers, new.body, "key")
    assert not genuine(new.headers, new.body + b" ", "key")
    assert not genuine(new.headers, new.body, "another key")
    assert not genuine({}, new.body, "key")
    assert not genuine(old.headers, old.body, "key")  # recorded an hour ago
