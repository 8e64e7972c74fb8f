"""Ensures that only one monitor takes operations from a recorder: two would each store some of them."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from cogmeter.recording.recorder import Recorder


class RecorderInUseError(RuntimeError):
    """Another bot's monitor takes operations from the recorder; the text names that bot and the fix."""


class Claimant(Protocol):
    """The part of a monitor that another monitor of the same recorder uses."""

    loop: asyncio.AbstractEventLoop  # the loop on which it was started

    @property
    def bot(self) -> object:
        """Return its bot."""
        ...

    @property
    def title(self) -> str:
        """Return the name of its bot and its database."""
        ...

    @property
    def closed(self) -> bool:
        """Return whether its bot was closed."""
        ...

    async def stop(self) -> None:
        """Stop it, on its own loop."""
        ...

    async def abandon(self) -> None:
        """Release its resources after its loop has ended."""
        ...


_claims: Final[weakref.WeakKeyDictionary[Recorder, weakref.ref[Claimant]]] = weakref.WeakKeyDictionary()


async def claim(recorder: Recorder, claimant: Claimant) -> None:
    """Let only ``claimant`` take operations from ``recorder``, until ``release``.

    A monitor whose bot was closed, or whose event loop has ended, without unloading the extension is stopped first.

    Raises:
        RecorderInUseError: another bot's monitor is running.
    """
    while (other := _holder(recorder)) is not None and other is not claimant:
        if other.loop is asyncio.get_running_loop() and other.closed:
            await other.stop()
        elif other.loop is not asyncio.get_running_loop() and not other.loop.is_running():
            await other.abandon()
        elif other.bot is claimant.bot:
            raise RecorderInUseError(
                f"cogmeter already monitors this bot ({other.title}): use either cogmeter.attach or the extension "
                "cogmeter.cog, not both"
            )
        else:
            raise RecorderInUseError(
                f"cogmeter already monitors another bot in this process ({other.title}), and one process can monitor "
                "only one bot: run this bot in a process of its own, or unload cogmeter.cog from the other bot first"
            )
        release(recorder, other)
    _claims[recorder] = weakref.ref(claimant)


def release(recorder: Recorder, claimant: Claimant) -> None:
    """End the claim if it belongs to this claimant."""
    if _holder(recorder) is claimant:
        del _claims[recorder]


def _holder(recorder: Recorder) -> Claimant | None:
    reference = _claims.get(recorder)
    return None if reference is None else reference()
