"""Roll-ups of whole tables against merging window by window, and against the sums."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from chipwatt.core import profile
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import tables_from_records, window_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface, Method, Statistic
from chipwatt.core.records import (
    DeviceWindow,
    HostSecond,
    PowerHistogram,
    Profile,
    Provenance,
    Records,
    Throttle,
)
from chipwatt.core.rollup import roll_up
from chipwatt.core.rows import Rows, values
from unit.collector.store.tables_strategy import rows, same

MINUTE_NS = 60 * NS_PER_S
START = 1_800_000_000 * NS_PER_S
DEVICE = DeviceId(DeviceKind.CPU, 0)
POWER = st.none() | st.integers(0, 4_000_000)
ENERGY = st.integers(0, 1 << 60)
COUNT = st.integers(0, (1 << 32) - 2)


@st.composite
def histograms(draw: st.DrawFn) -> PowerHistogram:
    counts = draw(st.lists(st.integers(0, 10_000), max_size=160))
    return PowerHistogram(
        draw(st.integers(-3, 6)),
        draw(st.integers(-2000, 2000)),
        draw(st.integers(0, 9)),
        tuple(counts),
    )


@st.composite
def chains(draw: st.DrawFn) -> list[DeviceWindow]:
    """Adjacent windows inside one minute."""
    made: list[DeviceWindow] = []
    mono, cumulative = draw(st.integers(0, 1 << 50)), draw(st.integers(0, 1 << 40))
    for position in range(draw(st.integers(1, 6))):
        energy_uj = draw(st.integers(0, 1 << 55))
        duration_ns = draw(st.integers(1, 10 * NS_PER_S))
        cumulative += energy_uj
        optional = {
            name: draw(POWER)
            for name in (
                "mean_mw", "min_mw", "max_mw", "peak_10ms_mw", "peak_100ms_mw", "peak_1s_mw",
                "rise_100ms_mw_per_s", "fall_100ms_mw_per_s", "rise_1s_mw_per_s",
                "fall_1s_mw_per_s", "swing_amplitude_mw",
            )
        }  # fmt: skip
        made.append(
            DeviceWindow(
                DEVICE, Domain.PACKAGE, Statistic.ENERGY,
                START + position * 10 * NS_PER_S, mono, duration_ns, 3,
                energy_uj, cumulative,
                Profile(
                    histogram=draw(histograms()),
                    swing_frequency_mhz=draw(st.none() | st.integers(0, 100_000)),
                    swing_share_ppm=draw(st.none() | st.integers(0, 1_000_000)),
                    **optional,
                ),
                Throttle(*(draw(st.none() | st.integers(0, 1 << 31)) for _ in range(5))),
                Provenance(
                    Interface.RAPL_POWERCAP, Method.COUNTER, draw(COUNT), draw(COUNT), 1, 2,
                    draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6)),
                    draw(st.integers(0, 10**6)),
                ),
                draw(st.integers(0, (1 << 14) - 1)),
            )
        )  # fmt: skip
        mono += duration_ns
    return made


def rolled(windows: list[DeviceWindow], resolution_ns: int = MINUTE_NS) -> list[DeviceWindow]:
    table = tables_from_records(Records(windows=tuple(windows)))[SectionKind.DEVICE_WINDOW]
    done = roll_up(Rows(np.zeros(table.rows, "<u4"), table), resolution_ns)
    return [window_from_row(row, DEVICE) for row in values(done)]


@settings(max_examples=300, deadline=None)
@given(chains(), st.randoms())
def test_a_roll_up_is_merge_after_merge(windows: list[DeviceWindow], random: object) -> None:
    expected = reduce(profile.merge, windows)
    shuffled = list(windows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    (found,) = rolled(shuffled)
    # Merging pair by pair rounds coverage down each time, at once only once.
    coverage = expected.provenance.coverage_ppm
    assert 0 <= found.provenance.coverage_ppm - coverage < len(windows)
    assert bool(found.flags & Flag.PARTIAL) == (
        found.provenance.coverage_ppm < 950_000
        if len(windows) > 1
        else bool(expected.flags & Flag.PARTIAL)
    )
    found = replace(
        found,
        provenance=replace(found.provenance, coverage_ppm=coverage),
        flags=found.flags & ~Flag.PARTIAL | expected.flags & Flag.PARTIAL,
    )
    assert found == expected


@given(
    rows(SectionKind.DEVICE_WINDOW), st.sampled_from([MINUTE_NS, 10 * MINUTE_NS, 60 * MINUTE_NS])
)
def test_energy_and_time_are_kept_whatever_comes(some: Rows, resolution_ns: int) -> None:
    done = roll_up(some, resolution_ns)
    for name in ("energy_uj", "duration_ns"):
        assert sum(done.table[name].tolist()) == sum(some.table[name].tolist())
    assert same(roll_up(done, resolution_ns), done)


def test_what_is_not_adjacent_stays_apart() -> None:
    def window(at_s: int, energy_uj: int, cumulative_uj: int, epoch: int = 1) -> DeviceWindow:
        return DeviceWindow(
            DEVICE, Domain.PACKAGE, Statistic.ENERGY,
            START + at_s * NS_PER_S, at_s * NS_PER_S, 10 * NS_PER_S, epoch,
            energy_uj, cumulative_uj, Profile(), Throttle(),
            Provenance(Interface.RAPL_PERF, Method.COUNTER), 0,
        )  # fmt: skip

    adjacent = [window(0, 5, 5), window(10, 7, 12)]
    assert [w.energy_uj for w in rolled(adjacent)] == [12]
    assert len(rolled([adjacent[0], window(20, 7, 12)])) == 2  # a gap in time
    assert len(rolled([adjacent[0], window(10, 7, 13)])) == 2  # a hole in the books
    assert len(rolled([adjacent[0], window(10, 7, 12, epoch=2)])) == 2
    assert len(rolled([window(50, 5, 5), window(60, 7, 12)])) == 2  # another minute
    assert rolled(adjacent, 10 * NS_PER_S) == adjacent


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.tuples(*(ENERGY,) * 4), POWER, POWER, ENERGY), min_size=1, max_size=10)
)
def test_seconds_roll_up_as_seconds_merge(
    drawn: list[tuple[tuple[int, int, int, int], int | None, int | None, int]],
) -> None:
    seconds = [
        HostSecond(
            START + n * NS_PER_S, n * NS_PER_S, NS_PER_S, *energies, peak, None, None, None, total,
            heard % 9, 9, 1,
        )
        for n, (energies, peak, total, heard) in enumerate(drawn)
    ]  # fmt: skip
    table = tables_from_records(Records(host_seconds=tuple(seconds)))[SectionKind.HOST_SECOND]
    done = roll_up(Rows(np.zeros(table.rows, "<u4"), table), MINUTE_NS)
    found = [HostSecond(**row) for row in values(done)]
    if max(sum(d[0][i] for d in drawn) for i in range(4)) <= 1 << 60:
        assert found == [reduce(profile.merge_seconds, seconds)]
    assert sum(s.cpu_mj for s in found) == sum(s.cpu_mj for s in seconds)
