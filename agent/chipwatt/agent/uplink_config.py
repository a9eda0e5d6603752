"""``[uplink]``: how records are sent, and how long to wait when they cannot be."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from chipwatt.agent.stream import Encode, plain
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import Duration
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import types_pb2

COMPRESSIONS = ("none", "zstd")
_RETRY_LEAST = Duration(500 * NS_PER_MS)
_RETRY_MOST = Duration(20 * NS_PER_S)
_RETRY_REFUSED = Duration(300 * NS_PER_S)


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """``[uplink]``."""

    insecure_plaintext_over_network: bool = False
    """Allow a collector on another host without TLS: anyone on the way can read and forge."""
    compression: str = "none"
    """none, or zstd where the package zstandard is installed."""
    max_in_flight: int = 64
    """Batches under way without an ack; the collector may ask for fewer."""
    retry_least: Duration = _RETRY_LEAST
    """Ceiling of the first random delay before a broken stream is opened again; it doubles."""
    retry_most: Duration = _RETRY_MOST
    """Largest such ceiling."""
    retry_refused: Duration = _RETRY_REFUSED
    """Delay after an answer that only a person can change: wrong version, not allowed."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises ValueError with the setting's name."""
        if self.compression not in COMPRESSIONS:
            raise ValueError(f"compression {self.compression!r} is none of none, zstd")
        if self.max_in_flight < 1:
            raise ValueError("max_in_flight is at least 1")
        if not 0 < self.retry_least <= self.retry_most:
            raise ValueError("retry_least is more than 0 and at most retry_most")
        if self.retry_refused <= 0:
            raise ValueError("retry_refused is more than 0")


def encoder(compression: str) -> Encode:
    """Return how payloads are encoded; raises ConfigError where zstandard is not installed.

    One with windows of workloads is sent as it is: compressed, its length would tell of them.
    """
    if compression == "none":
        return plain
    try:
        zstandard: Any = importlib.import_module("zstandard")
    except ImportError:
        raise ConfigError(
            'uplink: compression = "zstd" needs the package zstandard: '
            'pip install zstandard, or set compression = "none"'
        ) from None
    compress = zstandard.ZstdCompressor(level=3).compress

    def encode(payload: bytes) -> tuple[pb.Encoding.ValueType, bytes]:
        if _has_workloads(payload):
            return plain(payload)
        packed = compress(payload)
        return (pb.ENCODING_ZSTD, packed) if len(packed) < len(payload) else plain(payload)

    return encode


def _has_workloads(payload: bytes) -> bool:
    try:
        sections = types_pb2.Payload.FromString(payload).sections
    except DecodeError:  # for the collector to judge
        return False
    return any(section.kind == types_pb2.SECTION_KIND_WORKLOAD for section in sections)
