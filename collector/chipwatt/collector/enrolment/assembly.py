"""Puts the certificate services where they belong: one behind the guard, one on its own port."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import grpc.aio

from chipwatt.collector.access.audit import AuditLog
from chipwatt.collector.enrolment.servicer import (
    MAX_REQUEST_BYTES,
    CertificateServicer,
    EnrolmentServicer,
    Signer,
    load,
)
from chipwatt.collector.listening import AddressUnavailable, server_credentials
from chipwatt.core import log
from chipwatt.v1 import certificates_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from chipwatt.collector.config import CollectorConfig

STOP_GRACE_S = 1.0
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 2 * MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", 8_192),
    ("grpc.max_concurrent_streams", 2),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Who enrols asks once: nobody stays.
    ("grpc.max_connection_idle_ms", 10_000),
    ("grpc.max_connection_age_ms", 30_000),
    ("grpc.max_connection_age_grace_ms", 5_000),
)
MAX_CALLS = 16
"""At once, of everybody together."""
_log = log.get(__name__)


class Enrolment:
    """What ``[enrolment]`` asks for."""

    def __init__(self, config: CollectorConfig) -> None:
        self._config = config
        self.address = ""
        """Where tokens are taken, once open; empty where they are not."""

    def check(self) -> None:
        """Raise ConfigError where the authority cannot be used."""
        if self._config.enrolment.authority is not None:
            load(self._config.enrolment.authority)

    async def open(self, server: grpc.aio.Server, audit: AuditLog, stack: AsyncExitStack) -> None:
        """Add Renew to ``server``, start the one for tokens where it is wanted.

        Raises ConfigError, AddressUnavailable.
        """
        settings = self._config.enrolment
        if settings.authority is None:
            pb_grpc.add_CertificateServiceServicer_to_server(CertificateServicer(None), server)
            return
        signer = Signer(settings.authority, settings.days, audit)
        pb_grpc.add_CertificateServiceServicer_to_server(CertificateServicer(signer), server)
        if not settings.listen:
            return
        own = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        pb_grpc.add_EnrolmentServiceServicer_to_server(EnrolmentServicer(signer, audit), own)
        stack.push_async_callback(own.stop, STOP_GRACE_S)
        try:
            credentials = server_credentials(self._config.tls, shown=False)
            port = own.add_secure_port(settings.listen, credentials)
        except RuntimeError:
            raise AddressUnavailable(
                f"enrolment.listen: {settings.listen} cannot be had; choose another address"
            ) from None
        await own.start()
        self.address = f"{settings.listen.rpartition(':')[0]}:{port}"
        _log.info("enrolling agents that have a token", address=self.address)
