"""Fitted levels against fits by hand, and that blocks may be looked at in any number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.profiler.levels import Levels, fitted_levels
from chipwatt.agent.profiler.partial import Floats

TAIL = 2000


def curve_of(seed: int, steps: int) -> Floats:
    """Return the energy of a load that jumps between levels of up to 1 kW."""
    rng = np.random.default_rng(seed)
    power = np.repeat(rng.uniform(0, 1_000_000, steps // 100 + 1), 100)[:steps]
    return np.concatenate(([0.0], np.cumsum(power)))


def by_hand(curve: Floats, fresh: int, span: int) -> list[float]:
    """Fit a line through each span that ends in the last ``fresh`` steps."""
    at = np.arange(span + 1.0)
    first = max(0, len(curve) - fresh - span)
    return [
        float(np.polyfit(at, curve[start : start + span + 1] - curve[start], 1)[0])
        for start in range(first, len(curve) - span)
    ]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 10, 37, 48, 49, 80, 233]))
def test_levels_are_those_of_fits_by_hand(seed: int, span: int) -> None:
    curve = curve_of(seed, 900)
    found = fitted_levels(curve, 500, 1, span, 1.0, TAIL)
    slopes = by_hand(curve, 500, span)
    assert found.low_mw == pytest.approx(max(0, min(slopes)), abs=1)
    assert found.high_mw == pytest.approx(max(slopes), abs=1)
    short = max(by_hand(curve, 500, max(2, span // 2)))
    if abs(short - 1.08 * max(slopes)) > 2:
        assert found.shorter == (short > 1.08 * max(slopes))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 10),
    st.integers(0, 2),
    st.sampled_from([2, 48, 49, 80, 999, 1500, 2330, 2999, 3100]),
)
def test_any_number_of_blocks_gives_the_same(
    seed: int, blocks: int, before: int, span: int
) -> None:
    """As block after block gives it, each with at most two seconds of what was before."""
    curve = curve_of(seed, (before + blocks) * 1000)
    single: list[Levels] = []
    for block in range(blocks):
        end = (before + block + 1) * 1000
        seen = curve[max(0, end - 1000 - TAIL) : end + 1]
        single.append(fitted_levels(seen, 1000, 1, span, 1.0, TAIL))
    together = fitted_levels(curve, blocks * 1000, blocks, span, 1.0, TAIL)
    lows = [each.low_mw for each in single if each.low_mw is not None]
    highs = [each.high_mw for each in single if each.high_mw is not None]
    assert (together.low_mw is None) == (not lows)
    if lows:
        assert together.low_mw == pytest.approx(min(lows), abs=1)
        assert together.high_mw == pytest.approx(max(highs), abs=1)
    assert together.shorter == any(each.shorter for each in single)


def test_no_span_no_level() -> None:
    assert fitted_levels(curve_of(1, 40), 40, 1, 40, 1.0, TAIL).high_mw is not None
    assert fitted_levels(curve_of(1, 40), 40, 1, 41, 1.0, TAIL) == (None, None, False)
