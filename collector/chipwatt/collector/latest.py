"""The newest state of every host, in memory: what placement and "now" are answered from.

Host seconds stand in rings (see ``chipwatt.collector.rings``). Of device
windows the newest of each (device, domain, statistic) is kept as a reference to its row
in the table that it came in, which costs nothing until somebody asks. Rows whose stamp
was in the future and is made up (CLOCK_AHEAD) move nothing here: the store has them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chipwatt.collector.rings import RING_S, HostStates, Rings, Seconds
from chipwatt.collector.store.contract import Block, HostRow, IncomingBatch, last_heard
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import window_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Flag
from chipwatt.core.records import DeviceWindow, HostSecond
from chipwatt.core.rows import Rows, take
from chipwatt.core.tables import Array, Table, Tables, row_values

RING_NS = RING_S * NS_PER_S
LATE_NS = 120 * NS_PER_S
"""What a live host sent last is not older than this when it arrives."""
_LINES = 1 << 16
"""Above any domain and statistic, a byte each."""
_Place = tuple[Table, int]
"""A row of a table."""


class Latest:
    """Filled by commits, read by everybody; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[bytes, int] = {}
        self._names: dict[bytes, str] = {}
        self._ids: dict[str, bytes] = {}
        self._rings = Rings()
        self._heard_unix_ns: list[int] = []
        self._windows: list[dict[tuple[DeviceId, int], _Place]] = []
        self._host_second: list[_Place | None] = []
        self.membership = 0
        """Grows as hosts appear or change their names."""

    def learn(self, hosts: Iterable[HostRow]) -> None:
        """Take over what hosts are called and when they were last heard."""
        with self._lock:
            for host in hosts:
                row = self._row(host.host)
                known = self._heard_unix_ns[row]
                self._heard_unix_ns[row] = last_heard(known, host.last_seen_unix_ns)
                if self._names.get(host.host, "") != host.name:
                    self._names[host.host] = host.name
                    self._ids[host.name] = host.host
                    self.membership += 1

    def on_commit(self, batches: Sequence[IncomingBatch]) -> None:
        """Take over what has just been stored."""
        self._take([(b.key.host, b.received_unix_ns, b.tables) for b in batches])

    def take(self, host: bytes, heard_unix_ns: int, tables: Tables) -> None:
        """Take over tables of one host."""
        self._take([(host, heard_unix_ns, tables)])

    def take_blocks(
        self,
        blocks: Sequence[Block],
        hosts: Sequence[bytes],
        devices: Sequence[tuple[bytes, DeviceId]],
    ) -> None:
        """Take over blocks of many hosts, with the dictionaries that they point into."""
        with self._lock:
            of_host = np.array([self._row(host) for host in hosts], dtype=np.int64)
            heard_unix_ns = np.array(self._heard_unix_ns)
            parts: list[tuple[Array, Table]] = []
            for block in blocks:
                rows, table = of_host[block.hosts], block.table
                if block.kind is SectionKind.HOST_SECOND:
                    true = take(Rows(rows, table), _is_stamped_true(table))
                    parts.append((true.owners, true.table))
                    for row, index in _last_by(true.owners, true.table["start_unix_ns"]):
                        self._keep_second(row, true.table, index)
                elif block.kind is SectionKind.DEVICE_WINDOW:
                    # Older windows can hardly be a domain's newest, and there are many of them.
                    is_new = table["start_unix_ns"] >= heard_unix_ns[rows] - LATE_NS
                    is_new &= _is_stamped_true(table)
                    self._take_block_windows(block, rows, np.flatnonzero(is_new), devices)
            if parts:
                self._rings.take(parts)

    def resolve(self, text: str) -> bytes | None:
        """Return the host that ``text`` names by id (32 hex digits) or by name."""
        with self._lock:
            try:
                host = bytes.fromhex(text)
            except ValueError:
                host = b""
            return host if host in self._rows else self._ids.get(text)

    def hosts(self) -> list[tuple[bytes, str]]:
        """Return every host with its name, in the order in which they were first heard of."""
        with self._lock:
            return [(host, self._names.get(host, "")) for host in self._rows]

    def heard_unix_ns(self, host: bytes) -> int:
        """Return when ``host`` last sent something; 0 where it never did."""
        with self._lock:
            row = self._rows.get(host)
            return 0 if row is None else self._heard_unix_ns[row]

    def windows(self, host: bytes) -> list[DeviceWindow]:
        """Return the newest window of every domain and statistic of ``host``."""
        with self._lock:
            row = self._rows.get(host)
            kept = [] if row is None else sorted(self._windows[row].items(), key=lambda kv: kv[0])
        return [window_from_row(row_values(*place), device) for (device, _), place in kept]

    def host_second(self, host: bytes) -> HostSecond | None:
        """Return the newest host second of ``host``."""
        with self._lock:
            row = self._rows.get(host)
            place = None if row is None else self._host_second[row]
        return None if place is None else HostSecond(**row_values(*place))

    def is_filled(self, host: bytes) -> bool:
        """Return whether any telemetry of ``host`` is known."""
        with self._lock:
            row = self._rows.get(host)
            return row is not None and bool(self._windows[row] or self._host_second[row])

    def states(self, hosts: Sequence[bytes | None], now_unix_ns: int) -> HostStates:
        """Sum up the last ten minutes of ``hosts``; None stands for an unknown one."""
        with self._lock:
            rows = [-1 if host is None else self._rows.get(host, -1) for host in hosts]
            return self._rings.states(np.array(rows, dtype=np.int64), now_unix_ns // NS_PER_S)

    def seconds(self, rows: Array, seconds: Array) -> Seconds:
        """Return these seconds of hosts, ``rows`` as ``states`` gave them."""
        with self._lock:
            return self._rings.seconds(rows, seconds)

    def _take(self, batches: Sequence[tuple[bytes, int, Tables]]) -> None:
        with self._lock:
            parts: list[tuple[Array, Table]] = []
            for host, heard_unix_ns, tables in batches:
                row = self._row(host)
                self._heard_unix_ns[row] = last_heard(self._heard_unix_ns[row], heard_unix_ns)
                if SectionKind.DEVICE_WINDOW in tables:
                    self._take_windows(row, tables)
                if SectionKind.HOST_SECOND in tables:
                    seconds = _stamped_true(tables[SectionKind.HOST_SECOND])
                    if seconds.rows:
                        parts.append((np.full(seconds.rows, row), seconds))
                        self._keep_second(row, seconds, int(np.argmax(seconds["start_unix_ns"])))
            if parts:
                self._rings.take(parts)

    def _take_windows(self, row: int, tables: Tables) -> None:
        devices, table = device_ids(tables), tables[SectionKind.DEVICE_WINDOW]
        columns = (
            table["device"].tolist(),
            _lines(table).tolist(),
            _is_stamped_true(table).tolist(),
        )
        for index, (owner, line, is_true) in enumerate(zip(*columns, strict=True)):
            if is_true:
                self._keep_window(row, devices[owner], line, (table, index))

    def _take_block_windows(
        self,
        block: Block,
        rows: Array,
        which: Array,
        devices: Sequence[tuple[bytes, DeviceId]],
    ) -> None:
        table = block.table
        series = block.devices[which].astype(np.int64) * _LINES + _lines(table)[which]
        for key, at in _last_by(series, table["start_unix_ns"][which]):
            index = int(which[at])
            device = devices[key // _LINES][1]
            self._keep_window(int(rows[index]), device, key % _LINES, (table, index))

    def _keep_window(self, row: int, device: DeviceId, line: int, place: _Place) -> None:
        kept, key = self._windows[row], (device, line)
        if _is_newer(place, kept.get(key)):
            kept[key] = place

    def _keep_second(self, row: int, table: Table, index: int) -> None:
        if _is_newer((table, index), self._host_second[row]):
            self._host_second[row] = (table, index)

    def _row(self, host: bytes) -> int:
        row = self._rows.get(host)
        if row is not None:
            return row
        row = len(self._rows)
        self._rings.reserve(row + 1)
        self._rows[host] = row
        self._heard_unix_ns.append(0)
        self._windows.append({})
        self._host_second.append(None)
        self.membership += 1
        return row


def device_ids(tables: Tables) -> list[DeviceId]:
    """Return the devices that a payload's rows point to, in order."""
    table = tables.get(SectionKind.DEVICE)
    if table is None:
        return []
    columns: list[list[Any]] = [
        table[name].tolist() for name in ("kind", "ordinal", "uid_high", "uid_low")
    ]
    return [
        DeviceId(DeviceKind(kind), ordinal, (high << 64) | low)
        for kind, ordinal, high, low in zip(*columns, strict=True)
    ]


def _lines(table: Table) -> Array:
    """Return domain and statistic of each window as one number, by domain first."""
    lines: Array = table["domain"].astype(np.int64) << 8 | table["statistic"]
    return lines


def _is_stamped_true(table: Table) -> Array:
    """Return which rows have the time that their host gave them."""
    true: Array = (table["flags"] & np.uint32(Flag.CLOCK_AHEAD)) == 0
    return true


def _stamped_true(table: Table) -> Table:
    true = _is_stamped_true(table)
    if true.all():
        return table
    return take(Rows(np.zeros(table.rows, "<u4"), table), true).table


def _is_newer(place: _Place, than: _Place | None) -> bool:
    return than is None or bool(
        place[0]["start_unix_ns"][place[1]] >= than[0]["start_unix_ns"][than[1]]
    )


def _last_by(keys: Array, starts: Array) -> Iterable[tuple[int, int]]:
    """Return (key, index of its row that starts last) for every key."""
    order = np.argsort(starts, kind="stable")
    return dict(zip(keys[order].tolist(), order.tolist(), strict=True)).items()
