"""``cogmeter backup``, ``vacuum`` and ``forget``: maintenance of the database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.exits import Failure, exit_on_signals, reporting_errors
from cogmeter_bot.cli.options import database_option
from cogmeter_bot.cli.output import progress
from cogmeter_bot.cli.text import echo
from cogmeter_bot.errors import NO_DATA, OutputFileError

if TYPE_CHECKING:
    from cogmeter_bot.cli.output import ProgressStep
    from cogmeter_storage import Store
    from cogmeter_storage.model import Erased


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@database_option
def backup(path: Path, force: bool, database: Path | None) -> None:
    """Copy the database to FILE while the bot runs.

    The copy is a consistent snapshot; of PostgreSQL, it is an SQLite file. FILE appears only when it is complete; - is
    standard output. To restore it, stop the bot, replace the database by FILE, and delete the -wal and -shm files next
    to it.
    """
    from cogmeter_bot.files import STDOUT

    with reporting_errors(), exit_on_signals():
        if str(path) == STDOUT:
            _backup_to_stdout(database)
            return
        _backup_to_file(database, path, force=force)
    echo(f"Wrote {path} ({path.stat().st_size:,} bytes)")


def _backup_to_stdout(database: Path | None) -> None:
    """Write a copy to standard output, through a temporary file: SQLite does not write a database sequentially."""
    import shutil
    import tempfile

    from cogmeter_bot.files import STDOUT, output

    if sys.stdout.isatty():
        raise OutputFileError("A database cannot be shown on a terminal. Name a file, or use a pipe.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        _copy(database, copy)
        with copy.open("rb") as file, output(Path(STDOUT), force=False) as stdout:
            shutil.copyfileobj(file, stdout)


def _backup_to_file(database: Path | None, path: Path, *, force: bool) -> None:
    from cogmeter_bot.files import temporary_name

    _check_target(path, _database_path(database))
    with temporary_name(path, force=force) as part:
        _copy(database, part)
    for file in _wal_files(path):  # of the replaced file; they are empty
        file.unlink(missing_ok=True)


def _check_target(path: Path, source: Path | None) -> None:
    """Check that a copy may replace ``path``. ``source`` is the file that is copied.

    Raises:
        OutputFileError: it is a device, the database itself, or a database that a bot uses or that has a log.
    """
    from cogmeter_bot.files import is_device
    from cogmeter_storage.factory import is_written

    if is_device(path):
        raise OutputFileError(f"{path} is a device or a pipe. Name a file, or use - for a pipe.")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise OutputFileError(f"{path} is the database itself. Name another file.")
    log = _wal_files(path)[0]
    if is_written(path) or (log.exists() and log.stat().st_size):
        raise OutputFileError(f"{path} is a database in use. Name another file.")


def _wal_files(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm")]


def _database_path(database: Path | None) -> Path | None:
    """Return the path of the database's file; None for a database on a server."""
    from cogmeter_bot.sources.factory import database_url, quiet_settings
    from cogmeter_storage.factory import database_file

    return database_file(database_url(quiet_settings(), database))


def _copy(database: Path | None, copy: Path) -> None:
    import asyncio

    with progress("Copying", "pages") as step:
        asyncio.run(_copy_store(database, copy, step))


async def _copy_store(database: Path | None, copy: Path, step: ProgressStep) -> None:
    from cogmeter_bot.sources.factory import database_url, quiet_settings
    from cogmeter_storage import open_store

    store = await open_store(database_url(quiet_settings(), database), read_only=True)
    try:
        await store.backup(copy, progress=step)
    finally:
        await store.close()


@click.command()
@database_option
def vacuum(database: Path | None) -> None:
    """Release the disk space of removed operations. No bot may use the database.

    The command temporarily needs about as much free space as the database has.
    """
    import asyncio

    from cogmeter_bot.sources.factory import write_database

    async def work(store: Store) -> tuple[int, int]:
        before = (await store.status()).size_bytes
        await store.vacuum()
        return before, (await store.status()).size_bytes

    with reporting_errors():
        _require_database(database)
        before, after = asyncio.run(write_database(database, work))
    echo(f"{before:,} bytes before, {after:,} bytes now")


@click.command()
@click.option("--user", required=True, metavar="ID", help="The user's Discord id.")
@click.option("--name", metavar="NAME", help="Remove this display name from alerts, mutes and changes, too.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@database_option
def forget(user: str, name: str | None, yes: bool, database: Path | None) -> None:
    """Remove the identity of one user from the database.

    The command removes the user's keyed hash, and their id in texts and metadata. The operations stay, without a user.
    No bot may use the database. Delete earlier exports and backups yourself: they are not changed.
    """
    import asyncio

    from cogmeter.redaction import quoted
    from cogmeter.render.erasure_text import erased_text
    from cogmeter.watch.interactions.erasure import is_user_id
    from cogmeter_bot.sources.factory import write_database

    if not is_user_id(user):
        raise click.BadParameter(
            f"{quoted(user, strict=True)} is not a Discord id of 15 to 20 digits", param_hint="'--user'"
        )

    async def work(store: Store) -> Erased:
        from cogmeter.watch.interactions.erasure import forget_user

        return await forget_user(store, user, name)

    with reporting_errors():
        _require_database(database)
        if not yes:
            click.confirm(f"Permanently remove user {user}?", abort=True)
        erased = asyncio.run(write_database(database, work))
    echo(f"Removed from {erased_text(erased)}")


def _require_database(database: Path | None) -> None:
    """Check that the database exists; these commands must not create one."""
    path = _database_path(database)
    if path is not None and not path.exists():
        text = f"Database {path} does not exist. Name another with --database or PERFORMANCE_DATABASE_URL."
        raise Failure(text, NO_DATA)
