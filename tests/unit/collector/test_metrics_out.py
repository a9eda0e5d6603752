"""What the collector's own metrics tell depends on whom they are for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.egress.config import PrivacyConfig, Tier
from chipwatt.collector.metrics_out import MetricsOut
from chipwatt.collector.selfmetrics import SIZE_STEP_BYTES
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.telemetry.table import STORE_SIZE
from chipwatt.core.clock import VirtualClock
from chipwatt.v1.query_pb2 import GetCollectorStatusResponse


@pytest.mark.parametrize("tier", Tier)
def test_the_exact_size_of_the_store_is_for_the_operator_alone(tmp_path: Path, tier: Tier) -> None:
    config = CollectorConfig(state_dir=tmp_path, privacy=PrivacyConfig(egress=tier))
    clock = VirtualClock(10**18)
    status = GetCollectorStatusResponse(store_bytes=3 * SIZE_STEP_BYTES + 1)

    async def requests() -> list[ExportMetricsServiceRequest]:
        async with AsyncExitStack() as stack:
            store = SqliteStore(config.store_config(), clock.mono_ns)
            stack.callback(store.close)
            out = MetricsOut(config, store, clock, stack.enter_context(ThreadPoolExecutor(1)))
            return out._measured(lambda: status, tuple, [], stack).requests()

    own, *_ = asyncio.run(requests())
    (told,) = (
        point.as_int
        for of_resource in own.resource_metrics
        for scope in of_resource.scope_metrics
        for metric in scope.metrics
        if metric.name == STORE_SIZE.name
        for point in metric.gauge.data_points
    )
    assert told == (3 * SIZE_STEP_BYTES + 1 if tier is Tier.OPERATOR else 4 * SIZE_STEP_BYTES)
