from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.site_timeline import (
    carbon_at,
    carbon_mg_per_kwh,
    holding,
    mean_carbon,
    stretches,
)
from chipwatt.v1 import placement_pb2 as pb

END = 30


@st.composite
def factors(draw: st.DrawFn) -> pb.SiteFactors:
    start = draw(st.integers(1, END))
    steps = draw(st.dictionaries(st.integers(1, END), st.integers(0, 900), max_size=5))
    return pb.SiteFactors(
        valid_from_unix_ns=start,
        valid_until_unix_ns=draw(st.sampled_from([0, start + 1, start + 5, start + END])),
        carbon_mg_per_kwh=draw(st.integers(0, 900)),
        carbon_forecast=[
            pb.CarbonForecast(start_unix_ns=at, carbon_mg_per_kwh=steps[at]) for at in sorted(steps)
        ],
    )


ordered = st.lists(factors(), max_size=6, unique_by=lambda f: f.valid_from_unix_ns).map(
    lambda sets: sorted(sets, key=lambda f: f.valid_from_unix_ns)
)


def held(sets: list[pb.SiteFactors], at: int) -> pb.SiteFactors | None:
    """Say it the long way: the last to begin of those whose window the time is in."""
    found = None
    for one in sets:
        if at >= one.valid_from_unix_ns and (
            at < one.valid_until_unix_ns or not one.valid_until_unix_ns
        ):
            found = one
    return found


def carbon(of: pb.SiteFactors, at: int) -> int:
    begun = [s.carbon_mg_per_kwh for s in of.carbon_forecast if s.start_unix_ns <= at]
    return begun[-1] if begun else of.carbon_mg_per_kwh


@given(ordered, st.integers(1, END), st.integers(1, END))
def test_a_window_is_what_holds_moment_by_moment(
    sets: list[pb.SiteFactors], start: int, length: int
) -> None:
    end = start + length
    parts = stretches(sets, start, end)
    by_moment = {
        at: part.factors for part in parts for at in range(part.start_unix_ns, part.end_unix_ns)
    }
    expected = {at: held(sets, at) for at in range(start, end)}
    assert by_moment == {at: of for at, of in expected.items() if of is not None}
    for before, after in pairwise(parts):
        assert before.end_unix_ns <= after.start_unix_ns
        assert before.end_unix_ns < after.start_unix_ns or before.factors is not after.factors
    if parts:
        told = [carbon(of, at) for at, of in by_moment.items()]
        assert mean_carbon(parts) == pytest.approx(sum(told) / len(told))


@given(ordered, st.integers(1, END), st.integers(1, END))
def test_a_part_told_says_the_same_of_carbon(
    sets: list[pb.SiteFactors], start: int, length: int
) -> None:
    parts = stretches(sets, start, start + length)
    told = [part.message() for part in parts]
    for at in range(start, start + length):
        full, cut = holding(sets, at), holding(told, at)
        assert (full is None) == (cut is None)
        if full is not None and cut is not None:
            assert carbon_at(cut, at) == carbon_at(full, at) == carbon(full, at)


@given(factors(), st.integers(1, END), st.integers(1, END))
def test_carbon_is_the_mean_over_the_time(known: pb.SiteFactors, start: int, length: int) -> None:
    told = [carbon(known, at) for at in range(start, start + length)]
    got = carbon_mg_per_kwh(known, start, start + length)
    assert got == pytest.approx(sum(told) / length)
