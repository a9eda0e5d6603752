"""Batches of made-up hosts whose books are known."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.contract import BatchKey, IncomingBatch
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_records, tables_from_records
from chipwatt.core.histogram import build
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, GapReason, Interface, Method, Statistic
from chipwatt.core.records import (
    DeviceWindow,
    Gap,
    HostSecond,
    Profile,
    Provenance,
    Records,
    Throttle,
)
from chipwatt.core.wire import digest

DAY0_UNIX_NS = 20_000 * 86_400 * NS_PER_S
"""A midnight."""
WINDOW_NS = 10 * NS_PER_S


def config(path: Path, **changes: int) -> StoreConfig:
    return StoreConfig(path=path, **changes)  # type: ignore[arg-type]


@dataclass
class FakeHost:
    """A host that draws power at random and keeps the books itself."""

    number: int
    devices: int = 2
    start_unix_ns: int = DAY0_UNIX_NS
    boot: bytes = b"b" * 16
    spool_epoch: int = 7
    sequence: int = 0
    cumulative_uj: list[int] = field(default_factory=list)
    sent_uj: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.number)
        self.host = self.number.to_bytes(16)
        self.ids = [
            DeviceId(DeviceKind.GPU, 0, self.number << 8 | n + 1) for n in range(self.devices)
        ]
        self.cumulative_uj = [1000 * n for n in range(self.devices)]

    def records(self, windows: int = 1, *, gap: bool = False) -> Records:
        made: list[DeviceWindow] = []
        seconds: list[HostSecond] = []
        for _ in range(windows):
            at = self.start_unix_ns
            mono = at - DAY0_UNIX_NS + 5 * NS_PER_S
            for position, device in enumerate(self.ids):
                power_mw = np.array([self.random.randint(50_000, 700_000) for _ in range(10)])
                energy_uj = int(power_mw.sum()) * 1000 + self.random.randint(0, 999)
                self.cumulative_uj[position] += energy_uj
                self.sent_uj += energy_uj
                made.append(
                    DeviceWindow(
                        device=device,
                        domain=Domain.PACKAGE,
                        statistic=Statistic.ENERGY,
                        start_unix_ns=at,
                        start_mono_ns=mono,
                        duration_ns=WINDOW_NS,
                        epoch=1,
                        energy_uj=energy_uj,
                        cumulative_uj=self.cumulative_uj[position],
                        profile=Profile(
                            mean_mw=energy_uj // 10_000,
                            min_mw=int(power_mw.min()),
                            max_mw=int(power_mw.max()),
                            peak_100ms_mw=int(power_mw.max()),
                            histogram=build(power_mw, np.full(10, 1000)),
                        ),
                        throttle=Throttle(limit_mw=700_000),
                        provenance=Provenance(
                            Interface.REPLAY, Method.COUNTER, 100, 99, 1, 0, 100_000, 0, 990_000
                        ),
                        flags=int(Flag.ROOT | Flag.REPLAYED),
                    )
                )
            seconds += [
                HostSecond(
                    at + n * NS_PER_S, mono + n * NS_PER_S, NS_PER_S,
                    0, self.random.randint(0, 5_000_000), 0, 0,
                    None, self.random.randint(0, 700_000), None, None, None,
                    self.devices, self.devices, int(Flag.REPLAYED),
                )
                for n in range(10)
            ]  # fmt: skip
            self.start_unix_ns += WINDOW_NS
        gaps = (
            Gap(self.ids[0], Domain.PACKAGE, Statistic.ENERGY, made[0].start_unix_ns, 5, 6, 7, 8,
                GapReason.SENSOR_LOST),
        ) if gap else ()  # fmt: skip
        return Records(windows=tuple(made), host_seconds=tuple(seconds), gaps=gaps)

    def batch(self, records: Records | None = None, *, windows: int = 1) -> IncomingBatch:
        records = self.records(windows) if records is None else records
        self.sequence += 1
        return IncomingBatch(
            BatchKey(self.host, self.boot, self.spool_epoch, self.sequence),
            digest(encode_records(records)),
            self.start_unix_ns + NS_PER_S,
            tables_from_records(records),
        )
