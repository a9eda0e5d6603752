"""What a scheduler asks and is told: demands, ranks, changes, reservations, events; in mW."""

from __future__ import annotations

from dataclasses import dataclass

from chipwatt.client.placement_values import Provenance


@dataclass(frozen=True, slots=True)
class InlineProfile:
    """What one replica is expected to draw, given by who knows better than a class profile."""

    mean_mw: int
    peak_mw: int
    swing_class: int = 0
    """0 none, 1 weak, 2 clear, 3 strong."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be placed: a class by its id (32 hexadecimal digits) or an inline profile."""

    class_id: str = ""
    inline: InlineProfile | None = None
    replicas: int = 1
    gang_id: str = ""
    """Members of one gang peak together."""
    duration_hint_s: int = 0
    priority: int = 0
    min_duration_s: int = 0


@dataclass(frozen=True, slots=True)
class Objective:
    """Weights of a score's parts, each 0 to 1,000,000, not all 0."""

    headroom_ppm: int = 0
    coincidence_ppm: int = 0
    marginal_power_ppm: int = 0
    carbon_ppm: int = 0
    water_ppm: int = 0
    swing_ppm: int = 0
    pack_ppm: int = 0


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """A score's parts before weighting."""

    headroom_ppm: int
    coincidence_ppm: int
    marginal_power_ppm: int
    carbon_ppm: int
    water_ppm: int
    swing_ppm: int
    pack_ppm: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """How well a host would do."""

    host_id: str
    feasible: bool
    score_ppm: int
    parts: ScoreParts
    tightest_ancestor_id: str
    marginal_peak_mw: int
    marginal_mean_mw: int
    reasons: tuple[str, ...]
    """Of ``over_budget``, ``unknown_host``, ``stale``, ``cold_start``, ``no_budget``,
    ``site_factors_missing``."""
    explanation: str
    headroom_after_mw: int
    """Left at the tightest ancestor after placing; negative where it does not fit."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, best first."""

    candidates: tuple[Candidate, ...]
    provenance: Provenance
    placement_id: str
    """Names this decision in ``feedback``."""
    snapshot_id: str
    """The state that it was computed from; ``what_if`` takes it."""


@dataclass(frozen=True, slots=True)
class PlaceChange:
    """This is placed there."""

    node_id: str
    demand: Demand


@dataclass(frozen=True, slots=True)
class RemoveChange:
    """So much less is drawn there."""

    node_id: str
    power_mw: int


@dataclass(frozen=True, slots=True)
class MoveChange:
    """So much goes from one node to another."""

    from_node_id: str
    to_node_id: str
    power_mw: int


@dataclass(frozen=True, slots=True)
class CapChange:
    """A node is capped."""

    node_id: str
    cap_mw: int


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """A node has another budget."""

    node_id: str
    budget_mw: int


@dataclass(frozen=True, slots=True)
class FeedLoss:
    """A node fails; what it carried goes to the other feeds."""

    node_id: str


Change = PlaceChange | RemoveChange | MoveChange | CapChange | BudgetChange | FeedLoss


@dataclass(frozen=True, slots=True)
class NodeEffect:
    """What a change does to one node."""

    node_id: str
    peak_before_mw: int
    peak_after_mw: int
    headroom_before_mw: int
    headroom_after_mw: int
    exceed_before_ppm: int
    """Probability that the budget is exceeded within the horizon."""
    exceed_after_ppm: int
    unlimited: bool
    """No budget on the way up: headroom means nothing."""
    first_violated_id: str = ""
    """The node itself or the nearest above it whose budget would be exceeded."""


@dataclass(frozen=True, slots=True)
class WhatIfInfo:
    """What changes would do; parents first."""

    effects: tuple[NodeEffect, ...]
    first_violated_id: str
    """Empty: no budget is exceeded."""
    snapshot_id: str
    provenance: Provenance
    unpowered_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a reservation holds at one node."""

    node_id: str
    granted_mw: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """Power set aside for what is about to start."""

    reservation_id: str
    idempotency_key: str
    node_id: str
    demand: Demand
    state: str
    """``held``, ``committed``, ``released``, ``expired`` or ``absorbed``."""
    created_unix_ns: int
    expires_unix_ns: int
    grants: tuple[Grant, ...]
    """The node and every ancestor."""
    workload_id: str
    committed_unix_ns: int
    node_gone: bool = False
    """The topology has the node no longer; it counts at what is left of its ancestors."""

    @property
    def is_live(self) -> bool:
        """Whether it still holds power, or telemetry has taken its place."""
        return self.state in ("held", "committed", "absorbed")


@dataclass(frozen=True, slots=True)
class CapAdvice:
    """What would help; nobody in Chipwatt carries it out."""

    target_id: str
    cap_mw: int
    order: int
    priority: int
    expected_saving_mw: int
    valid_until_unix_ns: int


@dataclass(frozen=True, slots=True)
class PowerEvent:
    """Something happened to a node's power."""

    seq: int
    node_id: str
    kind: str
    """``threshold_1``, ``threshold_2``, ``over_budget``, ``breaker_risk``, ``feed_loss``, ``ramp``,
    ``swing_band``, ``telemetry_lost`` or ``cleared``."""
    cleared_kind: str
    severity: str
    """``info``, ``warning`` or ``critical``."""
    at_unix_ns: int
    observed_mw: int
    limit_mw: int
    time_to_trip_s: int
    """0: unknown, or no trip to expect."""
    cap_advice: tuple[CapAdvice, ...]


@dataclass(frozen=True, slots=True)
class EventNotice:
    """An event and where to resume after it."""

    event: PowerEvent | None
    """None in the first notice of a stream, which says where it begins."""
    resume_token: str
    missed: bool
    """Events between the token that was given and this one are no longer kept."""
