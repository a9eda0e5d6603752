"""``chipwatt.v1.QueryService`` on the network."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import grpc
import grpc.aio

from chipwatt.collector.access.caller import caller_of
from chipwatt.collector.answering import answer
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.policy import EVERYTHING, view_of
from chipwatt.collector.query.queries import Queries
from chipwatt.collector.selfmetrics import without_energy
from chipwatt.v1 import query_pb2 as pb
from chipwatt.v1 import query_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class QueryServicer(query_pb2_grpc.QueryServiceServicer):
    """Every rpc reads in ``executor``; the event loop belongs to the agents' streams."""

    def __init__(
        self,
        queries: Queries,
        status: Callable[[], pb.GetCollectorStatusResponse],
        executor: Executor,
        tier: Tier = Tier.CONFIDENTIAL,
    ) -> None:
        """``tier`` is what callers with the role ``egress`` are granted."""
        self._tier = tier
        self._queries = queries
        self._status = status
        self._executor = executor

    async def ListHosts(
        self, request: pb.ListHostsRequest, context: Context
    ) -> pb.ListHostsResponse:
        return await answer(self._executor, context, self._queries.list_hosts, request)

    async def ListDevices(
        self, request: pb.ListDevicesRequest, context: Context
    ) -> pb.ListDevicesResponse:
        return await answer(self._executor, context, self._queries.list_devices, request)

    async def ListWindows(
        self, request: pb.ListWindowsRequest, context: Context
    ) -> pb.ListWindowsResponse:
        view = view_of(caller_of(context).role, self._tier)
        if view is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "your role may see no windows")
        if self._tier is not Tier.CONFIDENTIAL:
            await context.send_initial_metadata((("chipwatt-egress", str(self._tier)),))
        work = partial(self._queries.list_windows, view=view)
        return await answer(self._executor, context, work, request)

    async def ListHostSeconds(
        self, request: pb.ListHostSecondsRequest, context: Context
    ) -> pb.ListHostSecondsResponse:
        return await answer(self._executor, context, self._queries.list_host_seconds, request)

    async def ListGaps(self, request: pb.ListGapsRequest, context: Context) -> pb.ListGapsResponse:
        return await answer(self._executor, context, self._queries.list_gaps, request)

    async def ListConflicts(
        self, request: pb.ListConflictsRequest, context: Context
    ) -> pb.ListConflictsResponse:
        return await answer(self._executor, context, self._queries.list_conflicts, request)

    async def GetLatest(
        self, request: pb.GetLatestRequest, context: Context
    ) -> pb.GetLatestResponse:
        return await answer(self._executor, context, self._queries.get_latest, request)

    async def GetCollectorStatus(
        self, request: pb.GetCollectorStatusRequest, context: Context
    ) -> pb.GetCollectorStatusResponse:
        is_all = view_of(caller_of(context).role, self._tier) is EVERYTHING
        work = self._status if is_all else lambda: without_energy(self._status())
        return await answer(self._executor, context, lambda _: work(), request)
