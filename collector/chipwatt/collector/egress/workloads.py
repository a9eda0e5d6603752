"""Minutes of workloads as whoever is outside may see them, under each tier.

They are coarse from the host on, and a host tells of a workload from its fifth minute.
Under ``dp`` five minutes of one workload on one host, aligned to the clock, become one
release with noise, if its budget of the day allows; a five that lacks a minute is not
released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chipwatt.collector.egress.budget import Budget
from chipwatt.collector.egress.noise import (
    EPSILON,
    PARTS,
    WINDOWS,
    Noise,
    counts_above,
    release,
)
from chipwatt.core import coarse
from chipwatt.core.records import WorkloadWindow

if TYPE_CHECKING:
    from chipwatt.collector.store.workloads import Minute

_FIVE_NS: Final = WINDOWS * coarse.WINDOW_NS
_MOST_WAITING: Final = 100_000
_Key = tuple[bytes, bytes, bytes, int, int]


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one workload on one host."""

    host: bytes
    workload_id: bytes
    class_id: bytes
    start_unix_ns: int
    end_unix_ns: int
    mean_mw: int
    above: tuple[float, ...]
    """Share of the time at or above each eighth of the limit, lowest first."""


def confidential(minutes: Iterable[Minute]) -> Iterator[Told]:
    """Yield each minute of each workload."""
    for minute in minutes:
        for window in _somebodys(minute):
            yield Told(
                minute.host,
                window.workload_id,
                window.class_id,
                window.start_unix_ns,
                window.start_unix_ns + window.duration_ns,
                window.energy_uj * 1_000_000 // window.duration_ns,
                tuple(each / coarse.OCCUPANCY_PARTS for each in counts_above([window])),
            )


class Noisy:
    """The tier ``dp``: gathers minutes to fives, spends, and adds noise."""

    def __init__(self, budget: Budget, noise: Noise, now_unix_ns: Callable[[], int]) -> None:
        self._budget = budget
        self._noise = noise
        self._now_unix_ns = now_unix_ns
        self._waiting: dict[_Key, dict[int, WorkloadWindow]] = {}

    def told(self, minutes: Iterable[Minute]) -> Iterator[Told]:
        """Yield what may be told once these minutes are there; raises StoreError."""
        for minute in minutes:
            for window in _somebodys(minute):
                five = window.start_unix_ns // _FIVE_NS
                key = (minute.host, window.workload_id, window.class_id, window.limit_mw, five)
                # By its start: minutes come again where the books could not be written.
                windows = self._waiting.setdefault(key, {})
                windows[window.start_unix_ns] = window
                if len(windows) == WINDOWS:
                    yield from self._released(minute.host, [*windows.values()])
                    del self._waiting[key]
        while len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def _released(self, host: bytes, windows: list[WorkloadWindow]) -> Iterator[Told]:
        if not self._budget.spend(windows[0].workload_id, EPSILON, self._now_unix_ns()):
            return
        noisy = release(windows, self._noise)
        yield Told(
            host,
            noisy.workload_id,
            noisy.class_id,
            noisy.start_unix_ns,
            noisy.end_unix_ns,
            noisy.mean_mw,
            tuple(each / PARTS for each in noisy.above),
        )


def _somebodys(minute: Minute) -> Iterator[WorkloadWindow]:
    return (window for window in minute.windows if window.workload_id != coarse.NOBODY)
