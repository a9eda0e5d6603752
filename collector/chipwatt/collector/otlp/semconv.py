"""Resources and attributes as OpenTelemetry's hardware conventions have them, in wire form.

Facts from semantic conventions 1.44 (``hw.*``, ``host.*``, ``service.*``).
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.otlp.wire import NUMBER_ATTRIBUTE, delimited
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


def resource(
    host_id: str,
    host_name: str,
    *,
    version: str,
    namespace: str,
    tier: Tier = Tier.CONFIDENTIAL,
) -> bytes:
    """Return the resource of one host.

    ``service.instance.id`` is the host's id: Prometheus makes ``instance`` of it, and
    hosts would collide there without. Any tier but the default says itself.
    """
    texts = {
        "service.name": SERVICE_NAME,
        "service.namespace": namespace,
        "service.version": version,
        "service.instance.id": host_id,
        "host.id": host_id,
        "host.name": host_name[:MAX_TEXT],
        "chipwatt.egress": "" if tier is Tier.CONFIDENTIAL else str(tier),
    }
    attributes = [_key_value(key, value) for key, value in texts.items() if value]
    return Resource(attributes=attributes).SerializeToString()


def scope(version: str) -> bytes:
    """Return the instrumentation scope."""
    return InstrumentationScope(name=SERVICE_NAME, version=version).SerializeToString()


def domain_attributes(
    device: DeviceId,
    domain: Domain,
    statistic: Statistic,
    *,
    is_root: bool,
    method: Method,
    interface: Interface,
    is_filtered: bool,
) -> list[bytes]:
    """Return the attributes of every point of one statistic of a domain."""
    attributes = [
        *_component(device, domain, statistic),
        text("chipwatt.method", method.name.lower()),
        text("chipwatt.interface", interface.name.lower()),
    ]
    if not is_root and domain in _PARENTS:
        attributes.append(text("hw.parent", f"{device}/{_PARENTS[domain].name.lower()}"))
    if is_filtered:
        filtered = KeyValue(key="chipwatt.filtered", value=AnyValue(bool_value=True))
        attributes.append(filtered.SerializeToString())
    return attributes


def gap_attributes(
    device: DeviceId, domain: Domain, statistic: Statistic, reason: GapReason
) -> bytes:
    """Return the attributes of every point of one line's gaps of one reason."""
    return of_number(
        [*_component(device, domain, statistic), text("chipwatt.reason", reason.name.lower())]
    )


def host_attributes(host_id: str, method: Method) -> bytes:
    """Return the attributes of a host's own points."""
    return of_number([text("hw.id", host_id), text("chipwatt.method", method.name.lower())])


def of_number(attributes: Iterable[bytes]) -> bytes:
    """Return attributes as they stand in a point that is a number."""
    return b"".join(delimited(NUMBER_ATTRIBUTE, attribute) for attribute in attributes)


def text(key: str, value: str) -> bytes:
    """Return one attribute."""
    return _key_value(key, value).SerializeToString()


def _component(device: DeviceId, domain: Domain, statistic: Statistic) -> list[bytes]:
    name = domain.name.lower()
    return [
        text("hw.id", f"{device}/{name}"),
        text("hw.type", _DOMAIN_TYPES.get(domain, _KIND_TYPES[device.kind])),
        text("hw.name", f"{str(device).replace('/', ' ')} {name}"),
        text("chipwatt.statistic", statistic.name.lower()),
    ]


def _key_value(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
