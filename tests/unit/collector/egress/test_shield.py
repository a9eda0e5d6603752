from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.egress.shield import STEP_UJ, shielded, shielded_gap, told_uj, up_uj
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, GapReason, Statistic
from chipwatt.core.records import Gap, PowerHistogram, Profile, Throttle
from fakes.device_windows import a_run

ENERGIES = st.lists(st.integers(0, 3 * STEP_UJ), min_size=1, max_size=20)


@settings(deadline=None)
@given(ENERGIES, st.integers(0, 10**15))
def test_energies_of_a_held_device_add_up_to_the_truth_within_a_step(
    energies_uj: list[int], base_uj: int
) -> None:
    windows = [
        shielded(replace(window, flags=window.flags | Flag.HELD_ALONE))
        for window in a_run(energies_uj, base_uj=base_uj)
    ]
    for before, after in pairwise(windows):
        assert after.cumulative_uj - after.energy_uj == before.cumulative_uj
    assert all(window.energy_uj % STEP_UJ == 0 for window in windows)
    assert abs(sum(w.energy_uj for w in windows) - sum(energies_uj)) < STEP_UJ


@given(st.lists(st.integers(0, 10 * STEP_UJ), min_size=2), st.integers(0, 10 * STEP_UJ))
def test_a_counter_never_falls_from_where_it_was_told_exactly(
    counters_uj: list[int], from_uj: int
) -> None:
    told = [told_uj(each, from_uj) for each in sorted([*counters_uj, from_uj])]
    assert told == sorted(told)
    assert told_uj(from_uj, from_uj) == from_uj
    for each in counters_uj:
        assert abs(told_uj(each, from_uj) - each) < STEP_UJ
        assert told_uj(each, from_uj) in (from_uj, each // STEP_UJ * STEP_UJ, up_uj(each))


def test_of_a_held_device_nothing_but_steps_is_told() -> None:
    (window,) = a_run([5 * STEP_UJ + 1])
    window = replace(
        window,
        profile=Profile(
            mean_mw=1, min_mw=2, max_mw=3, peak_1s_mw=4, swing_amplitude_mw=5,
            histogram=PowerHistogram(0, 1, 2, (3, 4)),
        ),
        throttle=Throttle(700_000, 1, 2, 3, 4),
    )  # fmt: skip
    assert shielded(window) is window
    held = shielded(replace(window, flags=int(Flag.HELD_ALONE)))
    assert held.profile == Profile(mean_mw=5 * STEP_UJ * 10**6 // window.duration_ns)
    assert held.throttle == Throttle(700_000)
    assert (held.provenance.got, held.provenance.repeated) == (0, 0)


def test_bounds_of_a_gap_stay_around_the_truth() -> None:
    gap = Gap(
        device=DeviceId(DeviceKind.GPU, 0), domain=Domain.BOARD, statistic=Statistic.ENERGY,
        start_unix_ns=10**18, start_mono_ns=0, duration_ns=10**9, lower_uj=STEP_UJ + 1,
        upper_uj=STEP_UJ + 1, reason=GapReason.AGENT_DOWN,
    )  # fmt: skip
    told = shielded_gap(gap)
    assert (told.lower_uj, told.upper_uj) == (STEP_UJ, 2 * STEP_UJ)
