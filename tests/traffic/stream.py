"""All operations of some days, made at once and handed out slice by slice."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traffic.incidents import INCIDENTS, Incident
from traffic.services import SERVICES, Service

START_S = 1_797_379_200.0  # 2026-12-16 00:00 UTC, a Wednesday
DAY_S = 86_400.0
OK, ERROR = 0, 1
PEAK_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Minutes:
    """One service, minute by minute. What has no operations has no durations and no failures: NaN."""

    times_s: NDArray[np.float64]  # since 1970, at the minute's end
    per_minute: NDArray[np.float64]
    p95_ms: NDArray[np.float64]
    error_rate: NDArray[np.float64]


class Traffic:
    """The operations of ``days`` from a Wednesday on, in the order of their ends. The same seed makes the same ones."""

    def __init__(
        self,
        seed: int,
        *,
        days: float = 5.0,
        services: Sequence[Service] = SERVICES,
        incidents: Sequence[Incident] = INCIDENTS,
    ) -> None:
        self.days = days
        self.services = tuple(services)
        self.incidents = tuple(one for one in incidents if one.until_s <= days * DAY_S)
        self.names = [(service.name, operation) for service in services for operation, _ in service.operations]
        made = [
            self._operations(seed, service, operation, share)
            for service in services
            for operation, share in service.operations
        ]
        series = np.repeat(np.arange(len(made), dtype=np.int32), [len(times) for times, *_ in made])
        times, durations, outcomes, logged = (np.concatenate(column) for column in zip(*made, strict=True))
        order = np.argsort(times, kind="stable")
        self.times_s: NDArray[np.float64] = times[order]  # from the beginning
        self.series: NDArray[np.int32] = series[order]
        self.durations_us: NDArray[np.int64] = durations[order]
        self.outcomes: NDArray[np.int8] = outcomes[order]
        self.logged: NDArray[np.bool_] = logged[order]  # those that logged errors

    def slices(self, step_s: float) -> Iterator[tuple[float, slice]]:
        """For each step its end, and where its operations are."""
        ends = np.arange(step_s, self.days * DAY_S + step_s / 2, step_s)
        places = np.searchsorted(self.times_s, ends)
        for end_s, begin, end in zip(ends.tolist(), [0, *places[:-1].tolist()], places.tolist(), strict=True):
            yield end_s, slice(begin, end)

    def minutes(self, service: str) -> Minutes:
        """One service's figures, as its baselines are fed with them."""
        own = np.isin(self.series, [place for place, (name, _) in enumerate(self.names) if name == service])
        minute = (self.times_s[own] // 60).astype(np.int64)
        length = round(self.days * DAY_S / 60)
        counts = np.bincount(minute, minlength=length).astype(np.float64)
        failures = np.bincount(minute, weights=self.outcomes[own] == ERROR, minlength=length)
        p95 = np.full(length, np.nan)
        durations = self.durations_us[own] / 1000
        bounds = np.searchsorted(minute, np.arange(length + 1))
        for place in np.flatnonzero(counts).tolist():
            p95[place] = np.quantile(durations[bounds[place] : bounds[place + 1]], 0.95)
        with np.errstate(invalid="ignore"):
            error_rate = failures / counts
        return Minutes(START_S + 60.0 * np.arange(1, length + 1), counts, p95, error_rate)

    def _operations(
        self, seed: int, service: Service, operation: str, share: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int8], NDArray[np.bool_]]:
        """Times, durations, outcomes and logged errors of one operation: a thinned Poisson process."""
        dice = np.random.default_rng([seed, zlib.crc32(f"{service.name}/{operation}".encode())])
        length_s = self.days * DAY_S
        per_minute = service.per_minute * share * (1 + PEAK_JITTER * dice.uniform(-1, 1))
        times = np.sort(dice.uniform(0, length_s, dice.poisson(per_minute * length_s / 60)))
        # A busy hour is not like another: the volume wanders by some percent within hours.
        knots = np.arange(0.0, length_s + 7_200, 3_600)
        wandering = np.exp(np.interp(times, knots, dice.normal(-0.1, 0.05, len(knots))))
        volume = service.volume(START_S + times) * wandering
        failing, logging = np.full(len(times), service.failing), np.full(len(times), service.logging)
        slower = np.ones(len(times))
        for one in self.incidents:
            if one.service == service.name and one.operation in {"", operation}:
                strength = one.strength(times)
                volume *= 1 + (one.volume - 1) * strength
                failing = np.maximum(failing, one.failing * strength)
                logging = np.maximum(logging, one.logging * strength)
                slower *= 1 + (one.slower - 1) * strength
        kept = dice.uniform(size=len(times)) < volume
        durations = service.median_ms * 1000 * np.exp(dice.normal(0, service.spread, len(times))) * slower
        outcomes = np.where(dice.uniform(size=len(times)) < failing, ERROR, OK).astype(np.int8)
        logged = dice.uniform(size=len(times)) < logging
        return times[kept], durations[kept].astype(np.int64), outcomes[kept], logged[kept]
