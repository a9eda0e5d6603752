"""A kubelet's pod-resources socket: gRPC over a Unix socket, as the kubelet serves it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc


def _field(number: int, data: bytes) -> bytes:
    """Write a length-delimited field; lengths stay below 128 here."""
    assert len(data) < 128
    return bytes((number << 3 | 2, len(data))) + data


def listing(*pods: tuple[str, str, tuple[str, ...]]) -> bytes:
    """Write a ListPodResourcesResponse by hand, with fields that we do not ask for."""
    answer = b""
    for namespace, name, devices in pods:
        ids = b"".join(_field(2, device.encode()) for device in devices)
        held = _field(1, b"nvidia.com/gpu") + ids
        container = _field(1, b"main") + _field(2, held) + _field(3, b"\x01\x02")
        pod = _field(1, name.encode()) + _field(2, namespace.encode()) + _field(3, container)
        answer += _field(1, pod)
    return answer


@contextmanager
def kubelet(socket: Path, answer: bytes) -> Iterator[None]:
    """Serve ``answer`` to every List."""
    handler = grpc.method_handlers_generic_handler(
        "v1.PodResourcesLister",
        {"List": grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)},
    )
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()
