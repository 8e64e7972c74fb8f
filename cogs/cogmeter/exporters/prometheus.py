"""The guide's Prometheus text: operations and a histogram of their durations, by service, over a time range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.exporters.base import Export, Exporter, series_of
from cogmeter.recording.background import paced
from cogmeter_storage.histogram import bucket_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter_storage.base import Store

# The upper bounds of the histogram, in seconds; the last bucket has none.
BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SERVICES_PER_SLICE: Final = 32  # services that are written in one turn of the loop: below a millisecond
_LAST = bucket_of([bound * 1e6 for bound in BOUNDS_S])
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """Implement Exporter.write. Figures cover whole minutes, or whole hours or days where only those are kept."""
    series = await series_of(store, export)
    groups = {number: group for group, ids in enumerate(series.values()) for number in ids}
    totals = await store.totals(export.since_us, export.until_us, groups=groups)
    names, counts = list(series), totals.counts[0]
    metric = f"{export.namespace}_operations_total"
    yield f"# HELP {metric} Total number of operations\n# TYPE {metric} counter\n".encode()
    for part in _parts(len(names)):
        yield "".join(_counter(metric, names[part], counts[part].tolist())).encode()
    metric = f"{export.namespace}_operation_duration_seconds"
    yield f"\n# HELP {metric} Operation duration\n# TYPE {metric} histogram\n".encode()
    async for part in paced(_parts(len(names))):
        figures = (counts[part], totals.sum_us[0, part], totals.buckets[0, part])
        yield "".join(_histogram(metric, names[part], *figures)).encode()


def cumulative(buckets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the operations that took at most each of BOUNDS_S: [..., len(BOUNDS_S)] for ``buckets`` [..., BUCKETS].

    An operation that took exactly the bound counts; some that took up to 2% longer may count, too.
    """
    counts: NDArray[np.int64] = buckets.cumsum(axis=-1)[..., _LAST]
    return counts


def escaped(label: str) -> str:
    """Return a label's value with its special characters escaped, for use between quotes."""
    return label.translate(_ESCAPES)


def _parts(services: int) -> Iterator[slice]:
    return (slice(start, start + SERVICES_PER_SLICE) for start in range(0, services, SERVICES_PER_SLICE))


def _counter(metric: str, names: list[str], counts: list[int]) -> Iterator[str]:
    for name, count in zip(names, counts, strict=True):
        if count:
            yield f'{metric}{{service="{escaped(name)}"}} {count}\n'


def _histogram(
    metric: str, names: list[str], counts: NDArray[np.int64], sums_us: NDArray[np.int64], buckets: NDArray[np.int64]
) -> Iterator[str]:
    """Yield the lines of the histogram of each of these services that has operations."""
    rows = zip(names, counts.tolist(), sums_us.tolist(), cumulative(buckets).tolist(), strict=True)
    for name, count, sum_us, below in rows:
        if not count:
            continue
        label = f'service="{escaped(name)}"'
        for bound, number in zip((*BOUNDS_S, "+Inf"), (*below, count), strict=True):
            yield f'{metric}_bucket{{{label},le="{bound}"}} {number}\n'
        yield f"{metric}_sum{{{label}}} {sum_us / 1e6}\n{metric}_count{{{label}}} {count}\n"


EXPORTER: Final = Exporter(
    name="prometheus",
    label="Prometheus text",
    description="Counters and histograms by service, without single operations",
    suffixes=("prom",),
    media_type="text/plain; version=0.0.4; charset=utf-8",
    streams=False,
    write=write,
)
