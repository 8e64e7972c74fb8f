"""``/perf running``: what runs now, page by page, with the line of each."""

import asyncio
from contextlib import asynccontextmanager

import cogmeter


@asynccontextmanager
async def running(count):
    """So many operations wait during the block."""

    async def wait(number):
        with cogmeter.operation("llm", f"chat *{number}*"):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(wait(number)) for number in range(count)]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_running_operations_are_listed_with_their_line(move_in):
    async with move_in() as home, running(1):
        result = await home.owner.slash(home.channel, "perf running")
        (embed,) = result.response.embeds
    assert embed.title == "Running now: 1 operation"
    head, line = embed.description.splitlines()
    assert head.endswith(r"** llm / chat \*0\*")
    assert "test_running.py:" in line
    assert " in wait, waiting in asyncio/locks.py:" in line


async def test_the_command_itself_is_not_in_its_list(move_in):
    async with move_in() as home:
        result = await home.owner.slash(home.channel, "perf running")
        (embed,) = result.response.embeds
    assert (embed.title, embed.description) == ("Running now", "Nothing runs now.")


async def test_more_than_a_page_can_be_turned(move_in):
    async with move_in() as home, running(10):
        result = await home.owner.slash(home.channel, "perf running")
        message = result.response
        (first,) = message.embeds
        await home.owner.click(message, label="Next")
        (second,) = message.embeds
    assert first.title == second.title == "Running now: 10 operations"
    assert (first.description.count("llm"), second.description.count("llm")) == (8, 2)
    assert (first.footer.text, second.footer.text) == ("Page 1, more on the next page", "Page 2, last page")
