from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.model import BRIDGE_NS, Trace, TraceDevice
from chipwatt.core.model import DeviceKind, Domain

T0 = 1_700_000_000_000_000_000


def gauge(samples: dict[int, int], label: str = "gpu/0") -> TraceDevice:
    return TraceDevice(
        label, DeviceKind.GPU, Quantity.POWER_MW,
        tuple(T0 + t for t in samples), tuple(samples.values()),
    )  # fmt: skip


def test_trapezoid_of_a_ramp_and_a_hold() -> None:
    # 1 s from 100 W to 200 W is 150 J, 2 s at 200 W are 400 J.
    assert gauge({0: 100_000, 10**9: 200_000, 3 * 10**9: 200_000}).energy_uj == 550_000_000


def test_a_single_sample_has_no_energy() -> None:
    assert gauge({0: 5}).energy_uj == 0
    assert gauge({0: 5}).refresh_ns == 0


def test_a_counter_adds_its_rises_and_takes_a_fall_for_a_reset() -> None:
    stamps = tuple(T0 + t for t in range(5))
    device = TraceDevice(
        "cpu/0", DeviceKind.CPU, Quantity.ENERGY_UJ, stamps, (100, 150, 150, 10, 30)
    )
    assert device.energy_uj == 70
    assert device.domain is Domain.PACKAGE


def test_refresh_is_the_median_gap() -> None:
    assert gauge({0: 1, 10: 1, 20: 1, 30: 1, 1000: 1}).refresh_ns == 10


@given(
    st.lists(
        st.tuples(st.integers(1, 10**12), st.integers(0, 10**9)), min_size=1, max_size=60
    )
)  # fmt: skip
def test_the_trapezoid_equals_exact_fractions_but_for_long_holes(
    steps: list[tuple[int, int]],
) -> None:
    t, samples = 0, {}
    for gap, power in steps:
        t += gap
        samples[t] = power
    points = list(samples.items())
    exact = sum(
        (Fraction((p0 + p1) * (t1 - t0), 2_000_000)
        for (t0, p0), (t1, p1) in pairwise(points) if t1 - t0 <= BRIDGE_NS), Fraction()
    )  # fmt: skip
    assert gauge(samples).energy_uj == exact // 1


def test_a_trace_spans_its_devices() -> None:
    trace = Trace("t", "f", (gauge({5: 1, 9: 1}), gauge({3: 1, 7: 1}, "gpu/1")), {"x": 2, "y": 3})
    assert (trace.start_unix_ns, trace.end_unix_ns) == (T0 + 3, T0 + 9)
    assert trace.skipped_rows == 5
    assert trace.trapezoid_uj("gpu/1") == 0
    with pytest.raises(KeyError):
        trace.device("gpu/2")
