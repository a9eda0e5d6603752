"""The connection of every client: address, trust, deadlines, and faults as sentences."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from chipwatt.core.addresses import stays_here
from chipwatt.core.errors import ChipwattError, CollectorUnreachable, ConfigError
from chipwatt.core.tls import Renewals, TlsFiles

DEFAULT_ADDRESS = "127.0.0.1:9733"
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_MOST_BACKOFF_MS = 2_000
_LOOK_EVERY_S = 5.0
"""Between two looks for certificates that were replaced."""
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

    Connects at its first question, and anew once the certificates' files were replaced; calls
    that are under way stay with what they began with. Raises ConfigError where these
    files cannot be used, or where plain text would leave this host without
    ``plaintext_over_network``.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 10.0,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        plaintext_over_network: bool = False,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        is_local = stays_here(address)
        self._renewals = _renewals(ca, cert, key)
        if self._renewals is None and not is_local and not plaintext_over_network:
            raise ConfigError(
                f"collector {address}: plain text leaves this host only on purpose: give ca, cert "
                "and key, or allow it with --insecure-plaintext-over-network"
            )
        self._looked_s = time.monotonic()
        self._stubs: dict[object, Any] = {}
        self._closing = threading.Lock()
        self._is_closed = False
        # Only one channel of a process may share a connection, or a closed one lingers.
        self._options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            # An adapter finds its collector again soon after a restart.
            ("grpc.max_reconnect_backoff_ms", _MOST_BACKOFF_MS),
            # A proxy from the environment has no business between two processes of one host.
            ("grpc.enable_http_proxy", int(not is_local)),
        ]
        self._channel = self._open()

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

    def _open(self) -> grpc.Channel:
        if self._renewals is None:
            return grpc.insecure_channel(self._address, self._options)
        found = self._renewals.read()
        credentials = grpc.ssl_channel_credentials(found.ca, found.key, found.cert)
        return grpc.secure_channel(self._address, credentials, self._options)

    def _stub(self, kind: Callable[[grpc.Channel], Stub]) -> Stub:
        """Return the stub of a service on a channel with the certificates of now.

        Raises RequestCancelled once the channel is closed.
        """
        now_s = time.monotonic()
        with self._closing:
            # grpc crashes the process where a stub is made on a closed channel.
            self._check_open()
            if self._renewals is not None and now_s - self._looked_s >= _LOOK_EVERY_S:
                self._looked_s = now_s
                if self._renewals.is_renewed():
                    with suppress(ConfigError):  # replaced once more: at the next look
                        # Not closed: calls under way hold the older one, which ends with the last.
                        self._channel = self._open()
                        self._stubs.clear()
            if kind not in self._stubs:
                self._stubs[kind] = kind(self._channel)
            stub: Stub = self._stubs[kind]
            return stub

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


def _renewals(ca: Path | None, cert: Path | None, key: Path | None) -> Renewals | None:
    if ca is None and cert is None and key is None:
        return None
    if ca is None or cert is None or key is None:
        raise ConfigError("ca, cert and key go together: give all three or none")
    return Renewals(TlsFiles(ca, cert, key))
