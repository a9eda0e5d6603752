"""One statistic of one domain in one interval, as a row of an array and as a value."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np


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


_U1 = ("domain", "statistic", "is_root", "method", "interface", "is_filtered")
_I4 = ("host", "device")
_U4 = ("epoch",)
_I8 = ("slot", "start_unix_ns", "end_unix_ns", "position")
_WIDTHS = dict.fromkeys(_U1, "<u1") | dict.fromkeys(_I4, "<i4") | dict.fromkeys(_U4, "<u4")
_WIDTHS |= dict.fromkeys(_I8, "<i8")
ROW: Final = np.dtype([(name, _WIDTHS.get(name, "<u8")) for name in Row._fields])
"""``Row`` as numpy has it; ``Row._make`` reads what ``tolist`` gives."""
