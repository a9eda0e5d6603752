from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.attribution.cpu_time import KEEP_NS, CpuTimes, Line

SECOND_NS = 1_000_000_000


def v2(root: Path, cgroup: str, used_us: int) -> None:
    (root / "cgroup.controllers").touch()
    (root / cgroup).mkdir(parents=True, exist_ok=True)
    (root / cgroup / "cpu.stat").write_text(
        f"usage_usec {used_us}\nuser_usec {used_us}\nsystem_usec 0\n"
    )


def v1(root: Path, cgroup: str, used_us: int) -> None:
    (root / "cpuacct" / cgroup).mkdir(parents=True, exist_ok=True)
    (root / "cpuacct" / cgroup / "cpuacct.usage").write_text(f"{1000 * used_us}\n")


@pytest.mark.parametrize("write", [v1, v2])
def test_reads_a_cgroup_and_the_machine(write: object, tmp_path: Path) -> None:
    times = CpuTimes(tmp_path)
    for at_s, job_us, machine_us in ((0, 5, 100), (1, 700_005, 1_000_100)):
        write(tmp_path, "job.slice", job_us)  # type: ignore[operator]
        write(tmp_path, "", machine_us)  # type: ignore[operator]
        if not at_s:
            times = CpuTimes(tmp_path)
            times.watch(["job.slice", "never.slice"])
        times.read(at_s * SECOND_NS)
    assert times.of("job.slice").between(0, SECOND_NS) == 700_000_000
    assert times.of("job.slice").between(0, SECOND_NS // 2) == 350_000_000
    assert times.of("").between(0, SECOND_NS) == 1_000_000_000
    assert times.of("never.slice").between(0, SECOND_NS) == 0
    times.close()


def test_a_cgroup_that_ends_stands_still(tmp_path: Path) -> None:
    v2(tmp_path, "job", 100)
    v2(tmp_path, "", 100)
    times = CpuTimes(tmp_path)
    times.watch(["job"])
    times.read(SECOND_NS)
    (tmp_path / "job" / "cpu.stat").write_text("")
    times.read(2 * SECOND_NS)
    (tmp_path / "job" / "cpu.stat").unlink()
    times.read(3 * SECOND_NS)
    assert times.of("job").at(9 * SECOND_NS) == 100_000
    times.watch([])
    times.read(4 * SECOND_NS)
    assert times.of("job").at(0) == 0
    times.close()


@given(
    st.lists(
        st.tuples(st.integers(1, 3 * SECOND_NS), st.integers(-5, 10**10)), min_size=1, max_size=20
    ),
    st.lists(st.integers(0, 70 * SECOND_NS), min_size=2, max_size=9),
)
def test_adjacent_intervals_add_up(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    line, at_ns, used_ns = Line(), 0, 0
    for step_ns, more_ns in steps:
        at_ns, used_ns = at_ns + step_ns, used_ns + more_ns
        line.add(at_ns, used_ns)
    cuts.sort()
    pieces = [line.between(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]  # noqa: RUF007
    assert min(pieces) >= 0
    assert sum(pieces) == line.between(cuts[0], cuts[-1])


def test_old_readings_are_let_go() -> None:
    line = Line()
    for second in range(1000):
        line.add(second * SECOND_NS, second)
        line.add(second * SECOND_NS, 7)  # the same moment again
    assert len(line.times_ns) <= KEEP_NS // SECOND_NS + 2
    assert line.at(999 * SECOND_NS) == 999
