"""``cogmeter doctor`` and ``cogmeter health``: checks of bot and monitor, for people and for containers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.exits import Failure, reporting_errors
from cogmeter_bot.cli.options import Finite, ReadingOptions, health_options, reading_options
from cogmeter_bot.cli.output import BAD, GOOD, LabelledValue, Listing, OutputPage, show, show_json
from cogmeter_bot.cli.text import echo, one_line
from cogmeter_bot.errors import FAILED

if TYPE_CHECKING:
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source
    from cogmeter_bot.sources.diagnosis import Diagnosis, FindingAnswer
    from cogmeter_storage import Store


@click.command()
@reading_options
def doctor(options: ReadingOptions) -> None:
    """Check the bot and its database.

    The checks cover the database (size, damage, removal of old data, free disk space), the clock and the age of the
    newest record. They also cover the gateway connection, active alerts, pending deliveries and failing services. With
    --url, the bot reports its own checks. The result is about now: services are judged over the alert window. Services
    that exceeded a threshold within the last hour, or the given range, are listed apart.

    --check: a check fails.
    """
    time_range = options.time_range("1h")
    diagnosis = options.query(lambda source: source.diagnosis(time_range, options.services))
    if options.as_json:
        show_json(diagnosis)
    else:
        show(_page(diagnosis))
    options.exit_unless(diagnosis.healthy)


def _page(diagnosis: Diagnosis) -> OutputPage:
    result = LabelledValue("Result", diagnosis.result, GOOD if diagnosis.healthy else BAD)
    blocks: list[Block] = [result, *map(_line, diagnosis.findings)]
    if diagnosis.past:
        blocks.append(Listing("Earlier", [f"- {one_line(line)}" for line in diagnosis.past]))
    blocks.append(
        "These checks see the bot from outside. `/perf doctor` in Discord has more checks of the monitor itself."
    )
    return OutputPage(f"Doctor ({one_line(diagnosis.source)})", blocks)


def _line(finding: FindingAnswer) -> LabelledValue:
    text = one_line(finding.text)
    if finding.well:
        return LabelledValue(f"[{'ok' if finding.known else '--'}] {one_line(finding.name)}", text)
    advice = f". {finding.advice}." if finding.advice else ""
    return LabelledValue(f"[!!] {one_line(finding.name)}", f"{text}{advice}", BAD)


@click.command()
@click.option(
    "--within",
    type=Finite(1, 86_400),
    help="Maximum age of the newest record in seconds (default: 120, or four sample intervals if that is more).",
)
@health_options
def health(options: ReadingOptions, within: float | None) -> None:
    """Check in one line whether the bot runs.

    The exit code is 0 if the bot runs and 1 if not, as container health checks expect. The command reads the database,
    where a running bot writes its gauges every PERFORMANCE_SAMPLE_INTERVAL. With --url, it reads the address /health of
    the bot instead.
    """
    try:
        if options.url is not None:
            if within is not None:
                raise click.UsageError("--within is about a database. Remove it, or --url.")
            echo(options.query(_served_health))
            return
        with reporting_errors():
            import asyncio

            echo(asyncio.run(_stored_health(options, within)))
    except Failure as failure:
        raise Failure(failure.message, FAILED) from failure  # any other exit code is reserved for containers


async def _served_health(source: Source) -> str:
    """Return one line about a bot whose HTTP server says that it works.

    Raises:
        Failure: it says that it does not.
    """
    from cogmeter_bot.sources.api import ApiSource

    assert isinstance(source, ApiSource)
    bad = [finding for finding in await source.health() if not finding.well]
    if bad:
        raise Failure(f"Unhealthy: {'; '.join(f'{finding.name}: {finding.text}' for finding in bad)}.")
    return f"Running: {source.name}"


async def _stored_health(options: ReadingOptions, within: float | None) -> str:
    from cogmeter.settings import merged
    from cogmeter_bot.sources.factory import database_url
    from cogmeter_bot.sources.freshness import max_age_s
    from cogmeter_storage import open_store

    settings = options.settings
    store = await open_store(database_url(settings, options.database), read_only=True)
    try:
        in_effect = merged(settings, await store.alerting.overrides()).settings
        return await health_text(store, within or max_age_s(in_effect.sample_interval), now_us=time.time_ns() // 1000)
    finally:
        await store.close()


async def health_text(store: Store, within_s: float, *, now_us: int) -> str:
    """Return one line about a bot that runs.

    Raises:
        Failure: the newest record is older than ``within_s`` seconds or in the future, or no shard is connected.
        StorageError: the database cannot be read.
    """
    from cogmeter_bot.sources.freshness import Freshness

    findings = list((await Freshness.read(store, within_s, now_us=now_us)).findings())
    for finding in findings:
        if not finding.well:
            raise Failure(f"Unhealthy: {finding.text}. {finding.advice}.")
    return f"Running: {'; '.join(finding.text for finding in findings)}"
