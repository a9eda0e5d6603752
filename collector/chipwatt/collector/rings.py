"""Host seconds of the last ten minutes: a row a host, a slot a second of wall time.

One slot is the same second on every row, so that sums over rows are sums of
what happened at once. Dense numpy arrays, 16 bytes a second and host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.model import Flag
from chipwatt.core.tables import Array, Table

RING_S = 600
_ABSENT = np.uint32(0xFFFF_FFFF)
_BLOCK = 1_024
_KINDS = ("cpu_mj", "gpu_mj", "memory_mj", "other_mj")


@dataclass(frozen=True, slots=True)
class HostStates:
    """One value a host, in the order asked for; a host never heard of has zeros."""

    rows: Array
    """Where the host stands in the rings; -1: nowhere."""
    newest_s: Array
    """The newest second with data, since 1970; 0 where there is none."""
    held: Array
    """Seconds of the last ten minutes that are known."""
    last_mean_mw: Array
    last_peak_mw: Array
    mean_mw: Array
    """Over the seconds in the ring."""
    highest_mw: Array
    """Highest in-bin peak in the ring."""
    estimated: Array
    """The newest second rests on a power model, or has no measured peak."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Rows are hosts, columns the seconds asked for; a peak is never below its mean."""

    known: Array
    mean_mw: Array
    peak_mw: Array


class Rings:
    """The arrays. Not safe between threads: its owner locks."""

    def __init__(self, rows: int = 16) -> None:
        self._second = np.zeros((rows, RING_S), dtype=np.uint32)
        self._mean = np.zeros_like(self._second)
        self._peak = np.zeros_like(self._second)
        self._flags = np.zeros_like(self._second)

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` hosts."""
        if rows <= len(self._second):
            return
        for name in ("_second", "_mean", "_peak", "_flags"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self.reserve(rows)

    def take(self, parts: Sequence[tuple[Array, Table]]) -> None:
        """Write HOST_SECOND tables with the ring row of each bin; a bin fills each of its seconds.

        Of two bins for one slot the later second stays, of the same second the later part.
        """

        def column(name: str) -> Array:
            return np.concatenate([table[name] for _, table in parts])

        rows = np.concatenate([of_bins for of_bins, _ in parts])
        duration_ns = column("duration_ns").astype(np.float64)
        total_mj = np.add.reduce([column(name).astype(np.float64) for name in _KINDS])
        mean_mw = np.rint(total_mj * NS_PER_S / np.maximum(duration_ns, 1.0))
        mean = np.minimum(mean_mw, MAX_POWER_MW).astype(np.uint32)
        spans = np.rint(duration_ns / NS_PER_S).astype(np.int64).clip(1)
        kept = np.minimum(spans, RING_S)
        first = column("start_unix_ns") // NS_PER_S + spans - kept
        bins = np.repeat(np.arange(len(rows)), kept)
        within = np.arange(len(bins)) - np.repeat(np.cumsum(kept) - kept, kept)
        second = first[bins] + within
        order = np.argsort(second, kind="stable")
        bins, second = bins[order], second[order]
        at = (rows[bins], second % RING_S)
        newer = (second >= self._second[at]) & (second < 1 << 32) & (duration_ns[bins] > 0)
        bins, second, at = bins[newer], second[newer], (at[0][newer], at[1][newer])
        self._second[at] = second
        self._mean[at] = mean[bins]
        self._peak[at] = column("total_peak_mw")[bins]
        self._flags[at] = column("flags")[bins]

    def states(self, rows: Array, now_s: int) -> HostStates:
        """Sum up these rows as of second ``now_s``; row -1 stands for an unknown host."""
        # In blocks: whole rings of ten thousand hosts would be copies of 100 MB.
        blocks = np.split(rows, range(_BLOCK, len(rows), _BLOCK))
        parts = [self._block(block, now_s - RING_S) for block in blocks]
        return HostStates(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(HostStates))
        )

    def seconds(self, rows: Array, seconds: Array) -> Seconds:
        """Return these seconds, at most ten minutes of them, of these rows."""
        slots = (rows[:, np.newaxis], (seconds % RING_S)[np.newaxis, :])
        known = (self._second[slots] == seconds) & (rows[:, np.newaxis] >= 0)
        return Seconds(known, self._mean[slots].astype(np.float64), self._peaks(slots))

    def _block(self, rows: Array, before_s: int) -> HostStates:
        second = np.where(rows[:, np.newaxis] >= 0, self._second[rows], 0).astype(np.int64)
        mean, peak, filled = self._mean[rows], self._peaks(rows), second > 0
        at = (np.arange(len(rows)), np.argmax(second, axis=1))
        is_model = (self._flags[rows][at] & Flag.ESTIMATED) > 0
        return HostStates(
            rows=rows,
            newest_s=second[at],
            held=(second > before_s).sum(axis=1),
            last_mean_mw=np.where(filled[at], mean[at], 0.0),
            last_peak_mw=np.where(filled[at], peak[at], 0.0),
            mean_mw=(mean * filled).sum(axis=1) / np.maximum(filled.sum(axis=1), 1),
            highest_mw=(peak * filled).max(axis=1, initial=0.0),
            estimated=filled[at] & (is_model | (self._peak[rows][at] == _ABSENT)),
        )

    def _peaks(self, at: Any) -> Array:
        """In-bin peaks; where the sensor is too slow to see one, the mean is what is known."""
        mean, peak = self._mean[at], self._peak[at]
        known: Array = np.where(peak == _ABSENT, mean, np.maximum(peak, mean))
        return known.astype(np.float64)
