from __future__ import annotations

import os
from pathlib import Path

import pytest

from chipwatt.agent.sensing.contract import Limits, Quantity, Sensor, SourceUnavailable
from chipwatt.agent.sources.hwmon import HwmonConfig, HwmonSource
from chipwatt.core.model import AbsentReason
from fakes.hwmon import add_chip, add_grace

GPU = "0000:c1:00.0"


def sensors(source: HwmonSource) -> list[tuple[str, str, bool]]:
    return [(str(s.device), s.domain.name, s.root) for s in source.open()]


def values(source: HwmonSource) -> list[int]:
    return [reading.value for reading in source.poll()]


def opened(sysfs: Path, **settings: object) -> tuple[HwmonSource, list[Sensor]]:
    source = HwmonSource(HwmonConfig(sysfs=sysfs, **settings))  # type: ignore[arg-type]
    return source, list(source.open())


def test_grace_counts_the_socket_and_not_the_module_around_it(tmp_path: Path) -> None:
    add_grace(tmp_path, 0, {"Grace": 250, "CPU": 180, "SysIO": 40, "Module": 900}, 0)
    add_grace(tmp_path, 1, {"Grace": 260, "CPU": 190, "SysIO": 41, "Module": 910}, 4)
    source = HwmonSource(HwmonConfig(sysfs=tmp_path))
    assert sensors(source) == [
        ("cpu/0", "PACKAGE", True),
        ("cpu/0", "CORE", False),
        ("cpu/0", "UNCORE", False),
        ("module/0", "MODULE", False),
        ("cpu/1", "PACKAGE", True),
        ("cpu/1", "CORE", False),
        ("cpu/1", "UNCORE", False),
        ("module/1", "MODULE", False),
    ]
    assert values(source)[0] == 250_000
    source.close()


def test_module_alone_is_added_up(tmp_path: Path) -> None:
    add_grace(tmp_path, 0, {"Module": 900}, 0)
    source, [module] = opened(tmp_path)
    assert module.root
    assert module.averaging_ns == 50_000_000
    source.close()


def test_amdgpu_reads_input_rather_than_average(tmp_path: Path) -> None:
    files = {
        "power1_average": "41000000",
        "power1_input": "42000000",
        "power1_label": "PPT",
        "power1_cap": "300000000",
        "power1_cap_max": "400000000",
        "power1_cap_min": "150000000",
        "power1_cap_default": "350000000",
    }
    add_chip(tmp_path, 3, "amdgpu", files, device=GPU)
    source, [sensor] = opened(tmp_path)
    assert str(sensor.device) == f"gpu/{GPU}"
    assert (values(source), sensor.max_power_mw) == ([42_000], 600_000)
    assert sensor.limits == Limits(min_mw=150_000, max_mw=400_000, default_mw=350_000)
    assert [(p, t.limit_mw) for p, t in source.throttle()] == [(0, 300_000)]
    source.close()


def test_suspended_gpu_is_left_asleep(tmp_path: Path) -> None:
    add_chip(
        tmp_path,
        0,
        "amdgpu",
        {"power1_average": "7000000"},
        device=GPU,
        device_files={"power/runtime_status": "suspended"},
    )
    source, _ = opened(tmp_path)
    assert values(source) == []
    (tmp_path / "devices" / GPU / "power/runtime_status").write_text("active\n")
    assert values(source) == [7_000]
    source.close()


def test_intel_gpu_energy_counter_wins_over_power(tmp_path: Path) -> None:
    add_chip(
        tmp_path,
        1,
        "xe",
        {
            "energy1_input": "5000000",
            "energy1_label": "card",
            "power1_max": "1",
            "energy2_input": "3000000",
            "energy2_label": "pkg",
        },
        device="0000:03:00.0",
    )
    source, found = opened(tmp_path)
    assert [(s.quantity, s.root) for s in found] == [
        (Quantity.ENERGY_UJ, True),
        (Quantity.ENERGY_UJ, False),
    ]
    assert values(source) == [5_000_000, 3_000_000]
    source.close()


def test_altra_and_power9(tmp_path: Path) -> None:
    altra = {"power1_input": "90000000", "power1_label": "CPU power"}
    altra |= {"power2_input": "30000000", "power2_label": "SoC power"}
    altra |= {"power3_input": "8000000", "power3_label": "DIMM Power"}
    add_chip(tmp_path, 0, "smpro_hwmon", altra)
    occ = {"power1_input": "500000000", "power1_label": "system"}
    occ |= {"power2_input": "150000000", "power2_label": "proc"}
    add_chip(tmp_path, 1, "occ", occ)
    source = HwmonSource(HwmonConfig(sysfs=tmp_path))
    assert [(name, root) for _, name, root in sensors(source)] == [
        ("CORE", True),
        ("UNCORE", True),
        ("DRAM", True),
        ("PSYS", False),
        ("PACKAGE", True),
    ]
    source.close()


def test_other_chips_are_not_ours(tmp_path: Path) -> None:
    add_chip(tmp_path, 0, "coretemp", {"temp1_input": "40000"})
    add_chip(tmp_path, 1, "nvme", {"power1_input": "1"})
    with pytest.raises(SourceUnavailable) as absent:
        opened(tmp_path)
    assert absent.value.reason is AbsentReason.NOT_PRESENT


def test_ignored_device_is_not_touched(tmp_path: Path) -> None:
    add_chip(tmp_path, 0, "amdgpu", {"power1_average": "7000000"}, device=GPU)
    with pytest.raises(SourceUnavailable):
        opened(tmp_path, ignore=(GPU,))


def test_value_that_cannot_be_read_is_skipped_and_others_go_on(tmp_path: Path) -> None:
    first = add_chip(tmp_path, 0, "amdgpu", {"power1_average": "7000000"}, device=GPU)
    add_chip(tmp_path, 1, "amdgpu", {"power1_average": "8000000"}, device="0000:c6:00.0")
    source, _ = opened(tmp_path)
    (first / "power1_average").write_text("N/A\n")
    assert [(reading.sensor, reading.value) for reading in source.poll()] == [(1, 8_000)]
    source.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_is_named(tmp_path: Path) -> None:
    folder = add_chip(tmp_path, 0, "amdgpu", {"power1_average": "7000000"}, device=GPU)
    (folder / "power1_average").chmod(0)
    with pytest.raises(SourceUnavailable) as absent:
        opened(tmp_path)
    assert absent.value.reason is AbsentReason.PERMISSION_DENIED
