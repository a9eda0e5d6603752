"""Small numbers for hosts and devices, given once and never again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from chipwatt.collector.store.contract import HostRow, last_heard
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Flag
from chipwatt.core.tables import Array, Table, Tables

_MAX_INVENTORIES = 50_000


class Dictionary:
    """Hosts and devices by number, in memory; ``save`` writes what is new.

    Written by the one thread that holds the catalogue's lock; readers see
    lists that only grow.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.hosts: list[HostRow] = []
        self.host_numbers: dict[bytes, int] = {}
        self.devices: list[tuple[bytes, DeviceId]] = []
        self._device_numbers: dict[tuple[int, DeviceId], int] = {}
        self._owner_of: Array = np.zeros(256, dtype="<u4")
        self._inventories: dict[tuple[bytes, ...], Array] = {}
        self._changed: set[int] = set()
        self._held: set[int] = set()
        self._newly_held: set[int] = set()
        self._saved = (0, 0)
        for row in connection.execute(
            "SELECT host, name, first_seen, last_seen, agent_version, clock_offset "
            "FROM host ORDER BY id"
        ):
            if None in row:
                raise ValueError("a host without a name")
            self._append_host(HostRow(*row))
        for host, kind, ordinal, uid in connection.execute(
            "SELECT host, kind, ordinal, uid FROM device ORDER BY id"
        ):
            self._append_device(host, DeviceId(DeviceKind(kind), ordinal, int.from_bytes(uid)))
        self._held.update(number for (number,) in connection.execute("SELECT * FROM held_alone"))
        self._saved = (len(self.hosts), len(self.devices))

    def host(self, host: bytes, seen_unix_ns: int) -> int:
        """Return the number of a host, new or known, and note that it was heard from."""
        number = self.host_numbers.get(host)
        if number is None:
            return self._append_host(HostRow(host, host.hex(), seen_unix_ns, seen_unix_ns, 0, 0))
        known = self.hosts[number]
        if last_heard(known.last_seen_unix_ns, seen_unix_ns) != known.last_seen_unix_ns:
            self.hosts[number] = HostRow(
                host,
                known.name,
                known.first_seen_unix_ns,
                seen_unix_ns,
                known.agent_version,
                known.clock_offset_ns,
            )
            self._changed.add(number)
        return number

    def note(self, row: HostRow) -> None:
        """Take what a host said of itself; when it was first seen stays."""
        number = self.host(row.host, row.last_seen_unix_ns)
        known = self.hosts[number]
        self.hosts[number] = HostRow(
            row.host,
            row.name,
            min(known.first_seen_unix_ns, row.first_seen_unix_ns),
            last_heard(known.last_seen_unix_ns, row.last_seen_unix_ns),
            row.agent_version,
            row.clock_offset_ns,
        )
        self._changed.add(number)

    def inventory(self, host: int, tables: Tables) -> Array:
        """Return the number of each device in the batch's DEVICE section."""
        table = tables.get(SectionKind.DEVICE)
        if table is None:
            return np.zeros(0, dtype="<u4")
        key = (
            host.to_bytes(4),
            *(table[name].tobytes() for name in ("kind", "ordinal", "uid_high", "uid_low")),
        )
        known = self._inventories.get(key)
        if known is None:
            known = np.array([self._device(host, device) for device in _devices(table)], "<u4")
            if len(self._inventories) >= _MAX_INVENTORIES:
                self._inventories.clear()
            self._inventories[key] = known
        return known

    def held(self, owners: Array, windows: Table) -> Table:
        """Return windows with HELD_ALONE on those of devices that ever had it.

        An agent that starts without its bindings no longer knows, and one exact counter
        after exact ones from before would tell what was used in between.
        """
        is_held = windows["flags"] & np.uint32(Flag.HELD_ALONE) != 0
        found = set(owners[is_held].tolist()) - self._held
        self._held |= found
        self._newly_held |= found
        if not self._held:
            return windows
        late = ~is_held & np.isin(owners, list(self._held.intersection(owners.tolist())))
        if not late.any():
            return windows
        flags = windows["flags"] | np.where(late, np.uint32(Flag.HELD_ALONE), np.uint32(0))
        return Table(windows.kind, windows.rows, {**windows.columns, "flags": flags})

    def hosts_of(self, devices: Array) -> Array:
        """Return the host number of each device number."""
        return self._owner_of[devices]

    def devices_of(self, host: bytes, device: DeviceId | None = None) -> Array:
        """Return the numbers of a host's devices, or of one of them."""
        number = self.host_numbers.get(host)
        if number is None:
            return np.zeros(0, dtype="<u4")
        if device is not None:
            found = self._device_numbers.get((number, device))
            return np.array([] if found is None else [found], dtype="<u4")
        return np.flatnonzero(self._owner_of[: len(self.devices)] == number).astype("<u4")

    def save(self, connection: sqlite3.Connection, *, changes: bool = False) -> None:
        """Write what is new, and if asked what changed in hosts that were known.

        Call ``saved`` once that is committed, else ``forget``.
        """
        hosts, devices = self._saved
        changed = [number for number in self._changed if number < hosts] if changes else []
        connection.executemany(
            "INSERT OR REPLACE INTO host VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    number,
                    row.host,
                    row.name,
                    row.first_seen_unix_ns,
                    row.last_seen_unix_ns,
                    row.agent_version,
                    row.clock_offset_ns,
                )
                for number in (*range(hosts, len(self.hosts)), *changed)
                for row in (self.hosts[number],)
            ],
        )
        connection.executemany(
            "INSERT INTO device VALUES (?, ?, ?, ?, ?)",
            [
                (
                    number,
                    self.host_numbers[self.devices[number][0]],
                    device.kind,
                    device.ordinal,
                    device.uid.to_bytes(16),
                )
                for number in range(devices, len(self.devices))
                for device in (self.devices[number][1],)
            ],
        )
        connection.executemany(
            "INSERT OR IGNORE INTO held_alone VALUES (?)", [(each,) for each in self._newly_held]
        )

    def saved(self, *, changes: bool = False) -> None:
        """Take note that what ``save`` wrote is committed."""
        self._saved = (len(self.hosts), len(self.devices))
        self._newly_held.clear()
        if changes:
            self._changed.clear()

    def forget(self) -> None:
        """Take back the numbers that were given since the last ``saved``."""
        hosts, devices = self._saved
        for row in self.hosts[hosts:]:
            del self.host_numbers[row.host]
        del self.hosts[hosts:]
        for number in range(devices, len(self.devices)):
            owner = int(self._owner_of[number])
            del self._device_numbers[owner, self.devices[number][1]]
        del self.devices[devices:]
        self._held -= self._newly_held
        self._newly_held.clear()
        self._inventories.clear()

    def _device(self, host: int, device: DeviceId) -> int:
        number = self._device_numbers.get((host, device))
        return self._append_device(host, device) if number is None else number

    def _append_host(self, row: HostRow) -> int:
        number = len(self.hosts)
        self.hosts.append(row)
        self.host_numbers[row.host] = number
        return number

    def _append_device(self, host: int, device: DeviceId) -> int:
        number = len(self.devices)
        if number == len(self._owner_of):
            self._owner_of = np.concatenate([self._owner_of, np.zeros_like(self._owner_of)])
        self._owner_of[number] = host
        self.devices.append((self.hosts[host].host, device))
        self._device_numbers[host, device] = number
        return number


def _devices(table: Table) -> Sequence[DeviceId]:
    columns = [table[name].tolist() for name in ("kind", "ordinal", "uid_high", "uid_low")]
    return [
        DeviceId(DeviceKind(kind), ordinal, high << 64 | low)
        for kind, ordinal, high, low in zip(*columns, strict=True)
    ]
