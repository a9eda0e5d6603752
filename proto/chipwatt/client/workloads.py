"""The local agent's ``WorkloadService`` for schedulers and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from chipwatt.client.channel import Channel
from chipwatt.core.coarse import NOBODY
from chipwatt.core.errors import ChipwattError
from chipwatt.core.workload import Binding, parse_holding
from chipwatt.v1 import workload_pb2 as pb
from chipwatt.v1.workload_pb2_grpc import WorkloadServiceStub


class AgentUnreachable(ChipwattError):
    """Nothing answers at the agent's local socket."""

    exit_code = 69  # EX_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Bound:
    """What the agent answers to a binding that it took."""

    replaced: bool
    """Whether it was bound before."""
    warnings: tuple[str, ...] = ()
    """Sentences about what it names and is not there now, begun with the field's name."""


class WorkloadClient(Channel):
    """Binds workloads on this host; raises AgentUnreachable and what the agent refuses with."""

    def __init__(self, socket: Path, *, timeout_s: float = 10.0) -> None:
        super().__init__(f"unix:{socket.absolute()}", timeout_s=timeout_s)
        self._socket = socket
        self._workloads = self._stub(WorkloadServiceStub)

    def bind(self, binding: Binding) -> Bound:
        """Bind a workload, even to what may appear later."""
        workload = pb.Workload(
            workload_id=binding.workload_id,
            class_id=binding.class_id,
            cgroup=binding.cgroup,
            devices=[str(holding) for holding in binding.devices],
        )
        answer = self._call(self._workloads.Bind, pb.BindRequest(workload=workload))
        return Bound(answer.replaced, tuple(answer.warnings))

    def unbind(self, workload_id: bytes) -> None:
        """Undo a binding; raises NotKnown where there is none."""
        self._call(self._workloads.Unbind, pb.UnbindRequest(workload_id=workload_id))

    def bindings(self) -> list[Binding]:
        """Return what is bound, in the order of binding."""
        found = self._call(self._workloads.List, pb.ListRequest())
        return [
            Binding(
                workload.workload_id,
                workload.class_id or NOBODY,
                workload.cgroup,
                tuple(parse_holding(text) for text in workload.devices),
            )
            for workload in found.workloads
        ]

    def _sentence(self, error: Any, timeout_s: float) -> ChipwattError:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return AgentUnreachable(
                f"no agent answers at {self._socket}: start `chipwatt agent`, name its socket "
                "with --socket, or ask as a user who may write to it; where one runs and takes no "
                "workloads, its log and `chipwatt doctor` say why"
            )
        return super()._sentence(error, timeout_s)
