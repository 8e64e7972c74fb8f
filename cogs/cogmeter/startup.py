"""Opens the monitor's database, and guards the start of each part: one that fails starts empty and stops no other."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.settings import SettingsError, env_name
from cogmeter_storage import open_store
from cogmeter_storage.base import AccessRefusedError, StorageError
from cogmeter_storage.factory import is_postgres, shown_url
from cogmeter_storage.spool import Spool

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store
    from cogmeter_storage.process import Process

PATIENCE_S: Final = 60.0  # a PostgreSQL cluster has a new primary within half a minute
RETRY_S: Final = 1.0
PREFIX: Final = "start: "  # before a part's name in the monitor's faults and in the doctor

_logger = logging.getLogger("cogmeter.parts")


class DamagedStateError(ValueError):
    """The stored state of a part cannot be read; the text says what and why."""


async def open_database(url: str, process: Process | None = None) -> Store:
    """Open the store of a database URL, for a process; a corrupt database file is set aside.

    A server that cannot be reached is tried again for PATIENCE_S: a bot and its database are often started together.

    Raises:
        SettingsError: the database cannot be used; the text names the setting, its value and the fix.
    """
    began_s = time.monotonic()
    waiting = False
    while True:
        try:
            return await open_store(url, replace_corrupt=True, process=process)
        except StorageError as error:
            text, name = str(error), env_name("database_url")
            # The text about a refused URL names it already, without a password.
            reason = text if text.startswith(name) else f"{name}={shown_url(url)}: {text}"
            final = error.permanent or isinstance(error, AccessRefusedError) or not is_postgres(url)
            if final or time.monotonic() - began_s >= PATIENCE_S:
                raise SettingsError(reason) from None
        if not waiting:
            waiting = True
            _logger.warning("The start waits for the database, for at most %.0f s. %s", PATIENCE_S, reason)
        await asyncio.sleep(RETRY_S)


async def open_spool(store: Store, settings: Settings, parts: StartupGuard) -> Spool | None:
    """Open the spool of this process; None if its store is a file, the settings switch it off, or it fails."""
    most_bytes = int(settings.spool_mb * 1e6)
    if store.process is None or not most_bytes:
        return None
    with parts.guard("spool", "operations wait in memory only while the database cannot be reached"):
        return await Spool.open(Path(settings.spool_path), store.process.name, most_bytes)
    return None


@contextmanager
def parsing() -> Iterator[None]:
    """Turn the exceptions of parsing a damaged state into DamagedStateError."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = f"the state that the last run stored cannot be read ({type(error).__name__}: {error})"
        raise DamagedStateError(reason) from error


class StartupGuard:
    """The parts of one monitor that failed to start, with the reason of each."""

    def __init__(self, faults: Counter[str]) -> None:
        """Count each failure in ``faults``, under ``start: `` and the part's name."""
        self.failed: dict[str, str] = {}
        self._faults = faults

    @contextmanager
    def guard(self, part: str, effect: str) -> Iterator[None]:
        """Run the body of a ``with`` statement; log, count and remember its exception, and continue after it.

        ``effect`` describes what the failure means for the user: "they start empty".

        Raises:
            SettingsError: a setting is invalid, so the load fails.
        """
        try:
            yield
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001 - a failure of one part must not stop the others
            self.fail(part, effect, error)

    def fail(self, part: str, effect: str, error: Exception) -> None:
        """Log, count and remember the failure of a part. The same failure again is logged at DEBUG."""
        expected = isinstance(error, StorageError | DamagedStateError)
        reason = f"{error}" if expected else f"{type(error).__name__}: {error}"
        text = f"{reason.rstrip('.')}; {effect}"
        level = logging.DEBUG if self.failed.get(part) == text else logging.ERROR
        # A traceback only for a bug: the text describes a damaged state or a failing database.
        _logger.log(level, "The part %r failed at the start: %s", part, text, exc_info=None if expected else error)
        self.failed[part] = text
        self._faults[PREFIX + part] += 1

    def findings(self) -> list[Finding]:
        """Return one line for each part that failed, for the doctor."""
        advice = "See the log. If it fails at every start, report it"
        return [Finding(PREFIX + part, well=False, text=text, advice=advice) for part, text in self.failed.items()]
