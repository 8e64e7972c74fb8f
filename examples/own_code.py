"""Record your own code: a context manager, a decorator, and a measured duration. Works with and without a bot."""

import asyncio
import time

import cogmeter

search = cogmeter.track("knowledge-graph", "search")  # define it once where it runs often: the cheapest form


@cogmeter.track("sentiment-analysis", "analyze")  # functions, coroutines, generators and async generators
async def analyze(text: str) -> str:
    await asyncio.sleep(0.01)
    return "positive" if "thanks" in text.lower() else "neutral"


async def answer(question: str) -> str:
    with cogmeter.operation("core-intelligence", "answer", model="gpt-4o") as operation:
        with search():
            facts = [question]
        mood = await analyze(question)
        operation.annotate(tokens_in=512, tokens_out=80, cost_usd=0.002)
    return f"{facts[0]} ({mood})"


def import_archive(lines: int) -> None:
    started = time.perf_counter()
    time.sleep(lines / 1e6)
    cogmeter.record("archive", "import", duration_ms=(time.perf_counter() - started) * 1000, metadata={"lines": lines})


if __name__ == "__main__":
    print(asyncio.run(answer("Thanks, who wrote this?")))
    import_archive(1_000)
    print(f"{len(cogmeter.default_recorder.buffer)} operations wait for the monitor")
