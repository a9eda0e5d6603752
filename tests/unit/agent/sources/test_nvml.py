"""What the NVML source reads of a GPU, over the real binding and a fake library in a child."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.boxcar import Window, fit
from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core.model import Domain, Statistic
from fakes import nvml
from fakes.nvml import OPEN, by_line, lines, polls
from fakes.scenario import NS_PER_S, energy_uj, ramp, square, steady

MS = 1_000_000
ENERGY, INSTANT, AVERAGE = Statistic
STEP_NS = 3800 * MS
STEP = [(0, 200_000), (STEP_NS, 200_000), (STEP_NS, 800_000), (STEP_NS + NS_PER_S, 800_000)]
"""Read at 4100 ms: 300 ms after the step the last second's mean is 200 + 0.3 * 600 W."""


@pytest.fixture(autouse=True)
def _library(fake_nvml: Path) -> None:
    assert (fake_nvml / nvml.SONAME).exists()


def test_energy_counters_follow_the_load_to_the_millijoule(tmp_path: Path) -> None:
    loads = [square(90_000, 650_000, 300 * MS), ramp(60_000, 700_000, 3 * NS_PER_S)]
    gpus = [nvml.gpu(n, load) for n, load in enumerate(loads)]
    sensors, *rows = nvml.drive(tmp_path, gpus, [OPEN, *polls(*range(0, 5000, 50))])
    counters = [sensor for sensor in sensors if sensor["statistic"] == ENERGY]
    assert [s["device"] for s in counters] == [f"gpu/{gpu.texts['uuid']}" for gpu in gpus]
    for sensor in counters:
        assert sensor["quantity"] == Quantity.ENERGY_UJ
        assert (sensor["domain"], sensor["root"]) == (Domain.BOARD, True)
        assert (sensor["resolution_uj"], sensor["modulus_uj"]) == (1000, 0)
        assert sensor["max_power_mw"] == 1_050_000
        assert sensor["refresh_ns"] == 100 * MS
        assert "H100" in sensor["label"]
    for row in rows:
        for load, (position, mono_ns, value) in zip(loads, (row[0], row[3]), strict=True):
            assert sensors[position]["statistic"] == ENERGY
            shown_ns = mono_ns // (100 * MS) * (100 * MS)
            assert value == energy_uj(load, 0, shown_ns) // 1000 * 1000


def test_instant_and_average_mean_different_things_and_both_are_kept(tmp_path: Path) -> None:
    sensors, row = nvml.drive(tmp_path, [nvml.gpu(1, STEP)], [OPEN, *polls(4100)])
    assert [(s["statistic"], s["averaging_ns"]) for s in sensors] == [
        (ENERGY, 0), (INSTANT, 0), (AVERAGE, NS_PER_S),
    ]  # fmt: skip
    assert [value for _, _, value in row] == [1_000_000_000, 800_000, 380_000]
    assert len({mono_ns for _, mono_ns, _ in row}) == 1
    assert not any(sensor["stamped"] for sensor in sensors), "a repeat may pass for a sample"


def test_a_poll_is_one_call_a_gpu(tmp_path: Path) -> None:
    chips = nvml.superchip(1, steady(1000), module=steady(2000), memory=steady(100))
    calls = tmp_path / "calls"
    counted = {"CHIPWATT_FAKE_CALLS": str(calls)}
    forget: dict[str, Any] = {"do": "forget", "file": str(calls)}
    steps = [OPEN, forget, *polls(*range(2000, 3000, 100))]
    nvml.drive(tmp_path / "gpu", [*chips, nvml.gpu(2, steady(1000))], steps, counted)
    assert calls.read_text().split() == ["nvmlDeviceGetFieldValues"] * 20


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"error_energy": 3}, {ENERGY: 1_000_000_000, INSTANT: 800_000, AVERAGE: 380_000}),
        ({"field_error_83": 3}, {ENERGY: 1_000_000_000, INSTANT: 800_000, AVERAGE: 380_000}),
        ({"field_error_83": 3, "error_energy": 3}, {INSTANT: 800_000, AVERAGE: 380_000}),
        ({"field_error_185": 3}, {ENERGY: 1_000_000_000, INSTANT: 800_000, AVERAGE: 380_000}),
        ({"field_error_185": 3, "error_usage": 3}, {ENERGY: 1_000_000_000, INSTANT: 800_000}),
        ({"field_error_186": 3}, {ENERGY: 1_000_000_000, AVERAGE: 380_000}),
        # Rubbish in the union: a value without a type that holds integers is no value.
        ({"field_type_186": 0}, {ENERGY: 1_000_000_000, AVERAGE: 380_000}),
        ({"field_type_83": 0, "error_energy": 3}, {INSTANT: 800_000, AVERAGE: 380_000}),
        # A driver before field values.
        ({"error_fields": 13}, {ENERGY: 1_000_000_000, AVERAGE: 380_000}),
        ({"error_fields": 13, "error_energy": 3}, {AVERAGE: 380_000}),
    ],
)
def test_what_a_gpu_answers_is_read_some_way(
    tmp_path: Path, settings: dict[str, int], expected: dict[Statistic, int]
) -> None:
    sensors, row = nvml.drive(tmp_path, [nvml.gpu(1, STEP, **settings)], [OPEN, *polls(4100)])
    found = {statistic: value for (_, _, statistic), value in by_line(sensors, row).items()}
    assert found == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # A100: field 185 and PowerUsage are the instantaneous value under another name.
        ({"cc_major": 8, "cc_minor": 0}, {ENERGY: 0, INSTANT: 0}),
        ({"cc_major": 8, "cc_minor": 0, "field_error_186": 3}, {ENERGY: 0, INSTANT: 0}),
        ({"cc_major": 8, "cc_minor": 0, "error_fields": 13}, {ENERGY: 0, INSTANT: 0}),
        ({"cc_major": 7, "cc_minor": 0, "error_fields": 13}, {ENERGY: 0, INSTANT: 0}),
        ({"cc_major": 8, "cc_minor": 6, "error_fields": 13}, {ENERGY: 0, AVERAGE: NS_PER_S}),
        # Nobody knows: it is claimed to tell less.
        ({"error_cc": 3, "error_fields": 13}, {ENERGY: 0, AVERAGE: NS_PER_S}),
    ],
)
def test_a_mean_is_claimed_only_where_there_is_one(
    tmp_path: Path, settings: dict[str, int], expected: dict[Statistic, int]
) -> None:
    sensors, row = nvml.drive(tmp_path, [nvml.gpu(1, STEP, **settings)], [OPEN, *polls(4100)])
    assert {s["statistic"]: s["averaging_ns"] for s in sensors} == expected
    if expected.get(INSTANT) == 0:
        assert by_line(sensors, row)[sensors[0]["device"], Domain.BOARD, INSTANT] == 800_000


def test_a_gpu_without_any_power_is_left_out(tmp_path: Path) -> None:
    silent = {"error_energy": 3, "error_fields": 3, "error_usage": 3}
    gpus = [nvml.gpu(1, steady(100_000), **silent), nvml.gpu(2, steady(100_000))]
    sensors, row = nvml.drive(tmp_path, gpus, [OPEN, *polls(1000)])
    assert {s["device"] for s in sensors} == {f"gpu/{gpus[1].texts['uuid']}"}
    assert row[0] == [0, NS_PER_S, 100_000_000]
    (answer,) = nvml.drive(tmp_path / "alone", gpus[:1], [OPEN])
    assert answer["unavailable"] == "NOT_PRESENT"
    assert "1 GPUs, none of which" in answer["detail"]


def test_a_mig_parent_is_one_gpu_and_its_children_are_left_alone(tmp_path: Path) -> None:
    """The fake ends the process that touches a child."""
    gpus = [nvml.gpu(1, steady(300_000), mig=1), nvml.gpu(2, steady(100_000))]
    steps = [OPEN, *polls(1000), {"do": "throttle", "at_ns": NS_PER_S}]
    sensors, row, _ = nvml.drive(tmp_path, gpus, steps)
    assert len(sensors) == 6
    assert [s["label"].endswith("(MIG)") for s in sensors] == [True] * 3 + [False] * 3
    board = (f"gpu/{gpus[0].texts['uuid']}", Domain.BOARD)
    assert by_line(sensors, row)[*board, ENERGY] == 300_000_000


def test_throttling_is_cumulative_and_absent_where_unknown(tmp_path: Path) -> None:
    shares = {"throttled_power_ppm": 500_000, "throttled_thermal_ppm": 10_000}
    silent = {"error_fields": 3, "error_limits": 3}
    partly = {"field_error_74": 3, "field_error_270": 3, "limit_mw": 450_000, **shares}
    board = {"throttled_board_ppm": 1000}
    gpus = [
        nvml.gpu(n, steady(1000), **each) for n, each in enumerate((shares, silent, partly, board))
    ]
    steps = [OPEN, {"do": "throttle", "at_ns": 10 * NS_PER_S}]
    sensors, found = nvml.drive(tmp_path, gpus, steps)
    empty = dict.fromkeys(("power_ms", "thermal_ms", "brake_ms", "other_ms"))
    none = dict.fromkeys(("power_ms", "thermal_ms", "brake_ms"), 0)
    assert found == [
        [0, {**empty, "limit_mw": 700_000, "power_ms": 5000, "thermal_ms": 200, "brake_ms": 0}],
        [5, {**empty, "limit_mw": 450_000, "thermal_ms": 100, "brake_ms": 0}],
        [8, {**none, "limit_mw": 700_000, "other_ms": 10}],
    ]
    assert {sensors[at]["statistic"] for at, _ in found} == {ENERGY}, "each time is told once"


def test_limits_are_told_as_the_maker_allows_them(tmp_path: Path) -> None:
    chips = nvml.superchip(1, steady(1000), module=steady(2000), memory=steady(100))
    silent = nvml.gpu(2, steady(1000), error_limits=3)
    sensors, *_ = nvml.drive(tmp_path, [*chips, silent], [OPEN])
    told = {(s["device"], s["domain"]): s["limits"] for s in sensors}
    gpu = f"gpu/{chips[0].texts['uuid']}"
    assert told[gpu, Domain.BOARD] == [100_000, 700_000, 700_000]
    assert told[f"module/{gpu[8:]}", Domain.MODULE] == [100_000, 700_000, 700_000]
    assert told[gpu, Domain.MEMORY] == [None, None, None]
    assert told[f"gpu/{silent.texts['uuid']}", Domain.BOARD] == [None, None, None]


def listened(
    folder: Path, load: list[tuple[int, int]], beside: Statistic, **settings: int
) -> Window | None:
    """Return what is found of the averaged gauge in ten seconds of polls."""
    steps = [OPEN, *polls(*range(3000, 13000, 50))]
    sensors, *rows = nvml.drive(folder, [nvml.gpu(1, load, **settings)], steps)
    places = {s["statistic"]: n for n, s in enumerate(sensors)}
    gauge, other = ([tuple(row[places[kind]][1:]) for row in rows] for kind in (AVERAGE, beside))
    search = fit(gauge, other, counter=beside is ENERGY)
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: Window | None = end.value
            return found


@pytest.mark.parametrize("beside", [ENERGY, INSTANT])
@pytest.mark.parametrize("window_ms", [1000, 1500])
def test_the_window_of_the_mean_is_found_in_what_the_library_says(
    tmp_path: Path, beside: Statistic, window_ms: int
) -> None:
    load = square(150_000, 600_000, 4 * NS_PER_S)
    window = listened(tmp_path, load, beside, averaging_ns=window_ms * MS)
    assert window is not None
    assert window.averaging_ns == pytest.approx(window_ms * MS, rel=0.1)


@pytest.mark.parametrize("load", [steady(300_000), ramp(100_000, 600_000, 30 * NS_PER_S)])
def test_a_load_that_cannot_tell_leaves_the_vendor_s_word(
    tmp_path: Path, load: list[tuple[int, int]]
) -> None:
    assert listened(tmp_path, load, ENERGY) is None


def test_a_gpu_without_uuid_is_known_by_its_address(tmp_path: Path) -> None:
    sensors, *_ = nvml.drive(tmp_path, [nvml.gpu(0xC1, steady(1), error_uuid=3)], [OPEN])
    assert {device for device, _, _ in lines(sensors)} == {"gpu/0000:c1:00.0"}
