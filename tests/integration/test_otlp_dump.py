"""``chipwatt otlp dump`` beside a running collector: the points that the export would send."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.cli.main import run
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.server import Collector
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from fakes.device_windows import NS, T0_NS, Batches, a_run


def dumped(folder: Path, *options: str) -> int:
    """Store a minute that began up to two minutes ago, and dump it."""
    now_ns = time.time_ns()
    start_ns = (now_ns // (60 * NS) - 1) * 60 * NS
    store = SqliteStore(StoreConfig(path=folder / "store"))
    windows = [
        replace(each, start_unix_ns=each.start_unix_ns - T0_NS + start_ns)
        for each in a_run([1_500_000] * 6, base_uj=10**9)
    ]
    store.commit([Batches(now_ns).of(windows)])
    store.close()

    async def main() -> int:
        config = CollectorConfig(listen="127.0.0.1:0", state_dir=folder)
        async with Collector(config) as collector:
            command = ["otlp", "dump", "--collector", collector.address, *options]
            return await asyncio.to_thread(run, command)

    return asyncio.run(main())


def test_a_table_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dumped(tmp_path, "--last", "3min", "--metric", "hw.") == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if " hw.energy " in line and " 60.000 " in line]
    assert "hw.id=gpu/GPU-12345678-9abc-def0-1122-334455667788/board" in line
    assert line.endswith("1009.000000  J")
    assert "0.150000  W" in out
    assert "chipwatt.coverage" not in out


def test_json_is_what_otlp_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dumped(tmp_path, "--last", "3min", "--json") == 0
    (of_host,) = json.loads(capsys.readouterr().out)["resourceMetrics"]
    names = {metric["name"] for metric in of_host["scopeMetrics"][0]["metrics"]}
    assert {"hw.energy", "hw.power", "hw.host.energy", "chipwatt.coverage"} <= names


def test_nothing_stored_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dumped(tmp_path, "--metric", "no.such") == 0
    assert "nothing is stored" in capsys.readouterr().out
