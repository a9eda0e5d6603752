from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.topology import PowerNode, Topology
from chipwatt.collector.placement.ways import HostWays, ways_up
from unit.collector.placement.test_topology import graphs


@given(graphs(), st.data())
def test_shares_on_the_way_up_are_what_a_load_leaves_there(
    nodes: list[PowerNode], data: st.DataObject
) -> None:
    topology = Topology(nodes)
    position = data.draw(st.integers(0, len(nodes) - 1))
    loads = np.zeros((len(nodes), 1))
    loads[position] = 1.0
    topology.carry_up(loads)
    at, share = ways_up(topology, position)
    assert at.tolist() == sorted(at.tolist())
    carried = np.zeros(len(nodes))
    carried[at] = share
    assert carried == pytest.approx(loads[:, 0])


@given(graphs())
def test_the_ways_of_all_hosts_are_those_of_each(nodes: list[PowerNode]) -> None:
    topology = Topology(nodes)
    ways = HostWays(topology)
    for row, position in enumerate(topology.hosts.tolist()):
        at, share = ways_up(topology, position)
        group = ways.group[row]
        inside = ways.ancestors[group] != ways.nowhere
        assert ways.ancestors[group][inside].tolist() == [i for i in at.tolist() if i != position]
        assert ways.shares[group][inside] == pytest.approx(share[at != position])
        assert ways.row[position] == row
