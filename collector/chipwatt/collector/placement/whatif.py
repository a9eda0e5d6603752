"""What would become of peaks and room if something changed: tried on a copy, nothing is kept.

Changes are made one after the other. Told are the nodes whose own peak, budget or
reservations change, parents first; what hangs beneath them has less room through them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from chipwatt.collector.answering import invalid
from chipwatt.collector.placement.asking import position_of
from chipwatt.collector.placement.demand import (
    MAX_DEMAND_MW,
    KnownProfiles,
    peak_of,
    shape_of,
)
from chipwatt.collector.placement.explain import power_text
from chipwatt.collector.placement.scene import Scene
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.collector.placement.trust import Trust, provenance_message
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

MAX_CHANGES = 1_000
MAX_BUDGET_MW = 4 * 10**15
_ROUND_MW = 1e-3


class Trial:
    """Changes tried on one snapshot."""

    def __init__(
        self, outlook: Outlook, horizon_s: int, quantile: float, profiles: KnownProfiles
    ) -> None:
        self._outlook = outlook
        self._horizon_s, self._quantile = horizon_s, quantile
        self._profiles = profiles
        self._before = Scene(outlook, horizon_s, quantile)
        self._after = Scene(outlook, horizon_s, quantile)

    def apply(self, change: pb.Change, field: str) -> None:
        """Make one change; ``field`` is its name. Raises Refused."""
        kind = change.WhichOneof("kind")
        scene = self._after
        match kind:
            case "place":
                position = self._find(change.place.node_id, f"{field}.place.node_id")
                hw_class = self._outlook.topology.nodes[position].hw_class
                shape = shape_of(
                    change.place.demand, self._profiles, hw_class, f"{field}.place.demand"
                )
                scene.add(position, peak_of(shape))
            case "remove":
                self._take(change.remove.node_id, change.remove.power_mw, f"{field}.remove")
            case "move":
                of = f"{field}.move"
                to = self._find(change.move.to_node_id, f"{of}.to_node_id")
                self._take(change.move.from_node_id, change.move.power_mw, of, "from_node_id")
                scene.add(to, change.move.power_mw)
            case "cap":
                position = self._find(change.cap.node_id, f"{field}.cap.node_id")
                if not change.cap.cap_mw:
                    raise invalid(f"{field}.cap.cap_mw: 0; a cap is above 0")
                scene.cap(position, float(change.cap.cap_mw))
            case "budget":
                position = self._find(change.budget.node_id, f"{field}.budget.node_id")
                if change.budget.budget_mw > MAX_BUDGET_MW:
                    raise invalid(f"{field}.budget.budget_mw: above {MAX_BUDGET_MW} (4 TW)")
                scene.budget(position, change.budget.budget_mw)
            case "feed_loss":
                scene.lose(self._find(change.feed_loss.node_id, f"{field}.feed_loss.node_id"))
            case None:
                raise invalid(f"{field}.kind: place, remove, move, cap, budget or feed_loss")

    def answer(self) -> pb.WhatIfResponse:
        """Return what the changes did."""
        before, after = self._before, self._after
        where = self._affected()
        exceed_before = self._exceed_ppm(before, where)
        exceed_after = self._exceed_ppm(after, where)
        effects = []
        first_violated_id = ""
        tightest, least_mw = -1, np.inf
        nodes = self._outlook.topology.nodes
        short = _whole(after.free_mw()) < 0
        for row, at in enumerate(where.tolist()):
            room_before, room_after = before.room_mw(at), after.room_mw(at)
            if short[at] and not first_violated_id:
                first_violated_id = nodes[at].id
            if room_after < least_mw:
                tightest, least_mw = at, room_after
            nearest = after.nearest_above(at, short)
            effects.append(
                pb.NodeEffect(
                    node_id=nodes[at].id,
                    peak_before_mw=_up(before.peak_mw[at]),
                    peak_after_mw=_up(after.peak_mw[at]),
                    headroom_before_mw=_room(room_before),
                    headroom_after_mw=_room(room_after),
                    exceed_before_ppm=int(exceed_before[row]),
                    exceed_after_ppm=int(exceed_after[row]),
                    unlimited=bool(np.isinf(room_after)),
                    first_violated_id=nodes[nearest].id if nearest >= 0 else "",
                )
            )
        return pb.WhatIfResponse(
            effects=effects,
            first_violated_id=first_violated_id,
            snapshot_id=self._outlook.id,
            unpowered_ids=after.unfed,
            provenance=provenance_message(self._trust(tightest)),
        )

    def _trust(self, tightest: int) -> Trust:
        """Return the trust in all hosts, with the prediction at the node with the least room."""
        trust = self._outlook.trust_of_all()
        if tightest < 0:
            return trust
        one = self._outlook.trust(tightest, self._horizon_s, self._quantile)
        return replace(
            trust,
            predictor=one.predictor,
            quality=tuple(sorted({*trust.quality, *one.quality})),
            coverage_7d_ppm=one.coverage_7d_ppm,
            scores=one.scores,
        )

    def _take(self, node_id: str, power_mw: int, field: str, name: str = "node_id") -> None:
        position = self._find(node_id, f"{field}.{name}")
        if not power_mw:
            raise invalid(f"{field}.power_mw: 0; say how much")
        if power_mw > MAX_DEMAND_MW or power_mw > _up(self._after.peak_mw[position]):
            peak = power_text(float(self._after.peak_mw[position]))
            raise invalid(f"{field}.power_mw: {power_mw}, but {node_id!r} peaks at {peak}")
        self._after.add(position, -float(power_mw))

    def _find(self, node_id: str, field: str) -> int:
        position = position_of(self._outlook.topology, node_id, field)
        if node_id not in self._after.topology.index:
            raise invalid(f"{field}: {node_id!r} has no power after an earlier change")
        return position

    def _affected(self) -> Array:
        """Return positions of nodes that are otherwise than before; unfed ones are told apart."""
        before, after = self._before, self._after
        changed = np.rint(before.peak_mw) != np.rint(after.peak_mw)
        changed |= before.budget_mw != after.budget_mw
        changed |= np.rint(before.reserved_mw) != np.rint(after.reserved_mw)
        changed[list(after.failed)] = True
        index = self._outlook.topology.index
        changed[[index[name] for name in after.unfed]] = False
        where: Array = np.flatnonzero(changed)
        return where

    def _exceed_ppm(self, scene: Scene, where: Array) -> Array:
        """Return the probability that peak and reservations are above the budget.

        A forecast knows the peaks of the snapshot: a limit is asked for that stands to
        them as the budget stands to the peaks of the scene.
        """
        limit = scene.budget_mw - scene.reserved_mw - scene.shift_mw
        # A supply that carried nothing has no forecast: all that is known is its quantile.
        known = np.isfinite(scene.factor) & (scene.factor > 0.0)
        asked = np.where(known, limit / np.where(known, scene.factor, 1.0), np.inf)
        exceed = self._outlook.exceed_ppm(self._horizon_s, asked)
        over = scene.peak_mw + scene.reserved_mw > scene.budget_mw
        simple = np.where(over, WHOLE_PPM, round((1.0 - self._quantile) * WHOLE_PPM))
        simple = np.where(np.isinf(scene.budget_mw) | (scene.peak_mw <= 0.0), 0, simple)
        chosen: Array = np.where(known & ~np.isinf(limit), exceed, simple)[where]
        return chosen.astype(np.int64)


def what_if(
    outlook: Outlook,
    horizon_s: int,
    quantile: float,
    profiles: KnownProfiles,
    request: pb.WhatIfRequest,
) -> pb.WhatIfResponse:
    """Answer on a given snapshot. Raises Refused."""
    if not request.changes:
        raise invalid("changes: give at least one")
    if len(request.changes) > MAX_CHANGES:
        raise invalid(f"changes: {len(request.changes)}, at most {MAX_CHANGES}")
    trial = Trial(outlook, horizon_s, quantile, profiles)
    for number, change in enumerate(request.changes):
        trial.apply(change, f"changes[{number}]")
    return trial.answer()


def _up(power_mw: float) -> int:
    return max(0, int(np.ceil(power_mw - _ROUND_MW)))


def _whole(room_mw: Array) -> Array:
    whole: Array = np.floor(room_mw + _ROUND_MW)
    return whole


def _room(room_mw: float) -> int:
    return 0 if np.isinf(room_mw) else int(np.floor(room_mw + _ROUND_MW))
