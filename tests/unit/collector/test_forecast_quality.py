"""What is told of forecasts outside the operator's trust has many hosts behind it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.forecast.contract import LEAST_HOSTS, Calibration, Predictor
from chipwatt.collector.forecast_quality import (
    DIGITS,
    hosts_behind,
    of_many,
    told_quality,
)
from chipwatt.collector.placement.topology import NodeKind
from unit.collector.placement.fleet import HOSTS, Fleet, text

SITE, RACK, HOST = int(NodeKind.SITE), int(NodeKind.RACK), int(NodeKind.HOST)


def heard(fleet: Fleet, *numbers: int) -> Counter[int]:
    return hosts_behind(fleet.run(120, numbers))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.history()
    made.outlooks.begin()
    return made


def test_an_operator_is_told_all_and_egress_what_many_hosts_are_behind(fleet: Fleet) -> None:
    everything = told_quality(fleet.outlooks, Tier.OPERATOR)
    assert everything == fleet.outlooks.calibrations()
    assert {one.kind for one in everything} == {SITE, RACK, HOST}
    for tier in (Tier.CONFIDENTIAL, Tier.DP):
        told = told_quality(fleet.outlooks, tier)
        assert [one.windows for one in told] == [one.windows for one in everything]
        for one, exact in zip(told, everything, strict=True):
            assert (one.coverage, one.pinball) == pytest.approx(
                (exact.coverage, exact.pinball), abs=10**-DIGITS
            )
            assert one.pinball == round(one.pinball, DIGITS)


def test_of_too_few_hosts_nothing_is_told(fleet: Fleet) -> None:
    assert heard(fleet, *range(HOSTS)) == {SITE: HOSTS, RACK: HOSTS, HOST: HOSTS}
    # The site and one of the racks are no longer whole: their peaks do not count.
    assert heard(fleet, *range(HOSTS - 1)) == {RACK: HOSTS // 2, HOST: HOSTS - 1}
    assert told_quality(fleet.outlooks, Tier.OPERATOR)
    assert not told_quality(fleet.outlooks, Tier.CONFIDENTIAL)


def test_a_kind_of_node_with_few_hosts_beneath_is_not_told(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    alone = '[[node]]\nid = "c"\nkind = "chassis"\nparents = ["r0"]\nbudget = "500W"\n'
    fleet.path.write_text(text(extra=alone).replace('["r1"]', '["c"]', 1))
    fleet.outlooks = fleet.opened()
    fleet.history()
    fleet.outlooks.begin()
    kinds = [
        {one.kind for one in told_quality(fleet.outlooks, tier)}
        for tier in (Tier.OPERATOR, Tier.CONFIDENTIAL)
    ]
    assert kinds[0] - kinds[1] == {int(NodeKind.CHASSIS)}
    assert kinds[1] == {SITE, RACK, HOST}


def test_before_the_first_outlook_nothing_is_told(tmp_path: Path) -> None:
    assert told_quality(Fleet(tmp_path).outlooks, Tier.CONFIDENTIAL) == []


SHARES = st.floats(0, 1)


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 20), SHARES, SHARES)))
def test_what_is_told_is_rounded_and_of_many(drawn: list[tuple[int, int, float, float]]) -> None:
    hosts = Counter({kind: count for kind, count, _, _ in drawn})
    every = [
        Calibration(Predictor.CONFORMAL, kind, 60, 0.9, 5, coverage, pinball)
        for kind, _, coverage, pinball in drawn
    ]
    told = of_many(every, hosts)
    assert len(told) == sum(hosts[one.kind] >= LEAST_HOSTS for one in every)
    assert all(hosts[one.kind] >= LEAST_HOSTS for one in told)
    steps = [value * 10**DIGITS for one in told for value in (one.coverage, one.pinball)]
    assert all(abs(step - round(step)) < 1e-6 for step in steps)
