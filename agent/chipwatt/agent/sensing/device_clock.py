"""A device's own sample stamps on the host's monotonic clock.

A stamp is never later than the reading that carries it, and the freshest
reading of a while is nearly as old as nothing: so the least difference between
the two clocks over a while is their offset. The while is short enough for the
clocks to drift apart by less than a sensor's refresh.
"""

from __future__ import annotations

from chipwatt.core.clock import NS_PER_S

_BUCKET_NS = 10 * NS_PER_S
_STILL_NS = NS_PER_S


class DeviceClock:
    """Maps stamps of one device, in ns of its own, to monotonic ns."""

    def __init__(self) -> None:
        self._before_ns: int | None = None
        self._least_ns: int | None = None
        self._bucket_ends_ns = 0
        self._stamp_ns = -1
        self._mono_ns = -1

    def mono_ns(self, stamp_ns: int, read_ns: int) -> int:
        """Return when the sample of ``stamp_ns`` was taken, which was read at ``read_ns``.

        The same stamp gives the same time again; a later one a later time, but
        none after ``read_ns``. A stamp that falls starts the clock anew, and one
        that stands still for a second is none: then the reading's time counts.
        """
        if stamp_ns == self._stamp_ns:
            if read_ns - self._mono_ns > _STILL_NS:
                self._mono_ns = read_ns
            return self._mono_ns
        offset_ns = read_ns - stamp_ns
        if stamp_ns < self._stamp_ns:
            self._before_ns = self._least_ns = None
        if self._least_ns is None or read_ns >= self._bucket_ends_ns:
            self._before_ns, self._least_ns = self._least_ns, offset_ns
            self._bucket_ends_ns = read_ns + _BUCKET_NS
        self._least_ns = min(self._least_ns, offset_ns)
        least_ns = self._least_ns
        if self._before_ns is not None:
            least_ns = min(least_ns, self._before_ns)
        self._stamp_ns = stamp_ns
        self._mono_ns = min(read_ns, max(self._mono_ns + 1, stamp_ns + least_ns))
        return self._mono_ns
