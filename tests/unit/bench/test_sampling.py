"""The bench of sampling: when it complains, and that it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.sampling import Kept, verdict

ROOT = Path(__file__).resolve().parents[3]


def kept(late: int, cpu_ns: int = 50) -> Kept:
    return Kept(deadlines=100_000, late=late, cpu_ns=cpu_ns, wall_ns=1000)


@pytest.mark.parametrize(
    ("ours", "bare", "code", "words"),
    [
        (100, 0, 0, "sampling ok: 99.900%"),
        (101, 0, 1, "sampling BROKEN"),
        (101, 1, 0, "sampling ok, this machine allows no more"),
        (5000, 4900, 0, "this machine allows no more"),
        (5000, 4899, 1, "95.000% of deadlines within 0.5 ms beside 95.101%"),
    ],
)
def test_a_loaded_machine_excuses_what_it_does_to_a_c_loop_too(
    ours: int, bare: int, code: int, words: str
) -> None:
    line, found = verdict(kept(ours), kept(bare, cpu_ns=20))
    assert found == code
    assert words in line
    assert "5.00% of a core beside 2.00% (2.5 x)" in line


def test_turns_add_up() -> None:
    both = kept(3) + Kept(1000, 1, 5, 10, 2.5)
    assert both == Kept(101_000, 4, 55, 1010, 2.5)
    assert Kept().share == 1.0
    assert Kept().cpu == 0.0


@pytest.mark.e2e
def test_the_bench_runs_and_its_exit_code_is_its_last_line() -> None:
    command = [sys.executable, "-m", "tests.bench.sampling", "--rounds", "1", "--backlog", "60"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    said = [line for line in result.stderr.splitlines() if "chipwatt sensing: " not in line]
    assert said == []
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[1:3]] == [
        "sensing process",
        "bare C loop",
    ]
    assert lines[-1].startswith("sampling ok" if result.returncode == 0 else "sampling BROKEN")
