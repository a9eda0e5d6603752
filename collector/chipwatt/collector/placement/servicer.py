"""``chipwatt.v1.PlacementService`` on gRPC: each rpc to who answers it, off the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Any

import grpc.aio

from chipwatt.collector.answering import answer
from chipwatt.collector.placement.desk import Desk
from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class PlacementServicer(placement_pb2_grpc.PlacementServiceServicer):
    """Computes in ``executor``; the event loop belongs to the agents' streams.

    ``desk_of`` says who answers the caller of a context: what each may see differs.
    """

    def __init__(self, desk_of: Callable[[Context], Desk], executor: Executor) -> None:
        self._desk_of = desk_of
        self._executor = executor

    async def GetTopology(
        self, request: pb.GetTopologyRequest, context: Context
    ) -> pb.GetTopologyResponse:
        return await answer(
            self._executor, context, self._desk_of(context).power.get_topology, request
        )

    async def WatchTopology(
        self, request: pb.WatchTopologyRequest, context: Context
    ) -> AsyncIterator[pb.WatchTopologyResponse]:
        async for message in self._desk_of(context).power.watch_topology(
            self._executor, request, context
        ):
            yield message

    async def GetHeadroom(
        self, request: pb.GetHeadroomRequest, context: Context
    ) -> pb.GetHeadroomResponse:
        return await answer(
            self._executor, context, self._desk_of(context).power.get_headroom, request
        )

    async def PredictPeak(
        self, request: pb.PredictPeakRequest, context: Context
    ) -> pb.PredictPeakResponse:
        return await answer(
            self._executor, context, self._desk_of(context).power.predict_peak, request
        )

    async def GetProfile(
        self, request: pb.GetProfileRequest, context: Context
    ) -> pb.GetProfileResponse:
        return await answer(
            self._executor, context, self._desk_of(context).ranks.get_profile, request
        )

    async def ListProfiles(
        self, request: pb.ListProfilesRequest, context: Context
    ) -> pb.ListProfilesResponse:
        return await answer(
            self._executor, context, self._desk_of(context).ranks.list_profiles, request
        )

    async def RankCandidates(
        self, request: pb.RankCandidatesRequest, context: Context
    ) -> pb.RankCandidatesResponse:
        return await answer(
            self._executor, context, self._desk_of(context).ranks.rank_candidates, request
        )

    async def WhatIf(self, request: pb.WhatIfRequest, context: Context) -> pb.WhatIfResponse:
        return await answer(self._executor, context, self._desk_of(context).ranks.what_if, request)

    async def Reserve(self, request: pb.ReserveRequest, context: Context) -> pb.ReserveResponse:
        return await answer(
            self._executor, context, self._desk_of(context).reservations.reserve, request
        )

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.CommitResponse:
        return await answer(
            self._executor, context, self._desk_of(context).reservations.commit, request
        )

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        return await answer(
            self._executor, context, self._desk_of(context).reservations.release, request
        )

    async def ListReservations(
        self, request: pb.ListReservationsRequest, context: Context
    ) -> pb.ListReservationsResponse:
        return await answer(
            self._executor, context, self._desk_of(context).reservations.list_reservations, request
        )

    async def WatchPowerEvents(
        self, request: pb.WatchPowerEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchPowerEventsResponse]:
        async for message in self._desk_of(context).events.watch(request, context):
            yield message

    async def SubmitFeedback(
        self, request: pb.SubmitFeedbackRequest, context: Context
    ) -> pb.SubmitFeedbackResponse:
        return await answer(
            self._executor, context, self._desk_of(context).ranks.submit_feedback, request
        )

    async def GetSiteFactors(
        self, request: pb.GetSiteFactorsRequest, context: Context
    ) -> pb.GetSiteFactorsResponse:
        return await answer(
            self._executor, context, self._desk_of(context).ranks.get_site_factors, request
        )

    async def PutSiteFactors(
        self, request: pb.PutSiteFactorsRequest, context: Context
    ) -> pb.PutSiteFactorsResponse:
        return await answer(
            self._executor, context, self._desk_of(context).ranks.put_site_factors, request
        )
