"""The real binding ``amdsmi`` over a library in C that plays known loads."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fakes.build import build
from fakes.probe import probe
from fakes.scenario import FakeDevice, energy_uj, square, steady, write_scenario

if find_spec("amdsmi") is None:
    pytest.skip("the package amdsmi is not installed", allow_module_level=True)

from fakes.amd_smi import library_folder

BDF = {"bdf": "0000:c1:00.0"}


def run(folder: Path, *devices: FakeDevice, **arguments: Any) -> tuple[int, dict[str, Any]]:
    start_ns = write_scenario(folder, devices)
    environment = {
        "LD_LIBRARY_PATH": str(library_folder()),
        "CHIPWATT_FAKE_DIR": str(folder),
        "ROCM_PATH": str(folder),
    }
    return start_ns, probe("amdsmi", environment, **arguments)


def test_energy_is_the_accumulator_at_its_true_resolution(tmp_path: Path) -> None:
    load = square(200_000, 700_000, 100_000_000)
    start_ns, seen = run(tmp_path, FakeDevice("a", load, texts=BDF), polls=2, every_s=1.0)
    [sensor] = seen["sensors"]
    assert (sensor["device"], sensor["quantity"]) == ("gpu/0000:c1:00.0", "ENERGY_UJ")
    (_, t0_ns, first_uj), (_, t1_ns, last_uj) = seen["readings"][0][0], seen["readings"][1][0]
    truth_uj = energy_uj(load, t0_ns - start_ns, t1_ns - start_ns)
    # The library's rounded 15.3 uJ would be 0.27 % too much; one refresh of 1 ms is 0.16 %.
    assert last_uj - first_uj == pytest.approx(truth_uj, abs=2 * 700_000 * 1 + 32)


def test_partitions_repeat_their_socket_and_count_once(tmp_path: Path) -> None:
    socket = FakeDevice("a", steady(400_000), texts=BDF)
    partitions = [
        FakeDevice(
            f"p{n}",
            steady(400_000),
            numbers={"share": 0, "partition": n},
            texts={"bdf": f"0000:c1:00.{n}"},
        )
        for n in range(1, 8)
    ]
    _, seen = run(tmp_path, socket, *partitions, polls=1)
    assert [sensor["device"] for sensor in seen["sensors"]] == ["gpu/0000:c1:00.0"]


def test_second_die_that_reads_zero_is_its_siblings(tmp_path: Path) -> None:
    first = FakeDevice(
        "a", steady(300_000), numbers={"average": 1}, texts={**BDF, "graphics": "gfx90a"}
    )
    second = FakeDevice(
        "b", steady(0), numbers={"average": 1}, texts={"bdf": "0000:c6:00.0", "graphics": "gfx90a"}
    )
    _, seen = run(tmp_path, first, second, polls=1)
    assert [sensor["label"] for sensor in seen["sensors"]] == ["0000:c1:00.0"]


@pytest.mark.parametrize("average", [0, 1])
def test_gauge_where_there_is_no_accumulator(tmp_path: Path, average: int) -> None:
    device = FakeDevice(
        "a", steady(321_000), numbers={"no_energy": 1, "average": average}, texts=BDF
    )
    _, seen = run(tmp_path, device, polls=1)
    assert seen["sensors"][0]["quantity"] == "POWER_MW"
    assert seen["readings"][0][0][2] == 321_000


def test_frozen_accumulator_is_not_believed(tmp_path: Path) -> None:
    device = FakeDevice("a", steady(500_000), numbers={"freeze_at_ns": 0}, texts=BDF)
    _, seen = run(tmp_path, device, polls=1)
    assert seen["sensors"][0]["quantity"] == "POWER_MW"


def test_sentinels_are_not_power(tmp_path: Path) -> None:
    device = FakeDevice("a", steady(1), numbers={"no_energy": 1, "sentinel": 1}, texts=BDF)
    _, seen = run(tmp_path, device, polls=1)
    assert seen["absent"] == "NOT_PRESENT"


def test_limit_in_microwatts_or_watts(tmp_path: Path) -> None:
    new = FakeDevice("a", steady(1000), numbers={"cap_uw": 750_000_000}, texts=BDF)
    old = FakeDevice("b", steady(1000), numbers={"cap_uw": 560}, texts={"bdf": "0000:c6:00.0"})
    _, seen = run(tmp_path, new, old, polls=1)
    assert [sensor["max_power_mw"] for sensor in seen["sensors"]] == [1_125_000, 840_000]
    least = None  # the fake says 0, which is no limit
    assert [sensor["limits"] for sensor in seen["sensors"]] == [
        [least, 750_000, 750_000], [least, 560_000, 560_000],
    ]  # fmt: skip
    assert [limits[0] for _, limits in seen["throttles"][0]] == [750_000, 560_000]


def test_time_under_the_power_limit(tmp_path: Path) -> None:
    device = FakeDevice("a", steady(700_000), numbers={"ppt_share_ppm": 250_000}, texts=BDF)
    _, seen = run(tmp_path, device, polls=3, every_s=0.4)
    (_, first_ns, _), (_, last_ns, _) = seen["readings"][0][0], seen["readings"][-1][0]
    quarter_ms = (last_ns - first_ns) // 4_000_000
    assert seen["throttles"][-1][0][1][1] == pytest.approx(quarter_ms, abs=25)


def test_lost_device_is_transient_and_others_go_on(tmp_path: Path) -> None:
    lost = FakeDevice("a", steady(1000), numbers={"lost_at_ns": 6_000_000_000}, texts=BDF)
    other = FakeDevice("b", steady(1000), texts={"bdf": "0000:c6:00.0"})
    _, seen = run(tmp_path, lost, other, polls=7, every_s=1.0)
    assert [reading[0] for reading in seen["readings"][0]] == [0, 1]
    assert [reading[0] for reading in seen["readings"][-1]] == [1]


def test_library_missing(tmp_path: Path) -> None:
    seen = probe("amdsmi", {"LD_LIBRARY_PATH": "", "ROCM_PATH": str(tmp_path)})
    assert seen["absent"] == "LIBRARY_MISSING"
    assert "ROCM_PATH" in seen["detail"]


def test_library_of_another_release(tmp_path: Path) -> None:
    folder = build("amd-smi-old", [], "libamd_smi.so", text="int amdsmi_init(void) { return 0; }")
    environment = {"LD_LIBRARY_PATH": str(folder), "ROCM_PATH": str(tmp_path)}
    seen = probe("amdsmi", environment)
    assert seen["absent"] == "LIBRARY_FAILED"
    assert "same ROCm release" in seen["detail"]


def test_driver_not_loaded(tmp_path: Path) -> None:
    environment = {
        "LD_LIBRARY_PATH": str(library_folder()),
        "CHIPWATT_FAKE_DIR": str(tmp_path / "nothing"),
        "ROCM_PATH": str(tmp_path),
    }
    seen = probe("amdsmi", environment)
    assert seen["absent"] == "LIBRARY_FAILED"
    assert "amdgpu" in seen["detail"]
