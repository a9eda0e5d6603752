"""How fast the store takes and gives, and how small it is: ``python -m tests.bench.store``.

A fleet of made-up hosts, 10 devices each, sends what agents send at the
default cadence: a batch of 10 device windows (40 buckets, some 15 of them
filled) and 10 host seconds every 10 s. The last line is the verdict as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio
import numpy as np

from chipwatt.collector.ingest.servicer import SERVER_OPTIONS, Ingest
from chipwatt.collector.store.config import HOUR_NS, MINUTE_NS, StoreConfig
from chipwatt.collector.store.contract import BatchKey, IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_tables
from chipwatt.core.columns import COLUMNS, SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.rows import Rows, values
from chipwatt.core.tables import Array, Table
from chipwatt.core.wire import SCHEMA_VERSION, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc as pb_grpc

HOSTS, DEVICES, BUCKETS, BEATS = 1000, 10, 40, 6
GROUP = 20
START_UNIX_NS = 20_000 * 86_400 * NS_PER_S
ROWS_A_BATCH = DEVICES + 10
NEEDED_ROWS_A_S = 10_000 * ROWS_A_BATCH / 10
dice = np.random.default_rng(1)


def table(kind: SectionKind, rows: int, given: dict[str, object]) -> Table:
    """Fill a table: what is given, absent where a sensor may not say, else 0 or the least."""
    columns: dict[str, Array] = {}
    for spec in COLUMNS[kind]:
        fallback = spec.absent_value if spec.absent else max(spec.low, 0)
        value = np.asarray(given.get(spec.name, fallback))
        columns[spec.name] = (value if spec.ragged_by else np.broadcast_to(value, rows)).astype(
            spec.dtype
        )
    return Table(kind, rows, columns)


class Fleet:
    """Hosts whose chips idle or work, with noise in every number, as sensors have it."""

    def __init__(self) -> None:
        self.level = dice.choice([90.0, 350.0, 620.0], (HOSTS, DEVICES))
        self.cumulative = dice.integers(0, 1 << 44, (HOSTS, DEVICES))
        self.sequence = 0
        uid = dice.integers(1, 1 << 63, (HOSTS, DEVICES, 2), dtype=np.uint64)
        self.devices = [
            table(SectionKind.DEVICE, DEVICES,
                  {"kind": 2, "uid_high": uid[host, :, 0], "uid_low": uid[host, :, 1]})
            for host in range(HOSTS)
        ]  # fmt: skip

    def beat(self) -> list[IncomingBatch]:
        """Return every host's next batch."""
        self.sequence += 1
        start = START_UNIX_NS + self.sequence * 10 * NS_PER_S
        power = np.abs(self.level * dice.normal(1, 0.1, (HOSTS, DEVICES)))
        energy = (power * 1e7).astype(np.int64)
        self.cumulative += energy
        return [self._batch(host, start, power[host], energy[host]) for host in range(HOSTS)]

    def _batch(self, host: int, start: int, power: Array, energy: Array) -> IncomingBatch:
        mw = (power * 1000).astype(np.int64)
        noise = dice.integers(0, 20_000, (6, DEVICES))
        middle = dice.normal(BUCKETS / 2, 2, (DEVICES, 100)).astype(np.int64)
        counts = np.zeros((DEVICES, BUCKETS), np.int64)
        np.add.at(counts, (np.arange(DEVICES)[:, None], middle % BUCKETS), 100)
        windows = table(SectionKind.DEVICE_WINDOW, DEVICES, {
            "device": np.arange(DEVICES), "domain": 6, "start_unix_ns": start,
            "start_mono_ns": start - START_UNIX_NS + host, "duration_ns": 10 * NS_PER_S,
            "energy_uj": energy, "cumulative_uj": self.cumulative[host], "flags": int(Flag.ROOT),
            "mean_mw": energy // 10_000, "min_mw": np.maximum(mw - 60_000 - noise[0], 0),
            "max_mw": mw + 60_000 + noise[1], "peak_100ms_mw": mw + 55_000 + noise[2],
            "peak_1s_mw": mw + 30_000 + noise[3], "rise_1s_mw_per_s": noise[4],
            "fall_1s_mw_per_s": noise[5], "hist_scale": 5, "hist_offset": 270,
            "hist_buckets": BUCKETS, "hist_counts_ms": counts.ravel(),
            "swing_frequency_mhz": dice.integers(100, 20_000, DEVICES),
            "swing_amplitude_mw": noise[0], "swing_share_ppm": dice.integers(0, 10**6, DEVICES),
            "limit_mw": 700_000, "throttled_power_ms": 0, "interface": 1, "method": 1,
            "expected": 200, "got": dice.integers(95, 101, DEVICES), "repeated": 99,
            "refresh_us": 100_000 + noise[1] // 100, "coverage_ppm": 1_000_000,
        })  # fmt: skip
        total_mw = int(mw.sum())
        seconds = table(SectionKind.HOST_SECOND, 10, {
            "start_unix_ns": start + np.arange(10) * NS_PER_S,
            "start_mono_ns": start - START_UNIX_NS + host + np.arange(10) * NS_PER_S,
            "duration_ns": NS_PER_S, "gpu_mj": total_mw + dice.integers(-90_000, 90_000, 10),
            "gpu_peak_mw": total_mw + dice.integers(0, 200_000, 10),
            "total_peak_mw": total_mw + dice.integers(0, 200_000, 10),
            "heard": DEVICES, "expected": DEVICES,
        })  # fmt: skip
        tables = {t.kind: t for t in (self.devices[host], seconds, windows)}
        key = BatchKey(host.to_bytes(16), b"b" * 16, 1, self.sequence)
        return IncomingBatch(key, bytes(16), start + 11 * NS_PER_S, tables)


def timed(calls: Sequence[Callable[[], object]]) -> Array:
    """Return the seconds that each call took."""
    marks = [time.perf_counter()]
    for call in calls:
        call()
        marks.append(time.perf_counter())
    return np.diff(marks)


def plain_sqlite(path: Path, groups: Sequence[Sequence[IncomingBatch]]) -> float:
    """Store the same as one SQL row a window and a second; return seconds."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    statements = {}
    for kind in (SectionKind.HOST_SECOND, SectionKind.DEVICE_WINDOW):
        names = [spec.name for spec in COLUMNS[kind] if spec.name != "device"]
        connection.execute(f"CREATE TABLE {kind.name} (host, device, {', '.join(names)})")
        marks = ", ".join("?" * (len(names) + 2))
        statements[kind] = f"INSERT INTO {kind.name} VALUES ({marks})"
    began = time.perf_counter()
    for group in groups:
        connection.execute("BEGIN")
        for batch in group:
            for kind, statement in statements.items():
                rows = values(Rows(np.zeros(10, "<u4"), batch.tables[kind]))
                connection.executemany(statement, [
                    (batch.key.host, n, *(repr(v) if isinstance(v, tuple) else v
                                          for v in row.values()))
                    for n, row in enumerate(rows)
                ])  # fmt: skip
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return took


async def acks(store: SqliteStore, batches: Sequence[IncomingBatch], each: int) -> Array:
    """Send batches over real gRPC, ``each`` a stream, evenly in time; return ack delays in s."""
    ingest = Ingest(store)
    server = grpc.aio.server(options=list(SERVER_OPTIONS))
    pb_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
    port = server.add_insecure_port("127.0.0.1:0")
    ingest.start()
    await server.start()
    delays: list[float] = []

    async def agent(number: int, channel: grpc.aio.Channel) -> None:
        call = pb_grpc.TelemetryServiceStub(channel).Stream()
        host = (1_000_000 + number).to_bytes(16)
        hello = pb.Hello(schema_version=SCHEMA_VERSION, host_id=host, boot_id=b"b" * 16)
        await call.write(pb.StreamRequest(hello=hello))
        await call.read()
        for sequence in range(1, each + 1):
            await asyncio.sleep(float(dice.uniform(0, 0.4)))
            payload = encode_tables(batches[(number * each + sequence) % len(batches)].tables)
            batch = pb.Batch(boot_id=b"b" * 16, spool_epoch=1, sequence=sequence,
                             digest=digest(payload), encoding=pb.ENCODING_PLAIN,
                             payload=payload)  # fmt: skip
            sent = time.perf_counter()
            await call.write(pb.StreamRequest(batch=batch))
            await call.read()
            delays.append(time.perf_counter() - sent)
        await call.done_writing()
        await call.read()

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.gather(*(agent(number, channel) for number in range(50)))
    await ingest.drain()
    await server.stop(None)
    return np.array(delays)


def main() -> int:
    fleet = Fleet()
    batches = [batch for _ in range(BEATS) for batch in fleet.beat()]
    groups = [batches[at : at + GROUP] for at in range(0, len(batches), GROUP)]
    rows = len(batches) * ROWS_A_BATCH
    now = batches[-1].received_unix_ns + HOUR_NS
    with TemporaryDirectory() as folder:
        store = SqliteStore(StoreConfig(path=Path(folder) / "store"))
        commits = timed([lambda group=group: store.commit(group) for group in groups])  # type: ignore[misc]
        journal = sum(
            row[0] for row in store._catalogue._writer.execute("SELECT length(data) FROM part")
        )
        hosts = store.host_dictionary()[::20]
        span = (START_UNIX_NS, START_UNIX_NS + HOUR_NS)
        (compacting,) = timed([lambda: store.compact(now)])
        files = list((Path(folder) / "store" / "blocks").glob("*.sqlite"))
        blocks = sum(file.stat().st_size for file in files)
        reads = timed([lambda host=host: store.windows(host, *span) for host in hosts])  # type: ignore[misc]
        merged = timed([
            lambda host=host: store.windows(host, *span, resolution_ns=MINUTE_NS)  # type: ignore[misc]
            for host in hosts
        ])  # fmt: skip
        assert len(store.windows(hosts[0], *span)) == BEATS * DEVICES
        assert store.energy_check().holes == 0
        delays = asyncio.run(acks(store, batches, 20))
        store.close()
        some = groups[: max(1, len(groups) // 10)]
        plain_s = plain_sqlite(Path(folder) / "plain.sqlite", some)
        plain_rows = sum(map(len, some)) * ROWS_A_BATCH
        plain_size = (Path(folder) / "plain.sqlite").stat().st_size / plain_rows
    rate, plain_rate = rows / float(commits.sum()), plain_rows / plain_s
    total_rate = rows / (float(commits.sum()) + float(compacting))
    lines = [
        ("rows committed (windows and seconds, half each)", f"{rows:,}"),
        ("commit", f"{rate:,.0f} rows/s"),
        ("commit and compaction together", f"{total_rate:,.0f} rows/s"),
        ("plain SQLite, a SQL row each", f"{plain_rate:,.0f} rows/s"),
        (f"commit of {GROUP} batches, p50 / p99", f"{_ms(commits, 50)} / {_ms(commits, 99)} ms"),
        ("batch to ack over gRPC, 50 streams, p50 / p99",
         f"{_ms(delays, 50)} / {_ms(delays, 99)} ms"),
        ("journal, compacted, plain SQLite",
         f"{journal / rows:.0f}, {blocks / rows:.0f}, {plain_size:.0f} B/row"),
        (f"a host's {BEATS * DEVICES} windows, as sent / by minute, p50",
         f"{_ms(reads, 50)} / {_ms(merged, 50)} ms"),
    ]  # fmt: skip
    for name, value in lines:
        print(f"{name:<50} {value}")
    verdict = {
        "rows_per_s": round(rate),
        "rows_per_s_with_compaction": round(total_rate),
        "bytes_per_row": round(blocks / rows, 1),
        "ack_p99_ms": float(_ms(delays, 99)),
        "times_needed_for_10000_hosts": round(total_rate / NEEDED_ROWS_A_S, 1),
        "times_plain_sqlite": round(rate / plain_rate, 1),
        "ok": total_rate > NEEDED_ROWS_A_S and float(np.percentile(delays, 99)) < 1,
    }
    print(json.dumps(verdict))
    return 0 if verdict["ok"] else 1


def _ms(seconds: Array, percentile: float) -> str:
    return f"{float(np.percentile(seconds, percentile)) * 1000:.1f}"


if __name__ == "__main__":
    sys.exit(main())
