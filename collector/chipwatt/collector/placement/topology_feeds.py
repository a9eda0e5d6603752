"""What becomes of a power topology when one of its nodes fails."""

from __future__ import annotations

from dataclasses import replace

from chipwatt.collector.placement.topology import WHOLE_PPM, Parent, PowerNode, Topology


def feed_loss(topology: Topology, node_id: str) -> tuple[Topology, list[str]]:
    """Return what is left after ``node_id`` fails, and the ids of nodes that nothing feeds then.

    What a failed supply carried goes to a node's other parents in proportion to their
    shares, in even parts where those were idle. The failed node and the unfed ones are
    not in the topology that is returned; the failed node is not among the ids. Raises
    KeyError for an unknown node.
    """
    lost = {topology.nodes[topology.index[node_id]].id}
    unfed: list[str] = []
    left: list[PowerNode] = []
    for node in topology.nodes:
        if node.id in lost:
            continue
        fed_by = tuple(parent for parent in node.parents if parent.id not in lost)
        if node.parents and not fed_by:
            lost.add(node.id)
            unfed.append(node.id)
        else:
            whole = len(fed_by) == len(node.parents)
            left.append(node if whole else replace(node, parents=_scaled(fed_by)))
    return Topology(left, topology.version), unfed


def _scaled(parents: tuple[Parent, ...]) -> tuple[Parent, ...]:
    """Return the parents with shares that sum to the whole again, by largest remainder."""
    total = sum(parent.share_ppm for parent in parents)
    weights = [parent.share_ppm for parent in parents] if total else [1] * len(parents)
    total = total or len(parents)
    parts = [divmod(weight * WHOLE_PPM, total) for weight in weights]
    missing = WHOLE_PPM - sum(whole for whole, _ in parts)
    first = sorted(range(len(parts)), key=lambda place: -parts[place][1])[:missing]
    return tuple(
        replace(parent, share_ppm=whole + (place in first))
        for place, (parent, (whole, _)) in enumerate(zip(parents, parts, strict=True))
    )
