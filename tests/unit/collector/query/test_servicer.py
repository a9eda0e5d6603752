"""What the collector's status tells whom."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from chipwatt.collector.access.caller import Caller, remember
from chipwatt.collector.access.role import Role
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.query.servicer import QueryServicer
from chipwatt.v1 import query_pb2 as pb

NOBODY_ASKS: Any = None


def a_status() -> pb.GetCollectorStatusResponse:
    return pb.GetCollectorStatusResponse(batches_stored=3, root_energy_j=91, root_energy_rest_uj=7)


@pytest.mark.parametrize(
    ("role", "tier", "energy_j"),
    [
        (Role.OPERATOR, Tier.CONFIDENTIAL, 91),
        (Role.EGRESS, Tier.CONFIDENTIAL, 0),
        (Role.EGRESS, Tier.DP, 0),
        (Role.EGRESS, Tier.OPERATOR, 91),
    ],
)
def test_exact_energy_is_for_who_may_see_everything(role: Role, tier: Tier, energy_j: int) -> None:
    async def asked() -> pb.GetCollectorStatusResponse:
        remember(Caller(role, "who"))
        with ThreadPoolExecutor(1) as executor:
            servicer = QueryServicer(NOBODY_ASKS, a_status, executor, tier)
            request = pb.GetCollectorStatusRequest()
            return await servicer.GetCollectorStatus(request, cast(Any, None))

    status = asyncio.run(asked())
    assert (status.batches_stored, status.root_energy_j) == (3, energy_j)
    assert bool(status.root_energy_rest_uj) == bool(energy_j)
