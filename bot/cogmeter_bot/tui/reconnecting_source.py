"""A source that may go away, be replaced and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cogmeter_bot.sources.base import NoDataError, SourceError
from cogmeter_storage import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cogmeter_bot.sources.base import Source

T = TypeVar("T")


class ReconnectingSource:
    """Opens the source when it is first asked, and again after it failed or after its file was replaced."""

    def __init__(self, opened: Callable[[], Awaitable[Source]], file: Path | None = None) -> None:
        """``file`` is that of the database; None for a source that has none."""
        self._opened = opened
        self._file = file
        self._identity: tuple[int, int] | None = None
        self._source: Source | None = None

    async def ask(self, question: Callable[[Source], Awaitable[T]]) -> T:
        """What the source answers.

        Raises:
            SourceError: it cannot, now; it may be asked again.
        """
        try:
            return await question(await self._current())
        except StorageError as error:
            await self.close()
            raise NoDataError(str(error)) from error
        except OSError as error:
            await self.close()
            raise NoDataError(f"{error.strerror or error}.") from error
        except SourceError:
            await self.close()
            raise

    async def close(self) -> None:
        """Give the source back; the next question opens it again."""
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def _current(self) -> Source:
        # A connection goes on reading a file that was moved away, for ever and without a word.
        identity = _identity(self._file)
        if self._source is not None and identity != self._identity:
            await self.close()
        if self._source is None:
            self._identity = identity
            self._source = await self._opened()
        return self._source


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
