from __future__ import annotations

import math

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.demand import (
    MAX_DEMAND_MW,
    MAX_REPLICAS,
    DemandShape,
    mean_of,
    peak_of,
    shape_of,
)
from chipwatt.v1 import placement_pb2 as pb


class NoProfiles:
    def profile(self, class_id: bytes, hw_class: str) -> None:
        """Nothing was ever learned."""


def inline(mean_mw: int = 300, peak_mw: int = 500, swing_class: int = 0) -> pb.InlineProfile:
    return pb.InlineProfile(mean_mw=mean_mw, peak_mw=peak_mw, swing_class=swing_class)


shapes = st.builds(
    lambda mean, rise, replicas, in_phase: DemandShape(mean, mean + rise, 0, replicas, in_phase),
    st.integers(0, 10**7),
    st.integers(1, 10**7),
    st.integers(1, 1_000),
    st.booleans(),
)


def test_a_demand_of_nothing_but_a_profile_is_one_replica() -> None:
    shape = shape_of(pb.Demand(inline=inline()), NoProfiles(), "")
    assert shape == DemandShape(300, 500, 0, 1, in_phase=False)
    assert peak_of(shape) == 500


def test_a_mean_that_nobody_gave_counts_as_the_peak() -> None:
    shape = shape_of(pb.Demand(inline=inline(mean_mw=0)), NoProfiles(), "")
    assert shape.mean_mw == 500


@pytest.mark.parametrize(
    ("demand", "in_phase"),
    [
        (pb.Demand(inline=inline(swing_class=1), replicas=4), False),
        (pb.Demand(inline=inline(swing_class=2), replicas=4), True),
        (pb.Demand(inline=inline(), replicas=4, gang_id="job-7"), True),
    ],
)
def test_gangs_and_swinging_classes_are_in_phase(demand: pb.Demand, in_phase: bool) -> None:
    shape = shape_of(demand, NoProfiles(), "")
    assert shape.in_phase is in_phase
    assert peak_of(shape) == (4 * 500 if in_phase else 4 * 300 + math.isqrt(4 * 200**2))


@given(shapes)
def test_replicas_draw_between_their_level_and_the_sum_of_their_peaks(shape: DemandShape) -> None:
    assert mean_of(shape) < peak_of(shape) <= shape.replicas * shape.peak_mw
    if shape.in_phase or shape.replicas == 1:
        assert peak_of(shape) == shape.replicas * shape.peak_mw


@given(shapes)
def test_one_more_replica_draws_more(shape: DemandShape) -> None:
    more = DemandShape(
        shape.mean_mw, shape.peak_mw, shape.swing_class, shape.replicas + 1, shape.in_phase
    )
    assert peak_of(more) > peak_of(shape)


@pytest.mark.parametrize(
    ("demand", "field"),
    [
        (pb.Demand(), "demand.profile"),
        (pb.Demand(class_id="xy"), "demand.class_id"),
        (pb.Demand(class_id="g" * 32), "demand.class_id"),
        (pb.Demand(inline=pb.InlineProfile(mean_mw=1)), "demand.inline.peak_mw"),
        (pb.Demand(inline=inline(mean_mw=501)), "demand.inline.mean_mw"),
        (pb.Demand(inline=inline(swing_class=4)), "demand.inline.swing_class"),
        (pb.Demand(inline=inline(peak_mw=MAX_DEMAND_MW + 1)), "demand.inline.peak_mw"),
        (pb.Demand(inline=inline(), replicas=MAX_REPLICAS + 1), "demand.replicas"),
        (pb.Demand(inline=inline(peak_mw=10**12), replicas=10**4), "demand"),
        (
            pb.Demand(inline=inline(), duration_hint_s=5, min_duration_s=6),
            "demand.min_duration_s",
        ),
    ],
)
def test_a_wrong_demand_is_refused_by_its_field(demand: pb.Demand, field: str) -> None:
    with pytest.raises(Refused) as refused:
        shape_of(demand, NoProfiles(), "")
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value).startswith(f"{field}:")


def test_a_class_without_a_profile_is_not_found() -> None:
    with pytest.raises(Refused, match=r"^demand.class_id: no profile") as refused:
        shape_of(pb.Demand(class_id="AB" * 16), NoProfiles(), "")
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
