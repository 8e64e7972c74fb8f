"""Lets one monitor at a time take operations from a recorder: two would each store only some of them."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from cogmeter.recording.recorder import Recorder


class RecorderInUseError(RuntimeError):
    """Another bot's monitor takes operations from the recorder; the text names that bot and the fix."""


class Claimant(Protocol):
    """A monitor, as far as another one that wants the same recorder has to know it."""

    loop: asyncio.AbstractEventLoop  # that it was started on

    @property
    def title(self) -> str:
        """The name of its bot and its database."""
        ...

    @property
    def closed(self) -> bool:
        """Whether its bot was closed."""
        ...

    async def stop(self) -> None:
        """Stop it, on its own loop."""
        ...

    async def abandon(self) -> None:
        """Release what it holds, when its loop does not run any more."""
        ...


_claims: Final[weakref.WeakKeyDictionary[Recorder, weakref.ref[Claimant]]] = weakref.WeakKeyDictionary()


async def claim(recorder: Recorder, claimant: Claimant) -> None:
    """Make ``claimant`` the one that takes operations from ``recorder``, until ``release``.

    A monitor whose bot was closed, or whose event loop has ended, without unloading the extension is stopped first.

    Raises:
        RecorderInUseError: another bot's monitor is running.
    """
    while (other := _holder(recorder)) is not None and other is not claimant:
        if other.loop is asyncio.get_running_loop() and other.closed:
            await other.stop()
        elif other.loop is not asyncio.get_running_loop() and not other.loop.is_running():
            await other.abandon()
        else:
            raise RecorderInUseError(
                f"cogmeter already monitors another bot in this process ({other.title}), and one process can monitor "
                "only one bot: run this bot in a process of its own, or unload cogmeter.cog from the other bot first"
            )
        release(recorder, other)
    _claims[recorder] = weakref.ref(claimant)


def release(recorder: Recorder, claimant: Claimant) -> None:
    """End the claim, if it is this one's."""
    if _holder(recorder) is claimant:
        del _claims[recorder]


def _holder(recorder: Recorder) -> Claimant | None:
    reference = _claims.get(recorder)
    return None if reference is None else reference()
