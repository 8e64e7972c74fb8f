"""A user's data is erased by REST, with a token only where one is set, and never by reading."""

import time

from cogmeter.watch.interactions.erasure import person_of

API = "/api/performance/forget"
USER = "123456789012345678"


async def test_the_data_of_a_user_is_erased_and_counted(served):
    async with served() as web:
        store, now_us = web.monitor.store, time.time_ns() // 1000
        person = await person_of(store, USER)
        (number,) = await store.series_ids([("discord.commands", "ask")])
        metadata = f'{{"user": "{person.metadata_entry[1]}"}}'
        await store.append([[(number, now_us, 5_000, 1, f"no user {USER}", metadata)]], now_us=now_us)
        answer = await web.send("POST", API, json={"userId": USER})
        (row,) = await store.recent([number], 0, 2**60, limit=9)
        (audit,) = await store.alerting.audit()
    assert answer.status == 200
    assert (audit.action, audit.actor, audit.subject, audit.after) == ("forget", "dashboard", "user", "1 rows")
    message = "Removed from 1 row (1 operation)."
    assert answer.json() == {
        "message": message,
        "rows": 1,
        "operations": 1,
        "traces": 0,
        "errors": 0,
        "alerts": 0,
        "others": 0,
    }
    assert (row.error, dict(row.metadata)) == ("no user (forgotten)", {})


async def test_what_is_no_id_is_refused(served):
    async with served() as web:
        for user in ("1", "abc", "1' OR 1=1 --aaaaaaaa", None):
            assert (await web.send("POST", API, json={"userId": user})).status == 422
        wrong = (await web.send("POST", API, json={"userId": "alice"})).problem
        nothing = (await web.send("POST", API, json={"userId": USER})).json()["message"]
    assert wrong["parameter"] == "userId"
    assert wrong["detail"].startswith("userId=alice is not a Discord user id. Use the 15 to 20 digits")
    assert nothing == "Nothing was stored about this user."


async def test_reading_the_address_erases_nothing(served):
    async with served() as web:
        assert (await web.get(API)).status == 405
