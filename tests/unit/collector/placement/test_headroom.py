from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.headroom import NodeHeadroom, headrooms
from chipwatt.collector.placement.host_watch import STALE_AFTER_S
from chipwatt.collector.placement.outlook import DEFAULT_HORIZON_S, DEFAULT_QUANTILE, Outlook
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.collector.placement.sums import Sums
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.placement.trust import Quality
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Flag
from chipwatt.core.records import Records
from chipwatt.v1 import placement_pb2
from fakes.telemetry_records import T0_S, a_batch, a_host, a_second, seconds_of, steady

W = 1_000
NOW_S = T0_S + RING_S
NOW_NS = NOW_S * NS_PER_S
Series = Mapping[int, tuple[int, int | None]]


def site(*, budget_mw: int = 0, rated_mw: int = 0, hosts: int = 2) -> Topology:
    nodes = [PowerNode("site", NodeKind.SITE, budget_mw=budget_mw)]
    nodes += [
        PowerNode(f"h{i}", NodeKind.HOST, (Parent("site"),), rated_mw=rated_mw)
        for i in range(hosts)
    ]
    return Topology(nodes)


def latest_of(*series: Series | None) -> Latest:
    """Take over host seconds by (second since T0: (mean, peak)); None: never heard of."""
    latest = Latest()
    for number, of_host in enumerate(series):
        if of_host:
            records = seconds_of({T0_S + s: power for s, power in of_host.items()})
            latest.on_commit([a_batch(a_host(number), records)])
    return latest


def outlook_at(topology: Topology, latest: Latest, now_ns: int = NOW_NS) -> Outlook:
    """Return the outlook of a collector that has just read its newest state back."""
    hosts = [latest.resolve(a_host(number).hex()) for number in range(len(topology.hosts))]
    sums = Sums(topology, latest)
    sums.resolve(hosts, now_ns // NS_PER_S)
    now = sums.look(now_ns // NS_PER_S)
    predictions = Predictions(topology, sums.hung)
    predictions.take(sums.bins(now.second - RING_S + 1, now.final_s))
    return Outlook("now", now_ns, now, np.zeros(len(topology.nodes)), predictions)


def answers(topology: Topology, latest: Latest, now_ns: int = NOW_NS) -> dict[str, NodeHeadroom]:
    outlook = outlook_at(topology, latest, now_ns)
    every = range(len(topology.nodes))
    asked = [(DEFAULT_HORIZON_S, DEFAULT_QUANTILE)]
    return {a.node_id: a for a in headrooms(outlook, every, asked)}


def constant(mean_mw: int, peak_mw: int | None, first: int = 1, last: int = RING_S) -> Series:
    return dict.fromkeys(range(first, last + 1), (mean_mw, peak_mw))


def test_numbers_are_those_of_the_wire() -> None:
    for predictor in Predictor:
        assert int(placement_pb2.Predictor.Value(f"PREDICTOR_{predictor.name}")) == predictor
    for quality in Quality:
        assert int(placement_pb2.Quality.Value(f"QUALITY_{quality.name}")) == quality


def test_peaks_at_different_times_do_not_add_up() -> None:
    one = {**constant(100 * W, 110 * W), 50: (300 * W, 400 * W)}
    two = {**constant(100 * W, 110 * W), 90: (300 * W, 400 * W)}
    got = answers(site(budget_mw=1_000 * W), latest_of(one, two))
    assert got["h0"].predicted_peak_mw == 400 * W
    assert got["site"].predicted_peak_mw == 510 * W
    assert got["site"].peak_1s_mw == 400 * W
    assert got["site"].now_mw == 200 * W
    assert got["site"].mean_mw == pytest.approx(200 * W + 400 * W / RING_S, abs=1)
    assert got["site"].headroom_mw == 490 * W
    assert got["site"].trust.quality == (Quality.COLD_START,)  # ten minutes score nothing yet
    assert got["site"].trust.reporting_ppm == 1_000_000
    assert got["site"].trust.predictor is Predictor.RECENT_MAX
    assert got["site"].trust.as_of_unix_ns == NOW_NS


def test_peaks_at_the_same_time_do_add_up() -> None:
    one = {**constant(100 * W, 110 * W), 50: (300 * W, 400 * W)}
    assert answers(site(), latest_of(one, one))["site"].predicted_peak_mw == 800 * W


def test_without_any_budget_headroom_is_unlimited() -> None:
    got = answers(site(), latest_of(constant(1, 2), constant(1, 2)))
    assert (got["h0"].headroom_mw, got["h0"].binding_node_id) == (None, "")


def test_the_binding_node_is_named_over_both_feeds() -> None:
    topology = Topology(
        [
            PowerNode("site", NodeKind.SITE, budget_mw=5_000 * W),
            PowerNode("a", NodeKind.FEED, (Parent("site", "A"),), budget_mw=400 * W),
            PowerNode("b", NodeKind.FEED, (Parent("site", "B"),), budget_mw=200 * W,
                      safety_margin_ppm=100_000),
            PowerNode("h0", NodeKind.HOST, (Parent("a", "A", 600_000), Parent("b", "B", 400_000)),
                      rated_mw=900 * W, budget_mw=900 * W),
        ]
    )  # fmt: skip
    got = answers(topology, latest_of(constant(100 * W, 300 * W)))
    assert got["a"].predicted_peak_mw == 180 * W
    assert got["b"].predicted_peak_mw == 120 * W
    assert got["site"].predicted_peak_mw == 300 * W
    assert got["b"].headroom_mw == 60 * W
    assert (got["a"].headroom_mw, got["a"].binding_node_id) == (220 * W, "a")
    assert (got["h0"].headroom_mw, got["h0"].binding_node_id) == (60 * W, "b")
    assert got["h0"].trust.reporting_ppm == got["site"].trust.reporting_ppm == 1_000_000


def test_an_exceeded_budget_is_negative_headroom() -> None:
    got = answers(site(budget_mw=100 * W, hosts=1), latest_of(constant(100 * W, 150 * W)))
    assert got["h0"].headroom_mw == -50 * W


def test_a_silent_host_counts_with_its_nameplate() -> None:
    gone = constant(100 * W, 120 * W, last=RING_S - STALE_AFTER_S - 1)
    outlook = outlook_at(site(rated_mw=700 * W), latest_of(constant(100 * W, 120 * W), gone))
    assert outlook.peak_1s_mw.tolist() == [800 * W, 100 * W, 700 * W]
    got = answers(site(rated_mw=700 * W), latest_of(constant(100 * W, 120 * W), gone))
    # N-sigma takes the fall of what is measured for a swing.
    assert got["site"].trust.predictor is Predictor.N_SIGMA
    assert 820 * W < got["site"].predicted_peak_mw < 1_000 * W
    assert got["site"].now_mw == 800 * W
    assert set(got["site"].trust.quality) == {Quality.STALE, Quality.PARTIAL, Quality.COLD_START}
    assert got["site"].trust.reporting_ppm == 500_000
    assert got["site"].trust.staleness_ms == STALE_AFTER_S * 1_000
    assert got["h1"].trust.predictor is Predictor.NAMEPLATE


def test_a_silent_host_without_nameplate_counts_with_its_highest_peak() -> None:
    gone = {**constant(100 * W, 120 * W, last=300), 7: (200 * W, 500 * W)}
    assert answers(site(), latest_of(None, gone))["site"].predicted_peak_mw == 500 * W


def test_a_host_never_heard_of() -> None:
    got = answers(site(rated_mw=700 * W), latest_of(constant(100 * W, 120 * W), None))
    assert got["site"].predicted_peak_mw == 820 * W
    assert got["site"].trust.quality == (Quality.PARTIAL, Quality.COLD_START)
    nobody = answers(site(budget_mw=1_000 * W), latest_of(None, None))["site"]
    assert nobody.trust.reporting_ppm == 0


def test_seconds_on_their_way_hold_the_last_value() -> None:
    low, late = constant(100 * W, 120 * W), constant(100 * W, 120 * W, last=RING_S - 10)
    spike = {**late, 100: (300 * W, 900 * W)}
    got = answers(site(), latest_of(low, spike))["site"]
    assert got.predicted_peak_mw == 1_020 * W
    assert got.now_mw == 200 * W
    # A peak of the other host in the last seconds meets the held value, not the spike.
    high = {**low, RING_S - 2: (500 * W, 600 * W)}
    assert answers(site(), latest_of(high, late))["site"].predicted_peak_mw == 720 * W


def test_a_lost_second_counts_with_the_highest_peak() -> None:
    holed = {s: p for s, p in constant(100 * W, 120 * W).items() if s != 40}
    holed[100] = (300 * W, 900 * W)
    other = {**constant(100 * W, 120 * W), 40: (200 * W, 200 * W)}
    assert answers(site(), latest_of(other, holed))["site"].predicted_peak_mw == 1_100 * W


def test_short_history_and_models_are_told() -> None:
    young = constant(100 * W, None, first=500)
    got = answers(site(hosts=1), latest_of(young))["h0"]
    assert set(got.trust.quality) == {Quality.COLD_START, Quality.ESTIMATED_CHILD}
    assert got.predicted_peak_mw == 100 * W
    latest = Latest()
    model = [a_second(T0_S + s, 5, 6, flags=Flag.ESTIMATED) for s in range(1, RING_S + 1)]
    latest.on_commit([a_batch(a_host(0), Records(host_seconds=tuple(model)))])
    told = answers(site(hosts=1), latest)["h0"].trust.quality
    assert told == (Quality.COLD_START, Quality.ESTIMATED_CHILD)


def test_a_topology_without_hosts() -> None:
    topology = Topology([PowerNode("site", NodeKind.SITE, budget_mw=7 * W)])
    got = answers(topology, Latest())["site"]
    assert (got.predicted_peak_mw, got.headroom_mw) == (0, 7 * W)
    assert got.trust.quality == ()


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Topology, list[Series]]:
    """Draw two feeds under a site, racks on one or both, hosts on racks, and their seconds."""
    budget = st.one_of(st.just(0), st.integers(1, 5_000 * W))
    margin = st.integers(0, 500_000)
    nodes = [PowerNode("site", NodeKind.SITE, (), 0, draw(budget), draw(margin))]
    nodes += [
        PowerNode(feed, NodeKind.FEED, (Parent("site"),), 0, draw(budget), draw(margin))
        for feed in ("a", "b")
    ]
    series: list[Series] = []
    for number in range(draw(st.integers(1, 3))):
        share = draw(st.integers(0, 1_000_000))
        both = (Parent("a", "A", share), Parent("b", "B", 1_000_000 - share))
        parents = draw(st.sampled_from([both, (Parent("a"),), (Parent("b"),)]))
        rack = f"r{number}"
        nodes.append(PowerNode(rack, NodeKind.RACK, parents, 0, draw(budget), draw(margin)))
        for _ in range(draw(st.integers(0, 2))):
            rated = draw(st.integers(0, 2_000 * W))
            name = f"h{len(series)}"
            nodes.append(PowerNode(name, NodeKind.HOST, (Parent(rack),), rated, draw(budget)))
            seconds = draw(
                st.dictionaries(
                    st.integers(RING_S - 40, RING_S),
                    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
                    max_size=8,
                )
            )
            series.append({s: (min(p), max(p)) for s, p in seconds.items()})
    return Topology(nodes), series


def in_order(topology: Topology, series: list[Series]) -> list[Series]:
    return [series[int(topology.nodes[i].id[1:])] for i in topology.hosts.tolist()]


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_headroom_of_a_child_is_at_most_that_of_any_parent(
    fleet: tuple[Topology, list[Series]],
) -> None:
    topology, series = fleet
    got = answers(topology, latest_of(*in_order(topology, series)))
    for node in topology.nodes:
        own = got[node.id]
        if own.headroom_mw is None:
            assert all(got[parent.id].headroom_mw is None for parent in node.parents)
            continue
        above = [got[parent.id].headroom_mw for parent in node.parents]
        assert all(own.headroom_mw <= room for room in above if room is not None)
        binding = got[own.binding_node_id]
        assert binding.budget_mw > 0
        assert binding.headroom_mw == own.headroom_mw
        assert own.peak_1s_mw <= own.predicted_peak_mw + 1
        assert own.mean_mw <= own.peak_1s_mw


@settings(max_examples=60, deadline=None)
@given(fleets(), st.data())
def test_more_load_never_makes_more_headroom(
    fleet: tuple[Topology, list[Series]], data: st.DataObject
) -> None:
    topology, series = fleet
    before = answers(topology, latest_of(*in_order(topology, series)))
    more: list[Series] = []
    for of_host in series:
        up = data.draw(st.integers(0, 10**6))
        touched = data.draw(st.sets(st.sampled_from(sorted(of_host)))) if of_host else set()
        more.append(
            {
                s: (m + up, (p or 0) + up) if s in touched else (m, p)
                for s, (m, p) in of_host.items()
            }
        )
    after = answers(topology, latest_of(*in_order(topology, more)))
    for name, old in before.items():
        assert after[name].predicted_peak_mw >= old.predicted_peak_mw
        assert after[name].now_mw >= old.now_mw
        if old.headroom_mw is not None:
            new = after[name].headroom_mw
            assert new is not None
            assert new <= old.headroom_mw


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_what_feeds_carry_sums_to_what_the_site_draws(
    fleet: tuple[Topology, list[Series]],
) -> None:
    topology, series = fleet
    got = answers(topology, latest_of(*in_order(topology, series)))
    assert got["a"].now_mw + got["b"].now_mw == pytest.approx(got["site"].now_mw, abs=2)
    assert got["a"].mean_mw + got["b"].mean_mw == pytest.approx(got["site"].mean_mw, abs=2)


def test_ten_minutes_slide() -> None:
    latest = latest_of({**constant(100 * W, 120 * W), 5: (100 * W, 999 * W)})
    assert answers(site(hosts=1), latest)["h0"].predicted_peak_mw == 999 * W
    later = steady(T0_S + RING_S + 1, [(100 * W, 120 * W)] * 20)
    latest.on_commit([a_batch(a_host(0), later)])
    got = answers(site(hosts=1), latest, NOW_NS + 20 * NS_PER_S)["h0"]
    assert got.predicted_peak_mw == 120 * W
