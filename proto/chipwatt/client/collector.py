"""All of a collector's APIs over one gRPC channel; pages are fetched as the caller walks on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chipwatt.client import messages, values
from chipwatt.client.placement import PlacementClient
from chipwatt.core.identity import parse_device
from chipwatt.core.model import AbsentReason, Domain, Interface, Statistic
from chipwatt.core.records import AbsentInterface, DeviceWindow, Gap, HostSecond
from chipwatt.v1 import query_pb2, query_pb2_grpc, types_pb2

_HOSTS_AT_ONCE = 32


class CollectorClient(PlacementClient):
    """Asks one collector, about placement as well. Safe between threads; a context manager.

    Every method raises CollectorUnreachable where nothing answers within
    ``timeout_s`` and RequestRefused where the collector says no. Hosts are
    named by id (32 hexadecimal digits) or by name. Ranges are [start, end);
    an end of 0 is open.
    """

    @property
    def _query(self) -> query_pb2_grpc.QueryServiceStub:
        return self._stub(query_pb2_grpc.QueryServiceStub)

    def hosts(self, *, page_size: int = 0) -> Iterator[values.HostInfo]:
        """Return every host that has reported, by id."""
        token = ""
        while True:
            request = query_pb2.ListHostsRequest(page_size=page_size, page_token=token)
            response = self._call(self._query.ListHosts, request)
            yield from map(messages.host, response.hosts)
            token = response.next_page_token
            if not token:
                return

    def devices(self, host: str) -> values.HostDevices:
        """Return the devices of ``host``, their sensors, and interfaces that give nothing."""
        request = query_pb2.ListDevicesRequest(host_id=host)
        response = self._call(self._query.ListDevices, request)
        devices = []
        for message in response.devices:
            device = parse_device(message.id)
            sensors = tuple(messages.sensor(sensor, device) for sensor in message.sensors)
            devices.append(values.DeviceInfo(device, sensors))
        absent = tuple(
            AbsentInterface(Interface(item.interface), AbsentReason(item.reason))
            for item in response.absent
        )
        return values.HostDevices(tuple(devices), absent)

    def windows(
        self,
        host: str,
        start_unix_ns: int = 0,
        end_unix_ns: int = 0,
        *,
        device: str = "",
        domain: Domain | None = None,
        statistic: Statistic | None = None,
        resolution_ns: int = 0,
        page_size: int = 0,
    ) -> Iterator[DeviceWindow]:
        """Return device windows that start in the range, oldest first."""
        request = query_pb2.ListWindowsRequest(
            host_id=host,
            device_id=device,
            domain=types_pb2.Domain.ValueType(domain or 0),
            statistic=types_pb2.Statistic.ValueType(statistic or 0),
            start_unix_ns=start_unix_ns,
            end_unix_ns=end_unix_ns,
            resolution_ns=resolution_ns,
            page_size=page_size,
        )
        for response in self._pages(self._query.ListWindows, request):
            yield from map(messages.window, response.windows)

    def host_seconds(
        self, host: str, start_unix_ns: int = 0, end_unix_ns: int = 0, *, page_size: int = 0
    ) -> Iterator[HostSecond]:
        """Return the host's one-second sums that start in the range, oldest first."""
        request = query_pb2.ListHostSecondsRequest(
            host_id=host,
            start_unix_ns=start_unix_ns,
            end_unix_ns=end_unix_ns,
            page_size=page_size,
        )
        for response in self._pages(self._query.ListHostSeconds, request):
            yield from map(messages.host_second, response.host_seconds)

    def gaps(
        self, host: str, start_unix_ns: int = 0, end_unix_ns: int = 0, *, page_size: int = 0
    ) -> Iterator[Gap]:
        """Return energy that nobody can know, with bounds, oldest first."""
        request = query_pb2.ListGapsRequest(
            host_id=host,
            start_unix_ns=start_unix_ns,
            end_unix_ns=end_unix_ns,
            page_size=page_size,
        )
        for response in self._pages(self._query.ListGaps, request):
            yield from map(messages.gap, response.gaps)

    def open_gaps(
        self, host: str, start_unix_ns: int = 0, end_unix_ns: int = 0
    ) -> tuple[values.OpenGap, ...]:
        """Return what is not known up to now and overlaps the range: gaps that have not ended."""
        request = query_pb2.ListGapsRequest(
            host_id=host, start_unix_ns=start_unix_ns, end_unix_ns=end_unix_ns, page_size=1
        )
        return tuple(map(messages.open_gap, self._call(self._query.ListGaps, request).open_gaps))

    def conflicts(self, host: str = "") -> tuple[values.ConflictInfo, ...]:
        """Return batches that contradict stored ones, newest first; by default of every host."""
        request = query_pb2.ListConflictsRequest(host_id=host)
        response = self._call(self._query.ListConflicts, request)
        return tuple(map(messages.conflict, response.conflicts))

    def latest(self, hosts: Iterable[str] | None = None) -> Iterator[values.LatestState]:
        """Return the newest window of every domain and the newest second, per host."""
        wanted = [host.host_id for host in self.hosts()] if hosts is None else list(hosts)
        for first in range(0, len(wanted), _HOSTS_AT_ONCE):
            request = query_pb2.GetLatestRequest(host_ids=wanted[first : first + _HOSTS_AT_ONCE])
            for item in self._call(self._query.GetLatest, request).hosts:
                yield values.LatestState(
                    host_id=item.host_id,
                    windows=tuple(map(messages.window, item.windows)),
                    host_second=(
                        messages.host_second(item.host_second)
                        if item.HasField("host_second")
                        else None
                    ),
                )

    def status(self) -> values.CollectorStatus:
        """Return what the collector took, refused and keeps."""
        request = query_pb2.GetCollectorStatusRequest()
        return messages.status(self._call(self._query.GetCollectorStatus, request))

    def _pages(self, method: Any, request: Any) -> Iterator[Any]:
        while True:
            response = self._call(method, request)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token
