"""What things are called: OpenTelemetry's hardware conventions, and our own names beside them.

Facts from semantic conventions 1.44 (``hw.*``, ``host.*``, ``service.*``).
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, GapReason, Interface, Method, Statistic

SERVICE_NAME = "chipwatt"
MAX_TEXT = 255

_KIND_TYPES = {
    DeviceKind.CPU: "cpu",
    DeviceKind.GPU: "gpu",
    DeviceKind.MEMORY: "memory",
    DeviceKind.MODULE: "enclosure",
    DeviceKind.BOARD: "enclosure",
    DeviceKind.OTHER: "other",
}
_DOMAIN_TYPES = {
    Domain.DRAM: "memory",
    Domain.MEMORY: "memory",
    Domain.PSYS: "enclosure",
    Domain.MODULE: "enclosure",
}
_PARENTS = {
    Domain.CORE: Domain.PACKAGE,
    Domain.UNCORE: Domain.PACKAGE,
    Domain.MEMORY: Domain.BOARD,
}


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric as it is announced in each request."""

    name: str
    unit: str
    description: str
    is_sum: bool


ENERGY = MetricSpec("hw.energy", "J", "Energy consumed by the component.", is_sum=True)
POWER = MetricSpec("hw.power", "W", "Mean power of the component over the interval.", is_sum=False)
HOST_ENERGY = MetricSpec(
    "hw.host.energy", "J", "Energy consumed by the host's components since first seen.", is_sum=True
)
HOST_POWER = MetricSpec(
    "hw.host.power", "W", "Mean power of the host's components over the interval.", is_sum=False
)
DOMAIN_ENERGY = MetricSpec(
    "chipwatt.domain.energy", "J", "Energy of a domain that overlaps a component.", is_sum=True
)
DOMAIN_POWER = MetricSpec(
    "chipwatt.domain.power", "W", "Mean power of a domain that overlaps a component.", is_sum=False
)
COVERAGE = MetricSpec(
    "chipwatt.coverage", "1", "Share of the interval that the sensor saw.", is_sum=False
)

GAP_LOWER = MetricSpec(
    "chipwatt.gap.energy.lower", "J", "Least energy drawn where nobody could know it.", is_sum=True
)
GAP_UPPER = MetricSpec(
    "chipwatt.gap.energy.upper", "J", "Most energy drawn where nobody could know it.", is_sum=True
)
GAP_DURATION = MetricSpec(
    "chipwatt.gap.duration", "s", "Time of which the energy is not known.", is_sum=True
)
GAP_COUNT = MetricSpec(
    "chipwatt.gap.count", "{gap}", "Gaps in what is known of the energy.", is_sum=True
)


def resource(host_id: str, host_name: str, *, version: str, namespace: str) -> Resource:
    """Return the resource of one host.

    ``service.instance.id`` is the host's id: Prometheus makes ``instance`` of it, and
    hosts would collide there without.
    """
    texts = {
        "service.name": SERVICE_NAME,
        "service.namespace": namespace,
        "service.version": version,
        "service.instance.id": host_id,
        "host.id": host_id,
        "host.name": host_name[:MAX_TEXT],
    }
    return Resource(attributes=[_text(key, value) for key, value in texts.items() if value])


def domain_attributes(
    device: DeviceId,
    domain: Domain,
    statistic: Statistic,
    *,
    is_root: bool,
    method: Method,
    interface: Interface,
    is_filtered: bool,
) -> bytes:
    """Return the attributes of every point of one statistic of a domain, in wire form."""
    name = domain.name.lower()
    attributes = [
        _text("hw.id", f"{device}/{name}"),
        _text("hw.type", _DOMAIN_TYPES.get(domain, _KIND_TYPES[device.kind])),
        _text("hw.name", f"{str(device).replace('/', ' ')} {name}"),
        _text("chipwatt.method", method.name.lower()),
        _text("chipwatt.statistic", statistic.name.lower()),
        _text("chipwatt.interface", interface.name.lower()),
    ]
    if not is_root and domain in _PARENTS:
        attributes.append(_text("hw.parent", f"{device}/{_PARENTS[domain].name.lower()}"))
    if is_filtered:
        attributes.append(KeyValue(key="chipwatt.filtered", value=AnyValue(bool_value=True)))
    return _wire(attributes)


def gap_attributes(
    device: DeviceId, domain: Domain, statistic: Statistic, reason: GapReason
) -> bytes:
    """Return the attributes of every point of one line's gaps of one reason, in wire form."""
    name = domain.name.lower()
    return _wire(
        [
            _text("hw.id", f"{device}/{name}"),
            _text("hw.type", _DOMAIN_TYPES.get(domain, _KIND_TYPES[device.kind])),
            _text("hw.name", f"{str(device).replace('/', ' ')} {name}"),
            _text("chipwatt.statistic", statistic.name.lower()),
            _text("chipwatt.reason", reason.name.lower()),
        ]
    )


def host_attributes(host_id: str, method: Method) -> bytes:
    """Return the attributes of a host's own points, in wire form."""
    return _wire([_text("hw.id", host_id), _text("chipwatt.method", method.name.lower())])


def _wire(attributes: list[KeyValue]) -> bytes:
    # Merging bytes into a point takes a third of the time of copying the messages.
    return NumberDataPoint(attributes=attributes).SerializeToString()


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
