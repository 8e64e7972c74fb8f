"""What all push targets share: the batches that they encode, the requests that they send, and the error they raise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import RETRIED, retry_after_s
from cogmeter_storage.clock import clock
from cogmeter_storage.model import MINUTE_US, NewRecords, RecordPosition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cogmeter.notifiers.http import Http, HttpResponse

REFUSED: Final = frozenset({401, 403})  # the key, or what it may do


class PushError(Exception):
    """A request that was not accepted. Its text names the cause and never contains a secret.

    With ``refused`` the target stops: another attempt with this key is useless. With ``too_large`` smaller batches may
    be accepted. With ``permanent`` this batch can never be accepted. Otherwise a later attempt may work, not before
    ``retry_after_s`` seconds if that is set.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        refused: bool = False,
        too_large: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.refused = refused
        self.too_large = too_large
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Origin:
    """What identifies the bot at the other end."""

    name: str  # of the bot
    instance: str  # of its database: the same after a restart
    host: str
    version: str = ""  # of the bot
    attributes: Mapping[str, str] = field(default_factory=dict)  # further ones, from OTEL_RESOURCE_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class SeriesCounts:
    """The operations of one series in one minute, or in several."""

    service: str
    operation: str
    outcomes: tuple[int, ...]  # counts by Outcome
    sum_us: int
    max_us: int
    buckets: tuple[tuple[int, int], ...]  # bucket number (see histogram.py) and count, rising

    @property
    def count(self) -> int:
        """The operations of any outcome."""
        return sum(self.outcomes)

    def plus(self, other: SeriesCounts) -> SeriesCounts:
        """Return the operations of both, with the names of this one."""
        buckets = dict(self.buckets)
        for bucket, count in other.buckets:
            buckets[bucket] = buckets.get(bucket, 0) + count
        return SeriesCounts(
            self.service,
            self.operation,
            tuple(map(sum, zip(self.outcomes, other.outcomes, strict=True))),
            self.sum_us + other.sum_us,
            max(self.max_us, other.max_us),
            tuple(sorted(buckets.items())),
        )


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a target has been served: all minutes before ``minute_us``, and in it the series up to ``series``."""

    minute_us: int
    series: int = 0
    records: RecordPosition = field(default_factory=RecordPosition)


@dataclass(frozen=True, slots=True)
class PushBatch:
    """What one turn sends: a part of a minute, or new records, or the gauges of now; and the cursor after it."""

    after: Cursor
    minute_us: int = 0
    series: tuple[SeriesCounts, ...] = ()
    newest: bool = False  # no later minute is sealed yet, and this is its last part
    records: NewRecords = field(default_factory=lambda: NewRecords(RecordPosition()))
    gauges: Mapping[str, float] = field(default_factory=dict)  # of ``gauges_us``, by the names of the watched surfaces
    gauges_us: int = 0

    @property
    def until_us(self) -> int:
        """The end of the minute."""
        return self.minute_us + MINUTE_US

    @property
    def operations(self) -> int:
        """The operations that it counts."""
        return sum(one.count for one in self.series)


def sample_batch() -> PushBatch:
    """Return a batch with one gauge, to try an endpoint: one thread of the process."""
    return PushBatch(Cursor(0), gauges={"resources.threads": 1.0}, gauges_us=clock.now_us())


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the endpoint."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "metrics"  # metrics, traces, logs, events


class Rejection(NamedTuple):
    """What an endpoint did not keep of a request that it accepted."""

    points: int  # data points, spans or log records
    reason: str


class PushTarget(ABC):
    """One endpoint. Each protocol's module has one class.

    ``encode`` is called on a thread and changes nothing, so that a batch can be encoded again. ``accepted`` is called
    once for each batch, when its last request was accepted or the batch was dropped.
    """

    name: str  # in options, texts and stored cursors
    label: str  # on screens
    oldest_us: int  # how old a minute may be; older ones are not sent, and counted as dropped

    @abstractmethod
    def encode(self, batch: PushBatch) -> list[Request]:
        """Return the requests of a batch; empty if there is nothing to send."""

    @abstractmethod
    async def send(self, request: Request) -> Rejection | None:
        """Send one request. Return what the endpoint did not keep although it accepted the request; None: nothing.

        Raises:
            PushError: it was not accepted.
        """

    def accepted(self, batch: PushBatch) -> None:  # noqa: B027 - most targets keep nothing
        """Note that the batch is not sent again."""

    async def check(self) -> str:
        """Return a sentence about the endpoint and the keys, for ``cogmeter push --check``.

        Raises:
            PushError: they are not accepted.
        """
        return ""


async def posted(
    http: Http,
    request: Request,
    method: str = "POST",
    *,
    failing: Callable[[HttpResponse, str], PushError] | None = None,
) -> HttpResponse:
    """Send a request; return the response of an endpoint that accepted it.

    ``failing`` replaces ``failure`` where the endpoint's responses say more.

    Raises:
        PushError: there was no response in time, or one that refuses the request.
    """
    try:
        response = await http.send(method, request.url, body=request.body or None, headers=request.headers)
    except NotifyError as error:
        failed = PushError(str(error))  # a redirect, too: what is stored waits for a new address
    else:
        if 200 <= response.status < 300:
            return response
        failed = (failing or failure)(response, http.setting)
    raise failed


def failure(response: HttpResponse, setting: str) -> PushError:
    """Return the error that a response's status means."""
    status = response.status
    own = f': "{response.reason}"' if response.reason else ""
    text = f"{setting} answered {status}{own}"
    if status in REFUSED:
        return PushError(f"{text}. The key is wrong, or may not send: correct it and reload", refused=True)
    if status == 413:
        return PushError(text, too_large=True)
    if status >= 500 or status in RETRIED or status in {404, 410}:  # an endpoint may be away for a while
        pause_s = retry_after_s(response.headers.get("Retry-After"), clock.now_ns() / 1e9)
        return PushError(text, retry_after_s=pause_s)
    return PushError(text, permanent=True)
