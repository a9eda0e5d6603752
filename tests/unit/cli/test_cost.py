"""Costs come from ``/proc``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chipwatt.cli import cost


def _process(proc: Path, pid: int, ticks: int, pss_kib: int, children: str = "") -> None:
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    (folder / "task" / str(pid) / "children").write_text(children)
    fields = ["S", "1", *["0"] * 9, str(ticks), str(ticks), *["0"] * 10]
    (folder / "stat").write_text(f"{pid} (a name) with) blanks) {' '.join(fields)}")
    (folder / "smaps_rollup").write_text(f"head\nRss: 900 kB\nPss:      {pss_kib} kB\n")


def test_reads_a_process_with_an_odd_name(tmp_path: Path) -> None:
    _process(tmp_path, 7, ticks=150, pss_kib=4321)
    read = cost.usage(7, tmp_path)
    assert read is not None
    assert read.pss_kib == 4321
    assert read.cpu_ns == 300 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def test_a_process_that_left_is_none(tmp_path: Path) -> None:
    assert cost.usage(8, tmp_path) is None


def test_descendants_parents_first(tmp_path: Path) -> None:
    _process(tmp_path, 1, 0, 0, children="2 3 ")
    _process(tmp_path, 2, 0, 0, children="4")
    _process(tmp_path, 3, 0, 0)
    _process(tmp_path, 4, 0, 0)
    assert cost.descendants(1, tmp_path) == [1, 2, 3, 4]


def test_cost_is_time_over_time() -> None:
    first = cost.Usage(1, 0, 1_000_000_000, 100)
    last = cost.Usage(1, 10_000_000_000, 1_100_000_000, 120)
    assert cost.between("sensing", first, last) == cost.Cost("sensing", 1, 10_000, 120)


def test_a_busy_process_is_seen_as_busy() -> None:
    code = "import time\nprint(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
        first = cost.usage(process.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        last = cost.usage(process.pid)
    finally:
        process.kill()
        process.wait()
    assert first is not None
    assert last is not None
    spent = cost.between("busy", first, last)
    assert 100_000 < spent.cpu_ppm < 1_100_000
    assert spent.pss_kib > 1_000


def test_a_process_that_was_started_again_is_counted(tmp_path: Path) -> None:
    _process(tmp_path, 1, 0, 1_000, children="2")
    _process(tmp_path, 2, 0, 2_000)
    meter = cost.CostMeter(1, tmp_path)
    meter.begin()
    shutil.rmtree(tmp_path / "2")
    (tmp_path / "1" / "task" / "1" / "children").write_text("3")
    _process(tmp_path, 3, ticks=500, pss_kib=3_000)
    agent, sensing = meter.costs()
    assert (agent.name, sensing.name) == ("agent", "sensing")
    assert sensing.pid == 3
    assert sensing.pss_kib == 3_000
    assert sensing.cpu_ppm > 0
    assert sensing.cpu_ppm < 1_000_000, "over its whole life, which began at boot here"
