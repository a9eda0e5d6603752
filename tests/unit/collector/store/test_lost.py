"""Gaps of what was lost: bounds that contain the truth, and nothing told twice."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.store.damage import Loss
from chipwatt.collector.store.lines import Line
from chipwatt.collector.store.lost import REACH_NS, Around, gaps_in, spans
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Domain, GapReason, Interface, Method, Statistic
from chipwatt.core.records import Gap, SensorStatus
from unit.collector.store.batches import DAY0_UNIX_NS, WINDOW_NS, FakeHost

COUNT = 12


def line_of(host: FakeHost) -> Line:
    end_ns = DAY0_UNIX_NS + COUNT * WINDOW_NS
    return Line(host.ids[0], Domain.PACKAGE, Statistic.ENERGY, end_ns, 0, WINDOW_NS)


def sensor_of(host: FakeHost, max_power_mw: int) -> SensorStatus:
    return SensorStatus(
        host.ids[0], Domain.PACKAGE, Statistic.ENERGY, Interface.REPLAY, Method.COUNTER, True,
        0, 0, 0, 0, max_power_mw,
    )  # fmt: skip


@given(
    lost=st.sets(st.integers(0, COUNT - 1), min_size=1),
    resets=st.sets(st.integers(1, COUNT - 1), max_size=2),
)
def test_bounds_contain_what_is_lost(lost: set[int], resets: set[int]) -> None:
    host = FakeHost(3, devices=1)
    windows, epoch, base_uj = [], 1, 0
    for number, window in enumerate(host.records(COUNT).windows):
        if number in resets:
            epoch, base_uj = epoch + 1, window.cumulative_uj - window.energy_uj
        windows.append(replace(window, epoch=epoch, cumulative_uj=window.cumulative_uj - base_uj))
    left = [w for n, w in enumerate(windows) if n not in lost]
    lost_uj = sum(windows[n].energy_uj for n in lost)
    around = Around(left, (), [line_of(host)], [sensor_of(host, 800_000)])
    first, last = (windows[n].start_unix_ns for n in (min(lost), max(lost)))
    gaps = gaps_in(first, last, around)
    assert {gap.reason for gap in gaps} == {GapReason.STORE_DAMAGED}
    assert sum(g.lower_uj for g in gaps) <= lost_uj <= sum(g.upper_uj for g in gaps)
    told = {
        (start - DAY0_UNIX_NS) // WINDOW_NS
        for gap in gaps
        for start in range(gap.start_unix_ns, gap.start_unix_ns + gap.duration_ns, WINDOW_NS)
    }
    assert told == lost
    inner = {0, COUNT - 1}.isdisjoint(lost)
    if inner and not resets:
        assert all(gap.lower_uj == gap.upper_uj for gap in gaps)


def test_what_the_agent_told_is_not_told_again() -> None:
    host = FakeHost(3, devices=1)
    one, two, three = host.records(3).windows
    three = replace(three, epoch=2, cumulative_uj=three.energy_uj)
    said = Gap(
        two.device, two.domain, two.statistic, two.start_unix_ns, 0, WINDOW_NS, 5, 9,
        GapReason.COUNTER_RESET,
    )  # fmt: skip
    around = Around([one, three], [said], [], [])
    assert gaps_in(two.start_unix_ns, two.start_unix_ns, around) == []
    half = replace(said, duration_ns=WINDOW_NS // 2)
    (rest,) = gaps_in(two.start_unix_ns, two.start_unix_ns, Around([one, three], [half], [], []))
    assert rest.start_unix_ns == two.start_unix_ns + WINDOW_NS // 2
    assert rest.duration_ns == WINDOW_NS // 2


def test_only_holes_that_a_loss_touches_are_told() -> None:
    host = FakeHost(3, devices=1)
    windows = list(host.records(COUNT).windows)
    never_came = windows.pop(2)
    lost = windows.pop(7)
    gaps = gaps_in(lost.start_unix_ns, lost.start_unix_ns, Around(windows, (), [], []))
    assert [gap.start_unix_ns for gap in gaps] == [lost.start_unix_ns]
    assert gaps[0].lower_uj == gaps[0].upper_uj == lost.energy_uj != never_came.energy_uj


def test_a_line_of_which_nothing_is_left_is_bounded_by_its_power() -> None:
    host = FakeHost(3, devices=1)
    windows = host.records(COUNT).windows
    first_ns, last_ns = windows[0].start_unix_ns, windows[-1].start_unix_ns
    (gap,) = gaps_in(first_ns, last_ns, Around([], [], [], [sensor_of(host, 800_000)]))
    assert (gap.start_unix_ns, gap.duration_ns) == (DAY0_UNIX_NS, COUNT * WINDOW_NS)
    assert gap.lower_uj == 0
    assert host.sent_uj <= gap.upper_uj == 800 * COUNT * 10 * 10**6


def test_losses_that_are_near_are_looked_at_together() -> None:
    seconds = Loss("a", 0, 5, SectionKind.HOST_SECOND)
    near = [Loss("b", 10, 20), Loss("c", 20 + REACH_NS, 30 + REACH_NS, SectionKind.GAP)]
    far = Loss("d", 31 + 2 * REACH_NS, 40 + 2 * REACH_NS, SectionKind.DEVICE_WINDOW)
    assert spans([far, *near, seconds]) == [
        (10, 30 + REACH_NS),
        (far.start_min, far.start_max),
    ]
