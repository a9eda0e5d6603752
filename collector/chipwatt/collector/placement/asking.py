"""What several requests ask in the same words: horizons, quantiles, nodes, selectors."""

from __future__ import annotations

from chipwatt.collector.answering import invalid, not_found
from chipwatt.collector.placement.outlook import DEFAULT_HORIZON_S, DEFAULT_QUANTILE, Outlook
from chipwatt.collector.placement.topology import WHOLE_PPM, NodeKind, PowerNode, Topology
from chipwatt.collector.placement.topology_node import nearest
from chipwatt.v1 import placement_pb2 as pb

MIN_QUANTILE_PPM = 500_000
MAX_QUANTILE_PPM = 999_000


def horizon_of(asked_s: int, outlook: Outlook) -> int:
    """Return a horizon that is predicted; 0 stands for ten minutes. Raises Refused."""
    if asked_s and asked_s not in outlook.horizons_s:
        known = ", ".join(map(str, outlook.horizons_s))
        raise invalid(f"horizon_s: {asked_s} s is none of {known}")
    return asked_s or DEFAULT_HORIZON_S


def quantile_of(asked_ppm: int) -> float:
    """Return a quantile; 0 stands for 99 %. Raises Refused."""
    if asked_ppm and not MIN_QUANTILE_PPM <= asked_ppm <= MAX_QUANTILE_PPM:
        raise invalid(
            f"quantile_ppm: {asked_ppm} lies outside {MIN_QUANTILE_PPM} to {MAX_QUANTILE_PPM}"
        )
    return asked_ppm / WHOLE_PPM if asked_ppm else DEFAULT_QUANTILE


def position_of(topology: Topology, node_id: str, field: str = "node_id") -> int:
    """Return where a node stands. Raises Refused (NOT_FOUND), with what it may have meant."""
    position = topology.index.get(node_id)
    if position is None:
        hint = nearest(node_id, topology.index)
        raise not_found(f"{field}: no power node {node_id!r}{hint}")
    return position


def selected(topology: Topology, selector: pb.Selector) -> frozenset[str] | None:
    """Return the ids of the nodes that fit every part that is given; None: no part is.

    Raises Refused for a kind or a node that there is not.
    """
    if not selector.ListFields():
        return None
    known = {int(kind) for kind in NodeKind}
    for kind in selector.kinds:
        if kind not in known:
            raise invalid(f"selector.kinds: {kind} is no kind of node")
    kinds, labels = frozenset(map(int, selector.kinds)), dict(selector.labels)
    nodes: tuple[PowerNode, ...] | list[PowerNode] = topology.nodes
    if selector.beneath_id:
        position_of(topology, selector.beneath_id, "selector.beneath_id")
        nodes = topology.subtree(selector.beneath_id)
    return frozenset(
        node.id
        for node in nodes
        if (not kinds or int(node.kind) in kinds)
        and selector.hw_class in ("", node.hw_class)
        and labels.items() <= node.labels.items()
    )
