"""The NVML source over the real binding and a fake library, each in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core.model import Domain
from fakes import nvml
from fakes.scenario import NS_PER_S, FakeDevice, energy_uj, ramp, square, steady

MS = 1_000_000
OPEN = {"do": "open"}


def polls(*at_ms: int) -> list[dict[str, Any]]:
    return [{"do": "poll", "at_ns": at * MS} for at in at_ms]


@pytest.fixture(autouse=True)
def _library(fake_nvml: Path) -> None:
    assert (fake_nvml / nvml.SONAME).exists()


def test_energy_counters_follow_the_load_to_the_millijoule(tmp_path: Path) -> None:
    loads = [square(90_000, 650_000, 300 * MS), ramp(60_000, 700_000, 3 * NS_PER_S)]
    gpus = [nvml.gpu(n, load) for n, load in enumerate(loads)]
    sensors, *rows = nvml.drive(tmp_path, gpus, [OPEN, *polls(*range(0, 5000, 50))])
    assert [s["device"] for s in sensors] == [f"gpu/{gpu.texts['uuid']}" for gpu in gpus]
    for sensor in sensors:
        assert sensor["quantity"] == Quantity.ENERGY_UJ
        assert (sensor["domain"], sensor["root"]) == (Domain.BOARD, True)
        assert (sensor["resolution_uj"], sensor["modulus_uj"]) == (1000, 0)
        assert sensor["max_power_mw"] == 1_050_000
        assert sensor["refresh_ns"] == 100 * MS
        assert "H100" in sensor["label"]
    for row in rows:
        for position, mono_ns, value in row:
            shown_ns = mono_ns // (100 * MS) * (100 * MS)
            assert value == energy_uj(loads[position], 0, shown_ns) // 1000 * 1000


@pytest.mark.parametrize(
    ("settings", "quantity", "averaging_ns", "value"),
    [
        ({"error_energy": 3}, Quantity.ENERGY_UJ, 0, 1_000_000_000),  # by field 83
        # The step to 800 W came 300 ms ago: the last second's mean is 200 + 0.3 * 600 W.
        ({"error_energy": 3, "field_error_83": 3}, Quantity.POWER_MW, 0, 800_000),
        ({"error_energy": 3, "error_fields": 3}, Quantity.POWER_MW, NS_PER_S, 380_000),
        (
            {"error_energy": 3, "error_fields": 13, "cc_major": 8, "cc_minor": 0},
            Quantity.POWER_MW, 0, 800_000,
        ),
        (
            {"error_energy": 3, "error_fields": 13, "cc_major": 8, "cc_minor": 6},
            Quantity.POWER_MW, NS_PER_S, 380_000,
        ),
        (
            {"error_energy": 3, "error_fields": 13, "error_cc": 3},
            Quantity.POWER_MW, 0, 380_000,
        ),
        ({"error_energy": 3, "field_type_83": 0}, Quantity.POWER_MW, 0, 800_000),
    ],
)  # fmt: skip
def test_the_best_quantity_that_a_gpu_answers(
    tmp_path: Path, settings: dict[str, int], quantity: Quantity, averaging_ns: int, value: int
) -> None:
    step_ns = 3800 * MS
    load = [(0, 200_000), (step_ns, 200_000), (step_ns, 800_000), (step_ns + NS_PER_S, 800_000)]
    gpus = [nvml.gpu(1, load, **settings)]
    (sensor,), (reading,) = nvml.drive(tmp_path, gpus, [OPEN, *polls(4100)])
    assert (sensor["quantity"], sensor["averaging_ns"]) == (quantity, averaging_ns)
    assert reading[1:] == [4100 * MS, value]


def test_a_gpu_without_any_power_is_left_out(tmp_path: Path) -> None:
    silent = {"error_energy": 3, "error_fields": 3, "error_usage": 3}
    gpus = [nvml.gpu(1, steady(100_000), **silent), nvml.gpu(2, steady(100_000))]
    sensors, row = nvml.drive(tmp_path, gpus, [OPEN, *polls(1000)])
    assert [s["device"] for s in sensors] == [f"gpu/{gpus[1].texts['uuid']}"]
    assert row == [[0, NS_PER_S, 100_000_000]]
    (answer,) = nvml.drive(tmp_path / "alone", gpus[:1], [OPEN])
    assert answer["unavailable"] == "NOT_PRESENT"
    assert "1 GPUs, none of which" in answer["detail"]


def test_a_lost_gpu_stops_and_the_others_go_on(tmp_path: Path) -> None:
    gpus = [nvml.gpu(1, steady(1000), lost_at_ns=2 * NS_PER_S), nvml.gpu(2, steady(1000))]
    steps = [OPEN, *polls(1000, 2000, 3000), {"do": "throttle", "at_ns": 3 * NS_PER_S}]
    _, *rows, throttles = nvml.drive(tmp_path, gpus, steps)
    assert [[r[0] for r in row] for row in rows] == [[0, 1], [1], [1]]
    assert [position for position, _ in throttles] == [1]


def test_a_lost_gpu_is_found_again(tmp_path: Path) -> None:
    times = {"lost_at_ns": 2 * NS_PER_S, "lost_until_ns": 14 * NS_PER_S}
    gpus = [nvml.gpu(1, steady(1000), **times), nvml.gpu(2, steady(1000))]
    _, *rows = nvml.drive(tmp_path, gpus, [OPEN, *polls(1000, 3000, 13_500, 24_000, 24_100)])
    assert [[r[0] for r in row] for row in rows] == [[0, 1], [1], [1], [0, 1], [0, 1]]


def test_when_all_are_lost_the_source_breaks_and_opens_anew(tmp_path: Path) -> None:
    times = {"lost_at_ns": NS_PER_S, "lost_until_ns": 3 * NS_PER_S}
    steps = [OPEN, *polls(500, 2000), {"do": "close"}, OPEN, {**OPEN, "at_ns": 4 * NS_PER_S}]
    _, good, lost, _, absent, again = nvml.drive(
        tmp_path, [nvml.gpu(1, steady(1000), **times)], [*steps, *polls(5000)]
    )[:6]
    assert len(good) == 1
    assert lost["error"] == "RuntimeError"
    assert absent["unavailable"] == "NOT_PRESENT"
    assert len(again) == 1


def test_an_unknown_error_passes(tmp_path: Path) -> None:
    bad = {"unknown_at_ns": NS_PER_S, "unknown_until_ns": 2 * NS_PER_S}
    both = [nvml.gpu(1, steady(1000), **bad), nvml.gpu(2, steady(1000))]
    _, *rows = nvml.drive(tmp_path / "both", both, [OPEN, *polls(500, 1500, 2500)])
    assert [[r[0] for r in row] for row in rows] == [[0, 1], [1], [0, 1]]
    _, *rows = nvml.drive(tmp_path / "one", both[:1], [OPEN, *polls(500, 1500, 2500)])
    assert rows[1]["error"] == "TransientReadError"
    assert len(rows[2]) == 1


def test_an_unloaded_driver_breaks_the_source(tmp_path: Path) -> None:
    gpus = [nvml.gpu(1, steady(1000), unloaded_at_ns=NS_PER_S)]
    _, row = nvml.drive(tmp_path, gpus, [OPEN, *polls(2000)])
    assert row["error"] == "NVMLError_DriverNotLoaded"


def test_a_driver_reload_starts_the_counter_anew(tmp_path: Path) -> None:
    gpus = [nvml.gpu(1, steady(100_000), reset_at_ns=3 * NS_PER_S)]
    _, *rows = nvml.drive(tmp_path, gpus, [OPEN, *polls(2000, 4000)])
    assert [row[0][2] for row in rows] == [200_000_000, 100_000_000]


def test_throttling_is_cumulative_and_absent_where_unknown(tmp_path: Path) -> None:
    shares = {"throttled_power_ppm": 500_000, "throttled_thermal_ppm": 10_000}
    silent = {"error_fields": 3, "error_limits": 3}
    partly = {"field_error_74": 3, "field_error_270": 3, "limit_mw": 450_000, **shares}
    gpus = [
        nvml.gpu(n, steady(1000), **each) for n, each in enumerate(({**shares}, silent, partly))
    ]
    _, found = nvml.drive(tmp_path, gpus, [OPEN, {"do": "throttle", "at_ns": 10 * NS_PER_S}])
    empty = dict.fromkeys(("power_ms", "thermal_ms", "brake_ms", "other_ms"))
    assert found == [
        [0, {**empty, "limit_mw": 700_000, "power_ms": 5000, "thermal_ms": 200, "brake_ms": 0}],
        [2, {**empty, "limit_mw": 450_000, "thermal_ms": 100, "brake_ms": 0}],
    ]


def test_a_gpu_without_uuid_is_known_by_its_address(tmp_path: Path) -> None:
    sensors, *_ = nvml.drive(tmp_path, [nvml.gpu(0xC1, steady(1), error_uuid=3)], [OPEN])
    assert sensors[0]["device"] == "gpu/0000:c1:00.0"


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        ("9", "LIBRARY_FAILED", "modprobe nvidia"),
        ("18", "LIBRARY_FAILED", "nvidia-smi"),
        ("4", "PERMISSION_DENIED", "/dev/nvidiactl"),
    ],
)
def test_a_library_that_does_not_start(tmp_path: Path, code: str, reason: str, hint: str) -> None:
    (answer,) = nvml.drive(tmp_path, [], [OPEN], {"CHIPWATT_FAKE_NVML_INIT": code})
    assert answer["unavailable"] == reason
    assert hint in answer["detail"]


def test_no_gpu_at_all(tmp_path: Path) -> None:
    (answer,) = nvml.drive(tmp_path, [], [OPEN])
    assert answer["unavailable"] == "NOT_PRESENT"
    assert "lists no GPU" in answer["detail"]


def test_no_library(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / nvml.SONAME).write_text("not an ELF file")
    (answer,) = nvml.drive(tmp_path, [], [OPEN], library=tmp_path / "empty")
    assert answer["unavailable"] == "LIBRARY_MISSING"
    assert "comes with the NVIDIA driver" in answer["detail"]


@pytest.mark.parametrize(
    ("module", "reason", "hint"),
    [
        ("raise ImportError", "LIBRARY_MISSING", "pip install 'chipwatt[nvidia]'"),
        ("def nvmlInit(): ...", "LIBRARY_FAILED", "pip uninstall pynvml"),
        (
            "import warnings; warnings.warn('old', FutureWarning)\nraise ImportError",
            "LIBRARY_MISSING", "pip install",
        ),
    ],
)  # fmt: skip
def test_no_binding_or_one_that_hides_it(
    tmp_path: Path, module: str, reason: str, hint: str
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pynvml.py").write_text(module)
    (answer,) = nvml.drive(tmp_path, [], [OPEN], first_on_path=tmp_path / "modules")
    assert answer["unavailable"] == reason
    assert hint in answer["detail"]


def test_a_slow_library_is_slow(tmp_path: Path) -> None:
    """The fake really blocks, which tests of time limits rely on."""
    gpus: list[FakeDevice] = [nvml.gpu(1, steady(1000), slow_ns=20 * MS)]
    _, took = nvml.drive(tmp_path, gpus, [OPEN, {"do": "poll", "timed": True}])
    assert took["took_ns"] >= 20 * MS
