"""The guide's Prometheus text: operations and a histogram of their durations, by service, of one stretch of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.exporters.base import Export, series_of
from cogmeter_storage.histogram import bucket_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Totals

# The upper bounds of the histogram, in seconds; the last bucket has none.
BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LAST = bucket_of([bound * 1e6 for bound in BOUNDS_S])
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """See Exporter. Figures are of whole minutes, or of whole hours or days where nothing finer is kept."""
    series = await series_of(store, export)
    groups = {number: group for group, ids in enumerate(series.values()) for number in ids}
    totals = await store.totals(export.since_us, export.until_us, groups=groups)
    for part in (_counter(totals, list(series), export.namespace), _histogram(totals, list(series), export.namespace)):
        for line in part:
            yield line.encode()


def cumulative(buckets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many operations took no longer than each of BOUNDS_S: [..., len(BOUNDS_S)] for ``buckets`` [..., BUCKETS].

    Each that took exactly the bound is counted in; of those beyond it, some that took up to 2 % longer may be, too.
    """
    counts: NDArray[np.int64] = buckets.cumsum(axis=-1)[..., _LAST]
    return counts


def escaped(label: str) -> str:
    """A label's value as it stands between quotes."""
    return label.translate(_ESCAPES)


def _counter(totals: Totals, names: list[str], namespace: str) -> Iterator[str]:
    metric = f"{namespace}_operations_total"
    yield f"# HELP {metric} Total number of operations\n# TYPE {metric} counter\n"
    for name, count in zip(names, totals.counts[0].tolist(), strict=True):
        if count:
            yield f'{metric}{{service="{escaped(name)}"}} {count}\n'


def _histogram(totals: Totals, names: list[str], namespace: str) -> Iterator[str]:
    metric = f"{namespace}_operation_duration_seconds"
    yield f"\n# HELP {metric} Operation duration\n# TYPE {metric} histogram\n"
    rows = zip(
        names,
        totals.counts[0].tolist(),
        totals.sum_us[0].tolist(),
        cumulative(totals.buckets[0]).tolist(),
        strict=True,
    )
    for name, count, sum_us, below in rows:
        if not count:
            continue
        label = f'service="{escaped(name)}"'
        for bound, number in zip((*BOUNDS_S, "+Inf"), (*below, count), strict=True):
            yield f'{metric}_bucket{{{label},le="{bound}"}} {number}\n'
        yield f"{metric}_sum{{{label}}} {sum_us / 1e6}\n{metric}_count{{{label}}} {count}\n"
