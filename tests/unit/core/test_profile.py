from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface, Method, Statistic
from chipwatt.core.profile import merge, merge_seconds, mergeable
from chipwatt.core.records import (
    DeviceWindow,
    HostSecond,
    PowerHistogram,
    Profile,
    Provenance,
    Throttle,
)

START_NS = 5_000 * NS_PER_S
powers = st.none() | st.integers(0, 2_000_000)
counts = st.integers(0, 10_000)
plain = [f.name for f in fields(Profile) if f.name != "histogram" and "swing" not in f.name]
histograms = st.builds(
    PowerHistogram,
    st.integers(-3, 6),
    st.integers(-300, 700),
    counts,
    st.lists(counts, min_size=1, max_size=160).map(tuple),
) | st.builds(PowerHistogram, zero_ms=counts)
profiles = st.builds(
    Profile,
    histogram=histograms,
    swing_frequency_mhz=st.just(500),
    swing_amplitude_mw=st.integers(1, 1000),
    **dict.fromkeys(plain, powers),
)


@st.composite
def lines(draw: st.DrawFn, count: int = 3) -> list[DeviceWindow]:
    """Return adjacent windows of one epoch."""
    made: list[DeviceWindow] = []
    mono_ns, cumulative_uj = START_NS, draw(st.integers(0, 10**12))
    for _ in range(count):
        duration_ns = draw(st.integers(1, 600 * NS_PER_S))
        energy_uj = draw(st.integers(0, 10**10))
        cumulative_uj += energy_uj
        profile = replace(
            draw(profiles),
            mean_mw=min(4_000_000_000, round(energy_uj * 1_000_000 / duration_ns)),
        )
        made.append(
            DeviceWindow(
                DeviceId(DeviceKind.CPU),
                Domain.PACKAGE,
                Statistic.ENERGY,
                10**18 + mono_ns,
                mono_ns,
                duration_ns,
                7,
                energy_uj,
                cumulative_uj,
                profile,
                Throttle(draw(powers), draw(powers), draw(powers), draw(powers), draw(powers)),
                Provenance(
                    Interface.RAPL_POWERCAP,
                    Method.COUNTER,
                    expected=draw(counts),
                    got=draw(counts),
                    repeated=draw(counts),
                    dropped=draw(counts),
                    refresh_us=draw(counts),
                    averaging_us=draw(counts),
                    coverage_ppm=draw(st.integers(0, 1_000_000)),
                ),
                draw(st.sampled_from([0, int(Flag.ROOT), int(Flag.PARTIAL | Flag.EPOCH_START)])),
            )
        )
        mono_ns += duration_ns
    return made


def exact(window: DeviceWindow) -> DeviceWindow:
    """Return what must not depend on the order of merging: all but rounded coverage."""
    provenance = replace(window.provenance, coverage_ppm=0)
    return replace(window, provenance=provenance, flags=window.flags & ~Flag.PARTIAL)


@given(lines())
def test_merging_is_associative(line: list[DeviceWindow]) -> None:
    a, b, c = line
    left, right = merge(merge(a, b), c), merge(a, merge(b, c))
    assert exact(left) == exact(right)
    assert abs(left.provenance.coverage_ppm - right.provenance.coverage_ppm) <= 2


@given(lines(2))
def test_sums_and_extremes_are_exact(line: list[DeviceWindow]) -> None:
    first, second = line
    merged = merge(first, second)
    assert merged.energy_uj == first.energy_uj + second.energy_uj
    assert merged.cumulative_uj == second.cumulative_uj
    assert (merged.start_mono_ns, merged.start_unix_ns) == (
        first.start_mono_ns,
        first.start_unix_ns,
    )
    assert merged.duration_ns == first.duration_ns + second.duration_ns
    for name in plain:
        known = [
            value
            for value in (getattr(first.profile, name), getattr(second.profile, name))
            if value is not None
        ]
        if name != "mean_mw":
            choose = min if name == "min_mw" else max
            assert getattr(merged.profile, name) == (choose(known) if known else None)
    total = [w.profile.histogram.zero_ms + sum(w.profile.histogram.counts_ms) for w in line]
    histogram = merged.profile.histogram
    assert histogram.zero_ms + sum(histogram.counts_ms) == sum(total)
    assert merged.provenance.got == first.provenance.got + second.provenance.got
    assert merged.flags & Flag.MERGED
    assert bool(merged.flags & Flag.PARTIAL) == (merged.provenance.coverage_ppm < 950_000)
    lowest, highest = sorted(w.provenance.coverage_ppm for w in line)
    assert lowest <= merged.provenance.coverage_ppm <= highest
    wider = max(first.profile, second.profile, key=lambda p: p.swing_amplitude_mw or 0)
    assert merged.profile.swing_amplitude_mw == wider.swing_amplitude_mw


@given(
    lines(2),
    st.sampled_from(["gap", "epoch", "device", "domain", "statistic", "interface", "energy"]),
)
def test_windows_that_do_not_follow_each_other_stay_apart(
    line: list[DeviceWindow], fault: str
) -> None:
    first, second = line
    assert mergeable(first, second)
    provenance = replace(second.provenance, interface=Interface.RAPL_PERF)
    spoilt = {
        "gap": replace(second, start_mono_ns=second.start_mono_ns + 1),
        "epoch": replace(second, epoch=8),
        "device": replace(second, device=DeviceId(DeviceKind.CPU, 1)),
        "domain": replace(second, domain=Domain.DRAM),
        "statistic": replace(second, statistic=Statistic.INSTANT),
        "interface": replace(second, provenance=provenance),
        "energy": replace(second, cumulative_uj=second.cumulative_uj + 1),
    }[fault]
    with pytest.raises(ValueError, match="not adjacent in one epoch"):
        merge(first, spoilt)
    with pytest.raises(ValueError, match="not adjacent"):
        merge(second, first)


def second_of(start_s: int, energy_mj: int, peak_mw: int | None, heard: int) -> HostSecond:
    return HostSecond(
        10**18 + start_s * NS_PER_S,
        start_s * NS_PER_S,
        NS_PER_S,
        energy_mj,
        0,
        energy_mj // 2,
        0,
        peak_mw,
        None,
        peak_mw,
        None,
        peak_mw,
        heard,
        4,
        int(Flag.PARTIAL) if heard < 4 else 0,
    )


@given(st.lists(st.tuples(counts, powers, st.integers(0, 4)), min_size=3, max_size=3))
def test_host_seconds_merge_exactly(rows: list[tuple[int, int | None, int]]) -> None:
    a, b, c = (second_of(i, *row) for i, row in enumerate(rows))
    merged = merge_seconds(merge_seconds(a, b), c)
    assert merged == merge_seconds(a, merge_seconds(b, c))
    assert merged.cpu_mj == sum(row[0] for row in rows)
    assert merged.duration_ns == 3 * NS_PER_S
    peaks = [row[1] for row in rows if row[1] is not None]
    assert merged.total_peak_mw == max(peaks, default=None)
    assert merged.gpu_peak_mw is None
    assert merged.heard == min(row[2] for row in rows)


def test_host_seconds_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="not adjacent"):
        merge_seconds(second_of(0, 1, 1, 1), second_of(2, 1, 1, 1))
