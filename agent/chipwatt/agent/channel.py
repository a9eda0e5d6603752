"""The gRPC channel from this host to its collector: address, credentials, keepalive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from chipwatt.core.addresses import stays_here
from chipwatt.core.errors import ConfigError
from chipwatt.core.tls import TlsFiles, read

KEEPALIVE_MS = 15_000
KEEPALIVE_TIMEOUT_MS = 10_000
"""A peer that is gone without a word is noticed within the sum of both."""
CONNECT_MS = 10_000
"""How long a connection may take, with its handshakes."""
MAX_MESSAGE_BYTES = 1 << 20
_OPTIONS = (
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    # Measured with gRPC 1.85: this, 60 s by default, ends a connection whose pings go unanswered.
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A peer that takes a connection and says nothing is given up.
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    # What may come ahead of being read stays small, however fast the network is.
    ("grpc.http2.bdp_probe", 0),
    # A new channel is a new try: nothing of a failed one's own back-off is kept.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """``[tls]``: all three, or none. Replaced files are used at once, over a new connection."""

    ca: Path | None = None
    """PEM file of the authority that signs the collector's certificate."""
    cert: Path | None = None
    """PEM file of this host's certificate, with its chain; it names the host."""
    key: Path | None = None
    """PEM file of the certificate's private key."""

    def __post_init__(self) -> None:
        """Refuse half a set; raises ValueError."""
        given = [path is not None for path in (self.ca, self.cert, self.key)]
        if any(given) and not all(given):
            raise ValueError("ca, cert and key go together: set all three or none")

    @property
    def files(self) -> TlsFiles | None:
        """None for plain text."""
        if self.ca is None or self.cert is None or self.key is None:
            return None
        return TlsFiles(self.ca, self.cert, self.key)


def check_address(address: str, tls: TlsConfig, *, plaintext_allowed: bool) -> None:
    """Raise ConfigError where ``address`` is none, or may not be reached in plain text."""
    _check_form(address)
    if tls.ca is not None or stays_here(address) or plaintext_allowed:
        return
    raise ConfigError(
        f"collector {address}: plain text leaves this host only on purpose: set ca, cert and key "
        "under [tls], or insecure_plaintext_over_network = true under [uplink]"
    )


def read_credentials(tls: TlsConfig) -> grpc.ChannelCredentials | None:
    """Read the files; None for plain text. Raises ConfigError that names the file."""
    if tls.files is None:
        return None
    found = read(tls.files)
    return grpc.ssl_channel_credentials(found.ca, found.key, found.cert)


def open_channel(address: str, tls: TlsConfig) -> grpc.aio.Channel:
    """Return a fresh channel; certificates that were renewed on disk are the ones it uses.

    Raises ConfigError as ``read_credentials`` does.
    """
    # A proxy from the environment has no business between two processes of one host.
    proxy = 0 if stays_here(address) else 1
    options = [*_OPTIONS, ("grpc.enable_http_proxy", proxy)]
    credentials = read_credentials(tls)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _check_form(address: str) -> None:
    if address.startswith("unix:"):
        return
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    valid_host = bool(host) and "/" not in host and (bracketed or ":" not in host)
    if not (colon and valid_host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(
            f"collector {address!r} is no address: write host:port, [v6]:port or unix:/path"
        )
