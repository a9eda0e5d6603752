"""Sums of what happened at once: late data, lost data, and the bins that the forecast takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.sums import NodesNow, Sums
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from fakes.fleet_moment import take_seconds
from fakes.telemetry_records import T0_S, a_host

W = 1_000
NOW_S = T0_S + 600
LAG_S = 15


def rack(*rated_mw: int) -> Topology:
    nodes = [PowerNode("rack", NodeKind.RACK)]
    nodes += [
        PowerNode(f"h{n}", NodeKind.HOST, (Parent("rack"),), rated)
        for n, rated in enumerate(rated_mw)
    ]
    return Topology(nodes)


def tell(latest: Latest, host: int, first_s: int, means: list[int]) -> None:
    mean = np.array([means])
    take_seconds(latest, [a_host(host)], first_s, mean, mean + 10 * W)


class Watched:
    """Sums over a topology, told which hosts there are whenever they look."""

    def __init__(self, topology: Topology) -> None:
        self.topology, self.latest = topology, Latest()
        self.sums = Sums(topology, self.latest)

    def look(self, now_s: int = NOW_S) -> NodesNow:
        hosts = range(len(self.topology.hosts))
        self.sums.resolve([self.latest.resolve(a_host(n).hex()) for n in hosts], now_s)
        return self.sums.look(now_s)


def test_late_seconds_are_folded_in_until_a_bin_is_final() -> None:
    watched = Watched(rack(500 * W, 500 * W))
    for host in (0, 1):
        tell(watched.latest, host, NOW_S - 599, [100 * W] * 600)
    watched.look()
    tell(watched.latest, 0, NOW_S + 1, [300 * W] * 3)
    assert watched.look(NOW_S + 3).history_mw(np.array([0]))[0, -3:].tolist() == [400 * W] * 3
    tell(watched.latest, 1, NOW_S + 1, [200 * W] * 3)
    late = watched.look(NOW_S + 3)
    assert late.history_mw(np.array([0]))[0, -4:].tolist() == [200 * W, *[500 * W] * 3]
    assert late.final_s == NOW_S + 3 - LAG_S + 1
    later = watched.look(NOW_S + 3 + LAG_S)
    (last,) = watched.sums.bins(later.final_s - 1, later.final_s)
    assert (last.second, last.mean_mw[0], last.peak_mw[0]) == (NOW_S + 3, 500 * W, 520 * W)
    assert later.history_mw(np.array([0]))[0, -LAG_S - 3 : -LAG_S].tolist() == [500 * W] * 3


def test_a_silent_host_widens_every_second_of_the_ten_minutes() -> None:
    watched = Watched(rack(500 * W, 700 * W))
    tell(watched.latest, 0, NOW_S - 599, [100 * W] * 640)
    tell(watched.latest, 1, NOW_S - 599, [200 * W] * 600)
    assert set(watched.look().history_mw(np.array([0]))[0].tolist()) == {300 * W}
    stale = watched.look(NOW_S + 31)
    assert set(stale.history_mw(np.array([0]))[0].tolist()) == {800 * W}
    assert stale.assumed_mw.tolist() == [700 * W, 0, 700 * W]
    assert not stale.hosts.fresh[1]
    tell(watched.latest, 1, NOW_S + 1, [200 * W] * 31)
    back = watched.look(NOW_S + 32)
    assert set(back.history_mw(np.array([0]))[0].tolist()) == {300 * W}


def test_bins_say_what_share_was_heard_from() -> None:
    watched = Watched(rack(500 * W, 700 * W))
    tell(watched.latest, 0, NOW_S - 599, [100 * W] * 700)
    tell(watched.latest, 1, NOW_S - 599, [200 * W] * 600)
    now = watched.look(NOW_S + 40)
    bins = list(watched.sums.bins(now.final_s - 3, now.final_s))
    assert [b.second for b in bins] == [NOW_S + 23, NOW_S + 24, NOW_S + 25]
    assert [b.known.tolist() for b in bins] == [[0.5, 1.0, 0.0]] * 3
    assert [b.mean_mw.tolist() for b in bins] == [[800 * W, 100 * W, 700 * W]] * 3
    assert [b.assumed_mw.tolist() for b in bins] == [[700 * W, 0.0, 700 * W]] * 3


def test_what_is_made_up_for_leaves_out_seconds_without_any_telemetry() -> None:
    watched = Watched(rack(500 * W, 500 * W))
    for host in (0, 1):
        tell(watched.latest, host, NOW_S - 599, [100 * W] * 400)
        tell(watched.latest, host, NOW_S - 99, [100 * W] * 100)
    tell(watched.latest, 0, NOW_S - 150, [100 * W])
    now = watched.look()
    bins = {b.second: b for b in watched.sums.bins(NOW_S - 599, now.final_s)}
    lost = set(range(NOW_S - 599, now.final_s)) - bins.keys()
    assert lost == set(range(NOW_S - 199, NOW_S - 99)) - {NOW_S - 150}
    half = bins[NOW_S - 150]
    assert half.known.tolist() == [0.5, 1.0, 0.0]  # a filled hole is not heard from
    assert bins[NOW_S - 300].known.tolist() == [1.0, 1.0, 1.0]


def test_rc_like_sums_the_99th_percentiles_of_the_hosts() -> None:
    watched = Watched(rack(900 * W, 900 * W))
    spikes = [100 * W] * 600
    spikes[10:17] = [500 * W] * 7  # the seven highest of 600: the seventh is the percentile
    tell(watched.latest, 0, NOW_S - 599, spikes)
    rare = [100 * W] * 600
    rare[10:16] = [500 * W] * 6
    tell(watched.latest, 1, NOW_S - 599, rare)
    assert watched.look().hosts.rc_like_mw.tolist() == [510 * W, 110 * W]


def test_chips_add_nothing_to_their_host() -> None:
    nodes = [PowerNode("h", NodeKind.HOST, rated_mw=500 * W)]
    nodes += [PowerNode(f"g{n}", NodeKind.CHIP, (Parent("h"),), 300 * W) for n in range(2)]
    watched = Watched(Topology(nodes))
    tell(watched.latest, 0, NOW_S - 599, [100 * W] * 600)
    assert watched.look().now_mw.tolist() == [100 * W, 0.0, 0.0]
    assert watched.sums.hung.tolist() == [1.0, 0.0, 0.0]


def test_a_topology_without_hosts_has_bins_too() -> None:
    watched = Watched(Topology([PowerNode("site", NodeKind.SITE)]))
    now = watched.look()
    (only,) = watched.sums.bins(now.final_s - 1, now.final_s)
    assert (only.mean_mw.tolist(), only.known.tolist()) == ([0.0], [0.0])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_however_it_arrives_the_final_bins_are_the_same(data: st.DataObject) -> None:
    """Second by second or in one go, in any order: sums are of what happened at once."""
    powers = data.draw(
        st.lists(st.lists(st.integers(1, 10**6), min_size=20, max_size=20), min_size=1, max_size=3)
    )
    topology = rack(*[10**6] * len(powers))
    whole, piecewise = Watched(topology), Watched(topology)
    first_s = NOW_S - 19
    for host, means in enumerate(powers):
        tell(whole.latest, host, first_s, means)
    pieces = [(host, at) for host in range(len(powers)) for at in range(20)]
    for host, at in data.draw(st.permutations(pieces)):
        tell(piecewise.latest, host, first_s + at, [powers[host][at]])
        piecewise.look(NOW_S)
    end = NOW_S + LAG_S
    span = (end - LAG_S - 10, end - LAG_S + 1)
    whole.look(end)
    piecewise.look(end)
    for one, other in zip(whole.sums.bins(*span), piecewise.sums.bins(*span), strict=True):
        expected = sum(means[one.second - first_s] for means in powers)
        assert one.mean_mw[0] == other.mean_mw[0] == pytest.approx(expected)
        assert one.peak_mw.tolist() == other.peak_mw.tolist()
