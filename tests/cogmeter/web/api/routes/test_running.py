"""What runs now, page by page, longest first, with the line that each waits in."""

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

PATH = "/api/performance/running"


@pytest.fixture
def running():
    """``async with running(web, *names)``: so many tracked operations wait during the block."""

    @asynccontextmanager
    async def start(web, *names):
        async def wait(name):
            with web.monitor.recorder.operation("llm", name):
                await asyncio.sleep(60)

        tasks = [asyncio.create_task(wait(name)) for name in names]
        await asyncio.sleep(0.01)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return start


async def test_a_running_operation_has_its_age_its_start_and_its_line(served, running):
    async with served() as web, running(web, "chat 80351110224678912"):
        document = (await web.get(PATH)).json()
    (operation,) = document["operations"]
    assert (document["total"], document["next"]) == (1, None)
    assert (operation["service"], operation["operation"]) == ("llm", "chat 80351110224678912")
    assert operation["age"] >= 10
    assert datetime.fromisoformat(operation["startTime"]) < datetime.fromisoformat(document["at"])
    assert "test_running.py:" in operation["line"]
    assert " in wait, waiting in asyncio/tasks.py:" in operation["line"]


async def test_pages_follow_each_other_to_the_end(served, running):
    names = [f"chat {number}" for number in range(5)]
    found, cursor = [], ""
    async with served() as web, running(web, *names):
        while cursor is not None:
            page = (await web.get(f"{PATH}?limit=2{cursor}")).json()
            found += [operation["operation"] for operation in page["operations"]]
            cursor = page["next"] and f"&cursor={page['next']}"
    assert found == names


async def test_a_bot_in_which_nothing_runs_has_an_empty_page(served):
    async with served() as web:
        document = (await web.get(PATH)).json()
    assert (document["operations"], document["total"], document["next"]) == ([], 0, None)


async def test_it_needs_the_token(served):
    async with served(http_token="a-token-of-more-than-32-characters-for-tests") as web:
        assert (await web.get(PATH, bare=True)).status == 401
        assert (await web.get(PATH)).status == 200


async def test_the_page_running_now_lists_them_and_leaves_out_other_services(served, running):
    async with served() as web, running(web, "chat", "<b>embed"):
        page = (await web.get("/performance/running")).text
        other = (await web.get("/performance/running?service=db")).text
        empty_title = "Nothing of db runs now." in other
    assert "2 operations" in page
    assert "&lt;b&gt;embed" in page
    assert "in wait, waiting in asyncio/tasks.py:" in page
    assert empty_title
