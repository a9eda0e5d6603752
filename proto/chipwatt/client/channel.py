"""The connection of every client: address, trust, deadlines, and faults as sentences."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from chipwatt.core.errors import ChipwattError, CollectorUnreachable, ConfigError

DEFAULT_ADDRESS = "127.0.0.1:9733"
_LOCAL = ("127.", "localhost:", "[::1]:")
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_MOST_BACKOFF_MS = 2_000
Response = TypeVar("Response")
Stub = TypeVar("Stub")


class RequestRefused(ChipwattError):
    """The collector answered that it cannot do what was asked; the message is its reason."""


class InvalidRequest(RequestRefused):
    """A field of the request cannot be used (INVALID_ARGUMENT); the message begins with it."""


class NotKnown(RequestRefused):
    """Something that the request names does not exist there (NOT_FOUND)."""


class AlreadyTaken(RequestRefused):
    """The key stands for another request (ALREADY_EXISTS)."""


class NoRoom(RequestRefused):
    """A budget would be exceeded (RESOURCE_EXHAUSTED)."""


class WrongState(RequestRefused):
    """It cannot be done any more, or not yet (FAILED_PRECONDITION)."""


class NotOffered(RequestRefused):
    """The collector is too old to know the question (UNIMPLEMENTED)."""


class RequestCancelled(ChipwattError):
    """This side ended the call."""


_BY_STATUS: dict[grpc.StatusCode, type[ChipwattError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotKnown,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyTaken,
    grpc.StatusCode.RESOURCE_EXHAUSTED: NoRoom,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.UNIMPLEMENTED: NotOffered,
    grpc.StatusCode.CANCELLED: RequestCancelled,
}


class Channel:
    """One gRPC channel to a collector. Safe between threads; a context manager.

    Connects at its first question. Raises ConfigError where a certificate's file cannot be read.
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
        self._closing = threading.Lock()
        self._is_closed = False
        # Only one channel of a process may share a connection, or a closed one lingers.
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            # An adapter finds its collector again soon after a restart.
            ("grpc.max_reconnect_backoff_ms", _MOST_BACKOFF_MS),
            # A proxy from the environment has no business between two processes of one host.
            ("grpc.enable_http_proxy", int(not address.startswith(_LOCAL))),
        ]
        if ca is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, _credentials(ca, cert, key), options)

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
        """Close the channel; what is still awaited, or asked later, raises RequestCancelled."""
        with self._closing:
            self._is_closed = True
            self._channel.close()

    def _stub(self, make: Callable[[grpc.Channel], Stub]) -> Stub:
        # grpc crashes the process where a stub is made on a closed channel.
        with self._closing:
            self._check_open()
            return make(self._channel)

    def _check_open(self) -> None:
        if self._is_closed:
            raise RequestCancelled("this client is closed; open another one")

    def _call(
        self, method: Callable[..., Response], request: object, timeout_s: float | None = None
    ) -> Response:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            return method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._sentence(error, timeout_s) from None
        except ValueError:
            self._check_open()
            raise

    def _sentence(self, error: Any, timeout_s: float) -> ChipwattError:
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
                f"the collector at {self._address} gave no answer within {timeout_s:g} s"
            )
        kind = _BY_STATUS.get(status, RequestRefused)
        return kind(details or f"the collector refused: {status.name}")


def _credentials(ca: Path, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(
            root_certificates=ca.read_bytes(),
            private_key=key.read_bytes() if key else None,
            certificate_chain=cert.read_bytes() if cert else None,
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from None
