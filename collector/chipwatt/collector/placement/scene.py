"""A snapshot in which changes are tried: peaks, budgets and ways of power, all copies.

Power that is added or taken is carried up by share, as a reservation would be. What a
cap or a lost feed does to a sum shows in the aligned histories: a cap relieves an
ancestor only by what its highest second falls by, and where supply moves, a node's
predicted peak grows as the highest second of its history would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chipwatt.collector.placement.topology import WHOLE_PPM, Topology
from chipwatt.collector.placement.topology_feeds import feed_loss
from chipwatt.collector.placement.ways import ways_up
from chipwatt.core.tables import Array

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

_LEAST_MW = 1_000.0
"""Peaks are rounded up to a whole mW: of less than this, a ratio would be of the rounding."""


class Scene:
    """Arrays over the outlook's nodes, whatever is left of them. For one caller."""

    def __init__(self, outlook: Outlook, horizon_s: int, quantile: float) -> None:
        self._outlook = outlook
        self.topology = outlook.topology
        self.peak_mw = outlook.peak_mw(horizon_s, quantile).astype(np.float64)
        self.allowed_mw = outlook.allowed_mw.astype(np.float64)
        self.budget_mw = np.array(
            [float(node.budget_mw) if node.budget_mw else np.inf for node in outlook.topology.nodes]
        )
        self.reserved_mw = outlook.reserved_mw.astype(np.float64)
        nodes = len(outlook.topology.nodes)
        self.factor = np.ones(nodes)
        """A peak is that of the snapshot, times this, plus ``shift_mw``."""
        self.shift_mw = np.zeros(nodes)
        self.failed: set[int] = set()
        self.unfed: list[str] = []
        self._deviation: dict[int, Array] = {}
        """By how much histories differ from those of the snapshot."""

    def free_mw(self) -> Array:
        """Return what is left below each node's own budget; +inf: it has none."""
        free: Array = self.allowed_mw - self.peak_mw - self.reserved_mw
        return free

    def room_mw(self, position: int) -> float:
        """Return the least that is left at a node and everything that now feeds it."""
        node_id = self._outlook.topology.nodes[position].id
        if node_id not in self.topology.index:
            return 0.0
        at = self._ways(position)[0]
        return float((self.allowed_mw - self.peak_mw - self.reserved_mw)[at].min())

    def nearest_above(self, position: int, marked: Array) -> int:
        """Return the node itself or the nearest that feeds it and is marked; -1: there is none."""
        if self._outlook.topology.nodes[position].id not in self.topology.index:
            return -1
        at = self._ways(position)[0]
        found = at[marked[at]]  # parents first
        return int(found[-1]) if len(found) else -1

    def add(self, position: int, power_mw: float) -> None:
        """Place power on a node, or take it away where it is negative."""
        at, share = self._ways(position)
        self._shift(at, share * power_mw)

    def cap(self, position: int, cap_mw: float) -> None:
        """Hold a node at or below a power."""
        cut_mw = float(self.peak_mw[position]) - cap_mw
        if cut_mw <= 0.0:
            return
        at, share = self._ways(position)
        series = self._histories(at)
        above = np.maximum(series[at == position] - cap_mw, 0.0)
        lower = series - share[:, np.newaxis] * above
        seen_mw = series.max(axis=1) - lower.max(axis=1)
        relief = np.where(at == position, cut_mw, np.minimum(share * cut_mw, seen_mw))
        for row, where in enumerate(at.tolist()):
            self._deviate(where, lower[row] - series[row])
        self.peak_mw[at] -= relief
        self.shift_mw[at] -= relief

    def budget(self, position: int, budget_mw: int) -> None:
        """Give a node another budget; 0: none."""
        margin = WHOLE_PPM - self._outlook.topology.nodes[position].safety_margin_ppm
        self.budget_mw[position] = budget_mw or np.inf
        allowed_mw = budget_mw * margin // WHOLE_PPM
        self.allowed_mw[position] = allowed_mw if budget_mw else np.inf

    def lose(self, position: int) -> None:
        """Let a node fail."""
        index = self._outlook.topology.index
        node_id = self._outlook.topology.nodes[position].id
        left, unfed = feed_loss(self.topology, node_id)
        gone = {position, *(index[name] for name in unfed)}
        changes = self._carried(left, gone, position)
        # What moves to a supply that carried next to nothing keeps the margin that it had.
        moved = self._ratio(position) or 1.0
        for where, (series, reserved_mw) in changes.items():
            before, ratio = self._highest_mw(where), self._ratio(where) or moved
            self._deviate(where, series)
            rise = (self._highest_mw(where) - before) * ratio
            old, self.peak_mw[where] = self.peak_mw[where], max(self.peak_mw[where] + rise, 0.0)
            grown = self.peak_mw[where] / old if old > 0.0 else np.inf
            self.factor[where] *= grown
            self.shift_mw[where] *= grown if np.isfinite(grown) else 0.0
            self.reserved_mw[where] += reserved_mw
        for where in gone:
            self.peak_mw[where] = self.reserved_mw[where] = 0.0
            self.factor[where] = self.shift_mw[where] = 0.0
        self.topology = left
        self.failed.add(position)
        self.unfed += unfed

    def _carried(
        self, left: Topology, gone: set[int], failed: int
    ) -> dict[int, tuple[Array, float]]:
        """Return by position what is added to histories and reservations of those still fed."""
        index = self._outlook.topology.index
        changes: dict[int, tuple[Array, float]] = {}
        # From the back children come before their parents, and are whole when they are met.
        for node in reversed(self.topology.nodes):
            at = index[node.id]
            after = () if at in gone else left.nodes[left.index[node.id]].parents
            if (after == node.parents and at not in changes) or (at in gone and at != failed):
                continue
            own, held_mw = self._histories(np.array([at]))[0], float(self.reserved_mw[at])
            more, more_held_mw = changes.get(at, (np.zeros(len(own)), 0.0))
            new = {parent.id: parent.share_ppm / WHOLE_PPM for parent in after}
            for parent in node.parents:
                above = index[parent.id]
                if above in gone:
                    continue
                was, now = parent.share_ppm / WHOLE_PPM, new.get(parent.id, 0.0)
                series, reserved_mw = changes.get(above, (np.zeros(len(own)), 0.0))
                changes[above] = (
                    series + now * (own + more) - was * own,
                    reserved_mw + now * (held_mw + more_held_mw) - was * held_mw,
                )
        return changes

    def _ratio(self, position: int) -> float:
        """Return the predicted peak over the highest second; 0 where that was below 1 W."""
        highest_mw = self._highest_mw(position)
        return float(self.peak_mw[position]) / highest_mw if highest_mw >= _LEAST_MW else 0.0

    def _highest_mw(self, position: int) -> float:
        return float(self._histories(np.array([position])).max())

    def _ways(self, position: int) -> tuple[Array, Array]:
        """Return the ways up in what is left, as positions of the snapshot."""
        nodes = self._outlook.topology.nodes
        if self.topology is self._outlook.topology:
            return ways_up(self.topology, position)
        at, share = ways_up(self.topology, self.topology.index[nodes[position].id])
        index = self._outlook.topology.index
        return np.array([index[self.topology.nodes[i].id] for i in at.tolist()]), share

    def _shift(self, at: Array, power_mw: Array) -> None:
        self.peak_mw[at] += power_mw
        self.shift_mw[at] += power_mw
        for where, power in zip(at.tolist(), power_mw.tolist(), strict=True):
            self._deviate(where, np.array(power))

    def _deviate(self, position: int, by_mw: Array) -> None:
        self._deviation[position] = self._deviation.get(position, np.array(0.0)) + by_mw

    def _histories(self, positions: Array) -> Array:
        series = np.array(self._outlook.history(positions), dtype=np.float64)
        for row, position in enumerate(positions.tolist()):
            if position in self._deviation:
                series[row] += self._deviation[position]
        return series
