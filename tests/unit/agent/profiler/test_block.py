"""Levels, peaks and ramps against brute force over the true trace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.core.model import Flag
from chipwatt.core.records import DeviceWindow, Profile
from fakes.books import books, sensor
from fakes.chip import Chip, poll

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S


def profile_of(
    chip: Chip, *, seconds: int = 10, window_s: int = 10, period_ns: int = MS, stamped: bool = False
) -> list[DeviceWindow]:
    """Poll a chip for a while and return its windows."""
    source = sensor(modulus_uj=chip.modulus_uj, stamped=stamped, max_power_mw=1_000_000)
    reducer = Reducer([source], mono_ns=0, unix_ns=UNIX_NS, window_ns=window_s * S)
    reducer.measured(
        0,
        refresh_ns=chip.refresh_ns,
        averaging_ns=0,
        period_ns=period_ns,
        rate_reduced=False,
    )
    poll(chip, lambda at, value: reducer.observe(0, at, value), 0, seconds * S + 1, period_ns)
    return books(reducer.finish(seconds * S))[source.device].windows


@pytest.mark.parametrize("half_ms", [50, 100, 137, 200])
def test_square_wave_peaks_are_within_two_percent_on_a_jittery_counter(half_ms: int) -> None:
    steps = [(half_ms * MS, 400_000), (half_ms * MS, 100_000)]
    chip = Chip(steps, jitter=0.27, seed=half_ms)
    (window,) = profile_of(chip)
    for span_ms, found in (
        (100, window.profile.peak_100ms_mw),
        (1000, window.profile.peak_1s_mw),
    ):
        assert found == pytest.approx(chip.peak_mw(span_ms * MS, 0, 2 * S), rel=0.02)
    assert window.profile.peak_10ms_mw == pytest.approx(400_000, rel=0.125)
    assert not window.flags & Flag.PEAK_BEYOND_SENSOR


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 700), st.integers(0, 800)), min_size=2, max_size=12),
)
def test_peaks_and_ramps_agree_with_brute_force(trace: list[tuple[int, int]]) -> None:
    chip = Chip([(ms * MS, watts * 1000) for ms, watts in trace])
    (window,) = profile_of(chip, seconds=4, stamped=True)
    profile, contrast = window.profile, max(watts for _, watts in trace) * 1000
    for span_ms, found in (
        (10, profile.peak_10ms_mw),
        (100, profile.peak_100ms_mw),
        (1000, profile.peak_1s_mw),
    ):
        truth = chip.peak_mw(span_ms * MS, 0, 4 * S, every_ns=MS)
        assert found == pytest.approx(truth, abs=contrast / span_ms + 2)
    for span_ms, rise, fall in (
        (100, profile.rise_100ms_mw_per_s, profile.fall_100ms_mw_per_s),
        (1000, profile.rise_1s_mw_per_s, profile.fall_1s_mw_per_s),
    ):
        span_ns = span_ms * MS
        ramps = [
            (chip.mean_mw(at - span_ns, at) - chip.mean_mw(at - 2 * span_ns, at - span_ns))
            * 1000
            / span_ms
            for at in range(2 * span_ns, 4 * S, MS)
        ]
        tolerance = 2 * contrast * 1000 / span_ms**2 + 20
        assert rise == pytest.approx(max(0, *ramps), abs=tolerance)
        assert fall == pytest.approx(-min(0, *ramps), abs=tolerance)


def test_peak_across_a_windows_edge_belongs_to_the_window_in_which_it_ends() -> None:
    chip = Chip([(1_950 * MS, 100_000), (100 * MS, 500_000), (7_950 * MS, 100_000)])
    first, second, third = profile_of(chip, seconds=6, window_s=2)
    assert second.profile.peak_100ms_mw == pytest.approx(500_000, rel=0.001)
    assert first.profile.peak_100ms_mw == pytest.approx(300_000, rel=0.01)
    assert second.profile.peak_1s_mw == pytest.approx(140_000, rel=0.001)
    assert third.profile.peak_1s_mw == pytest.approx(100_000, rel=0.001)


def test_histogram_holds_the_time_at_each_level() -> None:
    (window,) = profile_of(Chip([(3 * S, 400_000), (7 * S, 100_000)]))
    histogram = window.profile.histogram
    busy = {ms for ms in histogram.counts_ms if ms}
    assert busy == {3_000, 7_000}
    assert (window.profile.min_mw, window.profile.max_mw) == (100_000, 400_000)


def test_counter_of_100_ms_shows_no_phantom_peak() -> None:
    chip = Chip([(S, 300_000)], refresh_ns=100 * MS, jitter=0.02)
    (window,) = profile_of(chip, period_ns=50 * MS)
    profile = window.profile
    assert profile.peak_100ms_mw is None
    assert profile.rise_100ms_mw_per_s is None
    assert profile.peak_1s_mw == pytest.approx(300_000, rel=0.08)
    assert profile.max_mw == pytest.approx(300_000, rel=0.13)
    assert window.flags & Flag.PEAK_BEYOND_SENSOR
    assert window.flags & Flag.SWING_BEYOND_SENSOR


def test_hole_in_the_readings_is_not_covered_and_costs_no_energy() -> None:
    chip = Chip([(S, 200_000)])
    source = sensor()
    reducer = Reducer([source], mono_ns=0, unix_ns=UNIX_NS)
    reducer.measured(0, refresh_ns=MS, averaging_ns=0, period_ns=MS, rate_reduced=False)
    for from_ms, to_ms in ((0, 3_000), (4_500, 10_001)):
        poll(chip, lambda at, v: reducer.observe(0, at, v), from_ms * MS, to_ms * MS, MS)
    (window,) = books(reducer.finish(10 * S))[source.device].windows
    assert window.energy_uj == 2 * 10**9
    assert window.provenance.coverage_ppm == pytest.approx(850_000, abs=200)
    assert window.flags & Flag.PARTIAL
    histogram = window.profile.histogram
    assert histogram.zero_ms + sum(histogram.counts_ms) == pytest.approx(8_500, abs=2)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 700), st.integers(0, 800)), min_size=1, max_size=8),
    st.sampled_from([1, 7, 40, 400, 900]),
)
def test_longer_windows_say_what_shorter_ones_merged_say(
    trace: list[tuple[int, int]], refresh_ms: int
) -> None:
    from chipwatt.core.profile import merge

    steps = [(ms * MS, watts * 1000) for ms, watts in trace]
    whole, halves = (
        profile_of(
            Chip(steps, refresh_ns=refresh_ms * MS),
            seconds=4,
            window_s=window_s,
            period_ns=max(1, refresh_ms // 2) * MS,
        )
        for window_s in (4, 2)
    )
    union, merged = whole[0], merge(halves[0], halves[1])
    same = ("expected", "got", "repeated", "dropped", "refresh_us")
    assert (merged.energy_uj, merged.cumulative_uj) == (union.energy_uj, union.cumulative_uj)
    assert merged.duration_ns == union.duration_ns
    assert [getattr(merged.provenance, n) for n in same] == [
        getattr(union.provenance, n) for n in same
    ]
    free = {"swing_frequency_mhz": None, "swing_amplitude_mw": None, "swing_share_ppm": None}
    # Of a slope in double precision the last milliwatt depends on where a window begins.
    near = {
        name: getattr(union.profile, name)
        for name in Profile.__dataclass_fields__
        if name.startswith(("peak_", "rise_", "fall_"))
    }
    for name, value in near.items():
        assert getattr(merged.profile, name) == pytest.approx(value, abs=1), name
    assert replace(merged.profile, **free, **near) == replace(union.profile, **free)  # type: ignore[arg-type]
