"""``cogmeter backup``, ``vacuum`` and ``forget``: the care of a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.error_output import NO_DATA, Failure, told
from cogmeter_bot.cli.options import database_option
from cogmeter_bot.cli.terminal_text import echo

if TYPE_CHECKING:
    from cogmeter_bot.cli.progress import ProgressStep
    from cogmeter_storage import Store


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@database_option
def backup(path: Path, force: bool, database: Path | None) -> None:
    """Copy the database to FILE while the bot goes on.

    The copy is the whole database as it is at one moment. FILE is there when it is finished, and not before; - is
    standard output. To go back to it, stop the bot and put FILE in the database's place (and remove the files beside
    it that end in -wal and -shm).
    """
    from cogmeter_bot.cli.progress import ended_by_signals
    from cogmeter_bot.files import STDOUT

    with told(), ended_by_signals():
        if str(path) == STDOUT:
            _print_copy(database)
            return
        _make_copy(database, path, force=force)
    echo(f"Wrote {path} ({path.stat().st_size:,} bytes)")


def _print_copy(database: Path | None) -> None:
    """By way of a temporary file: a database is not written from its beginning to its end."""
    import shutil
    import tempfile

    from cogmeter_bot.files import STDOUT, TakenError, output

    if sys.stdout.isatty():
        raise TakenError("A database is no text for a terminal; name a file, or send it into a pipe.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        _copy(database, copy)
        with copy.open("rb") as file, output(Path(STDOUT), force=False) as out:
            shutil.copyfileobj(file, out)


def _make_copy(database: Path | None, path: Path, *, force: bool) -> None:
    from cogmeter_bot.files import unfinished

    _refuse_in_use(path, _source(database))
    with unfinished(path, force=force) as part:
        _copy(database, part)
    for name in _beside(path):  # of the file that was replaced; it was empty
        name.unlink(missing_ok=True)


def _refuse_in_use(path: Path, source: Path) -> None:
    """Refuse to replace the database itself, one that a bot has open, or one whose log would be taken for the copy's.

    Raises:
        TakenError: it is one of these, or a device.
    """
    from cogmeter_bot.files import TakenError, is_device
    from cogmeter_storage.factory import is_written

    if is_device(path):
        raise TakenError(f"{path} is a device or a pipe, in which no database can be; name a file, or - for a pipe.")
    if path.exists() and source.exists() and path.samefile(source):
        raise TakenError(f"{path} is the database itself; name another file.")
    if is_written(path) or any(name.exists() and name.stat().st_size for name in _beside(path)[:1]):
        raise TakenError(f"{path} is a database in use; name another file.")


def _beside(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm")]


def _source(database: Path | None) -> Path:
    from cogmeter_bot.sources.opening import quiet_settings, url_of
    from cogmeter_storage.factory import sqlite_path

    return sqlite_path(url_of(quiet_settings(), database))


def _copy(database: Path | None, part: Path) -> None:
    import asyncio

    from cogmeter_bot.cli.progress import progress

    with progress("Copying", "pages") as step:
        asyncio.run(_copied(database, part, step))


async def _copied(database: Path | None, part: Path, step: ProgressStep) -> None:
    from cogmeter_bot.sources.opening import quiet_settings, url_of
    from cogmeter_storage import open_store

    store = await open_store(url_of(quiet_settings(), database), read_only=True)
    try:
        await store.backup(part, progress=step)
    finally:
        await store.close()


@click.command()
@database_option
def vacuum(database: Path | None) -> None:
    """Give the room of removed operations back to the system. No bot may be running on the database.

    Needs about as much free space as the database has, for as long as it takes.
    """
    import asyncio

    from cogmeter_bot.sources.opening import writing

    async def work(store: Store) -> tuple[int, int]:
        before = (await store.status()).size_bytes
        await store.vacuum()
        return before, (await store.status()).size_bytes

    with told():
        _must_exist(database)
        before, after = asyncio.run(writing(database, work))
    echo(f"{before:,} bytes before, {after:,} bytes now")


@click.command()
@click.option("--user", required=True, metavar="ID", help="The user's Discord id.")
@click.option("--name", metavar="NAME", help="Also this display name, where its bearer acknowledged, muted or changed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_option
def forget(user: str, name: str | None, yes: bool, database: Path | None) -> None:
    """Remove what leads to one user from the database.

    That is their keyed hash, and their id in texts and metadata. The operations stay, as nobody's. No bot may be
    running on the database. Exports and backups made before are not changed: remove those.
    """
    import asyncio

    from cogmeter.redaction import quoted
    from cogmeter_bot.erasure import person_of
    from cogmeter_bot.sources.opening import writing

    if not (user.isascii() and user.isdecimal() and 15 <= len(user) <= 20):
        raise click.BadParameter(
            f"{quoted(user, strict=True)} is no Discord id of 15 to 20 digits", param_hint="'--user'"
        )
    with told():
        _must_exist(database)
        if not yes:
            click.confirm(f"Remove the traces of user {user} for good?", abort=True)

        async def work(store: Store) -> int:
            return await store.erase_person(await person_of(store, user, name))

        found = asyncio.run(writing(database, work))
    echo(f"Removed from {found:,} rows")


def _must_exist(database: Path | None) -> None:
    """Refuse to make a new database where one is only to be cared for."""
    path = _source(database)
    if not path.exists():
        raise Failure(
            f"Database {path} does not exist; name another by --database, or set PERFORMANCE_DATABASE_URL.", NO_DATA
        )
