"""``chipwatt.v1.WorkloadService`` on a local socket: who may write to it may bind.

gRPC tells a servicer nothing of the process at the other end, so the file decides:
mode 0600, or 0660 for one group, in a directory that nobody else may write to. What
is said here is not logged but for its ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from chipwatt.agent.binding_doubts import doubts
from chipwatt.agent.bindings import Bindings, BindingsFull, BindingsNotKept
from chipwatt.agent.socket_group import open_to
from chipwatt.agent.workload_socket import check_folder, check_place
from chipwatt.core import log
from chipwatt.core.coarse import NOBODY
from chipwatt.core.errors import ConfigError
from chipwatt.core.identity import DeviceId
from chipwatt.core.workload import MAX_DEVICES, Binding, parse_holding
from chipwatt.v1 import workload_pb2 as pb
from chipwatt.v1 import workload_pb2_grpc

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[object, object]

MAX_MESSAGE_BYTES = 64 << 10
_log = log.get(__name__)
Devices = Callable[[], Collection[DeviceId] | None]
"""Tells the chips that are measured; None while that is not known."""


@dataclass(frozen=True, slots=True)
class WorkloadsConfig:
    """``[workloads]``."""

    enabled: bool = True
    """Listen for a scheduler that says which workloads run here."""
    socket: Path | None = None
    """The socket that it talks to; workload.sock in the state_dir if not set. Where this or
    `group` is set and cannot work, the agent does not start."""
    group: str = ""
    """A group whose members may bind as well; empty: this user and root alone. Where the
    socket's folder is of that group and setgid, as under the shipped units, the agent needs no
    privilege for it."""

    @property
    def is_chosen(self) -> bool:
        """Whether the operator said where or for whom, so that it has to work."""
        return self.enabled and (self.socket is not None or bool(self.group))


class WorkloadServicer(workload_pb2_grpc.WorkloadServiceServicer):
    """Messages in, bindings out."""

    def __init__(self, bindings: Bindings, devices: Devices) -> None:
        self._bindings = bindings
        self._devices = devices

    async def Bind(self, request: pb.BindRequest, context: Context) -> pb.BindResponse:  # noqa: N802
        try:
            binding = _binding(request.workload)
            replaced = self._bindings.bind(binding)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"workload.{error}")
        except BindingsFull as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except BindingsNotKept as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        else:
            warnings = doubts(binding, self._devices())
            _log.info(
                "workload bound",
                workload=binding.workload_id.hex(),
                replaced=replaced,
                warnings=len(warnings),
            )
            return pb.BindResponse(replaced=replaced, warnings=warnings)
        raise AssertionError  # abort does not return

    async def Unbind(self, request: pb.UnbindRequest, context: Context) -> pb.UnbindResponse:  # noqa: N802
        try:
            found = self._bindings.unbind(request.workload_id)
        except BindingsNotKept as error:
            await context.abort(grpc.StatusCode.INTERNAL, str(error))
        if not found:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"workload_id: {request.workload_id[:16].hex()} is not bound on this host",
            )
        _log.info("workload unbound", workload=request.workload_id.hex())
        return pb.UnbindResponse()

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:  # noqa: ARG002, N802
        return pb.ListResponse(
            workloads=[
                pb.Workload(
                    workload_id=binding.workload_id,
                    class_id=binding.class_id,
                    cgroup=binding.cgroup,
                    devices=[str(holding) for holding in binding.devices],
                )
                for binding in self._bindings.all()
            ]
        )


async def serve(path: Path, group: str, bindings: Bindings, devices: Devices) -> grpc.aio.Server:
    """Listen on ``path`` and return the server; ``devices`` are the chips that are measured.

    Raises ConfigError where the socket would not be safe or cannot be made.
    """
    check_place(path, group)
    check_folder(path.parent)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_concurrent_streams", 16),
            # Who connects and says nothing gives the descriptor back.
            ("grpc.server_handshake_timeout_ms", 5_000),
            ("grpc.max_connection_idle_ms", 60_000),
        ]
    )
    workload_pb2_grpc.add_WorkloadServiceServicer_to_server(
        WorkloadServicer(bindings, devices), server
    )
    mask = os.umask(0o177)  # from its first moment on the socket is its owner's
    try:
        server.add_insecure_port(f"unix:{path}")
        if group:  # before anybody is served
            _open_to(path, group)
    except (OSError, RuntimeError) as error:
        await server.stop(None)
        raise ConfigError(f"{path}: no socket for schedulers can be made there: {error}") from None
    except ConfigError:
        await server.stop(None)
        raise
    finally:
        os.umask(mask)
    await server.start()
    return server


def _open_to(path: Path, group: str) -> None:
    try:
        open_to(path, group)
    except ConfigError:
        with suppress(OSError):  # gRPC leaves that of a server that has never served
            path.unlink()
        raise


def _binding(workload: pb.Workload) -> Binding:
    if len(workload.devices) > MAX_DEVICES:
        raise ValueError(f"devices: {len(workload.devices)}, at most {MAX_DEVICES}")
    try:
        devices = tuple(parse_holding(text) for text in workload.devices)
    except ValueError as error:
        raise ValueError(f"devices: {error}") from None
    return Binding(workload.workload_id, workload.class_id or NOBODY, workload.cgroup, devices)
