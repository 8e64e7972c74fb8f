"""The lock of everything that the host's threads change together: series, counters, markers, spans, the buffer's bound.

One lock for all, because only slow paths take it: the fast path of recording is one comparison and one ``list.extend``,
which are safe without it. It is reentrant, because a signal handler or a finalizer of the host may record something
while its own thread is inside.
"""

from __future__ import annotations

import os
import threading
from typing import Final

lock: Final = threading.RLock()

if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    # A fork waits until no other thread is inside: the child would find the lock taken for ever, by a thread that it
    # does not have.
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
