"""A TCP proxy before a PostgreSQL server: it cuts connections at a COMMIT, before it arrives or before its answer.

It can also let nothing pass for a while, as a network does whose packets are lost.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator

COMMIT = b"COMMIT\0"  # the whole statement: READ COMMITTED is a part of others


class CuttingProxy:
    """Forwards everything; ``cuts`` are the next commits to be cut: "lost", "unanswered", or "pass" to let one pass."""

    def __init__(self, port: int) -> None:
        self.cuts: deque[str] = deque()
        self.done: list[str] = []
        self._passing = threading.Event()
        self._passing.set()
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self._passing.set()
        self._listener.close()

    def hold(self) -> None:
        """Let nothing pass, also of new connections, until ``release``. Nothing is lost: TCP sends it again."""
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                muted = threading.Event()
                for function in (self._to_server, self._to_client):
                    threading.Thread(target=function, args=(client, server, muted), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError), _ending(client, server):
            while content := client.recv(65536):
                cut = self.cuts.popleft() if COMMIT in content and self.cuts else "pass"
                if cut == "lost":
                    self.done.append(cut)
                    return
                if cut == "unanswered":
                    muted.set()
                self._passing.wait()
                server.sendall(content)

    def _to_client(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError), _ending(client, server):
            while content := server.recv(65536):
                if muted.is_set():  # the answer: the server has committed
                    self.done.append("unanswered")
                    return
                self._passing.wait()
                client.sendall(content)


@contextlib.contextmanager
def _ending(*sockets: socket.socket) -> Iterator[None]:
    """End the connections after the block. Without a shutdown, one that another thread reads would stay open."""
    try:
        yield
    finally:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
