"""Outlooks without a file of the topology: it grows as hosts appear."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.core.clock import NS_PER_S, VirtualClock
from fakes.fleet_moment import take_seconds
from fakes.telemetry_records import T0_S, a_host

MINUTE = (60, 0.99)


def test_without_a_file_the_graph_grows_as_hosts_appear() -> None:
    clock, latest = VirtualClock((T0_S + 600) * NS_PER_S), Latest()
    outlooks = Outlooks(latest, clock.unix_ns)
    assert [node.id for node in outlooks.tick().topology.nodes] == ["site"]
    version = outlooks.topology.version
    mean = np.full((1, 600), 70_000)
    outlook = outlooks.latest()
    for number in (1, 2):
        take_seconds(latest, [a_host(number)], T0_S + 1, mean, mean)
        outlook = outlooks.latest()  # without a tick between
        assert outlook.now_mw[0] == 70_000 * number
        assert outlook.topology.version > version
        version = outlook.topology.version
    assert outlook.mean_mw.tolist() == [140_000, 70_000, 70_000]
    least, whose = outlook.room(*MINUTE)
    assert whose.tolist() == [-1, -1, -1]
    assert np.isinf(least).all()


def test_a_large_fleet_without_a_file_is_not_made_anew_for_every_host() -> None:
    clock, latest = VirtualClock((T0_S + 60) * NS_PER_S), Latest()
    outlooks = Outlooks(latest, clock.unix_ns)
    hosts = [a_host(n) for n in range(1, 1_101)]
    mean = np.full((1_100, 1), 70_000)
    take_seconds(latest, hosts, T0_S + 59, mean, mean)
    first = outlooks.tick().topology
    assert len(first.hosts) == 1_100
    take_seconds(latest, [a_host(5_000)], T0_S + 59, mean[:1], mean[:1])
    assert outlooks.latest().topology is first
    assert outlooks.latest() is outlooks.latest()
    clock.sleep_until(clock.mono_ns() + 10 * NS_PER_S)
    assert len(outlooks.tick().topology.hosts) == 1_101
