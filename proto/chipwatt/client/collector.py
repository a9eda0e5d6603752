"""A collector's APIs over one gRPC channel; pages are fetched as the caller walks on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from chipwatt.client import messages, values
from chipwatt.core.errors import ChipwattError, CollectorUnreachable, ConfigError
from chipwatt.core.identity import parse_device
from chipwatt.core.model import AbsentReason, Domain, Interface, Statistic
from chipwatt.core.records import AbsentInterface, DeviceWindow, Gap, HostSecond
from chipwatt.v1 import (
    placement_pb2,
    placement_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
    types_pb2,
)

DEFAULT_ADDRESS = "127.0.0.1:9733"
_HOSTS_AT_ONCE = 32
_LOCAL = ("127.", "localhost:", "[::1]:")
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
Response = TypeVar("Response")


class RequestRefused(ChipwattError):
    """The collector answered that it cannot do what was asked; the message is its reason."""


class CollectorClient:
    """Asks one collector. Safe between threads; a context manager.

    Every method raises CollectorUnreachable where nothing answers within
    ``timeout_s`` and RequestRefused where the collector says no. Hosts are
    named by id (32 hexadecimal digits) or by name. Ranges are [start, end);
    an end of 0 is open.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 10.0,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        # Only one channel of a process may share a connection, or a closed one lingers.
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            # A proxy from the environment has no business between two processes of one host.
            ("grpc.enable_http_proxy", int(not address.startswith(_LOCAL))),
        ]
        if ca is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, _credentials(ca, cert, key), options)
        self._query = query_pb2_grpc.QueryServiceStub(self._channel)
        self._placement = placement_pb2_grpc.PlacementServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

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

    def topology(self, root_id: str = "") -> values.TopologyInfo:
        """Return the power topology, or what hangs on one node of it."""
        request = placement_pb2.GetTopologyRequest(root_id=root_id)
        response = self._call(self._placement.GetTopology, request)
        return values.TopologyInfo(
            tuple(map(messages.node, response.nodes)), messages.provenance(response.provenance)
        )

    def headroom(self, node_ids: Iterable[str] = ()) -> tuple[values.HeadroomInfo, ...]:
        """Return power and headroom of these nodes; of every node where none is named."""
        request = placement_pb2.GetHeadroomRequest(node_ids=node_ids)
        response = self._call(self._placement.GetHeadroom, request)
        return tuple(map(messages.headroom, response.headrooms))

    def _pages(self, method: Any, request: Any) -> Iterator[Any]:
        while True:
            response = self._call(method, request)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def _call(self, method: Callable[..., Response], request: object) -> Response:
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._sentence(error) from None

    def _sentence(self, error: Any) -> ChipwattError:
        # grpc raises what is RpcError and Call at once; its types cannot say so.
        status, details = error.code(), error.details() or ""
        if status is grpc.StatusCode.UNAVAILABLE:
            why = " (the TLS handshake failed)" if "handshake" in details.lower() else ""
            return CollectorUnreachable(
                f"no collector answers at {self._address}{why}; start one with "
                "`chipwatt collector` or name another address"
            )
        if status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return CollectorUnreachable(
                f"the collector at {self._address} gave no answer within {self._timeout_s:g} s"
            )
        return RequestRefused(details or f"the collector refused: {status.name}")


def _credentials(ca: Path, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(
            root_certificates=ca.read_bytes(),
            private_key=key.read_bytes() if key else None,
            certificate_chain=cert.read_bytes() if cert else None,
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None
