"""What is known of every host of a topology: what it draws now, and what stands in for the rest.

What is missing widens a prediction and never narrows it:

- a host not heard from for 30 s counts with its nameplate or, where nobody gave one,
  with the highest peak it is known for, whichever is larger;
- the seconds after a host's newest one hold its last value;
- any other missing second counts with the host's mean, and its peak with the host's
  highest peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.latest import Latest
from chipwatt.collector.rings import RING_S, Seconds
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array

STALE_AFTER_S = 30
_AHEAD_S = 2
"""Hosts' clocks may run so far ahead."""
_WARM_S = RING_S - STALE_AFTER_S
_A_TURN = 256
"""Hosts whose ten minutes are read again in one second; of larger fleets a part at a time."""
_RC_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class HostsNow:
    """One value a host, in the order of ``topology.hosts``."""

    newest_s: Array
    """The newest second with data, since 1970; 0 where there never was any."""
    fresh: Array
    """Heard from within the last 30 s."""
    unknown: Array
    """May draw anything: never heard from, and without a nameplate."""
    young: Array
    """Less than ten minutes are known of it."""
    estimated: Array
    """It has a power model instead of a sensor, or one too slow for peaks."""
    assumed_mw: Array
    """What it counts with while nothing is heard of it."""
    rc_like_mw: Array
    """The 99th percentile of its in-bin peaks over ten minutes; assumed where not fresh."""


@dataclass(frozen=True, slots=True)
class HostLoads:
    """Rows are hosts, columns seconds: what each counts with."""

    mean_mw: Array
    peak_mw: Array
    sure: Array
    """Measured, or held from shortly before."""


class HostWatch:
    """Not safe between threads: its owner locks."""

    def __init__(self, rated_mw: Array, latest: Latest) -> None:
        hosts = len(rated_mw)
        self._latest = latest
        self._rated_mw = rated_mw
        self._ids: list[bytes | None] = [None] * hosts
        self._rows = np.full(hosts, -1, dtype=np.int64)
        self._newest_s = np.zeros(hosts, dtype=np.int64)
        self._held = np.zeros(hosts, dtype=np.int64)
        self._estimated = np.zeros(hosts, dtype=bool)
        self._last_mean_mw = np.zeros(hosts)
        self._last_peak_mw = np.zeros(hosts)
        self._mean_mw = np.zeros(hosts)
        self._highest_mw = np.zeros(hosts)
        self._p99_mw = np.zeros(hosts)
        self._turn = 0
        self._now_s = 0
        self._recent_s = 0
        self._recent: Seconds | None = None
        """The last seconds from ``_recent_s`` on, as of the last look."""

    def resolve(self, ids: Sequence[bytes | None], now_s: int) -> bool:
        """Say which telemetry stands behind each host; return whether that is new for any."""
        changed = [
            row for row, (old, new) in enumerate(zip(self._ids, ids, strict=True)) if old != new
        ]
        self._ids = list(ids)
        for start in range(0, len(changed), _A_TURN):
            self._read(np.array(changed[start : start + _A_TURN]), now_s)
        return bool(changed)

    def look(self, now_s: int) -> HostsNow:
        """Take in what has arrived up to ``now_s``."""
        hosts = len(self._ids)
        if hosts:
            self._read((self._turn + np.arange(min(hosts, _A_TURN))) % hosts, now_s)
            self._turn = (self._turn + _A_TURN) % hosts
        seconds = np.arange(now_s - STALE_AFTER_S, now_s + _AHEAD_S + 1)
        recent = self._latest.seconds(self._rows, seconds)
        some = recent.known.any(axis=1)
        last = len(seconds) - 1 - np.argmax(recent.known[:, ::-1], axis=1)
        at = (np.flatnonzero(some), last[some])
        self._newest_s[some] = np.maximum(self._newest_s[some], seconds[last[some]])
        self._last_mean_mw[some] = recent.mean_mw[at]
        self._last_peak_mw[some] = recent.peak_mw[at]
        self._now_s = now_s
        self._recent_s, self._recent = now_s - STALE_AFTER_S, recent
        fresh = self._newest_s >= now_s - STALE_AFTER_S
        assumed_mw = self._assumed_mw()
        return HostsNow(
            newest_s=self._newest_s.copy(),
            fresh=fresh,
            unknown=(self._newest_s == 0) & (self._rated_mw == 0),
            young=self._held < _WARM_S,
            estimated=self._estimated.copy(),
            assumed_mw=assumed_mw,
            rc_like_mw=np.where(fresh, self._p99_mw, assumed_mw),
        )

    def known(self, seconds: Array) -> Seconds:
        """Return what was measured in these consecutive seconds."""
        first, recent = int(seconds[0]) - self._recent_s, self._recent
        if recent is None or first < 0 or first + len(seconds) > recent.known.shape[1]:
            return self._latest.seconds(self._rows, seconds)
        part = slice(first, first + len(seconds))
        return Seconds(recent.known[:, part], recent.mean_mw[:, part], recent.peak_mw[:, part])

    def rest(self) -> None:
        """Let the last seconds go, half a kilobyte a host, until the next look."""
        self._recent = None

    def loads(self, seconds: Array, heard: Array) -> HostLoads:
        """Return what each host counts with in these seconds.

        ``heard`` says who is not to be assumed: a column for each second, or one for all.
        """
        known = self.known(seconds)
        after = seconds[np.newaxis, :] > self._newest_s[:, np.newaxis]
        filled = []
        for values, held, other in (
            (known.mean_mw, self._last_mean_mw, self._mean_mw),
            (known.peak_mw, self._last_peak_mw, self._highest_mw),
        ):
            missing = np.where(after, held[:, np.newaxis], other[:, np.newaxis])
            series = np.where(known.known, values, missing)
            filled.append(np.where(heard, series, self._assumed_mw()[:, np.newaxis]))
        mean, peak = filled
        return HostLoads(mean, peak, sure=heard & (known.known | after))

    def heard_then(self, seconds: Array, lag_s: int) -> Array:
        """Return per host and second whether it counted as heard from when that bin was taken."""
        since = np.minimum(seconds + lag_s, self._now_s) - STALE_AFTER_S
        heard: Array = self._newest_s[:, np.newaxis] >= since[np.newaxis, :]
        return heard

    def _assumed_mw(self) -> Array:
        assumed: Array = np.maximum(self._rated_mw, self._highest_mw)
        return assumed

    def _read(self, which: Array, now_s: int) -> None:
        """Read the ten minutes of some hosts again."""
        states = self._latest.states([self._ids[row] for row in which.tolist()], now_s * NS_PER_S)
        self._rows[which] = states.rows
        self._newest_s[which] = states.newest_s
        self._held[which] = states.held
        self._estimated[which] = states.estimated
        self._last_mean_mw[which] = states.last_mean_mw
        self._last_peak_mw[which] = states.last_peak_mw
        self._mean_mw[which] = states.mean_mw
        self._highest_mw[which] = states.highest_mw
        minutes = self._latest.seconds(states.rows, np.arange(now_s - RING_S + 1, now_s + 1))
        # Seconds that are missing stand at 0, so the rank counts from the top.
        lower = (minutes.known.sum(axis=1) * (1.0 - _RC_QUANTILE)).astype(np.int64)
        ranked = np.sort(np.where(minutes.known, minutes.peak_mw, 0.0).astype(np.float32), axis=1)
        self._p99_mw[which] = ranked[np.arange(len(which)), RING_S - 1 - lower]
