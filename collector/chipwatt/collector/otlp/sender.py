"""One request at a time to an OTLP/gRPC receiver, again and again until it is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.otlp.encode import Request
from chipwatt.collector.otlp.retry import NEVER, retry_after_s
from chipwatt.core.backoff import delays_s
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError
from chipwatt.core.log import get

METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 60.0
_MAX_TEXT = 200
_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}
_log = get(__name__)


@dataclass(slots=True)
class Sent:
    """What became of the points so far."""

    points: int = 0
    """Taken by the receiver."""
    rejected: int = 0
    """Refused by the receiver, in part (partial success) or with the whole request; lost there."""
    retries: int = 0
    """Requests sent again."""


class Sender:
    """A channel to the receiver and the patience to use it."""

    def __init__(
        self,
        config: OtlpConfig,
        *,
        delays: Callable[[], Iterator[float]] = lambda: delays_s(FIRST_DELAY_S, LONGEST_DELAY_S),
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make the channel, which connects when it is first used.

        ``delays`` and ``wait`` are the back-off. Raises ConfigError where the
        authority's file cannot be read.
        """
        self.sent = Sent()
        self._endpoint = config.endpoint
        self._timeout_s = config.timeout / NS_PER_S
        self._metadata = config.metadata()
        self._delays = delays
        self._wait = wait
        self._channel = _channel(config)
        self._export = self._channel.unary_unary(
            METHOD,
            request_serializer=ExportMetricsServiceRequest.SerializeToString,
            response_deserializer=ExportMetricsServiceResponse.FromString,
        )

    async def send(self, request: Request) -> None:
        """Return once the receiver took the request or refused it for good.

        Until then it is sent again after each failure that OTLP calls retryable, with
        growing pauses, however long that takes: the store keeps what comes after.
        """
        delays = self._delays()
        while True:
            try:
                response = await self._export(
                    request.message, timeout=self._timeout_s, metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                after_s = retry_after_s(error.code(), tuple(error.trailing_metadata() or ()))
                if after_s == NEVER:
                    self.sent.rejected += request.points
                    self._complain("otlp receiver refused a request for good, dropped", error)
                    return
                self.sent.retries += 1
                self._complain("otlp receiver did not take a request, will retry", error)
                await self._wait(after_s + next(delays))
            else:
                self._settle(request.points, response.partial_success)
                return

    async def close(self) -> None:
        """Give up the channel."""
        await self._channel.close()

    def _settle(self, points: int, partial: ExportMetricsPartialSuccess) -> None:
        rejected = min(max(0, partial.rejected_data_points), points)
        self.sent.points += points - rejected
        self.sent.rejected += rejected
        if rejected or partial.error_message:
            _log.warning(
                "otlp receiver took a request in part",
                endpoint=self._endpoint,
                rejected=rejected,
                points=points,
                said=partial.error_message[:_MAX_TEXT],
            )

    def _complain(self, event: str, error: grpc.aio.AioRpcError) -> None:
        said = (error.details() or "")[:_MAX_TEXT]
        _log.warning(event, endpoint=self._endpoint, code=error.code().name, said=said)


def _channel(config: OtlpConfig) -> grpc.aio.Channel:
    target = config.target()
    options = [("grpc.max_reconnect_backoff_ms", int(LONGEST_DELAY_S * 1000))]
    compression = _COMPRESSIONS[config.compression]
    if not config.is_tls():
        return grpc.aio.insecure_channel(target, options=options, compression=compression)
    try:
        roots = None if config.tls_ca is None else config.tls_ca.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"otlp.tls_ca {config.tls_ca}: cannot be read: {error.strerror}"
        ) from None
    credentials = grpc.ssl_channel_credentials(roots)
    return grpc.aio.secure_channel(target, credentials, options=options, compression=compression)
