from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.contract import SourceUnavailable, TransientReadError
from chipwatt.agent.sources.estimate import EstimateConfig, EstimateSource, _Package
from chipwatt.core import settings
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, VirtualClock
from chipwatt.core.errors import ConfigError
from chipwatt.core.model import AbsentReason, Flag

TICKS_PER_S = 100
COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")


class FakeProc:
    """A /proc of ``packages`` processors with two logical CPUs each."""

    def __init__(self, folder: Path, packages: int = 1) -> None:
        self.folder = folder
        self.ticks = [[0] * 10 for _ in range(2 * packages)]
        cpus = range(2 * packages)
        text = "".join(
            f"processor\t: {n}\nmodel name\t: Fake CPU\nphysical id\t: {n // 2}\n\n" for n in cpus
        )
        (folder / "cpuinfo").write_text(text)
        self.write()

    def spend(self, cpu: int, **ticks: int) -> None:
        for name, count in ticks.items():
            self.ticks[cpu][COLUMNS.index(name)] += count
        self.write()

    def write(self) -> None:
        sums = [sum(column) for column in zip(*self.ticks, strict=True)]
        rows = [("cpu ", sums), *((f"cpu{n}", row) for n, row in enumerate(self.ticks))]
        lines = [f"{name} {' '.join(map(str, row))}" for name, row in rows]
        (self.folder / "stat").write_text("\n".join([*lines, "intr 5 5", "cpux 1 2", ""]))


def source_over(folder: Path, **config: float) -> tuple[EstimateSource, VirtualClock]:
    source = EstimateSource(EstimateConfig(folder, **config))
    clock = VirtualClock(0)
    source.clock = clock
    return source, clock


def test_idle_and_full_load(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    source, clock = source_over(tmp_path, idle_w=20.0, max_w=100.0)
    (sensor,) = source.open()
    assert (str(sensor.device), sensor.label, sensor.root) == ("cpu/0", "Fake CPU", True)
    assert sensor.flags == Flag.ESTIMATED
    assert source.fallback
    for cpu in range(2):
        proc.spend(cpu, idle=TICKS_PER_S - 5, iowait=5)
    clock.sleep_until(NS_PER_S)
    assert [tuple(r) for r in source.poll()] == [(0, NS_PER_S, 20_000_000)]
    for cpu in range(2):
        proc.spend(cpu, user=50, system=40, softirq=10)
    clock.sleep_until(2 * NS_PER_S)
    assert [tuple(r) for r in source.poll()] == [(0, 2 * NS_PER_S, 120_000_000)]


def test_defaults_are_per_logical_cpu_and_packages_are_apart(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path, packages=2)
    source, clock = source_over(tmp_path)
    sensors = source.open()
    assert [str(s.device) for s in sensors] == ["cpu/0", "cpu/1"]
    for cpu in (0, 1):
        proc.spend(cpu, idle=TICKS_PER_S)
    for cpu in (2, 3):
        proc.spend(cpu, user=TICKS_PER_S)
    clock.sleep_until(NS_PER_S)
    assert [r.value for r in source.poll()] == [2 * 740_000, 2 * 3_500_000]


def test_stolen_and_guest_time(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    source, clock = source_over(tmp_path, idle_w=10.0, max_w=10.0 + 80.0)
    source.open()
    proc.spend(0, steal=TICKS_PER_S)
    proc.spend(1, user=TICKS_PER_S, guest=TICKS_PER_S)  # the kernel counts guest time in user, too
    clock.sleep_until(NS_PER_S)
    busy = 0.5
    assert source.poll()[0].value == 10_000_000 + round(80_000 * (2 * busy - busy**1.4)) * 1000


def test_between_steps_the_counter_stands(tmp_path: Path) -> None:
    FakeProc(tmp_path)
    source, clock = source_over(tmp_path, idle_w=10.0, max_w=10.0)
    source.open()
    seen = []
    for step in range(1, 5):
        clock.sleep_until(step * 50 * NS_PER_MS)
        seen.append(source.poll()[0].value)
    assert seen == [0, 1_000_000, 1_000_000, 2_000_000]


def test_a_cpu_that_goes_offline_changes_nothing_for_the_others(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    source, clock = source_over(tmp_path, idle_w=0.0, max_w=50.0)
    source.open()
    proc.ticks.pop()
    proc.spend(0, user=TICKS_PER_S)
    clock.sleep_until(NS_PER_S)
    assert source.poll()[0].value == 50_000_000


def test_stat_that_cannot_be_read(tmp_path: Path) -> None:
    source, clock = source_over(tmp_path)
    with pytest.raises(SourceUnavailable, match="cannot be read") as caught:
        source.open()
    assert caught.value.reason is AbsentReason.NOT_PRESENT
    FakeProc(tmp_path)
    source.open()
    (tmp_path / "stat").unlink()
    clock.sleep_until(NS_PER_S)
    with pytest.raises(TransientReadError, match="stat"):
        source.poll()
    FakeProc(tmp_path)
    assert source.poll()[0].value == 2 * 740_000, "the time without an answer is caught up"


def test_this_machine_can_be_estimated() -> None:
    source = EstimateSource(EstimateConfig())
    sensors = source.open()
    assert len(source.poll()) == len(sensors) >= 1
    source.close()


@pytest.mark.parametrize(
    "table", [{"idle_w": -1.0}, {"max_w": 1e9}, {"idle_w": 50.0, "max_w": 20.0}]
)
def test_an_impossible_model_is_refused(table: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="_w"):
        settings.build(EstimateConfig, table, "test")


@given(
    idle_mw=st.integers(min_value=0, max_value=100_000),
    more_mw=st.integers(min_value=0, max_value=400_000),
    shares=st.lists(st.floats(min_value=0, max_value=1), min_size=2, max_size=2),
)
def test_the_model_is_monotonic_within_idle_and_max(
    idle_mw: int, more_mw: int, shares: list[float]
) -> None:
    package = _Package(frozenset({0}), idle_mw, idle_mw + more_mw)
    low, high = (package.power_mw(share) for share in sorted(shares))
    assert idle_mw <= low <= high <= idle_mw + more_mw
