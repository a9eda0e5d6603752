"""The kubelet's pod-resources socket: which devices each pod of this node holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from chipwatt.client.channel import Channel
from chipwatt.core.errors import ChipwattError
from chipwatt.v1 import kubelet_pb2 as pb

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
_LIST = "/v1.PodResourcesLister/List"


class KubeletUnreachable(ChipwattError):
    """Nothing answers at the kubelet's socket."""

    exit_code = 69  # EX_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class PodDevices:
    """One pod and the ids of the devices that its containers hold."""

    namespace: str
    name: str
    device_ids: tuple[str, ...]


class Kubelet(Channel):
    """Asks the kubelet of this node; raises KubeletUnreachable and what it refuses with."""

    def __init__(self, socket: Path = SOCKET, *, timeout_s: float = 10.0) -> None:
        super().__init__(f"unix:{socket.absolute()}", timeout_s=timeout_s)
        self._socket = socket
        self._list = self._channel.unary_unary(
            _LIST,
            request_serializer=pb.KubeletListRequest.SerializeToString,
            response_deserializer=pb.KubeletListResponse.FromString,
        )

    def pods(self) -> list[PodDevices]:
        """Return every pod of this node."""
        answer = self._call(self._list, pb.KubeletListRequest())
        return [
            PodDevices(
                pod.namespace,
                pod.name,
                tuple(
                    device
                    for container in pod.containers
                    for held in container.devices
                    for device in held.device_ids
                ),
            )
            for pod in answer.pod_resources
        ]

    def _sentence(self, error: Any, timeout_s: float) -> ChipwattError:
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            return KubeletUnreachable(
                f"no kubelet answers at {self._socket}: name its pod-resources socket with "
                "--kubelet, and ask as a user who may open it"
            )
        return super()._sentence(error, timeout_s)
