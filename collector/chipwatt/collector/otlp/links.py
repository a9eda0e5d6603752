"""Ways to a receiver: one request out, one answer back, whatever goes wrong on the way."""

from __future__ import annotations

from typing import Final, Protocol

import grpc

from chipwatt.collector.otlp.config import HTTP, Destination
from chipwatt.collector.otlp.http_link import HttpLink, key_file, tls_context
from chipwatt.collector.otlp.retry import Answer, of_grpc, taken

METHOD: Final = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
LONGEST_DELAY_S: Final = 60.0
_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}


class Link(Protocol):
    """A way to one receiver; connects when it is first used."""

    async def send(self, data: bytes, timeout_s: float) -> Answer:
        """Send a request; every failure is an answer."""
        ...

    async def close(self) -> None: ...


def link_to(destination: Destination) -> Link:
    """Return the way; raises ConfigError where its files cannot be read."""
    if destination.protocol == HTTP:
        return HttpLink(destination)
    return GrpcLink(destination)


class GrpcLink:
    """OTLP/gRPC."""

    def __init__(self, destination: Destination) -> None:
        """Make the channel; raises ConfigError where the files of TLS cannot be read."""
        self._target = destination.target()
        self._metadata = destination.metadata()
        self._compression = _COMPRESSIONS[destination.compression]
        self._credentials = _credentials(destination) if destination.is_tls() else None
        self._channel: grpc.aio.Channel | None = None

    async def send(self, data: bytes, timeout_s: float) -> Answer:
        """Call Export."""
        if self._channel is None:
            self._channel = self._new_channel()
        # Read by us: grpc gives None for what cannot be read, like for nothing at all.
        export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METHOD)
        try:
            return taken(await export(data, timeout=timeout_s, metadata=self._metadata))
        except grpc.aio.AioRpcError as error:
            trailing = tuple(error.trailing_metadata() or ())
            answer = of_grpc(error.code(), error.details() or "", trailing)
            if answer.is_timeout:
                # What is half open stays so for many minutes: the next try dials anew.
                await self.close()
            return answer

    async def close(self) -> None:
        """Give up the channel."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    def _new_channel(self) -> grpc.aio.Channel:
        options = [
            ("grpc.max_reconnect_backoff_ms", int(LONGEST_DELAY_S * 1000)),
            # Channels share connections otherwise, and a new one would get the old one's.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self._credentials is None:
            return grpc.aio.insecure_channel(
                self._target, options=options, compression=self._compression
            )
        return grpc.aio.secure_channel(
            self._target, self._credentials, options=options, compression=self._compression
        )


def _credentials(destination: Destination) -> grpc.ChannelCredentials:
    # For its complaints: grpc itself takes any bytes, and then fails at each handshake.
    tls_context(destination)
    roots, key, chain = (
        None if path is None else path.read_bytes()
        for path in (destination.tls_ca, key_file(destination), destination.tls_cert)
    )
    return grpc.ssl_channel_credentials(roots, key, chain)
