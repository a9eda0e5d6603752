from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.sensing.cpuinfo import read_cpuinfo

TWO_SOCKETS = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+
physical id\t: 0
flags\t\t: fpu vme sgx sgx_lc

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+
physical id\t: 1
flags\t\t: fpu vme sgx sgx_lc
"""


def test_packages_model_and_flags(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(TWO_SOCKETS)
    info = read_cpuinfo(tmp_path)
    assert info is not None
    assert info.package_of_cpu == {0: 0, 1: 1}
    assert info.model == "Intel(R) Xeon(R) Platinum 8480+"
    assert info.energy_filtered


def test_arm_has_one_package(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 50\n\nprocessor\t: 1\n")
    info = read_cpuinfo(tmp_path)
    assert info is not None
    assert info.package_of_cpu == {0: 0, 1: 0}
    assert info.model == ""


@pytest.mark.parametrize(
    ("vendor", "flags"), [("AuthenticAMD", "sgx"), ("GenuineIntel", "sgx_lc avx")]
)
def test_only_intel_with_sgx_is_filtered(tmp_path: Path, vendor: str, flags: str) -> None:
    (tmp_path / "cpuinfo").write_text(
        f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n"
    )
    info = read_cpuinfo(tmp_path)
    assert info is not None
    assert not info.energy_filtered


def test_no_procfs(tmp_path: Path) -> None:
    assert read_cpuinfo(tmp_path) is None


def test_this_machine() -> None:
    info = read_cpuinfo(Path("/proc"))
    assert info is not None
    assert info.package_of_cpu
