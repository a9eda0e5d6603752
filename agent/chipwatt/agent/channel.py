"""The gRPC channel from this host to its collector: address, credentials, keepalive."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from chipwatt.core.errors import ConfigError

KEEPALIVE_MS = 15_000
KEEPALIVE_TIMEOUT_MS = 10_000
"""A peer that is gone without a word is noticed within the sum of both."""
MAX_MESSAGE_BYTES = 1 << 20
_OPTIONS = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A new channel is a new try: nothing of a failed one's own back-off is kept.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the parts of TLS lie, or the leave to go without."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure_plaintext_over_network: bool = False


def check_address(address: str, credentials: Credentials) -> None:
    """Raise ConfigError where ``address`` is none, or may not be reached in plain text."""
    host = _host(address)
    if (credentials.certificate is None) != (credentials.key is None):
        raise ConfigError("uplink: tls_certificate and tls_key go together: set both or neither")
    if credentials.certificate and not credentials.ca:
        raise ConfigError("uplink: tls_certificate is set without tls_ca: name the CA file as well")
    if credentials.ca or credentials.insecure_plaintext_over_network or _is_local(host):
        return
    raise ConfigError(
        f"collector {address}: plain text leaves this host only on purpose: set tls_ca, "
        "tls_certificate and tls_key under [uplink], or insecure_plaintext_over_network = true"
    )


def read_credentials(credentials: Credentials) -> grpc.ChannelCredentials | None:
    """Read the TLS files anew; None for plain text. Raises ConfigError that names the file."""
    if credentials.ca is None:
        return None
    ca, certificate, key = (
        None if path is None else _read(path)
        for path in (credentials.ca, credentials.certificate, credentials.key)
    )
    return grpc.ssl_channel_credentials(ca, key, certificate)


def open_channel(address: str, credentials: Credentials) -> grpc.aio.Channel:
    """Return a fresh channel; certificates that were renewed on disk are the ones it uses.

    Raises ConfigError as ``check_address`` and ``read_credentials`` do.
    """
    check_address(address, credentials)
    # A proxy from the environment has no business between two processes of one host.
    proxy = 0 if _is_local(_host(address)) else 1
    options = [*_OPTIONS, ("grpc.enable_http_proxy", proxy)]
    tls = read_credentials(credentials)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, tls, options=options)


def _host(address: str) -> str:
    if address.startswith("unix:"):
        return address
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    valid_host = bool(host) and "/" not in host and (bracketed or ":" not in host)
    if not (colon and valid_host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(
            f"collector {address!r} is no address: write host:port, [v6]:port or unix:/path"
        )
    return host.strip("[]")


def _is_local(host: str) -> bool:
    if host == "localhost" or host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: TLS file cannot be read: {error.strerror}") from None
