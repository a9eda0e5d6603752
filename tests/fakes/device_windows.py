"""Device windows by the handful, for readers of a store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from chipwatt.collector.store.contract import BatchKey, Block, IncomingBatch
from chipwatt.core.codec import encode_records, tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, GapReason, Interface, Method, Statistic
from chipwatt.core.records import DeviceWindow, Gap, Profile, Provenance, Records, Throttle
from chipwatt.core.wire import digest

NS = 1_000_000_000
T0_NS = 1_800_000_000 * NS  # a whole minute
GPU = DeviceId(DeviceKind.GPU, 0, 0x1234_5678_9ABC_DEF0_1122_3344_5566_7788)
CPU = DeviceId(DeviceKind.CPU, 0)
T = TypeVar("T")
HOST_A, HOST_B = bytes(range(16)), bytes(range(16, 32))


def a_window(
    at_s: float,
    energy_uj: int,
    cumulative_uj: int,
    *,
    device: DeviceId = GPU,
    domain: Domain = Domain.BOARD,
    statistic: Statistic = Statistic.ENERGY,
    epoch: int = 1,
    duration_s: float = 10,
    method: Method = Method.COUNTER,
    interface: Interface = Interface.NVML,
    flags: Flag = Flag.ROOT,
    coverage_ppm: int = 1_000_000,
) -> DeviceWindow:
    """One window that starts ``at_s`` seconds after T0."""
    start_ns = round(at_s * NS)
    return DeviceWindow(
        device=device,
        domain=domain,
        statistic=statistic,
        start_unix_ns=T0_NS + start_ns,
        start_mono_ns=start_ns,
        duration_ns=round(duration_s * NS),
        epoch=epoch,
        energy_uj=energy_uj,
        cumulative_uj=cumulative_uj,
        profile=Profile(),
        throttle=Throttle(),
        provenance=Provenance(interface, method, coverage_ppm=coverage_ppm),
        flags=int(flags),
    )


def a_run(energies_uj: Iterable[int], *, base_uj: int = 0, at_s: float = 0) -> list[DeviceWindow]:
    """Windows of 10 s, one after another, of one counter."""
    windows, total_uj = [], base_uj
    for index, energy_uj in enumerate(energies_uj):
        total_uj += energy_uj
        windows.append(a_window(at_s + 10 * index, energy_uj, total_uj))
    return windows


class Batches:
    """Makes batches as ingest hands them to the store."""

    def __init__(self, received_unix_ns: int = T0_NS) -> None:
        self.received_unix_ns = received_unix_ns
        self._sequences = itertools.count()

    def of(self, windows: Sequence[DeviceWindow], host: bytes = HOST_A) -> IncomingBatch:
        records = Records(windows=tuple(windows))
        key = BatchKey(host, bytes(16), 1, next(self._sequences))
        tables = tables_from_records(records)
        payload = encode_records(records)
        return IncomingBatch(key, digest(payload), self.received_unix_ns, tables)


class Shelf:
    """Blocks as a store gives them to a reader, with the dictionaries that they point into."""

    def __init__(self) -> None:
        self.hosts: list[bytes] = []
        self.devices: list[tuple[bytes, DeviceId]] = []
        self.blocks: list[Block] = []

    def put(self, windows: Sequence[DeviceWindow], host: bytes = HOST_A) -> Block:
        """Add one block with windows of one host."""
        table = tables_from_records(Records(windows=tuple(windows)))[SectionKind.DEVICE_WINDOW]
        block = Block(
            position=len(self.blocks) + 1,
            kind=SectionKind.DEVICE_WINDOW,
            hosts=np.full(table.rows, self._index(self.hosts, host), dtype=np.int64),
            devices=np.array([self._index(self.devices, (host, w.device)) for w in windows]),
            table=table,
        )
        self.blocks.append(block)
        return block

    @staticmethod
    def _index(known: list[T], value: T) -> int:
        if value not in known:
            known.append(value)
        return known.index(value)


def gap_block(shelf: Shelf, at_s: int) -> Block:
    """Return a second of which the energy of the shelf's first device is not known."""
    gap = Gap(
        device=shelf.devices[0][1], domain=Domain.BOARD, statistic=Statistic.ENERGY,
        start_unix_ns=T0_NS + at_s * NS, start_mono_ns=0, duration_ns=NS, lower_uj=1, upper_uj=9,
        reason=GapReason.SENSOR_LOST,
    )  # fmt: skip
    table = tables_from_records(Records(gaps=(gap,)))[SectionKind.GAP]
    only = np.zeros(1, np.int64)
    return Block(len(shelf.blocks) + 1, SectionKind.GAP, hosts=only, devices=only, table=table)
