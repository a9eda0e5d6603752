from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.attribution.attributor import Attributor
from chipwatt.agent.attribution.cpu_time import CpuTimes
from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.host_second import ChipSecond
from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Attribution, DeviceKind
from chipwatt.core.records import WorkloadWindow
from chipwatt.core.workload import Binding, Holding

START_S = 1_800_000_000  # a whole minute
CPU, GPU, OTHER = DeviceId(DeviceKind.CPU), DeviceId(DeviceKind.GPU), DeviceId(DeviceKind.GPU, 1)
LIMITS = {CPU: 300_000, GPU: 700_000, OTHER: 700_000}


class Machine:
    """A host second by second: its chips, its clock and its cgroup tree."""

    def __init__(self, root: Path) -> None:
        self.root, self.second, self.now_ns, self.total_uj = root, 0, 0, 0
        (root / "cgroup.controllers").touch()
        self.used_us = {"": 0}
        self.work({})
        self.attributor = Attributor(lambda: self.now_ns, CpuTimes(root), cpus=4)

    def work(self, used_us: dict[str, int]) -> None:
        for cgroup, more_us in used_us.items():
            self.used_us[cgroup] = self.used_us.get(cgroup, 0) + more_us
            self.used_us[""] += more_us
        for cgroup, used in self.used_us.items():
            (self.root / cgroup).mkdir(exist_ok=True)
            (self.root / cgroup / "cpu.stat").write_text(f"usage_usec {used}\n")

    def bind(self, *bindings: Binding) -> None:
        self.attributor.bind(self.now_ns, bindings)

    def run(self, chips: dict[DeviceId, ChipSecond], *, stepped: bool = False) -> None:
        start_ns = self.second * NS_PER_S
        self.second += 1
        self.now_ns = self.second * NS_PER_S
        if not self.attributor.is_wanted:
            return
        unix_ns = START_S * NS_PER_S + start_ns
        span = Span(start_ns, self.now_ns, unix_ns, False, False, stepped)
        self.total_uj += sum(chip.energy_uj for chip in chips.values())
        self.attributor.second(span, chips, LIMITS)

    def told(self) -> list[WorkloadWindow]:
        """Return what is said of anybody; each minute has as many rows, of as many bytes."""
        minutes = self.attributor.take()
        assert {len(minute) for minute in minutes} <= {coarse.ROWS}
        return [row for minute in minutes for row in minute if row.limit_mw]

    def is_wanted(self) -> bool:
        return self.attributor.is_wanted

    def close(self) -> None:
        self.attributor.close()


def chip(energy_uj: int, covered_ns: int = NS_PER_S) -> ChipSecond:
    return ChipSecond(energy_uj, np.full(10, energy_uj / 10), covered_ns)


def bound(number: int, *devices: Holding, cgroup: str = "") -> Binding:
    return Binding(bytes([number]) * 16, bytes([99]) * 16, cgroup, devices)


def test_a_chip_of_ones_own_is_exact_and_told_from_the_fifth_minute(tmp_path: Path) -> None:
    host = Machine(tmp_path)
    host.bind(bound(1, Holding(GPU)))
    for _ in range(6 * 60):
        host.run({GPU: chip(350_000_000), CPU: chip(90_000_000)})
    told = host.told()
    mine = [row for row in told if row.workload_id == bytes([1]) * 16]
    assert [row.start_unix_ns // NS_PER_S for row in mine] == [START_S + 240, START_S + 300]
    assert {(row.attribution, row.occupancy) for row in mine} == {
        (Attribution.EXACT, (0, 0, 0, 0, 32, 0, 0, 0))
    }
    assert sum(row.energy_steps for row in mine) == 15  # half the limit, for two minutes
    bucket = [row for row in told if row.workload_id == coarse.NOBODY]
    bucket_uj = sum(row.energy_uj for row in bucket)
    withheld_uj = 240 * 350_000_000
    assert 0 <= withheld_uj - bucket_uj <= coarse.step_uj(sum(LIMITS.values()))
    host.close()


def test_nothing_is_wanted_while_nobody_is_bound(tmp_path: Path) -> None:
    host = Machine(tmp_path)
    assert not host.is_wanted()
    host.bind(bound(1, Holding(GPU)))
    host.run({GPU: chip(1)})
    host.bind()
    for _ in range(59):
        assert host.is_wanted()
        host.run({GPU: chip(1)})
    assert not host.is_wanted()
    assert len(host.attributor.take()) == 1
    host.bind(bound(1, Holding(GPU)))
    assert host.is_wanted()
    host.close()


def test_a_cpu_is_shared_by_cpu_time(tmp_path: Path) -> None:
    host = Machine(tmp_path)
    host.bind(bound(1, cgroup="one"), bound(2, cgroup="two"))
    host.run({CPU: chip(60_000_000)})  # idle: the floor
    for _ in range(10):
        host.work({"one": 2_000_000, "two": 1_000_000, "stranger": 500_000})
        host.run({CPU: chip(200_000_000)})
    # Idle is what the unused half CPU of four would take, since the floor is more.
    assert host.attributor.idle_uj == 60_000_000 + 10 * (25_000_000 + 25_000_000)
    assert host.attributor.given_uj == 10 * 150_000_000
    host.close()


def test_a_minute_of_which_too_little_was_seen_is_withheld(tmp_path: Path) -> None:
    host = Machine(tmp_path)
    host.bind(bound(1, Holding(GPU)))
    for second in range(7 * 60):
        is_dark = second // 60 == 5 and second % 60 < 4
        host.run({GPU: chip(700_000_000, 0 if is_dark else NS_PER_S)})
    mine = [row for row in host.told() if row.workload_id != coarse.NOBODY]
    assert [row.start_unix_ns // NS_PER_S - START_S for row in mine] == [240, 360]
    host.close()


def test_a_minute_in_which_the_clock_jumped_is_withheld(tmp_path: Path) -> None:
    host = Machine(tmp_path)
    host.bind(bound(1, Holding(GPU)))
    for second in range(7 * 60):
        host.run({GPU: chip(1_000)}, stepped=second == 330)
    mine = [row for row in host.told() if row.workload_id != coarse.NOBODY]
    assert [row.start_unix_ns // NS_PER_S - START_S for row in mine] == [240, 360]
    host.close()


def test_who_is_beyond_the_budget_is_in_the_bucket(tmp_path: Path) -> None:
    host = Machine(tmp_path)
    crowd = [bound(n, Holding(GPU, 1, 100)) for n in range(1, coarse.MAX_WORKLOADS + 11)]
    host.bind(*crowd)
    for _ in range(5 * 60):
        host.run({GPU: chip(700_000_000)})
    last = [row for row in host.told() if row.start_unix_ns == (START_S + 240) * NS_PER_S]
    assert len(last) == coarse.ROWS
    (bucket,) = (row for row in last if row.workload_id == coarse.NOBODY)
    assert {row.attribution for row in last} == {Attribution.MODELLED}
    assert bucket.occupancy == (32, 0, 0, 0, 0, 0, 0, 0)  # 70 W of the host's 1.7 kW
    host.close()


DEVICES = st.lists(
    st.builds(
        lambda device, of: Holding(device, 1, of), st.sampled_from((CPU, GPU, OTHER)),
        st.integers(1, 3),
    ),
    max_size=3,
    unique_by=lambda holding: holding.device,
)  # fmt: skip
BINDINGS = st.lists(
    st.tuples(st.integers(1, 8), DEVICES, st.booleans()), max_size=5, unique_by=lambda b: b[0]
)
SECONDS = st.lists(
    st.tuples(
        st.integers(1, 25),
        st.tuples(*[st.integers(0, 10**9)] * 3),
        st.integers(0, NS_PER_S),
        st.lists(st.integers(0, 2_000_000), min_size=8, max_size=8),
        st.none() | BINDINGS,
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=25)
@given(SECONDS)
def test_parts_and_idle_are_the_chips_whoever_comes_and_goes(
    tmp_path_factory: object, seconds: list[tuple[int, tuple[int, ...], int, list[int], object]]
) -> None:
    host = Machine(tmp_path_factory.mktemp("cgroup"))  # type: ignore[attr-defined]
    told = []
    host.bind(bound(1, cgroup="c1"))
    for count, energies_uj, covered_ns, used_us, bindings in seconds:
        if bindings is not None:
            host.bind(
                *(
                    bound(number, *devices, cgroup=f"c{number}" if timed or not devices else "")
                    for number, devices, timed in bindings  # type: ignore[attr-defined]
                )
            )
        host.work({f"c{number + 1}": used for number, used in enumerate(used_us)})
        for _ in range(count):
            chips = dict(zip((CPU, GPU, OTHER), energies_uj, strict=True))
            host.run({device: chip(uj, covered_ns) for device, uj in chips.items()})
        told += host.told()
    account = host.attributor
    assert account.given_uj + account.idle_uj == host.total_uj
    host.bind()
    while host.attributor.is_wanted:
        host.run({})
    told += host.told()
    said_uj = sum(row.energy_uj for row in told)
    assert said_uj + account.unsaid_uj == account.given_uj
    host.close()
