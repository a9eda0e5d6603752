"""The agents' own cost and timing, from the health records that they send.

Health counts what was since the report before, so it is added up as it is stored:
once, because a batch that comes twice is stored once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from chipwatt.collector.otlp import semconv
from chipwatt.collector.otlp.table import Instrument, Metric
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.telemetry import table
from chipwatt.collector.telemetry.messages import key_values
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Interface
from chipwatt.core.tables import Tables, row_values

SCOPE = "chipwatt.agent"
HOSTS_A_REQUEST = 300
_PPM = 1e6
_TIMED = (SectionKind.HOST_SECOND, SectionKind.DEVICE_WINDOW)
_Value = tuple[Metric, str, float | int]


@dataclass(slots=True)
class _Agent:
    newest_unix_ns: int = 0
    health: Mapping[str, int] = field(default_factory=dict)
    calls_ns: dict[int, int] = field(default_factory=dict)
    """Slowest poll by interface."""
    deadlines: int = 0
    late: int = 0
    errors: int = 0


class Agents:
    """What every agent last said, and the sums over what it said."""

    def __init__(self, started_unix_ns: int, *, version: str, namespace: str = "") -> None:
        self._started_unix_ns = started_unix_ns
        self._version = version
        self._namespace = namespace
        self._agents: dict[bytes, _Agent] = {}
        self._lock = threading.Lock()

    def on_commit(self, batches: Sequence[IncomingBatch]) -> None:
        """Take over what has been stored, in the thread that stored it."""
        with self._lock:
            for batch in batches:
                agent = self._agents.setdefault(batch.key.host, _Agent())
                newest = newest_unix_ns(batch.tables)
                if newest is not None:
                    agent.newest_unix_ns = max(agent.newest_unix_ns, newest)
                _take_status(agent, batch.tables)

    def requests(
        self, names: Mapping[bytes, str], now_unix_ns: int
    ) -> Iterator[ExportMetricsServiceRequest]:
        """Yield messages with a resource a host; each is made when it is asked for."""
        with self._lock:
            hosts = list(self._agents)
        for at in range(0, len(hosts), HOSTS_A_REQUEST):
            request = ExportMetricsServiceRequest()
            for host in hosts[at : at + HOSTS_A_REQUEST]:
                with self._lock:
                    values = list(_values(self._agents[host], now_unix_ns))
                resource = semconv.resource(
                    host.hex(),
                    names.get(host) or host.hex(),
                    version=self._version,
                    namespace=self._namespace,
                )
                of_host = request.resource_metrics.add(resource=Resource.FromString(resource))
                scope = InstrumentationScope(name=SCOPE, version=self._version)
                of_scope = of_host.scope_metrics.add(scope=scope)
                _fill(of_scope, values, self._started_unix_ns, now_unix_ns)
            yield request


def newest_unix_ns(tables: Tables) -> int | None:
    """Return when the newest row of a batch ends; None where no row has a time."""
    ends = [
        int((table["start_unix_ns"] + table["duration_ns"].astype("<i8")).max())
        for kind in _TIMED
        if (table := tables.get(kind)) is not None and table.rows
    ]
    return max(ends, default=None)


def _take_status(agent: _Agent, tables: Tables) -> None:
    health = tables.get(SectionKind.AGENT)
    for row in range(0 if health is None else health.rows):
        agent.health = row_values(tables[SectionKind.AGENT], row)
        agent.deadlines += agent.health["deadlines"]
        agent.late += agent.health["late_deadlines"]
        agent.errors += agent.health["transient_errors"]
    sensors = tables.get(SectionKind.SENSOR)
    if sensors is not None and sensors.rows:
        agent.calls_ns = {}
        pairs = zip(sensors["interface"].tolist(), sensors["call_cost_ns"].tolist(), strict=True)
        for interface, cost_ns in pairs:
            agent.calls_ns[interface] = max(cost_ns, agent.calls_ns.get(interface, 0))


def _values(agent: _Agent, now_unix_ns: int) -> Iterator[_Value]:
    """Yield (metric, value of its attribute, value)."""
    if agent.newest_unix_ns:
        yield table.AGENT_LAG, "", max(0, now_unix_ns - agent.newest_unix_ns) / NS_PER_S
    for interface, cost_ns in agent.calls_ns.items():
        yield table.AGENT_CALL, Interface(interface).name.lower(), cost_ns / NS_PER_S
    if not agent.health:
        return
    yield table.AGENT_UPTIME, "", agent.health["uptime_s"]
    yield table.AGENT_CPU, "", agent.health["cpu_ppm"] / _PPM
    yield table.AGENT_LIBRARY, "", agent.health["library_ppm"] / _PPM
    yield table.AGENT_BROKEN, "", agent.health["broken_sources"]
    yield table.AGENT_DEADLINES, "met", agent.deadlines - agent.late
    yield table.AGENT_DEADLINES, "late", agent.late
    yield table.AGENT_ERRORS, "", agent.errors


def _fill(
    out: metrics_pb2.ScopeMetrics, values: Iterable[_Value], start_unix_ns: int, now_unix_ns: int
) -> None:
    metrics: dict[str, metrics_pb2.Metric] = {}
    for metric, attribute, value in values:
        said = metrics.get(metric.name)
        if said is None:
            said = metrics[metric.name] = out.metrics.add(
                name=metric.name, unit=metric.unit, description=metric.meaning
            )
        if metric.instrument is Instrument.COUNTER:
            said.sum.is_monotonic = True
            said.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
            point = said.sum.data_points.add(start_time_unix_nano=start_unix_ns)
        else:
            point = said.gauge.data_points.add()
        point.time_unix_nano = now_unix_ns
        if attribute:
            point.attributes.extend(key_values({metric.attributes[0]: attribute}))
        if isinstance(value, int):
            point.as_int = value
        else:
            point.as_double = value
