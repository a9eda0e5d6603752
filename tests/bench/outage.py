"""A week without a collector, in a spool of 64 MiB: ``python -m tests.bench.outage``.

A host with 2 CPUs and 8 GPUs reduces simulated chips with the real reducer for
ten minutes; those windows, their times and counters moved on, make up the
week. Nothing reaches a collector meanwhile, so the spool has to merge. Then the
real uplink drains it into a real collector, and the books are compared with the
counters of the chips. The last line is the verdict as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio
import numpy as np

from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.agent.spool.contract import SpoolConfig
from chipwatt.agent.spool.plan import LADDER_NS
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Host, Uplink
from chipwatt.agent.uplink_config import UplinkConfig
from chipwatt.collector.ingest.servicer import SERVER_OPTIONS, Ingest
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_tables, tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Interface
from chipwatt.core.records import DeviceWindow
from chipwatt.core.settings import Size
from chipwatt.core.tables import Table, Tables
from chipwatt.v1 import telemetry_pb2_grpc as pb_grpc

START_UNIX_NS = 1_790_000_400 * NS_PER_S
DAY_S = 86_400
TEMPLATE_S = 600
GROUP = 6
"""Payloads an fsync: a minute at once, since a week has to pass in two."""
HOST, BOOT = bytes(range(16)), bytes(16 * [7])
Line = tuple[DeviceId, Domain]


def sensors() -> Iterator[Sensor]:
    """Yield those of a host with 2 CPUs of two domains each and 8 GPUs."""
    for package in range(2):
        for domain in (Domain.PACKAGE, Domain.DRAM):
            yield Sensor(
                DeviceId(DeviceKind.CPU, package),
                domain,
                Interface.RAPL_POWERCAP,
                Quantity.ENERGY_UJ,
                root=True,
                refresh_ns=NS_PER_S // 1000,
            )
    for number in range(8):
        yield Sensor(
            DeviceId(DeviceKind.GPU, 0, (1 << 80) + number),
            Domain.BOARD,
            Interface.NVML,
            Quantity.ENERGY_UJ,
            root=True,
            refresh_ns=NS_PER_S // 10,
        )


@dataclass
class Ledger:
    """The truth: first and last value of every counter, by what the reducer was shown."""

    first_uj: dict[Line, int] = field(default_factory=dict)
    last_uj: dict[Line, int] = field(default_factory=dict)

    def known_uj(self, line: Line) -> int:
        """Return what the counter counted."""
        return self.last_uj[line] - self.first_uj[line]


class Week:
    """Ten minutes of windows, again and again; counters and clocks go on."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._template = self._reduced()
        self._gains = self._gains_of(self._template)

    def payloads(self, rounds: int) -> Iterator[bytes]:
        """Yield ``rounds`` times ten minutes of payloads and keep the ledger."""
        for number in range(rounds):
            for tables in self._template:
                yield encode_tables(
                    {kind: self._moved(table, tables, number) for kind, table in tables.items()}
                )
        for line, gain_uj in self._gains.items():
            self.ledger.last_uj[line] = self.ledger.first_uj[line] + rounds * gain_uj

    @staticmethod
    def _reduced() -> list[Tables]:
        dice = random.Random(1)
        reducer = Reducer(list(sensors()), mono_ns=0, unix_ns=START_UNIX_NS)
        power = [dice.uniform(60, 600) for _ in sensors()]
        counters = [float(dice.randrange(10**12)) for _ in sensors()]
        made: list[Tables] = []
        for tick in range(10 * TEMPLATE_S + 12):
            now_ns = tick * NS_PER_S // 10
            for number in range(len(power)):
                if not dice.randrange(20):
                    power[number] = dice.uniform(60, 600)
                counters[number] += power[number] * dice.uniform(0.9, 1.1) * 1e5
                reducer.due(number)
                reducer.observe(number, now_ns, int(counters[number]))
            while reducer.step(now_ns):
                pass
            made += [tables_from_records(records) for records in reducer.take()]
        return made[: TEMPLATE_S // 10]

    def _gains_of(self, template: Sequence[Tables]) -> dict[Line, int]:
        gains: dict[Line, int] = {}
        for tables in template:
            windows = tables[SectionKind.DEVICE_WINDOW]
            for line, energy, end in zip(
                _lines(tables),
                windows["energy_uj"].tolist(),
                windows["cumulative_uj"].tolist(),
                strict=True,
            ):
                self.ledger.first_uj.setdefault(line, end - energy)
                gains[line] = gains.get(line, 0) + energy
        return gains

    def _moved(self, table: Table, tables: Tables, number: int) -> Table:
        columns = dict(table.columns)
        if "start_mono_ns" in columns:
            shift_ns = number * TEMPLATE_S * NS_PER_S
            columns["start_mono_ns"] = columns["start_mono_ns"] + np.uint64(shift_ns)
            columns["start_unix_ns"] = columns["start_unix_ns"] + shift_ns
        if table.kind is SectionKind.DEVICE_WINDOW:
            gains = np.array([self._gains[line] for line in _lines(tables)], "<u8")
            columns["cumulative_uj"] = columns["cumulative_uj"] + np.uint64(number) * gains
        return Table(table.kind, table.rows, columns)


def _lines(tables: Tables) -> list[Line]:
    named, windows = tables[SectionKind.DEVICE], tables[SectionKind.DEVICE_WINDOW]
    columns = (named[name].tolist() for name in ("kind", "ordinal", "uid_high", "uid_low"))
    devices = [
        DeviceId(DeviceKind(kind), ordinal, high << 64 | low)
        for kind, ordinal, high, low in zip(*columns, strict=True)
    ]
    return [
        (devices[device], Domain(domain))
        for device, domain in zip(
            windows["device"].tolist(), windows["domain"].tolist(), strict=True
        )
    ]


def fill(spool: Spool, payloads: Iterator[bytes]) -> tuple[int, int]:
    """Append all payloads; returns their bytes and the most that the spool held at any time."""
    written = most = 0
    with ThreadPoolExecutor(1) as disk:
        under_way = disk.submit(spool.append, [])
        while group := list(islice(payloads, GROUP)):
            written += sum(map(len, group))
            under_way.result()
            most = max(most, spool.counts().bytes)
            under_way = disk.submit(spool.append, [(payload, b"") for payload in group])
        under_way.result()
    return written, max(most, spool.counts().bytes)


async def drain(spool: Spool, store: SqliteStore) -> None:
    """Deliver all of it through the real uplink and the real ingest."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    ingest = Ingest(store)
    pb_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
    port = server.add_insecure_port("127.0.0.1:0")
    ingest.start()
    await server.start()
    threaded = ThreadedSpool(spool)
    uplink = Uplink(
        Endpoints([f"127.0.0.1:{port}"]), UplinkConfig(), TlsConfig(), Host(HOST, BOOT, 0), threaded
    )
    running = asyncio.create_task(uplink.run())
    await asyncio.wait_for(threaded.drained.wait(), 300)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await threaded.close()
    await ingest.drain()
    await server.stop(None)


def by_age(
    windows: Sequence[DeviceWindow], end_unix_ns: int
) -> Iterator[tuple[str, int, int, int]]:
    """Yield age, windows, shortest and longest duration in s, oldest first."""
    edges = [7 * DAY_S, 5 * DAY_S, 3 * DAY_S, 2 * DAY_S, DAY_S, DAY_S // 2, DAY_S // 4, 3600, 0]
    for older, younger in pairwise(edges):
        spans = [
            round(window.duration_ns / NS_PER_S)
            for window in windows
            if younger <= (end_unix_ns - window.start_unix_ns) / NS_PER_S - 0.5 < older + 20
        ]
        if spans:
            yield (
                f"{younger / 3600:5.0f} to {older / 3600:3.0f} h",
                len(spans),
                min(spans),
                max(spans),
            )


def main() -> int:
    """Run the week; return 0 where every joule has arrived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--quota-mib", type=int, default=64)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        return _run(Path(folder), given.days, Size(given.quota_mib << 20))


def _run(folder: Path, days: float, quota: Size) -> int:
    began_s = time.monotonic()
    week = Week()
    rounds = round(days * DAY_S / TEMPLATE_S)
    spool = Spool(folder / "spool", BOOT, SpoolConfig(quota=quota))
    written, most = fill(spool, week.payloads(rounds))
    counts = spool.counts()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    merging_s = children.ru_utime + children.ru_stime
    filled_s = time.monotonic() - began_s
    store = SqliteStore(StoreConfig(folder / "store"))
    asyncio.run(drain(spool, store))
    drained_s = time.monotonic() - began_s - filled_s
    end_unix_ns = START_UNIX_NS + rounds * TEMPLATE_S * NS_PER_S
    windows = store.windows(HOST, 0, end_unix_ns, limit=1 << 30)
    store.compact(time.time_ns() + 3600 * NS_PER_S)
    check = store.energy_check()
    totals = store.totals()
    store.close()

    found: dict[Line, int] = {}
    for window in windows:
        line = (window.device, window.domain)
        found[line] = found.get(line, 0) + window.energy_uj
    errors = {
        line: found.get(line, 0) - week.ledger.known_uj(line) for line in week.ledger.first_uj
    }
    ages = list(by_age(windows, end_unix_ns))
    print(f"{'age':>14} {'windows':>8} {'shortest s':>11} {'longest s':>10}")
    for age, count, shortest, longest in ages:
        print(f"{age:>14} {count:>8} {shortest:>11} {longest:>10}")
    print(
        f"appended {counts.appended} payloads of {written >> 20} MiB; most on disk {most >> 20} MiB"
    )
    print(
        f"merged away {counts.merged} records in {merging_s:.1f} s of CPU;"
        f" dropped {counts.dropped}, damaged {counts.damaged}"
    )
    print(f"filled in {filled_s:.0f} s, drained {totals.batches} batches in {drained_s:.1f} s")
    error_uj = sum(abs(error) for error in errors.values())
    exact = not any(errors.values()) and not (check.holes or check.twice_uj)
    newest_fine = ages[-1][3] == 10
    oldest_coarse = ages[0][2] * NS_PER_S >= LADDER_NS[0]
    within = most <= quota + (1 << 16) and not counts.dropped
    verdict = {
        "pass": exact and newest_fine and oldest_coarse and within,
        "energy_uj": sum(found.values()),
        "error_uj": error_uj,
        "holes": check.holes,
        "twice_uj": check.twice_uj,
        "oldest_s": ages[0][2],
        "newest_s": ages[-1][3],
        "merging_cpu_share": round(merging_s / (days * DAY_S), 7),
    }
    print(json.dumps(verdict))
    return 0 if verdict["pass"] else 1


if __name__ == "__main__":
    sys.exit(main())
