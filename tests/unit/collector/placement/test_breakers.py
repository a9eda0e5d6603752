from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement.breakers import COOL_S, Breakers, trip_curve
from chipwatt.collector.placement.topology import Breaker, NodeKind, PowerNode, Topology

CURVES = ("iec-standard-inverse", "iec-very-inverse", "iec-extremely-inverse")


def one(curve: str = "iec-very-inverse", continuous_mw: int = 1_000) -> Breakers:
    return Breakers(Topology([PowerNode("p", NodeKind.PDU, breaker=Breaker(curve, continuous_mw))]))


@pytest.mark.parametrize(
    ("curve", "load", "seconds"),
    # IEC 60255-151, time multiplier 1: 10.03 s, 13.5 s and 26.7 s at twice; 2.97 s, 1.5 s and
    # 0.81 s at ten times the setting.
    [
        (CURVES[0], 2, 10.03),
        (CURVES[1], 2, 13.5),
        (CURVES[2], 2, 26.67),
        (CURVES[0], 10, 2.971),
        (CURVES[1], 10, 1.5),
        (CURVES[2], 10, 0.808),
        ("iec-very-inverse@0.5", 2, 6.75),
    ],
)
def test_known_points_of_the_curves(curve: str, load: int, seconds: float) -> None:
    (left_s,) = one(curve).step(np.array([load * 1_000.0]), 0.0)
    assert left_s == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize(
    "name", ["", "C20", "iec-very-inverse@", "iec-very-inverse@x", "iec-very-inverse@-1",
             "iec-very-inverse@nan", "iec-very-inverse@0"],
)  # fmt: skip
def test_unknown_curves_are_not_guessed(name: str) -> None:
    assert trip_curve(name) is None
    left_s = one(name).step(np.array([2_000.0]), 1.0)
    assert math.isnan(left_s[0])


def test_no_trip_below_what_is_carried_for_ever() -> None:
    assert one().step(np.array([1_000.0]), 3_600.0).tolist() == [math.inf]


@settings(deadline=None)
@given(curve=st.sampled_from(CURVES), load=st.floats(1.05, 20), step_s=st.sampled_from([0.25, 1.0]))
def test_a_steady_overload_trips_when_it_said(curve: str, load: float, step_s: float) -> None:
    breakers, power = one(curve), np.array([load * 1_000.0])
    (first_s,) = breakers.step(power, 0.0)
    for number in range(1, min(200, int(first_s / step_s))):
        (left_s,) = breakers.step(power, step_s)
        assert left_s == pytest.approx(first_s - number * step_s, rel=1e-6, abs=1e-6)


def test_heat_is_kept_and_cools() -> None:
    breakers = one()
    breakers.step(np.array([2_000.0]), 6.75)
    assert breakers.heat.tolist() == pytest.approx([0.5])
    later = one()
    later.rewarm(breakers.warmth())
    assert later.step(np.array([2_000.0]), 0.0).tolist() == pytest.approx([6.75])
    breakers.step(np.array([500.0]), COOL_S / 4)
    assert breakers.heat.tolist() == pytest.approx([0.25])
    breakers.step(np.array([500.0]), COOL_S)
    assert breakers.warmth() == {}
    breakers.step(np.array([9_000.0]), 1_000.0)
    assert breakers.step(np.array([9_000.0]), 1.0).tolist() == [0.0]


def test_a_topology_without_breakers() -> None:
    breakers = Breakers(Topology([PowerNode("p", NodeKind.PDU, breaker=Breaker("x", 0))]))
    assert breakers.step(np.zeros(0), 1.0).tolist() == []
