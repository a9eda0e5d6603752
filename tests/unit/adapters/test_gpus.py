from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.adapters import gpus
from chipwatt.adapters.gpus import NoSuchGpu, listed, together
from chipwatt.core.workload import parse_holding

ONE, TWO = (f"GPU-{n * 8}-{n * 4}-{n * 4}-{n * 4}-{n * 12}" for n in "12")
LISTING = f"""\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: {ONE})
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaa)
  MIG 1c.2g.20gb  Device  1: (UUID: MIG-bbbb)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: {TWO})
something else
"""


@pytest.mark.parametrize(
    ("name", "holding"),
    [
        ("0", f"gpu/{ONE}"),
        ("1", f"gpu/{TWO}"),
        (TWO, f"gpu/{TWO}"),
        (f"{TWO}::3", f"gpu/{TWO}"),
        ("MIG-aaaa", f"gpu/{ONE}=3/7"),
        ("MIG-bbbb", f"gpu/{ONE}=2/7"),
        ("0000:c1:00.0", "gpu/0000:c1:00.0"),
    ],
)
def test_names_of_schedulers(name: str, holding: str) -> None:
    assert listed(LISTING).find(name) == parse_holding(holding)


@pytest.mark.parametrize("name", ["2", "MIG-cccc", "card0", "", "tpu/0=1/2"])
def test_a_name_that_is_not_here(name: str) -> None:
    with pytest.raises(NoSuchGpu, match="not on this host"):
        listed(LISTING).find(name)


def test_instances_of_one_gpu_are_held_together() -> None:
    known = listed(LISTING)
    held = together([known.find("MIG-aaaa"), known.find("1"), known.find("MIG-bbbb")])
    assert held == (parse_holding(f"gpu/{ONE}=5/7"), parse_holding(f"gpu/{TWO}"))


def test_what_this_host_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.here() == gpus.Gpus()
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'GPU 0: A (UUID: {ONE})'\n")
    program.chmod(0o755)
    assert gpus.here().find("0") == parse_holding(f"gpu/{ONE}")
