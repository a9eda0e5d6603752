"""What a store is asked about the past: windows, host seconds and gaps of one host."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.store.config import DAY_NS
from chipwatt.collector.store.damage import Damage
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.lines import Lines
from chipwatt.collector.store.lost import REACH_NS, Around, gaps_in, spans
from chipwatt.collector.store.reading import Reader, Wanted
from chipwatt.collector.store.status import Statuses
from chipwatt.core.codec import gap_from_row, window_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import DeviceWindow, Gap, HostSecond
from chipwatt.core.rows import Rows, values

_ALL = 1 << 40
_NEXT = 256
"""Windows that are looked at for the first one of each line after a loss."""
_FAR_UNIX_NS = (1 << 63) - 1 - DAY_NS


class History:
    """The reading half of ``contract.Store``; safe in any number of threads."""

    _dictionary: Dictionary
    _reader: Reader
    _damage: Damage
    _lines: Lines
    _statuses: Statuses

    def windows(
        self,
        host: bytes,
        start_unix_ns: int,
        end_unix_ns: int,
        *,
        resolution_ns: int = 0,
        device: DeviceId | None = None,
        domain: Domain | None = None,
        statistic: Statistic | None = None,
        limit: int = 10_000,
    ) -> list[DeviceWindow]:
        """Return windows that start in [start, end), by start time. Raises StoreError.

        ``resolution_ns`` 0 gives each as fine as it is kept; else windows that
        start in the same bin of that length are merged.
        """
        rows = self._read(
            SectionKind.DEVICE_WINDOW,
            host,
            (start_unix_ns, end_unix_ns),
            limit,
            resolution_ns=resolution_ns,
            device=device,
            domain=domain,
            statistic=statistic,
        )
        if rows is None:
            return []
        devices = self._devices_of(rows)
        return [window_from_row(row, of) for row, of in zip(values(rows), devices, strict=True)]

    def host_seconds(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[HostSecond]:
        """Return bins that start in [start, end), by start time. Raises StoreError."""
        rows = self._read(SectionKind.HOST_SECOND, host, (start_unix_ns, end_unix_ns), limit)
        return [] if rows is None else [HostSecond(**row) for row in values(rows)]

    def gaps(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[Gap]:
        """Return gaps that start in [start, end), by start time. Raises StoreError."""
        found = self._sent_gaps(host, start_unix_ns, end_unix_ns, limit)
        lost = self._lost_gaps(host, start_unix_ns, end_unix_ns)
        if not lost:
            return found
        return sorted([*found, *lost], key=lambda gap: gap.start_unix_ns)[:limit]

    def _sent_gaps(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, limit: int
    ) -> list[Gap]:
        rows = self._read(SectionKind.GAP, host, (start_unix_ns, end_unix_ns), limit)
        if rows is None:
            return []
        devices = self._devices_of(rows)
        return [gap_from_row(row, of) for row, of in zip(values(rows), devices, strict=True)]

    def _lost_gaps(self, host: bytes, start_unix_ns: int, end_unix_ns: int) -> list[Gap]:
        """Return the gaps that damage to the store left, which start in [start, end)."""
        number = self._dictionary.host_numbers.get(host)
        if number is None or not self._damage.count:
            return []
        near = (start_unix_ns - REACH_NS, end_unix_ns + REACH_NS)
        found: list[Gap] = []
        for first_ns, last_ns in spans(self._damage.of(number, *near)):
            reach = (first_ns - REACH_NS, last_ns + REACH_NS)
            windows = self.windows(host, *reach, limit=_ALL)
            if not windows or windows[-1].start_unix_ns <= last_ns:
                windows += self.windows(host, reach[1], _FAR_UNIX_NS, limit=_NEXT)
            around = Around(
                windows,
                self._sent_gaps(host, *reach, _ALL),
                self._lines.of(host),
                self._statuses.sensors(host),
            )
            found += gaps_in(first_ns, last_ns, around)
        return [gap for gap in found if start_unix_ns <= gap.start_unix_ns < end_unix_ns]

    def _read(
        self,
        kind: SectionKind,
        host: bytes,
        span: tuple[int, int],
        limit: int,
        *,
        resolution_ns: int = 0,
        device: DeviceId | None = None,
        domain: Domain | None = None,
        statistic: Statistic | None = None,
    ) -> Rows | None:
        host_number = self._dictionary.host_numbers.get(host)
        if host_number is None:
            return None
        owners = (
            np.array([host_number], "<u4")
            if kind is SectionKind.HOST_SECOND
            else self._dictionary.devices_of(host, device)
        )
        return self._reader.read(
            Wanted(
                kind,
                host_number,
                owners,
                _in_range(span[0]),
                _in_range(span[1]),
                limit,
                resolution_ns,
                domain,
                statistic,
            )
        )

    def _devices_of(self, rows: Rows) -> list[DeviceId]:
        devices = self._dictionary.devices
        return [devices[owner][1] for owner in rows.owners.tolist()]


def _in_range(unix_ns: int) -> int:
    """Return a time that columns and the widening to whole bins can hold."""
    return max(0, min(unix_ns, _FAR_UNIX_NS))
