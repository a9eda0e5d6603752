"""Up to when each sensor's line is told: by windows, or by gaps that say what they lack.

What lies between there and now is an open gap (``query.open_gaps``), which nobody
stores. Kept apart from the history, because a line that ended days ago
cannot be found there without reading all of it. Saved now and then: what was
observed since is in the journal, which is read back at a start.
"""

from __future__ import annotations

import sqlite3
from array import array
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.config import HOSTS_A_SHARD
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Flag, Statistic
from chipwatt.core.rows import Rows

SAVE_EVERY = 5
"""Compactions between two savings: the journal goes back three times as far."""
_End = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One sensor's newest row."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    end_unix_ns: int
    end_mono_ns: int
    duration_ns: int


class Lines:
    """Newest ends by device, domain and statistic; written by ``compaction``."""

    def __init__(self, dictionary: Dictionary, connection: sqlite3.Connection) -> None:
        self._dictionary = dictionary
        rows = connection.execute("SELECT shard, ends FROM line").fetchall()
        self._shards: dict[int, dict[int, _End]] = {n: _unpack(ends) for n, ends in rows}
        self._changed: set[int] = set()
        self._runs = 0
        self._heard: dict[int, int] = {}
        """Newest end of each host of which rows came since the last ``heard``."""

    @property
    def are_whole(self) -> bool:
        """Whether the journal of before this start was read back."""
        return self._runs > 0

    def observe(self, rows: Rows) -> None:
        """Take account of device windows and gaps; of host seconds there is nothing to take."""
        if rows.kind is SectionKind.HOST_SECOND:
            return
        table = rows.table
        keys = rows.owners.astype(np.int64) << 16
        keys |= table["domain"].astype(np.int64) << 8 | table["statistic"]
        ends = table["start_unix_ns"] + table["duration_ns"].astype(np.int64)
        order = np.lexsort((ends, keys))
        if rows.kind is SectionKind.DEVICE_WINDOW:
            order = order[(table["flags"][order] & np.uint32(Flag.CLOCK_AHEAD)) == 0]
        last = order[np.append(np.diff(keys[order]) != 0, [True])] if len(order) else order
        hosts = self._dictionary.hosts_of(rows.owners[last])
        shards = hosts // HOSTS_A_SHARD
        for host, end_ns in zip(hosts.tolist(), ends[last].tolist(), strict=True):
            if end_ns > self._heard.get(host, 0):
                self._heard[host] = end_ns
        monos = table["start_mono_ns"][last] + table["duration_ns"][last]
        for shard, key, *end in zip(
            shards.tolist(), keys[last].tolist(), ends[last].tolist(), monos.tolist(),
            table["duration_ns"][last].tolist(), strict=True,
        ):  # fmt: skip
            of_shard = self._shards.setdefault(shard, {})
            if end[0] > of_shard.get(key, (0,))[0]:
                of_shard[key] = (end[0], end[1], end[2])
                self._changed.add(shard)

    def heard(self) -> int | None:
        """Return the median of the newest ends, by their clocks, of hosts that sent any lately.

        That is since the last call, or ever where this is the first; None where none did.
        """
        heard, self._heard = self._heard, {}
        return median_low(heard.values()) if heard else None

    def of(self, host: bytes) -> list[Line]:
        """Return the lines of a host."""
        number = self._dictionary.host_numbers.get(host)
        of_shard = {} if number is None else self._shards.get(number // HOSTS_A_SHARD, {})
        mine = set(self._dictionary.devices_of(host).tolist())
        return [
            Line(
                self._dictionary.devices[key >> 16][1],
                Domain(key >> 8 & 0xFF),
                Statistic(key & 0xFF),
                *end,
            )
            for key, end in list(of_shard.items())
            if key >> 16 in mine
        ]

    def save(self, catalogue: Catalogue) -> None:
        """Write what changed, every few times this is called. Raises StoreError."""
        self._runs += 1
        if self._runs % SAVE_EVERY:
            return
        for shard in list(self._changed):
            with catalogue.writing("keep the ends of lines") as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO line VALUES (?, ?)", (shard, _pack(self._shards[shard]))
                )
            self._changed.discard(shard)


def _pack(lines: dict[int, _End]) -> bytes:
    packed = array("Q")
    for key, end in lines.items():
        packed.extend((key, *end))
    return packed.tobytes()


def _unpack(data: bytes) -> dict[int, _End]:
    flat = array("Q")
    flat.frombytes(data)
    return {
        key: (unix, mono, duration)
        for key, unix, mono, duration in zip(
            flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True
        )
    }
