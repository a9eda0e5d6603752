"""One statistic of one domain in one interval: a row of an array, its histogram beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from chipwatt.core.tables import Array

UNKNOWN: Final = -1
"""In a column of ``GREATEST`` and in ``limit_mw``: the sensor cannot say."""
UNKNOWN_MIN: Final = (1 << 32) - 1
"""The same in ``min_mw``, where the least value wins."""
REASONS: Final = ("power", "thermal", "brake", "other")
"""Why a component is slowed; bit n of ``throttle_known`` says that reason n is told."""


class Row(NamedTuple):
    """What the windows of one statistic of a domain, counter epoch and interval add up to."""

    host: int
    """Position in ``Store.host_dictionary``."""
    device: int
    """Position in ``Store.device_dictionary``."""
    domain: int
    statistic: int
    is_root: int
    epoch: int
    slot: int
    """Number of the interval since 1970."""
    start_unix_ns: int
    """Of the first window."""
    end_unix_ns: int
    """Of the last window."""
    base_uj: int
    """The counter before the first window."""
    cumulative_uj: int
    """The counter after the last window."""
    energy_uj: int
    duration_ns: int
    covered_ns: int
    """Time that the sensor saw."""
    method: int
    interface: int
    is_filtered: int
    position: int
    """The first block that had part in it."""

    @property
    def mean_w(self) -> float:
        """Mean power; µJ a ns is kW. ``duration_ns`` must not be 0."""
        return self.energy_uj * 1000 / self.duration_ns


GREATEST: Final = (
    "max_mw", "peak_10ms_mw", "peak_100ms_mw", "peak_1s_mw",
    "rise_100ms_mw_per_s", "fall_100ms_mw_per_s", "rise_1s_mw_per_s", "fall_1s_mw_per_s",
)  # fmt: skip
THROTTLED: Final = tuple(f"throttled_{reason}_ms" for reason in REASONS)
POLLS: Final = ("expected", "got", "repeated", "dropped")
SWING: Final = ("swing_frequency_mhz", "swing_amplitude_mw", "swing_share_ppm")
_U1 = ("domain", "statistic", "is_root", "method", "interface", "is_filtered")
_I4 = ("host", "device")
_I8 = ("slot", "start_unix_ns", "end_unix_ns", "position")
_WIDTHS = dict.fromkeys(_U1, "<u1") | dict.fromkeys(_I4, "<i4") | {"epoch": "<u4"}
_WIDTHS |= dict.fromkeys(_I8, "<i8")
_PROFILE = (
    ("min_mw", "<u4"), *((name, "<i8") for name in GREATEST), *((name, "<i8") for name in SWING),
    ("limit_mw", "<i8"), *((name, "<u8") for name in THROTTLED), ("throttle_known", "<u1"),
    *((name, "<u8") for name in POLLS), ("refresh_us", "<u4"), ("averaging_us", "<u4"),
    ("is_suspect", "<u1"), ("is_held", "<u1"), ("hist_mw_ms", "<f8"), ("hist_zero_ms", "<u8"),
    ("hist_scale", "<i1"), ("hist_offset", "<i4"), ("hist_buckets", "<u1"),
)  # fmt: skip
ROW: Final = np.dtype([(name, _WIDTHS.get(name, "<u8")) for name in Row._fields] + [*_PROFILE])
"""``Row`` as numpy has it, and behind it the profile; ``hist_mw_ms`` is power times time."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows, and the counts of their histograms one after the other."""

    array: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.array)

    def take(self, index: Array) -> Rows:
        """Return the rows at ``index`` (positions or a mask), in that order."""
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        if not len(self.counts):
            return Rows(self.array[index], self.counts)
        lengths = self.array["hist_buckets"].astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        taken = lengths[index]
        ends = np.cumsum(taken)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - taken, taken)
        return Rows(self.array[index], self.counts[np.repeat(starts[index], taken) + within])


def empty(dtype: np.dtype[Any] = ROW) -> Rows:
    """Return no rows."""
    return Rows(np.empty(0, dtype), np.empty(0, "<u8"))


def join(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, in order; there is at least one part."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        np.concatenate([part.array for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )
