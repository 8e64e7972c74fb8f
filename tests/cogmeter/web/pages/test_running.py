"""The page "Running now": what runs, with its line, of all services or of one."""

import asyncio
from contextlib import asynccontextmanager

PAGE = "/performance/running"


@asynccontextmanager
async def running(recorder, *names):
    """These operations wait during the block."""

    async def wait(service, operation):
        with recorder.operation(service, operation):
            await asyncio.sleep(600)

    tasks = [asyncio.create_task(wait(*name)) for name in names]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_page_lists_what_runs_with_its_line_and_has_no_period(served):
    async with served() as web, running(web.monitor.recorder, ("llm", "chat"), ("music", "play")):
        page = (await web.get(PAGE)).text
    assert "2 operations" in page
    assert page.count("test_running.py:15 in wait, waiting in asyncio/tasks.py:") == 2
    assert 'name="period"' not in page


async def test_the_page_of_one_service_counts_and_lists_its_operations(served):
    async with served() as web, running(web.monitor.recorder, ("llm", "chat"), ("music", "play")):
        page = (await web.get(f"{PAGE}?service=music")).text
    assert "1 operation " in page
    assert "play" in page
    assert ">chat<" not in page


async def test_when_nothing_runs_the_page_says_so(served):
    async with served() as web:
        page = (await web.get(PAGE)).text
    assert "0 operations" in page
    assert "Nothing runs now." in page
