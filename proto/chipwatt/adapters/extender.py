"""What a Kubernetes scheduler extender decides: filter, prioritize, bind, preempt.

Telemetry lags placement, so that a pod is placed only with power reserved for it.
When it is reserved depends on who binds:

- ``bind`` (the scheduler delegates the bind verb): filter and prioritize only rank;
  bind reserves on the node that the scheduler chose, then binds, and refuses where a
  budget would be exceeded. The scheduler tries again with fresh telemetry.
- ``filter`` (it does not): filter reserves on the best node that has room and answers
  with that node alone, as any other would be without power by the time it is chosen.

Nothing says when a pod's containers start to draw, so a reservation is held for its
time to live, not committed: as long as a pod takes from binding to drawing power.

A scheduler never waits for us: all questions of one call share one deadline. Past it
every node passes, or none, as the operator chose; it is counted and logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chipwatt.adapters.asked import Binding, Question
from chipwatt.adapters.demands import DRAW_MW, Demands
from chipwatt.adapters.holds import Deadline, Holds
from chipwatt.adapters.kube_api import BindRefused, BindUnknown, KubeApi
from chipwatt.adapters.tally import Tally
from chipwatt.client import (
    Candidate,
    Demand,
    NoRoom,
    NotKnown,
    PlacementClient,
    Ranking,
    RequestRefused,
)
from chipwatt.core import log
from chipwatt.core.errors import ChipwattError, CollectorUnreachable

MAX_SCORE = 10
_UNKNOWN = "unknown_host"
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator chose."""

    deadline_s: float = 0.15
    """For the collector, over all questions of one call of the scheduler."""
    passes_when_unavailable: bool = True
    """Whether every node passes while the collector gives no answer, or none."""
    ttl_s: int = 300
    horizon_s: int = 0
    quantile_ppm: int = 0
    draw_mw: Mapping[str, int] = field(default_factory=lambda: dict(DRAW_MW))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which nodes pass, and why the others do not."""

    names: tuple[str, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    unresolvable: Mapping[str, str] = field(default_factory=dict)
    """Where even evicting other pods would not help."""


class Extender:
    """Answers a scheduler with what a collector says; safe between threads.

    ``api`` is where pods are bound; None: the scheduler binds, and filter reserves.
    """

    def __init__(
        self, client: PlacementClient, rules: Rules, api: KubeApi | None, tally: Tally
    ) -> None:
        self._client, self._rules, self._api, self._tally = client, rules, api, tally
        self._holds = Holds(client, rules.ttl_s, rules.horizon_s, rules.quantile_ppm)
        self._demands = Demands(rules.draw_mw)

    def filter(self, asked: Question) -> Verdict:
        """Return the nodes that have power for the pod."""
        deadline = Deadline(self._rules.deadline_s)
        try:
            verdict = self._filter(asked, deadline)
        except (CollectorUnreachable, RequestRefused) as error:
            return self._unavailable(asked, error)
        self._tally.count("filter", "answered")
        return verdict

    def prioritize(self, asked: Question) -> dict[str, int]:
        """Return a score from 0 to 10 for every node that was asked about."""
        scores = dict.fromkeys(asked.names, 0)
        if not scores:
            return scores
        try:
            ranking, _ = self._rank(asked, Deadline(self._rules.deadline_s))
        except (CollectorUnreachable, RequestRefused) as error:
            self._complain("prioritize", error)
            return scores
        for candidate in ranking.candidates:
            if candidate.feasible and candidate.host_id in scores:
                share = min(1_000_000, candidate.score_ppm)
                scores[candidate.host_id] = (share * MAX_SCORE + 500_000) // 1_000_000
        self._tally.count("prioritize", "answered")
        return scores

    def bind(self, asked: Binding) -> str:
        """Reserve, then bind. Returns why not, empty where the pod is bound."""
        if self._api is None:
            return "this adapter binds no pods: it was started without --kube-api"
        demand = self._demands.recall(asked.uid)
        if demand is None:
            return "power: this adapter has not filtered the pod yet; it will on the next try"
        try:
            deadline = Deadline(self._rules.deadline_s)
            self._holds.take(asked.uid, asked.node, demand, deadline)
        except (NoRoom, NotKnown) as error:
            self._tally.count("bind", "no_room")
            return f"power: {error}"
        except (CollectorUnreachable, RequestRefused) as error:
            self._complain("bind", error)
            if not self._rules.passes_when_unavailable:
                return f"power: {error}"
        return self._bound(self._api, asked)

    def _filter(self, asked: Question, deadline: Deadline) -> Verdict:
        if not asked.names:
            return Verdict(())
        if self._api is None:
            held = self._holds.node_of(asked.pod.uid)
            if held in asked.names:
                return self._only(held, asked.names)
            # Else the pod's own power would stand in its way.
            self._holds.give_back(asked.pod.uid, deadline)
        ranking, demand = self._rank(asked, deadline)
        offered = set(asked.names)
        fits = [c for c in ranking.candidates if c.feasible and c.host_id in offered]
        if self._api is not None:
            names = {candidate.host_id for candidate in fits}
            return self._sorted(asked, ranking, tuple(n for n in asked.names if n in names))
        held = self._hold_best(asked.pod.uid, fits, demand, deadline) if fits else ""
        if held:
            return self._only(held, asked.names)
        taken = {c.host_id: "its power was reserved for other pods meanwhile" for c in fits}
        verdict = self._sorted(asked, ranking, ())
        return Verdict((), {**verdict.failed, **taken}, verdict.unresolvable)

    def _hold_best(
        self, uid: str, fits: list[Candidate], demand: Demand, deadline: Deadline
    ) -> str:
        """Reserve on the best node that still has room; returns "" where none has."""
        full: set[str] = set()
        for candidate in fits:
            if candidate.tightest_ancestor_id in full:
                continue
            try:
                self._holds.take(uid, candidate.host_id, demand, deadline)
            except NoRoom:
                full.add(candidate.tightest_ancestor_id)
            else:
                return candidate.host_id
        return ""

    def _only(self, node: str, names: tuple[str, ...]) -> Verdict:
        others = dict.fromkeys(names, f"power is reserved for the pod on {node}")
        del others[node]
        return Verdict((node,), others)

    def _sorted(self, asked: Question, ranking: Ranking, names: tuple[str, ...]) -> Verdict:
        by_host = {candidate.host_id: candidate for candidate in ranking.candidates}
        failed, unresolvable, passed = {}, {}, set(names)
        for name in asked.names:
            candidate = by_host.get(name)
            if name in passed:
                continue
            if candidate is None or _UNKNOWN in candidate.reasons:
                unresolvable[name] = "not in the power topology"
            else:
                failed[name] = candidate.explanation or "no power left"
        return Verdict(names, failed, unresolvable)

    def _rank(self, asked: Question, deadline: Deadline) -> tuple[Ranking, Demand]:
        demand = self._demands.of(asked.pod)
        try:
            return self._ask(demand, asked.names, deadline), demand
        except NotKnown:
            if not demand.class_id:
                raise
        # A class with too few windows so far: the requests say at least something.
        demand = self._demands.of(asked.pod, without_class=True)
        return self._ask(demand, asked.names, deadline), demand

    def _ask(self, demand: Demand, names: tuple[str, ...], deadline: Deadline) -> Ranking:
        return self._client.rank(
            demand,
            names,
            horizon_s=self._rules.horizon_s,
            quantile_ppm=self._rules.quantile_ppm,
            timeout_s=deadline.left_s(),
        )

    def _bound(self, api: KubeApi, asked: Binding) -> str:
        try:
            api.bind(asked.pod_namespace, asked.pod_name, asked.uid, asked.node)
        except BindRefused as refused:
            self._holds.give_back(asked.uid, Deadline(self._rules.deadline_s))
            self._tally.count("bind", "refused_by_kubernetes")
            return str(refused)
        except BindUnknown as unknown:
            # It may be bound: what is reserved stays until it expires.
            self._tally.count("bind", "no_answer_from_kubernetes")
            return str(unknown)
        self._tally.count("bind", "bound")
        return ""

    def _unavailable(self, asked: Question, error: ChipwattError) -> Verdict:
        self._complain("filter", error)
        if self._rules.passes_when_unavailable:
            return Verdict(asked.names)
        return Verdict((), dict.fromkeys(asked.names, f"power: {error}"))

    def _complain(self, verb: str, error: ChipwattError) -> None:
        outcome = "unavailable" if isinstance(error, CollectorUnreachable) else "refused"
        self._tally.count(verb, outcome)
        what = "every node passes" if self._rules.passes_when_unavailable else "no node passes"
        _log.warning("the collector gave no usable answer", verb=verb, reason=str(error), so=what)
