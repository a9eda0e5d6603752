"""Delivers the spool to the collector, for as long as it takes and over as many streams.

A record is settled when the collector acks it (it is on its disk) or refuses
it for good; only then does the spool's cursor move. A stream that breaks is
opened again and goes on from the cursor: the collector knows by a record's key
what it has. Payloads are never decoded here.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from chipwatt.agent.channel import TlsConfig, open_channel
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.stream import HELLO_TIMEOUT_S, Encode, Stream, UplinkState, plain
from chipwatt.core import log
from chipwatt.core.backoff import delays_s
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.errors import ChipwattError, ConfigError
from chipwatt.core.settings import Duration
from chipwatt.core.wire import SCHEMA_VERSION
from chipwatt.v1 import telemetry_pb2 as pb

COMPRESSIONS = ("none", "zstd")
_RETRY_LEAST = Duration(500 * NS_PER_MS)
_RETRY_MOST = Duration(20 * NS_PER_S)
_RETRY_REFUSED = Duration(300 * NS_PER_S)
_NEEDS_A_PERSON = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
_log = log.get(__name__)


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


@dataclass(frozen=True, slots=True)
class Host:
    """Who says hello."""

    host_id: bytes
    boot_id: bytes
    agent_version: int
    """major * 1000000 + minor * 1000 + patch."""


def encoder(compression: str) -> Encode:
    """Return how payloads are encoded; raises ConfigError where zstandard is not installed."""
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
        packed = compress(payload)
        return (pb.ENCODING_ZSTD, packed) if len(packed) < len(payload) else plain(payload)

    return encode


class Uplink:
    """Runs until it is cancelled; ``state`` says how it goes."""

    def __init__(
        self,
        address: str,
        config: UplinkConfig,
        tls: TlsConfig,
        host: Host,
        spool: ThreadedSpool,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare; raises ConfigError where ``compression`` cannot be had."""
        self._address = address
        self._config = config
        self._tls = tls
        self._host = host
        self._spool = spool
        self._unix_ns = unix_ns
        self._encode = encoder(config.compression)
        self.state = UplinkState()

    async def run(self) -> None:
        """Open streams, one after the other, for ever."""
        delays = self._delays()
        while True:
            began_s = time.monotonic()
            progress, wait_s = await self._once()
            lasted_s = time.monotonic() - began_s
            if progress or lasted_s * NS_PER_S > self._config.retry_most:
                delays = self._delays()
            await asyncio.sleep(next(delays) if wait_s is None else wait_s)

    async def _once(self) -> tuple[bool, float | None]:
        """Run one stream; returns whether it got anywhere and how long to wait if not as usual."""
        stream: Stream | None = None
        try:
            async with open_channel(self._address, self._tls) as channel:
                stream = Stream(
                    channel, self._spool, self.state, self._encode, self._config.max_in_flight
                )
                await stream.run(self._hello())
            self._failed(f"collector {self._address} closed the stream")
        except grpc.aio.AioRpcError as error:
            self._failed(_sentence(self._address, error))
            if error.code() in _NEEDS_A_PERSON:
                return False, self._long_wait_s()
        except TimeoutError:
            self._failed(
                f"collector {self._address} sent no welcome within {HELLO_TIMEOUT_S:.0f} s; "
                "it is overloaded, or something else listens there"
            )
        except EOFError as error:
            self._failed(f"collector {self._address}: {error}")
        except ConfigError as error:
            self._failed(str(error))
            return False, self._long_wait_s()
        except ChipwattError as error:
            self._failed(str(error))
        return stream is not None and stream.progress, None

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            schema_version=SCHEMA_VERSION,
            host_id=self._host.host_id,
            boot_id=self._host.boot_id,
            agent_version=self._host.agent_version,
            sent_unix_ns=self._unix_ns(),
        )

    def _failed(self, sentence: str) -> None:
        if sentence != self.state.last_error:
            _log.warning("not delivering", reason=sentence)
        self.state.last_error = sentence

    def _delays(self) -> Iterator[float]:
        return delays_s(self._config.retry_least / NS_PER_S, self._config.retry_most / NS_PER_S)

    def _long_wait_s(self) -> float:
        return self._config.retry_refused / NS_PER_S * random.uniform(0.5, 1)  # noqa: S311 - jitter


def _sentence(address: str, error: grpc.aio.AioRpcError) -> str:
    code = error.code()
    details = " ".join((error.details() or "").split())
    if code is grpc.StatusCode.UNAVAILABLE:
        reason = details.rpartition(": ")[2]  # what is before it tells of gRPC, not of the network
        return f"no collector answers at {address} ({reason}); records wait in the spool"
    if code in _NEEDS_A_PERSON:
        return (
            f"collector {address} refuses this agent: {details} ({code.name}); "
            "records wait in the spool until that is mended"
        )
    return f"collector {address}: {details} ({code.name})"
