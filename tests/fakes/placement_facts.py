"""The part of a placement service that states facts: profiles, peaks, site factors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import grpc

from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1.placement_pb2_grpc import PlacementServiceServicer

NOW_UNIX_NS = 1_800_000_000_000_000_000
PROVENANCE = pb.Provenance(
    as_of_unix_ns=NOW_UNIX_NS,
    staleness_ms=1_500,
    reporting_ppm=990_000,
    predictor=pb.PREDICTOR_CONFORMAL,
    quality=[pb.QUALITY_PARTIAL],
    model_version=1,
    calibration=pb.Calibration(coverage_7d_ppm=991_000, scores=5_000),
)


class PlacementFacts(PlacementServiceServicer, ABC):
    """Says of a class what it was asked, and keeps what it is told of a site."""

    def __init__(self) -> None:
        self.factors: dict[str, pb.SiteFactors] = {}
        self.feedback = 0

    @abstractmethod
    def met(self, request: Any, context: Any) -> None:
        """Take note of a request, and misbehave where the test wants it."""

    def PredictPeak(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        peaks = [
            pb.PredictedPeak(horizon_s=request.horizon_s, quantile_ppm=q, peak_mw=q)
            for q in request.quantile_ppm
        ]
        return pb.PredictPeakResponse(peaks=peaks, margin_mw=-5, provenance=PROVENANCE)

    def GetProfile(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        level = pb.PhaseLevel(phase=request.phase, level_mw=7, share_ppm=1_000_000)
        profile = pb.PowerProfile(class_id=request.class_id, windows=5, phases=[level])
        return pb.GetProfileResponse(profile=profile, provenance=PROVENANCE)

    def ListProfiles(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        profiles = [pb.PowerProfile(class_id="ab" * 16, hw_class=request.hw_class)]
        return pb.ListProfilesResponse(profiles=profiles, provenance=PROVENANCE)

    def SubmitFeedback(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        self.feedback += 1
        return pb.SubmitFeedbackResponse(feedback_count=self.feedback)

    def GetSiteFactors(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        if request.site_id not in self.factors:
            context.abort(grpc.StatusCode.NOT_FOUND, "site_id: no factors of it")
        factors = self.factors[request.site_id]
        carbon = factors.carbon_mg_per_kwh
        answer = pb.GetSiteFactorsResponse(factors=factors, age_ms=1_500, carbon_mg_per_kwh=carbon)
        if request.end_unix_ns:
            answer.mean_carbon_mg_per_kwh = carbon
            part = answer.parts.add()
            part.CopyFrom(factors)
            part.valid_from_unix_ns = request.start_unix_ns
            part.valid_until_unix_ns = request.end_unix_ns
        return answer

    def PutSiteFactors(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        kept = self.factors.setdefault(request.factors.site_id, pb.SiteFactors())
        kept.CopyFrom(request.factors)
        kept.received_unix_ns = NOW_UNIX_NS
        return pb.PutSiteFactorsResponse(factors=kept)

    def WatchTopology(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        for version in (1, 2):
            topology = pb.GetTopologyResponse(version=version, provenance=PROVENANCE)
            yield pb.WatchTopologyResponse(topology=topology)
