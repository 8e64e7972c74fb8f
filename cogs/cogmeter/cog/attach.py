"""``cogmeter.attach``: the monitor for any client of discord.py, without an extension."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, ref

import discord

from cogmeter import default_recorder
from cogmeter.cog.perf import Installation
from cogmeter.monitor.claim import RecorderInUseError
from cogmeter.recording.background import detached
from cogmeter.settings import SettingsError, load_settings
from cogmeter.watch.hook import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from discord import app_commands

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.settings import Settings
    from cogmeter.web.server.servers import Servers

    Call = Callable[..., Coroutine[Any, Any, Any]]

NOT_STARTED: Final = "cogmeter could not start; the bot runs without it: %s"
ANOTHER_LOOP: Final = (
    "cogmeter stopped, because the client logs in again on another event loop; the bot runs without it. Create a new "
    "client for each asyncio.run(), or close this one first"
)

_attached: Final[WeakKeyDictionary[discord.Client, ref[Attachment]]] = WeakKeyDictionary()
_logger = logging.getLogger("cogmeter")


def attach(client: discord.Client, tree: app_commands.CommandTree[Any] | None = None) -> Attachment:
    """Implement ``cogmeter.attach``."""
    if not isinstance(client, discord.Client):
        raise TypeError(f"attach() needs a discord.Client, and this is a {type(client).__name__}")
    if tree is not None and tree.client is not client:
        raise ValueError("attach() needs a tree of this client, and this tree belongs to another one")
    reference = _attached.get(client)
    present = None if reference is None else reference()
    if present is not None:
        return present
    settings = load_settings()
    if settings.enabled:
        return Attachment(client, settings, tree)
    default_recorder.disable()
    _logger.info("ENABLE_PERFORMANCE_MONITORING is false: nothing is recorded")
    return Attachment(client, None)


class Attachment:
    """A client's monitor. It starts with the client's login, or at once if that is over, and stops with its close.

    discord.py calls the client's ``login`` before the host's ``setup_hook``, so that a tree that is synchronised there
    has the commands. It calls ``close`` of the connection's state after the host's own ``close``.
    """

    def __init__(
        self, client: discord.Client, settings: Settings | None, tree: app_commands.CommandTree[Any] | None = None
    ) -> None:
        """Without settings, monitoring is switched off: nothing starts.

        Raises:
            RuntimeError: the client is closed, or it is logged in and this is not its event loop.
        """
        self.error: Exception | None = None  # why it could not start
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None  # on which it was started
        self._starting: asyncio.Task[None] | None = None
        self._started = asyncio.Event()  # or failed, or stopped
        self._lock = asyncio.Lock()  # starting or stopping
        self._stopped = False
        self._login = Hook("login calls", client, "login", self._at_login)
        self._close = Hook("the connection's end", client._connection, "close", self._at_close)  # noqa: SLF001 - see above
        self._installation = None if settings is None else Installation(client, settings, tree)
        if self._installation is not None:
            self._begin(self._installation)

    @property
    def monitor(self) -> Monitor | None:
        """The monitor; None with ENABLE_PERFORMANCE_MONITORING=false."""
        return None if self._installation is None else self._installation.monitor

    @property
    def servers(self) -> Servers | None:
        """Its HTTP servers; None with ENABLE_PERFORMANCE_MONITORING=false."""
        return None if self._installation is None else self._installation.servers

    async def started(self) -> None:
        """Wait until the monitor runs, or was stopped.

        Raises:
            SettingsError: a setting does not fit this machine or this bot.
            RecorderInUseError: cogmeter monitors another bot in this process.
        """
        if self._installation is not None:
            await self._started.wait()
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        """Remove every hook and command and stop everything; buffered operations are stored first. Never raises."""
        self._stopped = True
        self._unhook()
        starting = self._starting
        if starting is not None and not starting.done() and starting is not asyncio.current_task():
            starting.cancel()
            await asyncio.wait({starting})
        async with self._lock:
            if self._installation is not None:
                await self._installation.stop()
        self._started.set()

    def _begin(self, installation: Installation) -> None:
        if self._client.is_closed():
            raise RuntimeError("attach() needs a client that is not closed")
        logged_in = self._client.user is not None
        if logged_in and asyncio.get_running_loop() is not self._client.loop:
            raise RuntimeError("attach() after the login needs the client's own event loop")
        if not self._close.install():
            self._close = Hook("close calls", self._client, "close", self._at_close)
            self._close.install()
        _attached[self._client] = ref(self)
        if not logged_in:
            self._login.install()
            return
        installation.registration.offer()  # now: the host may synchronise its tree in the next line
        self._starting = detached(self._start(), name="cogmeter-start")

    async def _start(self) -> None:
        """Start the monitor, once. An error is logged, and never raised to the host."""
        async with self._lock:
            installation, loop = self._installation, asyncio.get_running_loop()
            if installation is None or self._stopped or self._loop is loop:
                return
            if self._loop is not None:
                await self._abandon(installation)
                return
            try:
                await installation.start()
            except Exception as error:  # noqa: BLE001 - the host's login goes on
                self._fail(error)
                await installation.stop()
            else:
                installation.monitor.on_stop(self._end)
                self._loop = loop
            self._started.set()

    async def _abandon(self, installation: Installation) -> None:
        """Release a monitor whose event loop has ended: it cannot run on another one."""
        self._stopped = True
        self._unhook()
        _logger.error(ANOTHER_LOOP)
        try:
            await installation.abandon()
        except Exception:
            _logger.exception("A part of cogmeter could not be released")

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._unhook()
        explained = isinstance(error, (SettingsError, RecorderInUseError))
        _logger.error(NOT_STARTED, error, exc_info=None if explained else error)

    async def _end(self) -> None:
        self._unhook()

    def _unhook(self) -> None:
        for hook in (self._login, self._close):
            hook.remove()
        reference = _attached.get(self._client)
        if reference is not None and reference() is self:
            del _attached[self._client]

    def _at_login(self, original: Call, hook: Hook) -> Call:
        async def login(*args: Any, **kwargs: Any) -> Any:
            if hook.active:
                await self._start()
            return await original(*args, **kwargs)

        return login

    def _at_close(self, original: Call, hook: Hook) -> Call:
        async def close(*args: Any, **kwargs: Any) -> Any:
            if hook.active:
                try:
                    await self.stop()
                except Exception as error:  # noqa: BLE001 - the host's connection must be closed
                    hook.fault(error)
            return await original(*args, **kwargs)

        return close
