"""The back ends that the contract suite checks, and rows for them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from postgres_server import PROGRAMS, Bouncer, Server

from cogmeter_storage import Row, Store, open_store
from cogmeter_storage.errors import ErrorBatch, ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.model import DAY_US, HOUR_US

NOON = 1_750_075_200_000_000  # 2025-06-16 12:00:00 UTC, a border of minutes and hours
NAMES = [("alpha", "one"), ("alpha", "two"), ("beta", "one")]


class Backend:
    """An empty database."""

    url: str
    raw_width_us = HOUR_US  # operations and minutes are removed in whole slots of this width

    @property
    def shown_url(self) -> str:
        """The URL in messages, without user and password."""
        return self.url

    def raw_cut(self, now_us: int, hours: float) -> int:
        """Return the time before which operations are removed after so many hours."""
        return int(now_us - hours * HOUR_US) // self.raw_width_us * self.raw_width_us

    async def open(self, **options: bool) -> Store:
        return await open_store(self.url, **options)

    @contextlib.asynccontextmanager
    async def store(self, **options: bool) -> AsyncIterator[Store]:
        """The store, open as long as the block runs."""
        store = await self.open(**options)
        try:
            yield store
        finally:
            await store.close()


class SqliteBackend(Backend):
    """A fresh SQLite file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'performance.db'}"


class PostgresBackend(Backend):
    """A fresh database of a PostgreSQL server, reached directly or through PgBouncer."""

    raw_width_us = DAY_US

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def shown_url(self) -> str:
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"


@pytest.fixture(scope="session")
def bouncer(postgres_server: Server) -> Iterator[Bouncer]:
    started = Bouncer(postgres_server.folder, postgres_server)
    yield started
    started.stop()


BACKENDS = ["sqlite", "postgres", "pgbouncer"]  # another one joins the contract suite by a line here and one below


@pytest.fixture(params=BACKENDS)
def backend_class(request: pytest.FixtureRequest, needed: Callable[[object, str], None]) -> Callable[[Path], Backend]:
    if request.param == "sqlite":
        return SqliteBackend
    needed(PROGRAMS, "PostgreSQL")
    if request.param == "pgbouncer":
        needed(shutil.which("pgbouncer"), "PgBouncer")
    reached = request.getfixturevalue("bouncer" if request.param == "pgbouncer" else "postgres_server")
    made = request.getfixturevalue("postgres_server")

    def empty(_folder: Path) -> Backend:
        made.empty("postgres")
        return PostgresBackend(reached.url("postgres"))

    return empty


@pytest.fixture
def sqlite_backend(tmp_path: Path) -> Backend:
    """For tests of what only SQLite does."""
    return SqliteBackend(tmp_path)


@pytest.fixture
def backend(backend_class: Callable[[Path], Backend], tmp_path: Path) -> Backend:
    return backend_class(tmp_path)


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """An empty store that knows NAMES as series 1, 2, 3."""
    async with backend.store() as store:
        assert await store.series_ids(NAMES) == [1, 2, 3]
        yield store


@pytest.fixture
def noon() -> int:
    return NOON


@pytest.fixture
def make_rows() -> Callable[..., list[Row]]:
    """``make_rows(count, start_us, gap_us)``: ordered rows of the three series with durations 1, 2, 3, ... ms."""

    def make(count: int, start_us: int, gap_us: int = 1_000_000) -> list[Row]:
        return [
            (i % 3 + 1, start_us + i * gap_us, (i + 1) * 1000, 1 if i % 10 == 9 else 0, None, None)
            for i in range(count)
        ]

    return make


@pytest.fixture
def append() -> Callable[..., object]:
    """``await append(store, rows)``: in slices of 100, with the clock at the last row's end."""

    async def append(store: Store, rows: Sequence[Row], *, now_us: int | None = None) -> int:
        now_us = rows[-1][1] if now_us is None else now_us
        return await store.append((rows[i : i + 100] for i in range(0, len(rows), 100)), now_us=now_us)

    return append


@pytest.fixture
def make_errors(noon: int) -> Callable[..., ErrorBatch]:
    """``make_errors("a", at_us, count=2, ...)``: errors of one group at one moment, with one example."""

    def make(name: str, at_us: int = noon, *, count: int = 1, users: str = "", **others: object) -> ErrorBatch:
        place = Frame("bot/answers.py", f"Answers.{name}", 42, own=True)
        frames = (Frame("asyncio/events.py", "run", 80, own=False), place)
        link = ErrorLink("RuntimeError", f"no answer from {name}", frames)
        values = {
            "fingerprint": name.rjust(16, "0"),
            "kind": ErrorKind.FAILED,
            "type": link.type,
            "message": link.message,
            "place": place,
            "first_us": at_us,
            "last_us": at_us,
            "counts": {("alpha", "one", at_us // DAY_US): count},
            "users": frozenset(users),
            "guilds": frozenset(),
            "version": None,
            "examples": (ErrorExample(at_us, "alpha", "one", next(iter(users), None), "1.4", (link,)),),
        }
        return ErrorBatch(**values | others)

    return make
