"""Which host a stream belongs to: its certificate says so, or on loopback its hello."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from chipwatt.collector.access.caller import NO_CERTIFICATE, Caller
from chipwatt.collector.access.role import Role

_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Identity:
    """A host and what to call it."""

    host: bytes
    name: str


class StreamRefused(Exception):
    """A stream that is not taken: gRPC status and a sentence."""

    metadata: tuple[tuple[str, bytes], ...] = ()
    """What goes out with the status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def identify(caller: Caller, hello_host: bytes) -> Identity:
    """Return whose stream it is. Raises StreamRefused."""
    if caller.host is not None:
        return Identity(caller.host, caller.name)
    if Role.AGENT not in caller.roles:
        raise StreamRefused(
            grpc.StatusCode.PERMISSION_DENIED,
            "the certificate is for no agent: an agent's has the URI "
            "spiffe://<domain>/agent/<host> as subject alternative name"
            if caller.has_certificate
            else NO_CERTIFICATE,
        )
    if len(hello_host) != _ID_BYTES:
        raise StreamRefused(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"hello.host_id has {len(hello_host)} bytes, 16 expected",
        )
    return Identity(hello_host, hello_host.hex())
