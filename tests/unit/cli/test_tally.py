"""A tally of windows is the window of their union."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.cli.tally import Tally, tallies
from chipwatt.core import histogram
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface, Method, Statistic
from chipwatt.core.records import DeviceWindow, Profile, Provenance, Throttle

NS = 1_000_000_000


def window(index: int, power_mw: int, **profile: int) -> DeviceWindow:
    """Ten seconds at one power."""
    of_time = histogram.build(np.array([power_mw]), np.array([10_000]))
    values = {"mean_mw": power_mw, "min_mw": power_mw, "max_mw": power_mw, **profile}
    return DeviceWindow(
        device=DeviceId(DeviceKind.GPU, index % 2),
        domain=Domain.BOARD,
        statistic=Statistic.ENERGY,
        start_unix_ns=(1_800_000_000 + 10 * index) * NS,
        start_mono_ns=10 * index * NS,
        duration_ns=10 * NS,
        epoch=1,
        energy_uj=power_mw * 10_000,
        cumulative_uj=power_mw * 10_000 * (index + 1),
        profile=Profile(histogram=of_time, **values),
        throttle=Throttle(limit_mw=750_000, power_ms=5),
        provenance=Provenance(Interface.NVML, Method.COUNTER, 100, 90, 10, 0, 100_000, 0, 10**6),
        flags=int(Flag.ROOT),
    )


POWERS = st.lists(st.integers(1, 2_000_000), min_size=1, max_size=12)


@given(POWERS, st.randoms(use_true_random=False))
def test_order_does_not_matter(powers: list[int], rng: random.Random) -> None:
    windows = [window(index, power) for index, power in enumerate(powers)]
    shuffled = list(windows)
    rng.shuffle(shuffled)
    assert [t.as_json() for t in tallies(windows)] == [t.as_json() for t in tallies(shuffled)]


@given(POWERS)
def test_sums_and_extremes_are_exact(powers: list[int]) -> None:
    made = tallies(window(index, power) for index, power in enumerate(powers))
    assert sum(tally.energy_uj for tally in made) == sum(powers) * 10_000
    for tally in made:
        mine = powers[tally.device.ordinal :: 2]
        assert tally.min_mw == min(mine)
        assert tally.greatest["max_mw"] == max(mine)
        assert tally.mean_mw == pytest.approx(sum(mine) / len(mine), abs=0.6)
        assert tally.counted["got"] == 90 * len(mine)
        assert tally.throttled_ms == {
            "power_ms": 5 * len(mine), "thermal_ms": None, "brake_ms": None, "other_ms": None,
        }  # fmt: skip


@given(POWERS, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_above_its_share_of_the_time(powers: list[int], quantile: float) -> None:
    tally = Tally(DeviceId(DeviceKind.GPU), Domain.BOARD, Statistic.ENERGY)
    for index, power in enumerate(powers):
        tally.add(window(2 * index, power))
    bound = tally.quantile_mw(quantile)
    assert bound is not None
    below = sum(power <= bound + 1 for power in powers) / len(powers)
    assert below >= quantile - 1e-9


def test_what_nobody_knows_stays_unknown() -> None:
    tally = tallies([window(0, 100_000)])[0]
    assert tally.greatest["peak_10ms_mw"] is None
    assert json.loads(json.dumps(tally.as_json()))["swing_frequency_mhz"] is None


def test_swing_is_that_of_the_strongest_window() -> None:
    weak = window(0, 100, swing_frequency_mhz=900, swing_amplitude_mw=5)
    strong = window(2, 100, swing_frequency_mhz=4_000, swing_amplitude_mw=80_000)
    for order in ([weak, strong], [strong, weak]):
        assert tallies(order)[0].as_json()["swing_frequency_mhz"] == 4_000


def test_flags_gather() -> None:
    tally = tallies([window(0, 100)])[0]
    assert tally.root
    assert not tally.estimated
    assert tally.as_json()["flags"] == ["ROOT"]
