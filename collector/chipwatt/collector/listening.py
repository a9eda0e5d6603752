"""The gRPC server's socket: limits, credentials, and why an address cannot be had."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Sequence

import grpc
import grpc.aio

from chipwatt.collector.access.caller import need_certificates
from chipwatt.collector.config import CollectorConfig, TlsConfig
from chipwatt.collector.ingest.servicer import SERVER_OPTIONS
from chipwatt.core import log
from chipwatt.core.addresses import is_loopback, split_address
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.errors import CertificateError, ChipwattError, ConfigError
from chipwatt.core.tls import Material, Renewals

KEEPALIVE_MS = 15_000
KEEPALIVE_TIMEOUT_MS = 10_000
_MOST_GRACE_MS = 30_000
MOST_DESCRIPTORS = 65_536
_OPTIONS: tuple[tuple[str, int], ...] = (
    *SERVER_OPTIONS,
    # With 2 s who opens 900 connections and says nothing comes again 2.5 times as often and takes
    # 66 MiB instead of 53, and over a link that loses 30 % an agent needs twice as long to connect.
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Agents ping every 15 s; somebody who pings much faster is sent away.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 2),
    # A host that is gone without a word is noticed within the sum of both.
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # Measured with gRPC 1.85: this, 60 s by default, ends a connection whose pings go unanswered.
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # What a stream may send ahead of being read stays at 64 KiB, however fast the network is:
    # agents that all drain at once would fill the memory otherwise.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_metadata_size", 8_192),
)
_log = log.get(__name__)


class AddressUnavailable(ChipwattError):
    """The collector cannot listen where it was told to."""

    exit_code = 69  # EX_UNAVAILABLE


def make_server(
    config: CollectorConfig, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> grpc.aio.Server:
    """Return a server that listens nowhere yet; ``interceptors`` stand before every rpc.

    Raises ConfigError where TLS is wanted and certificates cannot be read.
    """
    options = [
        *_OPTIONS,
        ("grpc.max_connection_idle_ms", config.access.stream_idle // NS_PER_MS),
    ]
    if config.tls.is_set:
        need_certificates()
        # A changed authority is asked when a connection begins and never again: none lives for
        # ever. What a stream has under way gets a while to be answered.
        age_ms = config.access.connection_age // NS_PER_MS
        options.append(("grpc.max_connection_age_ms", age_ms))
        options.append(("grpc.max_connection_age_grace_ms", min(age_ms, _MOST_GRACE_MS)))
    return grpc.aio.server(interceptors=interceptors, options=options)


def allow_connections() -> None:
    """Let this process have as many descriptors as it may, up to what the largest fleet takes.

    The usual soft limit of 1024 is used up by connections that somebody opens and
    says nothing on, before they time out.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def bind(server: grpc.aio.Server, config: CollectorConfig) -> str:
    """Take the address; returns it with the port in use. Raises AddressUnavailable, ConfigError."""
    host, _ = split_address(config.listen)
    try:
        if config.tls.is_set:
            port = server.add_secure_port(config.listen, server_credentials(config.tls))
        else:
            port = server.add_insecure_port(config.listen)
    except RuntimeError:
        raise AddressUnavailable(f"{config.listen}: {_reason(config.listen)}") from None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server_credentials(tls: TlsConfig, *, shown: bool = True) -> grpc.ServerCredentials:
    """Read the files; every peer must show a certificate where ``shown``. Raises ConfigError.

    The files are looked at again for each connection: who connects after they were
    replaced meets the new ones, and connections that are open stay.
    """
    if tls.files is None:
        raise ConfigError("tls: ca, cert and key are not set")
    renewals = Renewals(tls.files)
    first = _as_grpc(renewals.read())

    def look() -> grpc.ServerCertificateConfiguration | None:
        material = renewals.renewed()
        if material is None:
            return None
        _log.info("certificates were replaced", cert=tls.cert)
        return _as_grpc(material)

    # To return None, for no change, is documented, and not in the types.
    return grpc.dynamic_ssl_server_credentials(
        first,
        look,  # type: ignore[arg-type]
        require_client_authentication=shown,
    )


def _as_grpc(material: Material) -> grpc.ServerCertificateConfiguration:
    pair = (material.key, material.cert)
    return grpc.ssl_server_certificate_configuration([pair], material.ca)


def trust_domain(tls: TlsConfig) -> str:
    """Return the domain in the SPIFFE id of the collector's own certificate; empty: it has none.

    One authority may sign for several, and an operator of one is nobody in another.
    """
    if tls.cert is None:
        return ""
    need_certificates()
    from chipwatt.core.certificate import holder_of, read_certificate

    try:
        return holder_of(read_certificate(tls.cert)).domain
    except CertificateError:  # what cannot be read at all is told where it is used
        return ""


def is_private(config: CollectorConfig) -> bool:
    """Return whether only this machine can reach the address."""
    return is_loopback(split_address(config.listen)[0])


def _reason(address: str) -> str:
    """Ask the kernel, as gRPC does not say."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, port))
    except socket.gaierror:
        return "the name has no address; give an address of this machine"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                "already in use, probably by another collector; stop that one or choose "
                "another address with --listen"
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return "not an address of this machine; choose one with --listen"
        return f"cannot listen there: {os.strerror(error.errno or errno.EIO)}"
    return "gRPC cannot listen there; with TLS, check that cert and key belong together"
