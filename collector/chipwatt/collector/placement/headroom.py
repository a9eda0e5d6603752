"""Power left under every budget on the way up, beside what is predicted and what is reserved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.placement.outlook import Asked, Outlook
from chipwatt.collector.placement.trust import Trust
from chipwatt.core.tables import Array


@dataclass(frozen=True, slots=True)
class NodeHeadroom:
    """The power of one node and what is left above it; mW."""

    node_id: str
    now_mw: int
    mean_mw: int
    peak_1s_mw: int
    predicted_mw: tuple[tuple[Asked, int], ...]
    """In the order asked for."""
    reserved_mw: int
    budget_mw: int
    headroom_mw: int | None
    """Least over the node and every ancestor on every feed; None: no budget on the way up."""
    binding_node_id: str
    trust: Trust
    """In the largest prediction."""

    @property
    def predicted_peak_mw(self) -> int:
        """The largest prediction."""
        return max(peak for _, peak in self.predicted_mw)


def headrooms(
    outlook: Outlook, positions: Sequence[int], asked: Sequence[Asked], *, reserved: bool = True
) -> list[NodeHeadroom]:
    """Return the headroom of these nodes for the largest of the peaks asked for.

    ``reserved``: what is left beside reservations. Raises KeyError, ValueError as
    ``Outlook.prediction`` does.
    """
    peaks = np.stack([outlook.peak_mw(*one) for one in asked])
    highest = peaks.max(axis=0)
    least, whose = outlook.room_above(highest, reserved=reserved)
    decisive = np.argmax(peaks, axis=0)

    def column(values: Array) -> list[int]:
        return [int(values[position]) for position in positions]

    nodes = outlook.topology.nodes
    return [
        NodeHeadroom(
            node_id=nodes[position].id,
            now_mw=now,
            mean_mw=mean,
            peak_1s_mw=peak_1s,
            predicted_mw=tuple(
                (one, int(peak)) for one, peak in zip(asked, peaks[:, position], strict=True)
            ),
            reserved_mw=held,
            budget_mw=nodes[position].budget_mw,
            headroom_mw=int(least[position]) if whose[position] >= 0 else None,
            binding_node_id=nodes[whose[position]].id if whose[position] >= 0 else "",
            trust=outlook.trust(position, *asked[decisive[position]]),
        )
        for position, now, mean, peak_1s, held in zip(
            positions,
            column(outlook.now_mw),
            column(outlook.mean_mw),
            column(outlook.peak_1s_mw),
            column(np.ceil(outlook.reserved_mw)),
            strict=True,
        )
    ]
