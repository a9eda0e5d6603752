from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement.event_finder import MAX_ADVISED, SETTLE_S, EventFinder
from chipwatt.collector.placement.event_levels import RECENT_S, Sight
from chipwatt.collector.placement.power_event import RULES, PowerEvent, PowerEventKind, Severity
from chipwatt.collector.placement.topology import Breaker, NodeKind, Parent, PowerNode, Topology
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2

W = 1_000
T0_S = 1_790_000_000
Kind = PowerEventKind


def hall(budget_mw: int = 1_000 * W, breaker: Breaker | None = None) -> Topology:
    return Topology(
        [
            PowerNode("site", NodeKind.SITE),
            PowerNode("pdu", NodeKind.PDU, (Parent("site"),), budget_mw=budget_mw, breaker=breaker),
            PowerNode("other", NodeKind.PDU, (Parent("site"),)),
            *(PowerNode(f"h{i}", NodeKind.HOST, (Parent("pdu"),), 500 * W) for i in range(3)),
            PowerNode("both", NodeKind.HOST, (Parent("pdu"), Parent("other"))),
            PowerNode("far", NodeKind.HOST, (Parent("other"),)),
        ]
    )


class Watch:
    """A finder that is shown one second after another."""

    def __init__(self, topology: Topology | None = None, *, settled: bool = True) -> None:
        self.topology = topology or hall()
        self.finder = EventFinder(lambda: {"h1": 5})
        self.second = T0_S
        self.newest_s = np.full(len(self.topology.hosts), T0_S)
        if settled:
            for _ in range(SETTLE_S + 120):
                assert self.see(0) == []

    def see(
        self,
        pdu_w: float,
        *,
        silent: Sequence[int] = (),
        recent_w: Sequence[float] | None = None,
        step_s: int = 1,
    ) -> list[PowerEvent]:
        """Show a second in which the PDU draws so much; ``silent`` are rows of hosts."""
        self.second += step_s
        topology = self.topology
        heard = np.ones(len(topology.hosts), dtype=bool)
        heard[list(silent)] = False
        self.newest_s = np.where(heard, self.second, self.newest_s)
        now_mw = np.zeros(len(topology.nodes))
        now_mw[topology.index["pdu"]] = pdu_w * W
        recent = np.full(RECENT_S, pdu_w) if recent_w is None else np.array(recent_w)

        def sight(budgeted: Array) -> Sight:
            assert [topology.nodes[i].id for i in budgeted.tolist()] == ["pdu"]
            return Sight(self.second, now_mw, recent[np.newaxis] * W, self.newest_s, heard)

        return self.finder.find(topology, sight)


def told(events: Sequence[PowerEvent], node_id: str = "pdu") -> list[tuple[Kind, bool]]:
    return [(e.rule.kind, e.is_over) for e in events if e.node_id == node_id]


def test_numbers_are_those_of_the_wire() -> None:
    for kind in Kind:
        assert int(placement_pb2.PowerEventKind.Value(f"POWER_EVENT_KIND_{kind.name}")) == kind
    for severity in Severity:
        assert int(placement_pb2.Severity.Value(f"SEVERITY_{severity.name}")) == severity
    assert [rule.kind for rule in RULES] == [kind for kind in Kind if kind is not Kind.CLEARED]


def test_each_threshold_is_told_once_on_the_way_up_and_once_on_the_way_down() -> None:
    watch = Watch()
    one, two, over = Kind.THRESHOLD_1, Kind.THRESHOLD_2, Kind.OVER_BUDGET
    steps = [
        (799, []), (800, [(one, False)]), (889, []), (890, [(two, False)]), (880, []),
        (1_000, [(over, False)]), (950, []), (949, [(over, True)]), (841, []),
        (839, [(two, True)]), (751, []), (749, [(one, True)]), (100, []),
    ]  # fmt: skip
    for watts, events in steps:
        assert told(watch.see(watts)) == events, watts
    assert told(watch.see(1_200)) == [(one, False), (two, False), (over, False)]


def test_an_event_says_what_was_seen_and_against_which_limit() -> None:
    (event,) = Watch().see(810)
    assert (event.observed_mw, event.limit_mw) == (810 * W, 800 * W)
    assert event.rule.severity is Severity.INFO
    assert event.at_unix_ns == (T0_S + SETTLE_S + 121) * NS_PER_S
    assert event.advice == ()


def racks(count: int) -> tuple[Topology, Array]:
    """Return racks of one host each under a site, and what all draw: every rack its budget."""
    nodes = [PowerNode("site", NodeKind.SITE, budget_mw=count * 100 * W)]
    for i in range(count):
        nodes.append(PowerNode(f"r{i}", NodeKind.RACK, (Parent("site"),), budget_mw=100 * W))
        nodes.append(PowerNode(f"h{i}", NodeKind.HOST, (Parent(f"r{i}"),), rated_mw=120 * W))
    topology = Topology(nodes)
    loads = np.zeros((len(nodes), 1))
    loads[topology.hosts] = 100 * W
    topology.carry_up(loads)
    return topology, loads[:, 0]


def storm(count: int) -> list[PowerEvent]:
    topology, now_mw = racks(count)
    hosts = np.full(len(topology.hosts), T0_S)

    def sight(budgeted: Array) -> Sight:
        still = np.zeros((len(budgeted), RECENT_S))
        return Sight(T0_S, now_mw, still, hosts, hosts > 0)

    return EventFinder(lambda: {"h1": 5}).find(topology, sight)


def test_advice_brings_a_node_to_where_its_event_ends() -> None:
    over = {e.node_id: e for e in storm(2) if e.rule.kind is Kind.OVER_BUDGET}
    assert over["site"].observed_mw == over["site"].limit_mw == 200 * W
    assert [(a.target_id, a.cap_mw) for a in over["site"].advice] == [("h0", 90 * W)]
    (advice,) = over["r1"].advice
    assert (advice.target_id, advice.cap_mw, advice.priority) == ("h1", 95 * W, 5)
    assert advice.expected_saving_mw == 5 * W


def test_in_a_storm_only_the_worst_and_highest_are_advised() -> None:
    events = storm(MAX_ADVISED + 10)
    over = [e for e in events if e.rule.kind is Kind.OVER_BUDGET]
    assert len(over) == MAX_ADVISED + 11
    assert [bool(e.advice) for e in over] == [True] * MAX_ADVISED + [False] * 11
    assert not any(e.advice for e in events if e.rule.kind is not Kind.OVER_BUDGET)


@settings(deadline=None)
@given(st.lists(st.integers(700, 1_100), min_size=1, max_size=60))
def test_what_trembles_is_not_told_again(levels: list[int]) -> None:
    watch = Watch(settled=False)
    raised: dict[Kind, bool] = {}
    for watts in levels:
        for event in watch.see(watts):
            kind = event.rule.kind
            if event.node_id != "pdu" or kind not in (Kind.THRESHOLD_1, Kind.OVER_BUDGET):
                continue
            assert raised.get(kind, False) == event.is_over
            raised[kind] = not event.is_over
            threshold = 800 if kind is Kind.THRESHOLD_1 else 1_000
            assert watts >= threshold if raised[kind] else watts < threshold - 50
        for kind, threshold in ((Kind.THRESHOLD_1, 800), (Kind.OVER_BUDGET, 1_000)):
            if watts >= threshold:
                assert raised.get(kind)
            elif watts < threshold - 50:
                assert not raised.get(kind)


@pytest.mark.parametrize(
    ("recent_w", "kind"),
    [
        ([100] * 10 + [200], Kind.RAMP),  # a step of a tenth of the budget in one second
        ([100 + 20 * s for s in range(11)], Kind.RAMP),
        ([300 - 20 * s for s in range(11)], Kind.RAMP),
        ([100, 300] * 5 + [100], Kind.SWING_BAND),
    ],
)
def test_ramps_and_swings(recent_w: list[int], kind: Kind) -> None:
    watch = Watch()
    # The last second of the swing is also a step; here it rests on the way.
    calm = [*recent_w[:-2], recent_w[-1], recent_w[-1]] if kind is Kind.SWING_BAND else recent_w
    (event,) = watch.see(100, recent_w=calm)
    assert event.rule.kind is kind
    assert (event.observed_mw, event.limit_mw) == (200 * W, 200 * W)
    assert told(watch.see(100)) == [(kind, True)]


def test_a_ramp_is_no_swing_and_little_is_neither() -> None:
    watch = Watch()
    assert told(watch.see(100, recent_w=[0] + [500] * 10)) == [(Kind.RAMP, False)]
    watch = Watch()
    assert watch.see(100, recent_w=[100, 290] * 5 + [195]) == []
    assert watch.see(100, recent_w=[100, 295, 295] * 3 + [100, 100]) == []


def test_a_breaker_that_trips_soon() -> None:
    watch = Watch(hall(10_000 * W, Breaker("iec-very-inverse", 1_000 * W)))
    # 13.5 s / 0.01 = 1350 s away: not yet, but the heat gathers.
    seen = [watch.see(1_010) for _ in range(1_350 - 600 + 1)]
    assert not any(seen[:-2])
    (event,) = seen[-2] or seen[-1]
    assert event.rule.kind is Kind.BREAKER_RISK
    assert 595 <= event.time_to_trip_s <= 600
    assert (event.observed_mw, event.limit_mw) == (1_010 * W, 1_000 * W)
    assert watch.see(960) == []
    (over,) = watch.see(940)
    assert (over.rule.kind, over.is_over, over.time_to_trip_s) == (Kind.BREAKER_RISK, True, 0)


def test_a_breaker_of_unknown_curve_is_told_without_a_time() -> None:
    watch = Watch(hall(10_000 * W, Breaker("house", 1_000 * W)))
    assert watch.see(1_000) == []
    (event,) = watch.see(1_001)
    assert (event.rule.kind, event.time_to_trip_s) == (Kind.BREAKER_RISK, 0)


def test_heat_outlives_a_reload() -> None:
    breaker = Breaker("iec-very-inverse", 1_000 * W)
    watch = Watch(hall(10_000 * W, breaker))
    for _ in range(700):
        watch.see(1_010)
    watch.topology = hall(10_001 * W, breaker)
    later = [told(watch.see(1_010)) for _ in range(60)]
    assert [events for events in later if events] == [[(Kind.BREAKER_RISK, False)]]


def test_a_feed_is_lost_when_all_that_live_of_it_fall_silent_at_once() -> None:
    watch = Watch()
    assert told(watch.see(0, silent=[0])) == []
    assert told(watch.see(0, silent=[0, 1])) == [(Kind.TELEMETRY_LOST, False)]
    events = watch.see(0, silent=[0, 1, 2])
    assert told(events) == [(Kind.FEED_LOSS, False)]
    assert told(watch.see(0, silent=[0, 1])) == [(Kind.FEED_LOSS, True)]
    assert told(watch.see(0)) == [(Kind.TELEMETRY_LOST, True)]


def test_hosts_that_went_one_by_one_lost_no_feed() -> None:
    watch = Watch()
    silent: list[int] = []
    for row in range(3):
        silent.append(row)
        for _ in range(70):
            assert (Kind.FEED_LOSS, False) not in told(watch.see(0, silent=silent))


def test_when_everything_is_silent_it_is_not_the_feed() -> None:
    watch = Watch()
    every = range(5)
    assert (Kind.FEED_LOSS, False) not in told(watch.see(0, silent=every))
    watch = Watch()
    watch.see(0, silent=[0, 1, 2])
    assert told(watch.see(0, silent=every)) == []  # and what was raised stays


def test_silence_says_nothing_just_after_a_start() -> None:
    watch = Watch(settled=False)
    for _ in range(SETTLE_S):
        assert watch.see(0, silent=[0, 1, 2]) == []
    assert (Kind.TELEMETRY_LOST, False) in told(watch.see(0, silent=[0, 1, 2]))


def test_a_host_never_heard_of_is_not_lost() -> None:
    watch = Watch()
    watch.newest_s[:] = 0
    assert watch.see(0, silent=range(5)) == []


def test_what_stands_in_for_a_silent_host_is_no_ramp() -> None:
    watch = Watch()
    step = [100] * 5 + [600] * 6
    assert told(watch.see(600, silent=[0], recent_w=step)) == []
    assert (Kind.RAMP, False) in told(Watch().see(600, recent_w=step))


def test_a_reload_keeps_what_is_raised_and_ends_what_is_gone() -> None:
    watch = Watch()
    watch.see(950)
    watch.topology = hall(1_000 * W + 1)
    assert told(watch.see(950)) == []
    watch.topology = hall(2_000 * W)
    assert told(watch.see(950)) == [(Kind.THRESHOLD_1, True), (Kind.THRESHOLD_2, True)]
    watch.see(0, silent=[0])
    left = Topology([node for node in watch.topology.nodes if node.id != "h0"])
    watch.topology, watch.newest_s = left, watch.newest_s[1:]
    (event,) = watch.see(0)
    assert (event.node_id, event.rule.kind, event.is_over) == ("h0", Kind.TELEMETRY_LOST, True)
