"""Power left under every budget, from the synchronous sums of the hosts beneath each node.

Every host becomes two series over the same six hundred seconds of wall time,
the mean and the peak within each second. Both are carried up the topology by
share, so a node's series is a sum of what happened at once. What is missing
widens a prediction and never narrows it:

- a host not heard from for 30 s counts with its nameplate or, where nobody
  gave one, with the highest peak it is known for, whichever is larger;
- where a host was never heard from and nobody gave it a nameplate, every budget
  above it counts as used up: what nobody knows is not given away;
- the seconds after a host's newest one hold its last value;
- any other missing second counts with the host's highest peak.

Seconds do not show whether the peaks of two hosts fell together within one of
them, so the predicted peak takes them as if they had: it is a prediction and
bounds the true peak of the sum from above. ``peak_1s_mw`` is measured, as it
adds means only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.rings import RING_S, HostStates
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.tables import Array

STALE_AFTER_S = 30
_WARM_S = RING_S - STALE_AFTER_S
_CHUNK_S = 60


class Predictor(IntEnum):
    """How a peak was predicted; numbers equal those of ``chipwatt.v1.Predictor``."""

    NAMEPLATE = 1
    RECENT_MAX = 2


class Quality(IntEnum):
    """What weakens an answer; numbers equal those of ``chipwatt.v1.Quality``."""

    STALE = 1
    """A host beneath was heard from, but not lately."""
    PARTIAL = 2
    """A host beneath gives no telemetry now."""
    COLD_START = 3
    """A host beneath has less than ten minutes of history."""
    ESTIMATED_CHILD = 4
    """A host beneath has a power model instead of a sensor, or one too slow for peaks."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How old an answer is and how far it can be trusted."""

    as_of_unix_ns: int
    """When the answer was computed."""
    staleness_ms: int
    """Age of the oldest newest second among the hosts beneath that ever sent one."""
    reporting_ppm: int
    predictor: Predictor
    quality: tuple[Quality, ...]


@dataclass(frozen=True, slots=True)
class NodeHeadroom:
    """The power of one node and what is left above it; mW."""

    node_id: str
    now_mw: int
    mean_mw: int
    peak_1s_mw: int
    predicted_peak_mw: int
    budget_mw: int
    headroom_mw: int | None
    """Least over the node and every ancestor on every feed; None: no budget on the way up."""
    binding_node_id: str
    trust: Trust


def compute_headroom(
    topology: Topology, hosts: Sequence[bytes | None], latest: Latest, now_unix_ns: int
) -> list[NodeHeadroom]:
    """Return the headroom of every node, in the topology's order.

    ``hosts`` are the ids behind ``topology.hosts``, None where a host is not known yet.
    """
    states = latest.states(hosts, now_unix_ns)
    rated_mw = np.array([topology.nodes[i].rated_mw for i in topology.hosts.tolist()])
    fresh = states.newest_s >= now_unix_ns // NS_PER_S - STALE_AFTER_S
    assumed = np.maximum(rated_mw, states.highest_mw)
    now, mean, peak_1s, predicted = _carried(
        topology, latest, states, fresh, assumed, now_unix_ns // NS_PER_S
    )
    _use_up(topology, _unknown(topology, states), predicted)
    room = _rooms(topology, predicted)
    trust = _trust(topology, states, fresh, now_unix_ns)
    answers = []
    for position, node in enumerate(topology.nodes):
        least_mw, binding = room[position]
        answers.append(
            NodeHeadroom(
                node_id=node.id,
                now_mw=int(now[position]),
                mean_mw=int(mean[position]),
                peak_1s_mw=int(peak_1s[position]),
                predicted_peak_mw=int(predicted[position]),
                budget_mw=node.budget_mw,
                headroom_mw=least_mw,
                binding_node_id=binding,
                trust=trust[position],
            )
        )
    return answers


def _unknown(topology: Topology, states: HostStates) -> Array:
    """Return which hosts may draw anything: never heard from, and without a nameplate."""
    rated_mw = np.array([topology.nodes[i].rated_mw for i in topology.hosts.tolist()])
    unknown: Array = (states.newest_s == 0) & (rated_mw == 0)
    return unknown


def _use_up(topology: Topology, unknown: Array, predicted_mw: Array) -> None:
    """Let the predicted peak of every node above an unknown host reach the node's budget."""
    above = np.unique(topology.above[unknown[topology.beneath]])
    budgets_mw = np.array([topology.nodes[i].budget_mw for i in above.tolist()], dtype=np.float64)
    predicted_mw[above] = np.maximum(predicted_mw[above], budgets_mw)


def _carried(
    topology: Topology,
    latest: Latest,
    states: HostStates,
    fresh: Array,
    assumed_mw: Array,
    now_s: int,
) -> tuple[Array, Array, Array, Array]:
    """Return per node: power now, mean, highest second, highest sum of in-bin peaks."""
    nodes = len(topology.nodes)
    now = np.zeros((nodes, 1))
    now[topology.hosts, 0] = np.where(fresh, states.last_mean_mw, assumed_mw)
    topology.carry_up(now)
    total, highest = np.zeros(nodes), np.zeros(nodes)
    predicted = np.zeros(nodes)
    loads = np.zeros((nodes, 2 * _CHUNK_S))
    for first_s in range(now_s - RING_S + 1, now_s + 1, _CHUNK_S):
        seconds = np.arange(first_s, first_s + _CHUNK_S)
        known = latest.seconds(states.rows, seconds)
        after = seconds[np.newaxis, :] > states.newest_s[:, np.newaxis]
        loads[:] = 0.0
        for part, values, held, other in (
            (slice(0, _CHUNK_S), known.mean_mw, states.last_mean_mw, states.mean_mw),
            (slice(_CHUNK_S, None), known.peak_mw, states.last_peak_mw, states.highest_mw),
        ):
            filled = np.where(after, held[:, np.newaxis], other[:, np.newaxis])
            series = np.where(known.known, values, filled)
            loads[topology.hosts, part] = np.where(
                fresh[:, np.newaxis], series, assumed_mw[:, np.newaxis]
            )
        topology.carry_up(loads)
        total += loads[:, :_CHUNK_S].sum(axis=1)
        np.maximum(highest, loads[:, :_CHUNK_S].max(axis=1), out=highest)
        np.maximum(predicted, loads[:, _CHUNK_S:].max(axis=1), out=predicted)
    # Shares are fractions: without the tiny allowance 0.5 W + 0.5 W could round up past 1 W.
    return (
        np.rint(now[:, 0]),
        np.rint(total / RING_S),
        np.rint(highest),
        np.ceil(predicted - 1e-3),
    )


def _rooms(topology: Topology, predicted_mw: Array) -> list[tuple[int | None, str]]:
    """Return per node the least room on any way up and whose it is; parents come first."""
    rooms: list[tuple[int | None, str]] = []
    for position, node in enumerate(topology.nodes):
        own = node.allowed_mw - int(predicted_mw[position]) if node.budget_mw else None
        best: tuple[int | None, str] = (own, node.id if own is not None else "")
        for parent in topology.parents[position]:
            above = rooms[parent]
            if above[0] is not None and (best[0] is None or above[0] < best[0]):
                best = above
        rooms.append(best)
    return rooms


def trust_beneath(
    topology: Topology,
    root: str,
    hosts: Sequence[bytes | None],
    latest: Latest,
    now_unix_ns: int,
) -> Trust:
    """Return how current the telemetry beneath ``root`` is; an empty root means everything."""
    states = latest.states(hosts, now_unix_ns)
    fresh = states.newest_s >= now_unix_ns // NS_PER_S - STALE_AFTER_S
    if root:
        return _trust(topology, states, fresh, now_unix_ns)[topology.index[root]]
    unknown = _unknown(topology, states)
    everything = (np.zeros(len(hosts), int), np.arange(len(hosts)))
    return _weigh(everything, 1, states, fresh, unknown, now_unix_ns)[0]


def _trust(topology: Topology, states: HostStates, fresh: Array, now_unix_ns: int) -> list[Trust]:
    nodes = len(topology.nodes)
    pairs = (topology.above, topology.beneath)
    return _weigh(pairs, nodes, states, fresh, _unknown(topology, states), now_unix_ns)


def _weigh(
    pairs: tuple[Array, Array],
    nodes: int,
    states: HostStates,
    fresh: Array,
    unknown: Array,
    now_unix_ns: int,
) -> list[Trust]:
    """Return the trust of each node, from pairs (node, host beneath it)."""
    above, beneath = pairs

    def count(which: Array) -> list[int]:
        counted: list[int] = np.bincount(above[which[beneath]], minlength=nodes).tolist()
        return counted

    heard = states.newest_s > 0
    oldest_s = np.full(nodes, now_unix_ns // NS_PER_S)
    known = heard[beneath]
    np.minimum.at(oldest_s, above[known], states.newest_s[beneath[known]])
    age_ms = np.maximum(0, now_unix_ns - (oldest_s + 1) * NS_PER_S) // NS_PER_MS
    columns = (
        count(np.ones_like(fresh)),
        count(fresh),
        count(heard & ~fresh),
        count(unknown | fresh & (states.held < _WARM_S)),
        count(fresh & states.estimated),
        age_ms.tolist(),
    )
    answers = []
    for total, alive, stale, cold, estimated, age in zip(*columns, strict=True):
        marks = (stale, total - alive, cold, estimated)
        answers.append(
            Trust(
                as_of_unix_ns=now_unix_ns,
                staleness_ms=age,
                reporting_ppm=alive * 1_000_000 // total if total else 1_000_000,
                predictor=Predictor.RECENT_MAX if alive else Predictor.NAMEPLATE,
                quality=tuple(q for q, mark in zip(Quality, marks, strict=True) if mark),
            )
        )
    return answers
