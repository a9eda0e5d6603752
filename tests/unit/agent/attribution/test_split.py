from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chipwatt.agent.attribution.split import Package, Part, by_cpu_time, by_holding

SECOND_NS = 1_000_000_000
ENERGY = st.integers(0, 10**12)
SHARES = st.integers(1, 64).flatmap(lambda of: st.tuples(st.integers(1, of), st.just(of)))


def test_one_holder_has_all_of_it_exactly() -> None:
    parts, idle_uj = by_holding(123_456_789, [(1, 1)])
    assert (parts, idle_uj) == ([Part(123_456_789, 123_456_789, 123_456_789)], 0)
    assert parts[0].exact


def test_slices_leave_what_nobody_holds() -> None:
    parts, idle_uj = by_holding(700, [(3, 7), (2, 7)])
    assert [part.energy_uj for part in parts] == [300, 200]
    assert (idle_uj, parts[0].exact) == (200, False)


def test_whole_chips_of_several_are_shared_by_turns() -> None:
    parts, idle_uj = by_holding(1001, [(1, 1), (1, 1)])
    assert [part.energy_uj for part in parts] == [501, 500]
    assert idle_uj == 0


@given(ENERGY, st.lists(SHARES, min_size=1, max_size=9), st.data())
def test_held_parts_and_idle_are_the_chip(
    energy_uj: int, shares: list[tuple[int, int]], data: st.DataObject
) -> None:
    parts, idle_uj = by_holding(energy_uj, shares)
    assert sum(part.energy_uj for part in parts) + idle_uj == energy_uj
    assert idle_uj >= 0
    truth_uj = data.draw(st.integers(0, energy_uj))
    for part in parts:
        assert part.lower_uj <= part.energy_uj <= part.upper_uj
        if not part.exact:
            assert part.lower_uj <= truth_uj <= part.upper_uj


@given(
    energy_uj=ENERGY,
    times_ns=st.lists(st.integers(0, 64 * SECOND_NS), max_size=12),
    strangers_ns=st.integers(0, 64 * SECOND_NS),
    duration_ns=st.integers(1, 10 * SECOND_NS),
    floor_mw=st.integers(0, 10**6),
    limit_mw=st.integers(1, 10**6),
)
def test_parts_by_cpu_time_and_idle_are_the_chip(
    energy_uj: int,
    times_ns: list[int],
    strangers_ns: int,
    duration_ns: int,
    floor_mw: int,
    limit_mw: int,
) -> None:
    package = Package(
        duration_ns, 64 * duration_ns, sum(times_ns) + strangers_ns, floor_mw, limit_mw
    )
    parts, idle_uj = by_cpu_time(energy_uj, package, times_ns)
    assert sum(part.energy_uj for part in parts) + idle_uj == energy_uj
    assert idle_uj >= 0
    for part, time_ns in zip(parts, times_ns, strict=True):
        assert 0 <= part.lower_uj <= part.energy_uj <= part.upper_uj <= energy_uj
        assert time_ns or part.energy_uj == 0


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_bounds_contain_what_workloads_really_drew(data: st.DataObject) -> None:
    """Any workloads, any power of each while it runs, any strangers, any floor above idle."""
    duration_ns = data.draw(st.integers(SECOND_NS // 2, 2 * SECOND_NS))
    cpus = data.draw(st.integers(1, 8))
    limit_mw = data.draw(st.integers(10_000, 400_000))
    idle_mw = data.draw(st.integers(0, limit_mw // 2))
    running = data.draw(st.lists(st.integers(0, cpus * duration_ns), min_size=1, max_size=6))
    assume(sum(running) <= cpus * duration_ns)
    drew_uj = [
        data.draw(st.integers(0, (limit_mw - idle_mw) * min(duration_ns, time_ns) // 10**6))
        for time_ns in running
    ]
    idle_uj = idle_mw * duration_ns // 10**6
    assume((sum(drew_uj) + idle_uj) * 10**6 <= limit_mw * duration_ns)
    bound = data.draw(st.integers(1, len(running)))
    package = Package(
        duration_ns=duration_ns,
        capacity_ns=cpus * duration_ns,
        busy_ns=sum(running),
        floor_mw=idle_mw + data.draw(st.integers(1, 50_000)),
        limit_mw=limit_mw,
    )
    parts, _ = by_cpu_time(sum(drew_uj) + idle_uj, package, running[:bound])
    for part, truth_uj in zip(parts, drew_uj, strict=False):
        assert part.lower_uj <= truth_uj <= part.upper_uj


def test_a_full_machine_leaves_nothing_idle() -> None:
    package = Package(SECOND_NS, 4 * SECOND_NS, 4 * SECOND_NS, 200_000, 200_000)
    parts, idle_uj = by_cpu_time(200_000_000, package, [3 * SECOND_NS, SECOND_NS])
    assert [part.energy_uj for part in parts] == [150_000_000, 50_000_000]
    assert idle_uj == 0


def test_an_idle_machine_is_nobodys() -> None:
    package = Package(SECOND_NS, 4 * SECOND_NS, 0, 60_000, 200_000)
    assert by_cpu_time(60_000_000, package, [0]) == ([Part(0, 0, 0)], 60_000_000)


def test_a_machine_of_ones_own_is_bounded_from_below() -> None:
    package = Package(SECOND_NS, 4 * SECOND_NS, 2 * SECOND_NS, 60_000, 200_000)
    (part,), idle_uj = by_cpu_time(160_000_000, package, [2 * SECOND_NS])
    assert part == Part(100_000_000, 100_000_000, 160_000_000)
    assert idle_uj == 60_000_000
