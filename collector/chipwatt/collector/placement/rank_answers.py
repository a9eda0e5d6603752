"""The rpcs about where a workload fits: ranks, what-ifs, profiles, feedback, site factors."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from chipwatt.collector.answering import Refused, invalid, not_found
from chipwatt.collector.placement.asking import horizon_of, position_of, quantile_of
from chipwatt.collector.placement.feedback import Feedback, Outcome
from chipwatt.collector.placement.profile_answers import get_profile, list_profiles
from chipwatt.collector.placement.profiles import Profiles
from chipwatt.collector.placement.rank import Ranked, Ranker, placement_id
from chipwatt.collector.placement.site_factors import SiteFactorsBook
from chipwatt.collector.placement.topology import WHOLE_PPM, NodeKind
from chipwatt.collector.placement.trust import Trust, provenance_message
from chipwatt.collector.placement.whatif import what_if
from chipwatt.v1 import placement_pb2 as pb

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook
    from chipwatt.collector.placement.outlooks import OutlookSource


class RankAnswers:
    """Messages in, messages out; called from several threads. Raises Refused, StoreError.

    What it learns (class profiles, feedback, site factors) is kept in ``path``, the
    placement database.
    """

    def __init__(self, outlooks: OutlookSource, path: Path, unix_ns: Callable[[], int]) -> None:
        self._outlooks = outlooks
        self.profiles = Profiles(path)
        """For Reserve and PredictPeak too."""
        self._feedback = Feedback(path, unix_ns)
        self._factors = SiteFactorsBook(path, unix_ns)
        self._ranker = Ranker(self.profiles, self._factors.costs)

    def seen_through(self, outlooks: OutlookSource) -> RankAnswers:
        """Return who answers from other outlooks, with all that was learned in common."""
        other = copy(self)
        other._outlooks = outlooks  # noqa: SLF001 - its own class
        other._ranker = Ranker(self.profiles, self._factors.costs)  # noqa: SLF001
        return other

    def tick(self, outlook: Outlook) -> None:
        """Prepare a new snapshot for the usual questions; once a second."""
        self._ranker.prepare(outlook)

    def close(self) -> None:
        """Close the database; everything is on it."""
        self.profiles.close()
        self._feedback.close()
        self._factors.close()

    def rank_candidates(self, request: pb.RankCandidatesRequest) -> pb.RankCandidatesResponse:
        outlook = self._outlooks.latest()
        horizon_s = horizon_of(request.horizon_s, outlook)
        quantile = quantile_of(request.quantile_ppm)
        ranked = self._ranker.rank(outlook, horizon_s, quantile, request)
        quantile_ppm = round(quantile * WHOLE_PPM)
        return pb.RankCandidatesResponse(
            candidates=ranked.candidates,
            provenance=provenance_message(self._trust(ranked, horizon_s, quantile)),
            placement_id=placement_id(outlook.id, horizon_s, quantile_ppm, request),
            snapshot_id=outlook.id,
        )

    def what_if(self, request: pb.WhatIfRequest) -> pb.WhatIfResponse:
        outlook = self._snapshot(request.snapshot_id)
        horizon_s = horizon_of(request.horizon_s, outlook)
        quantile = quantile_of(request.quantile_ppm)
        if request.snapshot_id and not outlook.holds(horizon_s):
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"horizon_s: nobody asked snapshot {request.snapshot_id} for {horizon_s} s while "
                "it was the newest; rank with this horizon first, or leave snapshot_id empty",
            )
        return what_if(outlook, horizon_s, quantile, self.profiles, request)

    def get_profile(self, request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        return pb.GetProfileResponse(
            profile=get_profile(self.profiles, request), provenance=self._provenance()
        )

    def list_profiles(self, request: pb.ListProfilesRequest) -> pb.ListProfilesResponse:
        return pb.ListProfilesResponse(
            profiles=list_profiles(self.profiles, request), provenance=self._provenance()
        )

    def submit_feedback(self, request: pb.SubmitFeedbackRequest) -> pb.SubmitFeedbackResponse:
        outcome = Outcome(
            request.placement_id,
            request.chosen_host_id,
            capped=request.capped,
            violated=request.violated,
            throttled_s=request.throttled_s,
        )
        return pb.SubmitFeedbackResponse(feedback_count=self._feedback.submit(outcome))

    def get_site_factors(self, request: pb.GetSiteFactorsRequest) -> pb.GetSiteFactorsResponse:
        self._check_site(request.site_id, "site_id")
        found = self._factors.get(request)
        if found is None:
            when = " for then" if request.start_unix_ns or request.end_unix_ns else ""
            raise not_found(f"site_id: nobody has given factors of {request.site_id!r}{when} yet")
        return found

    def put_site_factors(self, request: pb.PutSiteFactorsRequest) -> pb.PutSiteFactorsResponse:
        self._check_site(request.factors.site_id, "factors.site_id")
        return pb.PutSiteFactorsResponse(factors=self._factors.put(request.factors))

    def _snapshot(self, snapshot_id: str) -> Outlook:
        if not snapshot_id:
            return self._outlooks.latest()
        outlook = self._outlooks.get(snapshot_id)
        if outlook is None:
            raise not_found(
                f"snapshot_id: {snapshot_id[:80]!r} is not kept (a snapshot is for a minute at "
                "most); leave it empty for now"
            )
        return outlook

    def _trust(self, ranked: Ranked, horizon_s: int, quantile: float) -> Trust:
        """Return the trust in all hosts, with the prediction that decided the first of them.

        Where enough placements were reported on, how those have held says more of the next
        one than how its node's predictions have.
        """
        trust = ranked.moment.trust
        if ranked.decisive < 0:
            return trust
        one = ranked.moment.outlook.trust(ranked.decisive, horizon_s, quantile)
        held = self._feedback.held(round(quantile * WHOLE_PPM))
        return replace(
            trust,
            predictor=one.predictor,
            quality=tuple(sorted({*trust.quality, *one.quality})),
            coverage_7d_ppm=held.held_ppm if held else one.coverage_7d_ppm,
            scores=held.reports if held else one.scores,
        )

    def _provenance(self) -> pb.Provenance:
        return provenance_message(self._outlooks.latest().trust_of_all())

    def _check_site(self, site_id: str, field: str) -> None:
        topology = self._outlooks.latest().topology
        position = position_of(topology, site_id, field)
        if topology.nodes[position].kind is not NodeKind.SITE:
            kind = topology.nodes[position].kind.name.lower()
            raise invalid(f"{field}: {site_id!r} is a {kind}, not a site")
