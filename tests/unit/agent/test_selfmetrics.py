from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chipwatt.agent import selfmetrics

STAT = "7 (a (na) me) S 1 1 1 0 -1 0 0 0 0 0 150 50 9 9 20 0 1 0 5 0 0"


def fake_proc(root: Path, **files: str) -> Path:
    (root / "7").mkdir()
    for name, content in files.items():
        (root / "7" / name).write_text(content)
    return root


def test_cpu_time_is_found_behind_any_name(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert selfmetrics.cpu_ms(7, fake_proc(tmp_path, stat=STAT)) == 200 * 1000 // ticks


def test_pss_where_the_kernel_shows_it(tmp_path: Path) -> None:
    proc = fake_proc(
        tmp_path,
        smaps_rollup="5 ---p 0 [rollup]\nRss: 9 kB\nPss: 5 kB\nPss_Dirty: 1 kB\n",
        status="VmRSS:\t 9 kB\n",
    )
    assert selfmetrics.memory(7, proc) == selfmetrics.Memory(5120, "pss")


def test_rss_where_it_does_not(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, status="Name: x\nVmRSS:\t   9 kB\n")
    assert selfmetrics.memory(7, proc) == selfmetrics.Memory(9216, "rss")


def test_a_process_that_is_gone(tmp_path: Path) -> None:
    assert selfmetrics.cpu_ms(7, tmp_path) is None
    assert selfmetrics.memory(7, tmp_path) is None


def test_this_process() -> None:
    memory = selfmetrics.memory(os.getpid())
    assert memory is not None
    assert memory.bytes > 1 << 20
    assert (selfmetrics.cpu_ms(os.getpid()) or 0) > 0


def test_the_dead_are_counted() -> None:
    before_ms = selfmetrics.dead_children_cpu_ms()
    busy = "import time\nwhile time.process_time() < 0.1: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert selfmetrics.dead_children_cpu_ms() - before_ms >= 100
