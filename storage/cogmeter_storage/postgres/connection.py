"""One PostgreSQL connection with its own thread, which connects again when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg import conninfo, errors

from cogmeter_storage.base import StorageError
from cogmeter_storage.postgres.messages import storage_error
from cogmeter_storage.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

# A server that does not respond must not hold a call for longer than a failover takes.
_DEFAULTS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "target_session_attrs": "read-write",
}
CALL_LIMIT_S: Final = 15.0  # a transaction is small; a failover takes longer, and the next call meets the new primary
_ATTEMPTS: Final = 5  # at a transaction that met another one
_PAUSE_S: Final = 0.02


def connection_values(url: str) -> dict[str, Any]:
    """Return libpq's parameters of a URL such as ``postgresql://user:password@one,two/bot?sslmode=require``.

    Raises:
        StorageError: it is not such a URL; the message does not contain it, because of its password.
    """
    scheme, _, rest = url.partition("://")
    try:
        values = conninfo.conninfo_to_dict(f"{scheme.partition('+')[0]}://{rest}")
    except psycopg.Error as error:
        reason = "it is not a URL that PostgreSQL accepts"
        raise StorageError(
            f"PERFORMANCE_DATABASE_URL: {reason}: expected postgresql://user:password@host:5432/database.",
            permanent=True,
        ) from error
    return {**_DEFAULTS, **values}


def shown_name(url: str) -> str:
    """Return server and database of a URL, without user and password."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2] or "localhost"
    return f"{hosts}{parts.path or '/'}"


class PostgresConnection:
    """One connection, and the only thread that uses it. A function runs on the thread after all earlier ones."""

    def __init__(self, url: str, *, application: str = "cogmeter", only_reads: bool = False) -> None:
        """Use ``open``; ``application`` is the name in the server's list of connections.

        With ``only_reads``, a call that finds its connection lost is repeated with a new one.
        """
        self.name = shown_name(url)
        self._values = {"application_name": application, **connection_values(url)}
        self._session: PostgresSession | None = None
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closed = False
        self._only_reads = only_reads
        self._began_s = math.inf  # of the call that the thread runs
        # A daemon: a host that exits without closing the store must not wait for this thread; commits are safe.
        self._thread = threading.Thread(target=self._work, name="cogmeter-storage", daemon=True)

    async def open(self) -> None:
        """Start the thread and connect; after an error no thread is left.

        Raises:
            StorageError: the server cannot be reached, or refuses the connection.
        """
        self._thread.start()
        try:
            await self.run(_nothing)
        except BaseException:
            self.stop()
            raise

    async def run(self, function: Callable[Concatenate[PostgresSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function with the session; it connects first if there is no connection.

        The function is called again if its transaction met another one. Cancelling the caller does not stop it.

        Raises:
            StorageError: PostgreSQL fails, or the connection has been closed.
        """
        return await self._queue(partial(self._call, _bound(function, *args, **kwargs), _ATTEMPTS))

    async def run_once(
        self, function: Callable[Concatenate[PostgresSession, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that is a part of a transaction; see ``run``."""
        return await self._queue(partial(self._call, _bound(function, *args, **kwargs), 1))

    def run_later(self, function: Callable[[PostgresSession], object]) -> None:
        """Queue a function without waiting for it, unless there is no connection; its errors are ignored."""

        def call() -> None:
            if self._session is not None:
                with contextlib.suppress(psycopg.Error):
                    function(self._session)

        self._calls.put(call)

    async def run_long(
        self, function: Callable[Concatenate[PostgresSession, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that may take longer than CALL_LIMIT_S; see ``run``."""
        return await self._queue(partial(self._call, _bound(function, *args, **kwargs), 1), limited=False)

    async def _queue(self, call: Callable[[], T], *, limited: bool = True) -> T:
        if self._closed or not self._thread.is_alive():
            raise StorageError(f"The connection to {self.name} has been closed.", permanent=True)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(partial(self._resolve, loop, future, call, limited=limited))
        timer = loop.call_later(CALL_LIMIT_S, self._cut_if_late, loop)
        try:
            return await future
        finally:
            timer.cancel()

    def _resolve(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], call: Callable[[], T], *, limited: bool
    ) -> None:
        """Give the future the result of the call, on the loop's thread; ignore a loop that has been closed."""
        self._began_s = time.monotonic() if limited else math.inf
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            report = partial(_set, future, None, error)
        else:
            report = partial(_set, future, result, None)
        self._began_s = math.inf
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(report)

    def _cut_if_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut the connection if its thread has waited for too long, so that the call fails; else look again later.

        A server that was stopped, or is behind a lost network, accepts data for ever without a response.
        """
        left_s = self._began_s + CALL_LIMIT_S - time.monotonic()
        session = self._session
        if left_s <= 0 and session is not None:
            with contextlib.suppress(OSError, psycopg.Error):
                connection = socket.socket(fileno=os.dup(session.connection.fileno()))
                with connection:
                    connection.shutdown(socket.SHUT_RDWR)
        elif left_s < math.inf and not self._closed:
            loop.call_later(max(left_s, 1.0), self._cut_if_late, loop)

    def _call(self, function: Callable[[PostgresSession], T], attempts: int) -> T:
        for attempt in range(1, attempts + 1):
            try:
                return function(self._connected())
            except (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation) as error:
                if attempt == attempts:
                    raise storage_error(error, self.name) from error
                time.sleep(_PAUSE_S * attempt)
            except psycopg.Error as error:
                # A standby, too: after a failover the name leads to the new primary.
                lost = isinstance(error, psycopg.OperationalError | errors.ReadOnlySqlTransaction)
                was_connected = self._session is not None
                if lost:
                    self.disconnect()
                if lost and was_connected and self._only_reads and attempt == 1:
                    continue
                raise storage_error(error, self.name) from error
        raise AssertionError("unreachable")

    def _connected(self) -> PostgresSession:
        """Return the session, on the thread; a lost connection is replaced."""
        if self._session is not None and self._session.connection.closed:
            self._session = None
        if self._session is None:
            self._session = PostgresSession(psycopg.connect(autocommit=True, prepare_threshold=None, **self._values))
        return self._session

    def disconnect(self) -> None:
        """Drop the connection, on the thread; the next call makes another one."""
        if self._session is not None:
            with contextlib.suppress(psycopg.Error):
                self._session.connection.close()
            self._session = None

    def stop(self) -> None:
        """End the thread after all queued calls, and the connection with it."""
        if not self._closed:
            self._closed = True
            self._calls.put(None)

    async def end(self) -> None:
        """Wait until all queued calls are done, and the thread has ended."""
        if self._thread.is_alive():
            with contextlib.suppress(StorageError):
                await self.run(_nothing)  # the thread is daemonic, and joined only when nothing is left to wait for
        self.stop()
        self._thread.join(1.0)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
        self.disconnect()


def _bound(
    function: Callable[Concatenate[PostgresSession, P], T], *args: P.args, **kwargs: P.kwargs
) -> Callable[[PostgresSession], T]:
    return lambda session: function(session, *args, **kwargs)


def _nothing(session: PostgresSession) -> None:
    """Do nothing: the session is connected."""


def _set(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
