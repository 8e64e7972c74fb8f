"""``/perf export``: a file that only the user sees, or the command line's way."""

import csv
import io
import sys
import tempfile
from pathlib import Path

import pytest

import cogmeter
from cogmeter.exporters.limited_file import MARGIN


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def recorded(home, services, each=3):
    for service in services:
        for number in range(each):
            cogmeter.record(service, f"x{number}", duration_ms=5)
    await home.flushed()


async def ask(home, **options):
    return await home.owner.slash(home.channel, "perf export", **options)


async def test_the_file_has_the_operations_and_only_the_user_sees_it(move_in, own_folder):
    async with move_in() as home:
        await recorded(home, ["alpha", "beta"])
        result = await ask(home, format="csv")
        message = result.response
        (file,) = message.attachments
        rows = list(csv.DictReader(io.StringIO((await file.read()).decode())))
    assert result.ephemeral
    assert file.filename.startswith("performance-")
    assert file.filename.endswith("-24h.csv")
    assert sum(row["service"] in {"alpha", "beta"} for row in rows) == 6
    assert "all services" in message.embeds[0].description
    assert list(Path(own_folder).iterdir()) == []


async def test_services_select_and_without_a_format_the_setting_decides(move_in):
    async with move_in(PERFORMANCE_EXPORT_FORMAT="csv") as home:
        await recorded(home, ["alpha", "beta", "gamma, delta"])
        result = await ask(home, services="alpha, beta")
        (file,) = result.response.attachments
        rows = list(csv.DictReader(io.StringIO((await file.read()).decode())))
        comma = await ask(home, services="gamma, delta")
    assert file.filename.endswith(".csv")
    assert {row["service"] for row in rows} == {"alpha", "beta"}
    assert "gamma, delta" in comma.response.embeds[0].description


async def test_an_unknown_service_is_refused_with_a_suggestion(move_in):
    async with move_in() as home:
        await recorded(home, ["alpha"])
        result = await ask(home, services="alpa")
    assert result.ephemeral
    assert "Did you mean alpha" in result.response.content


async def test_too_many_services_are_refused(move_in):
    async with move_in() as home:
        result = await ask(home, services=",".join(map(str, range(21))))
    assert "at most 20" in result.response.content


async def test_an_export_above_the_limit_names_the_command_line(move_in, monkeypatch, own_folder):
    async with move_in() as home:
        export = sys.modules["cogmeter.cog.export"]  # a reload has replaced the module
        monkeypatch.setattr(export, "ExportRequest", _tiny(export.ExportRequest))
        await recorded(home, ["it's; `rm`"])
        result = await ask(home, format="json", services="it's; `rm`")
        (embed,) = result.response.embeds
    assert not result.response.attachments
    assert """cogmeter export --format json --period 24h --services 'it'"'"'s; `rm`'""" in embed.description
    assert list(Path(own_folder).iterdir()) == []


def _tiny(made):
    return lambda kind, period, services, _: made(kind, period, services, MARGIN + 10)


async def test_a_full_disk_is_an_answer(move_in, monkeypatch):
    async def full(*_, **__):
        raise OSError(28, "No space left on device")

    async with move_in() as home:
        export = sys.modules["cogmeter.cog.export"]
        monkeypatch.setattr(export, "write_limited", full)
        await recorded(home, ["alpha"])
        result = await ask(home)
    assert export.DISK_FAILED in [one.content for one in (result.response, *result.followups)]


async def test_nothing_recorded_is_an_empty_export(move_in):
    async with move_in() as home:
        result = await ask(home, format="csv")
    assert result.response.attachments


async def test_services_are_completed(move_in):
    async with move_in() as home:
        await recorded(home, ["alpha"])
        choices = await home.owner.autocomplete(home.channel, "perf export", "services", "alp")
    assert choices[0]["value"] == "alpha"


async def test_a_stranger_is_refused(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf export")
    assert result.ephemeral
    assert not result.response.attachments
