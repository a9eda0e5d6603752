"""Whether every joule between a counter's first and last value was delivered once.

A window covers the stretch (cumulative - energy, cumulative] of its counter's
epoch. Stretches that join up mean cum[n] = cum[n-1] + delta[n]; one that is
missing is a hole whose energy is known to the µJ; one covered twice is counted
as such. Windows may come in any order.
"""

from __future__ import annotations

import sqlite3
from array import array
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.store.catalogue import number, set_number
from chipwatt.collector.store.config import HOSTS_A_SHARD
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.ranges import Ranges
from chipwatt.core.rows import Rows

_TWICE = "ledger_twice_uj"
_STATISTIC_BIT = 37
"""Of a key: below it 5 bits of domain and 32 of epoch, above it 3 and the device; 0 is ENERGY."""


@dataclass(frozen=True, slots=True)
class EnergyCheck:
    """The books against the counters, over all epochs of all sensors."""

    epochs: int
    holes: int
    """Places where a window does not begin at the cumulative energy where the last one ended."""
    hole_uj: int
    """Energy that counters counted and no window brought."""
    twice_uj: int
    """Energy that more than one window brought."""


class Ledger:
    """Stretches of cumulative energy that windows have covered; kept by ``compaction``."""

    def __init__(self, dictionary: Dictionary, connection: sqlite3.Connection) -> None:
        self._dictionary = dictionary
        self._shards: dict[int, dict[int, Ranges]] = {}
        self._changed: set[int] = set()
        self._twice_uj = 0
        self.reload(connection)

    def reload(self, connection: sqlite3.Connection) -> None:
        """Go back to what was saved."""
        self._changed.clear()
        self._twice_uj = number(connection, _TWICE)
        rows = connection.execute("SELECT shard, ranges FROM ledger").fetchall()
        self._shards = {shard: _unpack(ranges) for shard, ranges in rows}

    def observe(self, windows: Rows) -> None:
        """Take account of device windows."""
        shards = self._dictionary.hosts_of(windows.owners) // HOSTS_A_SHARD
        self._changed.update(np.unique(shards).tolist())
        keys = (
            windows.owners.astype(np.int64) << 40
            | windows.table["statistic"].astype(np.int64) - 1 << _STATISTIC_BIT
            | windows.table["domain"].astype(np.int64) << 32
            | windows.table["epoch"].astype(np.int64)
        )
        energies = windows.table["energy_uj"].tolist()
        cumulative = windows.table["cumulative_uj"].tolist()
        for shard, key, energy_uj, end_uj in zip(
            shards.tolist(), keys.tolist(), energies, cumulative, strict=True
        ):
            if energy_uj:
                ranges = self._shards.setdefault(shard, {}).setdefault(key, Ranges())
                self._twice_uj += energy_uj - ranges.add(end_uj - energy_uj + 1, end_uj)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what changed, in the caller's transaction."""
        set_number(connection, _TWICE, self._twice_uj)
        connection.executemany(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?)",
            [(shard, _pack(self._shards.get(shard, {}))) for shard in self._changed],
        )

    def saved(self) -> None:
        """Take note that what ``save`` wrote is committed."""
        self._changed.clear()

    def check(self) -> EnergyCheck:
        """Return the state of the books as of the last compaction."""
        epochs = [
            ranges for shard in list(self._shards.values()) for ranges in list(shard.values())
        ]
        return EnergyCheck(
            len(epochs),
            sum(len(ranges) - 1 for ranges in epochs),
            sum(ranges.missing for ranges in epochs),
            self._twice_uj,
        )


def _pack(shard: dict[int, Ranges]) -> bytes:
    packed = array("Q")
    for key, ranges in shard.items():
        packed.extend((key, len(ranges)))
        for pair in ranges.pairs():
            packed.extend(pair)
    return packed.tobytes()


def _unpack(data: bytes) -> dict[int, Ranges]:
    packed = array("Q")
    packed.frombytes(data)
    shard, at = {}, 0
    while at < len(packed):
        key, count = packed[at], packed[at + 1]
        at += 2
        flat = packed[at : at + 2 * count]
        shard[key] = Ranges(zip(flat[::2], flat[1::2], strict=True))
        at += 2 * count
    return shard
