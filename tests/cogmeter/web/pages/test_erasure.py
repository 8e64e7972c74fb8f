"""The form of the page "Usage" that erases a user's data: it checks, asks, erases, and says what it removed."""

import asyncio
import re
import time

import pytest
from page_driver import calm, opened

from cogmeter.watch.interactions.erasure import person_of

PAGE = "/performance/usage?refresh=0"
API = "/api/performance/forget"
USER = "123456789012345678"
RESULT = "document.getElementById('forget-result').innerText"
DIALOG = "document.getElementById('forget')"
FORM = "document.getElementById('forget-form').elements"
TOKEN = "a-token-of-more-than-32-characters-for-tests"


async def known(web):
    """An operation of the user, with the id in its error."""
    store, now_us = web.monitor.store, time.time_ns() // 1000
    person = await person_of(store, USER)
    (number,) = await store.series_ids([("discord.commands", "ask")])
    metadata = f'{{"user": "{person.metadata_entry[1]}"}}'
    await store.append([[(number, now_us, 5_000, 1, f"no user {USER}", metadata)]], now_us=now_us)


async def errors(web):
    store = web.monitor.store
    ids = [series.id for series in await store.series()]
    return [row.error for row in await store.recent(ids, 0, 2**60, limit=9)]


def entered(browser, text, name=""):
    browser.evaluate(f"{FORM}.name.value = {name!r}, {FORM}.user.value = '', {FORM}.user.focus()")
    browser.insert(text)
    browser.press("Enter")


def chosen(browser, word):
    browser.wait(f"{DIALOG}.open", "the question")
    browser.evaluate(f"[...{DIALOG}.querySelectorAll('button')].find(one => one.innerText === {word!r}).click()")


async def test_the_form_sends_no_id_in_an_address_and_says_what_it_does(served):
    async with served() as web:
        page = (await web.get(PAGE)).text
    form = re.search(r'<form id="forget-form"[^>]*>', page)[0]
    assert 'method="post"' in form  # without a script, too
    assert "action=" not in form
    assert 'autocomplete="off"' in form
    assert "It cannot be undone." in page
    assert "Without JavaScript this page is read-only. Use /perf forget in Discord." in page


@pytest.mark.parametrize("headers", [{"X-CSRF-Token": "wrong"}, {"Origin": "http://evil.example"}])
async def test_an_erasure_that_does_not_come_from_the_page_is_refused(served, headers):
    async with served() as web:
        await known(web)
        answer = await web.send("POST", API, json={"userId": USER}, headers=headers)
        left = await errors(web)
    assert answer.status == 403
    assert left == [f"no user {USER}"]


async def test_an_erasure_needs_the_token_where_one_is_set(served):
    async with served(http_token=TOKEN) as web:
        await known(web)
        answer = await web.request("POST", API, bare=True, json={"userId": USER}, headers={"Origin": web.url})
        left = await errors(web)
    assert answer.status == 401
    assert left == [f"no user {USER}"]


async def test_a_user_is_erased_after_a_confirmation_and_no_address_and_no_log_has_the_id(served, browser, caplog):
    def look(width):
        opened(browser, web.url + PAGE, width=width)
        for wrong in ("alice", "1234", "<img src=x onerror=alert(1)>"):
            entered(browser, wrong)
            browser.wait(f"{RESULT}.startsWith({wrong + ' is not a Discord user id. Use the 15 to 20 digits'!r})")
            assert not browser.evaluate(f"{DIALOG}.open")
            browser.expect("document.activeElement.name", "user")
        entered(browser, f" {USER} ", name="Alice")
        browser.wait(f"{DIALOG}.innerText.includes('{USER} (Alice): the keyed hash is removed')", "who it is")
        browser.expect("document.activeElement.innerText", "Cancel")
        browser.press("Enter")
        browser.expect(RESULT, "Nothing was erased.")

    def erase():
        entered(browser, USER)
        chosen(browser, "Erase")
        browser.expect(RESULT, "Removed from 1 row (1 operation).")
        browser.expect(f"{FORM}.user.value", "")
        entered(browser, USER)
        browser.wait(f"{DIALOG}.open", "the question")
        browser.press("Escape")  # not what was chosen before
        browser.expect(RESULT, "Nothing was erased.")
        entered(browser, USER)
        chosen(browser, "Erase")
        browser.expect(RESULT, "Nothing was stored about this user.")
        calm(browser, web.url)
        assert not any(USER in one for one in [*browser.asked, browser.evaluate("location.href")])

    async with served() as web:
        await known(web)
        # aiosqlite logs a statement in its thread, after the caller goes on: the next one follows that.
        await web.monitor.store.set_value("after", b"")
        caplog.set_level("DEBUG")
        for width in (1280, 420):
            await asyncio.to_thread(look, width)
        kept = await errors(web)
        await asyncio.to_thread(erase)
        left = await errors(web)
        audit = await web.monitor.store.alerting.audit()
    assert kept == [f"no user {USER}"]
    assert left == ["no user (forgotten)"]
    assert [(one.action, one.actor) for one in audit] == 2 * [("forget", "dashboard")]
    assert [one.after for one in audit] == ["0 rows", "1 rows"]
    assert USER not in caplog.text


async def test_an_erasure_that_fails_says_why(served, browser):
    def look():
        opened(browser, web.url + PAGE)
        browser.evaluate("document.querySelector('meta[name=csrf]').content = 'wrong'")
        entered(browser, USER)
        chosen(browser, "Erase")
        browser.wait(f"{RESULT}.startsWith('Not erased: The header X-CSRF-Token is not valid')", "the refusal")
        browser.expect(f"{FORM}.user.value", USER)  # to try again

    async with served() as web:
        await asyncio.to_thread(look)
