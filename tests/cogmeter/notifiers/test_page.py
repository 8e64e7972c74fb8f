"""The examples and the receiver of docs/webhooks.md work."""

import asyncio
import contextlib
import json
import os
import re
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import Http
from cogmeter.notifiers.webhook import FIELD, WebhookNotifier, payload
from cogmeter.query.query import now_us
from cogmeter.settings import env_name

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_the_example_has_the_fields_that_are_posted_in_their_order(make_notice):
    (example,) = re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)
    assert list(json.loads(example)) == list(payload(make_notice()))


async def test_the_pages_way_to_verify_a_signature_works(receiver, make_notice):
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    names = {"__name__": "receiver"}
    exec(code, names)
    genuine = names["is_genuine"]
    for clock in (now_us, lambda: now_us() - 3_600_000_000):
        sender = WebhookNotifier(SecretStr(receiver.url()), SecretStr("key"), http=Http(env_name(FIELD)), clock=clock)
        await sender.notify(make_notice())
    new, old = receiver.seen
    assert genuine(new.headers, new.body, "key")
    assert not genuine(new.headers, new.body + b" ", "key")
    assert not genuine(new.headers, new.body, "another key")
    assert not genuine({}, new.body, "key")
    assert not genuine({**new.headers, "X-Cogmeter-Signature": "v1=größer"}, new.body, "key")
    assert not genuine(old.headers, old.body, "key")  # recorded an hour ago


async def test_the_pages_receiver_accepts_each_event_once_and_none_of_another_sender(
    tmp_path, make_notice, unused_port
):
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    (tmp_path / "receiver.py").write_text(code, encoding="utf-8")
    receiver = await asyncio.create_subprocess_exec(
        sys.executable,
        tmp_path / "receiver.py",
        env={**os.environ, "SECRET": "key", "PORT": str(unused_port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await listening(unused_port)
        url = SecretStr(f"http://127.0.0.1:{unused_port}/")
        for event in (make_notice(), make_notice(), make_notice("resolved", uid="another")):
            await WebhookNotifier(url, SecretStr("key")).notify(event)
        with pytest.raises(NotifyError, match="answered 401"):
            await WebhookNotifier(url, SecretStr("another key")).notify(make_notice(uid="forged"))
    finally:
        receiver.terminate()
        out, _ = await receiver.communicate()
    line = "warning firing knowledge-graph Error rate of 7.8% exceeds threshold of 5%"
    assert out.decode().splitlines() == [line, line]


async def listening(port):
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
