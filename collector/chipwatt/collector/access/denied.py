"""A call that does not reach its servicer: status, sentence, and no trace of its request."""

from __future__ import annotations

from typing import TypeVar

import grpc

from chipwatt.collector.answering import Refused

E = TypeVar("E", bound=Exception)


class Denied(Refused):
    """``metadata`` goes out with the status."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        metadata: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        super().__init__(code, message)
        self.metadata = metadata


def invalid_request(message: str) -> Denied:
    """Deny: the request itself cannot be taken."""
    return Denied(grpc.StatusCode.INVALID_ARGUMENT, message)


def bare(error: E) -> E:
    """Take off the frames that an error came through.

    gRPC keeps it in a circle with them, and they keep the request, up to a hundred
    times its size on the wire, until garbage is collected.
    """
    error.__context__ = None
    return error.with_traceback(None)
