"""What a store is asked about the past: windows, host seconds and gaps of one host."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.store.config import DAY_NS
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.reading import Reader, Wanted
from chipwatt.core.codec import gap_from_row, window_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import DeviceWindow, Gap, HostSecond
from chipwatt.core.rows import Rows, values

_FAR_UNIX_NS = (1 << 63) - 1 - DAY_NS


class History:
    """The reading half of ``contract.Store``; safe in any number of threads."""

    _dictionary: Dictionary
    _reader: Reader

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
        rows = self._read(SectionKind.GAP, host, (start_unix_ns, end_unix_ns), limit)
        if rows is None:
            return []
        devices = self._devices_of(rows)
        return [gap_from_row(row, of) for row, of in zip(values(rows), devices, strict=True)]

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
