"""Ranks hosts for a demand: everything is judged, the best are judged exactly, few are told.

The order of an answer depends on the snapshot and the request alone: what fits, the
best score first; what does not, the nearest to fitting first; then what is no host, in
the order asked. Equals stand in the order of the topology. A longer answer begins with
the shorter one, as the number of candidates judged exactly does not depend on ``limit``:
those behind them count as if their peaks met everybody's, which is the least they can score.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chipwatt.collector.answering import invalid
from chipwatt.collector.placement.demand import KnownProfiles, shape_of
from chipwatt.collector.placement.explain import fits, over_budget
from chipwatt.collector.placement.outlook import Asked
from chipwatt.collector.placement.outlooks import still_asked
from chipwatt.collector.placement.score import (
    PARTS,
    Ground,
    Moment,
    SiteCost,
    Verdicts,
    add_coincidence,
    judge,
    scores,
)
from chipwatt.collector.placement.topology import WHOLE_PPM, Topology
from chipwatt.collector.placement.ways import HostWays
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

EXACT = 256
"""Candidates whose coincidence is computed from histories."""
MAX_CANDIDATES = 200_000
DEFAULT_WEIGHTS = {"headroom": 700_000, "coincidence": 200_000, "swing": 100_000}
_COSTED = [PARTS.index("carbon"), PARTS.index("water")]
Costs = Callable[[Sequence[str], int], dict[str, SiteCost]]
"""What energy costs at sites for a workload of so many seconds; those known."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer to RankCandidates."""

    moment: Moment
    candidates: list[pb.Candidate]
    decisive: int
    """Position of the node that the first candidate is decided at; -1: no candidate is a host."""


class Ranker:
    """Answers RankCandidates on a given snapshot; safe between threads."""

    def __init__(self, profiles: KnownProfiles, costs: Costs) -> None:
        self._profiles = profiles
        self._costs = costs
        self._lock = threading.Lock()
        self._ways: tuple[Topology, HostWays] | None = None
        self._moment: Moment | None = None
        self._outlook: Outlook | None = None
        self._grounds: dict[Asked, Ground] = {}
        self._asked: dict[Asked, int] = {}

    def rank(
        self, outlook: Outlook, horizon_s: int, quantile: float, request: pb.RankCandidatesRequest
    ) -> Ranked:
        """Return the candidates in order. Raises Refused."""
        weights = weights_of(request)
        if len(request.candidates) > MAX_CANDIDATES:
            raise invalid(f"candidates: {len(request.candidates)}, at most {MAX_CANDIDATES}")
        ground = self._ground(outlook, (horizon_s, quantile))
        with self._lock:
            self._asked[horizon_s, quantile] = outlook.as_of_unix_ns
        # Checked even where no candidate is a host: a wrong demand is wrong everywhere.
        shapes = [
            shape_of(request.demand, self._profiles, hw_class)
            for hw_class in ground.ways.hw_classes or [""]
        ]
        rows, strangers = _hosts(ground, request.candidates)
        costs = self._costs(ground.ways.sites, request.demand.duration_hint_s)
        ranking = Ranking(ground, judge(ground, rows, shapes, costs), weights)
        limit = request.limit or len(rows) + len(strangers)
        candidates, decisive = ranking.messages(limit)
        candidates += [
            stranger_message(ground.outlook.topology, name)
            for name in strangers[: limit - len(candidates)]
        ]
        return Ranked(ground.moment, candidates, decisive)

    def prepare(self, outlook: Outlook) -> None:
        """Lay out a new snapshot for the questions of the last minute, so that nobody waits."""
        with self._lock:
            self._asked = still_asked(self._asked, outlook.as_of_unix_ns)
            wanted = list(self._asked)
        for asked in wanted:
            self._ground(outlook, asked)

    def _ground(self, outlook: Outlook, asked: Asked) -> Ground:
        """Return what candidates stand on; kept until there is a newer snapshot."""
        with self._lock:
            if outlook is not self._outlook:
                if self._ways is None or self._ways[0] is not outlook.topology:
                    self._ways = (outlook.topology, HostWays(outlook.topology))
                if self._moment is None or not self._moment.same(outlook):
                    self._moment = Moment(outlook, self._ways[1])
                self._outlook, self._grounds = outlook, {}
            if asked not in self._grounds and self._moment is not None:
                self._grounds[asked] = Ground(self._moment, outlook, *asked)
            return self._grounds[asked]


def weights_of(request: pb.RankCandidatesRequest) -> Array:
    """Return the weights in the order of PARTS. Raises Refused (INVALID_ARGUMENT)."""
    if not request.HasField("objective"):
        return np.array([DEFAULT_WEIGHTS.get(name, 0) for name in PARTS], dtype=np.int64)
    given = [getattr(request.objective, f"{name}_ppm") for name in PARTS]
    for name, weight in zip(PARTS, given, strict=True):
        if weight > WHOLE_PPM:
            raise invalid(f"objective.{name}_ppm: {weight}, at most {WHOLE_PPM}")
    if not any(given):
        raise invalid("objective: every weight is 0; leave it out for the default")
    return np.array(given, dtype=np.int64)


def placement_id(
    snapshot_id: str, horizon_s: int, quantile_ppm: int, request: pb.RankCandidatesRequest
) -> str:
    """Return the id of a decision: the same for the same question to the same snapshot."""
    told = snapshot_id.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return f"{quantile_ppm}-{horizon_s}-{hashlib.blake2b(told, digest_size=12).hexdigest()}"


def stranger_message(topology: Topology, name: str) -> pb.Candidate:
    """Answer for a candidate that is no host."""
    position = topology.index.get(name)
    what = "the topology has no such host"
    if position is not None:
        what = f"it is a {topology.nodes[position].kind.name.lower()}, not a host"
    return pb.Candidate(host_id=name, reasons=[pb.REASON_UNKNOWN_HOST], explanation=what)


def _hosts(ground: Ground, candidates: Sequence[str]) -> tuple[Array, list[str]]:
    """Return the hosts asked for, once each and in the order of the topology, and all others."""
    topology, ways = ground.outlook.topology, ground.ways
    if not candidates:
        return np.arange(len(topology.hosts)), []
    index, row = topology.index, ways.row
    asked = dict.fromkeys(candidates)
    positions = np.array([index.get(name, -1) for name in asked], dtype=np.int64)
    rows = np.where(positions >= 0, row[positions], -1)
    strangers = [name for name, found in zip(asked, (rows < 0).tolist(), strict=True) if found]
    return np.unique(rows[rows >= 0]), strangers


class Ranking:
    """Verdicts in order, and the messages of the first of them."""

    def __init__(self, ground: Ground, verdicts: Verdicts, weights: Array) -> None:
        self._ground = ground
        self._verdicts = verdicts
        self._weights = weights
        least = scores(verdicts.parts, weights)
        fitting = np.flatnonzero(verdicts.feasible)
        first = _best(least[fitting], EXACT)
        chosen = fitting[first]
        if len(chosen):
            add_coincidence(ground, verdicts, chosen)
        self._scores = np.where(verdicts.feasible, scores(verdicts.parts, weights), 0)

    def messages(self, limit: int) -> tuple[list[pb.Candidate], int]:
        """Return the first answers, and the position of the node that decides the first."""
        verdicts, ground = self._verdicts, self._ground
        fitting = np.flatnonzero(verdicts.feasible)
        order = fitting[_best(self._scores[fitting], limit)]
        if len(order) < limit:
            others = np.flatnonzero(~verdicts.feasible)
            nearest = _best(verdicts.after_mw[others], limit - len(order))
            order = np.concatenate([order, others[nearest]])
        hosts = ground.outlook.topology.hosts[verdicts.rows[order]]
        told = [self._message(at) for at in order.tolist()]
        if not len(order):
            return told, -1
        tightest = int(verdicts.tightest[order[0]])
        return told, int(hosts[0]) if tightest == ground.ways.nowhere else tightest

    def _message(self, at: int) -> pb.Candidate:
        verdicts, ground = self._verdicts, self._ground
        topology, outlook = ground.outlook.topology, ground.outlook
        host = topology.nodes[topology.hosts[verdicts.rows[at]]]
        tightest, after_mw = int(verdicts.tightest[at]), float(verdicts.after_mw[at])
        unlimited = tightest == ground.ways.nowhere
        placed_mw = float(verdicts.peak_mw[at])
        added_mw = placed_mw if unlimited else placed_mw * float(verdicts.share[at])
        feasible = bool(verdicts.feasible[at])
        if unlimited:
            explanation = "fits; no budget stands above it"
        elif feasible:
            explanation = fits(topology.nodes[tightest], after_mw)
        else:
            explanation = over_budget(
                topology.nodes[tightest],
                ground.quantile,
                float(ground.peak_mw[tightest]) + added_mw,
                float(outlook.reserved_mw[tightest]),
                float(outlook.allowed_mw[tightest]),
            )
        return pb.Candidate(
            host_id=host.id,
            feasible=feasible,
            score_ppm=int(self._scores[at]),
            parts=pb.ScoreParts(
                **{
                    f"{n}_ppm": v
                    for n, v in zip(PARTS, verdicts.parts[:, at].tolist(), strict=True)
                }
            ),
            tightest_ancestor_id="" if unlimited else topology.nodes[tightest].id,
            marginal_peak_mw=round(added_mw),
            marginal_mean_mw=int(verdicts.mean_mw[at]),
            reasons=self._reasons(at),
            explanation=explanation,
            headroom_after_mw=0 if unlimited else int(after_mw),
        )

    def _reasons(self, at: int) -> list[pb.Reason.ValueType]:
        verdicts, ground = self._verdicts, self._ground
        tightest = int(verdicts.tightest[at])
        nodes = [ground.outlook.topology.hosts[verdicts.rows[at]], tightest]
        costed = (self._weights[_COSTED] > 0) & (verdicts.parts[_COSTED, at] == 0)
        marks = (
            (pb.REASON_OVER_BUDGET, not verdicts.feasible[at]),
            (pb.REASON_STALE, ground.stale[nodes].any()),
            (pb.REASON_COLD_START, ground.cold[nodes].any()),
            (pb.REASON_NO_BUDGET, tightest == ground.ways.nowhere),
            (pb.REASON_SITE_FACTORS_MISSING, costed.any()),
        )
        return [reason for reason, mark in marks if mark]


def _best(values: Array, count: int) -> Array:
    """Return the places of the highest values, the highest first, equals in their order."""
    places = np.arange(len(values))
    if count < len(values) // 2:
        # Everything at least as high as the last that is wanted, so that equals stay in order.
        edge = np.partition(values, len(values) - count)[len(values) - count]
        places = np.flatnonzero(values >= edge)
    order: Array = places[np.argsort(-values[places], kind="stable")]
    return order[:count]
