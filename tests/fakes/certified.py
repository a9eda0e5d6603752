"""Certificates of every role, and channels and servers that use them, for tests on loopback."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509

from chipwatt.agent.channel import TlsConfig as AgentTls
from chipwatt.collector.config import TlsConfig
from e2e.faults.certificates import Authority

DAY_S = 86_400
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
"""A connection of its own for each channel."""


class Certified:
    """An authority in a folder, and what it signed."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)

    def collector(self) -> TlsConfig:
        """Issue what a collector on loopback shows."""
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        files = self.authority.issue("collector", address)
        return TlsConfig(**{part: Path(path) for part, path in files.items()})

    def files(self, path: str, lasts_s: int = DAY_S, uri: str = "") -> AgentTls:
        """Issue a client's certificate for ``path``, such as ``agent/node-7``."""
        identity = x509.UniformResourceIdentifier(uri or f"spiffe://fleet.example/{path}")
        files = self.authority.issue(path.replace("/", "-"), identity, lasts_s)
        return AgentTls(**{part: Path(file) for part, file in files.items()})

    def channel(
        self, address: str, path: str, lasts_s: int = DAY_S, uri: str = ""
    ) -> grpc.aio.Channel:
        """Connect as ``path``."""
        return connect(address, self.files(path, lasts_s, uri))


def connect(address: str, files: AgentTls, ca: Path | None = None) -> grpc.aio.Channel:
    """Connect with these files, and perhaps trust in another authority."""
    assert files.ca
    assert files.cert
    assert files.key
    credentials = grpc.ssl_channel_credentials(
        (ca or files.ca).read_bytes(), files.key.read_bytes(), files.cert.read_bytes()
    )
    return grpc.aio.secure_channel(address, credentials, OPTIONS)
