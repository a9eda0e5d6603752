"""What a program asks a collector, as plain Python values.

::

    from chipwatt.client import CollectorClient

    with CollectorClient("127.0.0.1:9733") as collector:
        for host in collector.hosts():
            for window in collector.windows(host.host_id):
                print(window.device, window.energy_uj)
"""

from chipwatt.client.collector import CollectorClient, RequestRefused
from chipwatt.client.values import (
    CollectorStatus,
    ConflictInfo,
    DeviceInfo,
    HeadroomInfo,
    HostDevices,
    HostInfo,
    LatestState,
    NodeParent,
    OpenGap,
    Provenance,
    TopologyInfo,
    TopologyNode,
)

__all__ = [
    "CollectorClient",
    "CollectorStatus",
    "ConflictInfo",
    "DeviceInfo",
    "HeadroomInfo",
    "HostDevices",
    "HostInfo",
    "LatestState",
    "NodeParent",
    "OpenGap",
    "Provenance",
    "RequestRefused",
    "TopologyInfo",
    "TopologyNode",
]
