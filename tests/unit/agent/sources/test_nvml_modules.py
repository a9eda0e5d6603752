"""Power scopes of superchips: module and memory beside the GPU, and whose energy is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.core.model import Domain, Statistic
from fakes import nvml
from fakes.nvml import OPEN, by_line, lines, polls
from fakes.scenario import NS_PER_S, FakeDevice, Point, square, steady

MS = 1_000_000
ENERGY, INSTANT, AVERAGE = Statistic
BOARD, MEMORY, MODULE = Domain.BOARD, Domain.MEMORY, Domain.MODULE


@pytest.fixture(autouse=True)
def _library(fake_nvml: Path) -> None:
    assert (fake_nvml / nvml.SONAME).exists()


def grace(number: int, **settings: int) -> list[FakeDevice]:
    """Return a GPU of 400 W with 60 W of memory in a module of 650 W."""
    whole, part = steady(650_000), steady(60_000)
    return nvml.superchip(
        number, steady(400_000), module=whole, memory=part, module_name="", **settings
    )


def uuid_of(chip: FakeDevice) -> str:
    return chip.texts["uuid"].removeprefix("GPU-")


def test_module_and_memory_are_read_beside_the_gpu(tmp_path: Path) -> None:
    chips = grace(1, first_cpu=0, module_limit_mw=900_000)
    steps = [OPEN, *polls(3000), {"do": "throttle", "at_ns": 3 * NS_PER_S}]
    sensors, row, throttles = nvml.drive(tmp_path, chips, steps)
    gpu, module = f"gpu/{chips[0].texts['uuid']}", "module/0"
    assert by_line(sensors, row) == {
        (gpu, BOARD, ENERGY): 1_200_000_000,
        (gpu, BOARD, INSTANT): 400_000,
        (gpu, BOARD, AVERAGE): 400_000,
        (module, MODULE, INSTANT): 650_000,
        (module, MODULE, AVERAGE): 650_000,
        (gpu, MEMORY, AVERAGE): 60_000,
    }
    roots = {(s["device"], s["domain"]): s["root"] for s in sensors}
    assert roots == {(gpu, BOARD): True, (module, MODULE): True, (gpu, MEMORY): False}
    limits = {sensors[at]["domain"]: told["limit_mw"] for at, told in throttles}
    assert limits == {BOARD: 700_000, MODULE: 900_000}
    most = {s["domain"]: s["max_power_mw"] for s in sensors}
    assert most == {BOARD: 1_050_000, MEMORY: 1_050_000, MODULE: 1_350_000}


@pytest.mark.parametrize("scope", [1, 2])
@pytest.mark.parametrize("field", [185, 186])
def test_each_field_of_each_scope_stands_for_itself(tmp_path: Path, scope: int, field: int) -> None:
    chips = grace(1, **{f"field_error_{field}_{scope}": 3})
    sensors, row = nvml.drive(tmp_path, chips, [OPEN, *polls(3000)])
    found = {(domain, statistic) for _, domain, statistic in by_line(sensors, row)}
    whole = {(BOARD, ENERGY), (BOARD, INSTANT), (BOARD, AVERAGE), (MODULE, INSTANT),
             (MODULE, AVERAGE), (MEMORY, AVERAGE)}  # fmt: skip
    lacking = ({1: MODULE, 2: MEMORY}[scope], {185: AVERAGE, 186: INSTANT}[field])
    assert found == whole - {lacking}


@pytest.mark.parametrize(
    "load",
    [steady(400_000), square(100_000, 690_000, 300 * MS), square(90_000, 600_000, 2 * NS_PER_S)],
)
@pytest.mark.parametrize("whole", [0, 1])
def test_whose_energy_the_counter_counts_is_measured(
    tmp_path: Path, load: list[Point], whole: int
) -> None:
    """On GH200 the counter is the module's; a GPU's sum must not carry the CPU's energy."""
    module = [(at_ns, power_mw + 150_000) for at_ns, power_mw in load]
    chips = nvml.superchip(1, load, module=module, first_cpu=72, energy_of_module=whole)
    sensors, row = nvml.drive(tmp_path, chips, [{**OPEN, "at_ns": 3 * NS_PER_S}, *polls(9000)])
    gpu = f"gpu/{chips[0].texts['uuid']}"
    counter = ("module/0", MODULE, ENERGY) if whole else (gpu, BOARD, ENERGY)
    assert [line for line in lines(sensors) if line[2] is ENERGY] == [counter]
    assert (gpu, BOARD, INSTANT) in by_line(sensors, row)


def test_module_only(tmp_path: Path) -> None:
    """GPU scope unsupported: what works is the module, and its throttled time is told there."""
    chips = grace(1, scope_error_0=3, error_usage=3, energy_of_module=1, throttled_power_ppm=1000)
    steps = [OPEN, *polls(3000), {"do": "throttle", "at_ns": 3 * NS_PER_S}]
    sensors, row, throttles = nvml.drive(tmp_path, chips, steps)
    module = f"module/{uuid_of(chips[0])}"
    assert set(by_line(sensors, row)) == {
        (module, MODULE, ENERGY),
        (module, MODULE, INSTANT),
        (module, MODULE, AVERAGE),
        (f"gpu/{chips[0].texts['uuid']}", MEMORY, AVERAGE),
    }
    ((position, told),) = throttles
    assert lines(sensors)[position] == (module, MODULE, ENERGY)
    assert (told["limit_mw"], told["power_ms"]) == (700_000, 3)


def test_gpus_on_one_cpu_share_their_module(tmp_path: Path) -> None:
    """Two GB200 trays: each GPU repeats the power of its superchip, which is one module."""
    first, *loads = nvml.superchip(1, steady(500_000), module=steady(1_300_000), first_cpu=0)
    shared = loads[0].name
    (second,) = nvml.superchip(2, steady(600_000), module_name=shared, first_cpu=0)
    third = nvml.superchip(3, steady(700_000), module=steady(1_900_000), first_cpu=72)
    chips = [first, second, *third, *loads]
    sensors, row = nvml.drive(tmp_path, chips, [OPEN, *polls(3000)])
    modules = {line: v for line, v in by_line(sensors, row).items() if line[1] is MODULE}
    assert modules == {
        ("module/0", MODULE, INSTANT): 1_300_000,
        ("module/0", MODULE, AVERAGE): 1_300_000,
        ("module/1", MODULE, INSTANT): 1_900_000,
        ("module/1", MODULE, AVERAGE): 1_900_000,
    }
    assert len(lines(sensors)) == len(set(lines(sensors)))


def test_a_module_that_draws_nothing_is_none(tmp_path: Path) -> None:
    chips = nvml.superchip(1, steady(300_000), module=steady(0))
    sensors, _ = nvml.drive(tmp_path, chips, [OPEN, *polls(1000)])
    assert {domain for _, domain, _ in lines(sensors)} == {BOARD}
