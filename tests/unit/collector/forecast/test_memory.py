"""Memory: below 2 kB a node, no more of it as time goes by, and only so many cohorts."""

from __future__ import annotations

import tracemalloc

import numpy as np

from chipwatt.collector.forecast.contract import NodeSpec
from chipwatt.collector.forecast.forecaster import Forecaster
from unit.collector.forecast.fleets import RATED_MW, START_S, specs


def test_a_node_takes_less_than_two_kilobytes() -> None:
    took = []
    for nodes in (1_000, 3_000):
        tracemalloc.start()
        forecaster = Forecaster(specs(nodes))
        power = np.full(nodes, 5e5)
        for second in range(150):
            forecaster.step(START_S + second, power, power, power)
        took.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    history = 384  # the running day of the template
    assert (took[1] - took[0]) / 2_000 - history < 2_000


RINGS = ("scores.", "by_minute.")


def test_does_not_grow_within_a_day() -> None:
    forecaster = Forecaster(specs(50))
    sizes = []
    for second in range(START_S, START_S + 4_000):
        power = np.full(50, 5e5 + second % 7)
        forecaster.step(second, power, power)
        if second in (START_S + 1_500, START_S + 3_999):
            forecaster.predict(60, 0.99)
            state = forecaster.state()
            sizes.append(sum(v.nbytes for k, v in state.items() if not k.startswith(RINGS)))
    assert sizes[0] == sizes[1]


def test_a_class_for_every_node_shares_cohorts() -> None:
    nodes = [NodeSpec(f"n{n}", n % 9, f"class-{n}", RATED_MW, RATED_MW) for n in range(3_000)]
    keys = set(Forecaster(nodes).state()["cohorts.keys"].tolist())
    assert len(keys) <= 48 + 9
    assert {f"{kind}/" for kind in range(9)} <= keys
