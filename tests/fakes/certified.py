"""Certificates of every role, and channels that show them, for tests on loopback.

A channel's type is Any, since its calls here are those without generated types.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

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

    def files(self, who: str, lasts_s: int = DAY_S) -> AgentTls:
        """Issue a client's certificate for ``who``, such as ``agent/node-7``."""
        identity = x509.UniformResourceIdentifier(f"spiffe://fleet.example/{who}")
        files = self.authority.issue(_file(who), identity, lasts_s)
        return AgentTls(**{part: Path(file) for part, file in files.items()})

    def channel(self, address: str, who: str, lasts_s: int = DAY_S) -> Any:
        """Issue a certificate and connect with it."""
        return connect(address, self.files(who, lasts_s))


def connect(address: str, files: AgentTls, ca: Path | None = None) -> Any:
    """Connect with these files, and perhaps trust in another authority."""
    assert files.ca
    assert files.cert
    assert files.key
    return grpc.aio.secure_channel(
        address, _credentials(ca or files.ca, files.key, files.cert), OPTIONS
    )


def issued(address: str, folder: Path, who: str) -> Any:
    """Connect with what ``Certified(folder)`` issued to ``who`` before, in whatever process."""
    return grpc.aio.secure_channel(address, credentials(folder, who), OPTIONS)


def credentials(folder: Path, who: str) -> grpc.ChannelCredentials:
    """Read what ``Certified(folder)`` issued to ``who``."""
    name = _file(who)
    return _credentials(folder / "ca.pem", folder / f"{name}.key", folder / f"{name}.pem")


def _credentials(ca: Path, key: Path, cert: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(ca.read_bytes(), key.read_bytes(), cert.read_bytes())


def _file(who: str) -> str:
    return who.replace("/", "-")
