"""Delivers the spool to the collector, for as long as it takes and over as many streams.

A record is settled when the collector acks it (it is on its disk) or refuses
it for good; only then does the spool's cursor move. A stream that breaks is
opened again and goes on from the cursor: the collector knows by a record's key
what it has. Payloads are never decoded here.

What ends a stream decides what is next:

==========================  ====================================================
end                         then
==========================  ====================================================
after acks                  the same address again, after a random delay
no connection, no welcome,  the next address; once all have failed, after a
UNAVAILABLE, others         random delay whose ceiling doubles
RESOURCE_EXHAUSTED          the same address, not before the time it asks for
wrong version, not allowed  the next address; once all say so, after
                            ``retry_refused``, since only a person can mend it
certificates replaced       the same address at once, once all is answered
==========================  ====================================================
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import grpc
import grpc.aio

from chipwatt.agent.channel import TlsConfig, open_channel
from chipwatt.agent.endpoints import RETURN_AFTER, Endpoints
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.stream import HELLO_TIMEOUT_S, Stream, UplinkState
from chipwatt.agent.uplink_config import UplinkConfig, encoder
from chipwatt.core import log
from chipwatt.core.backoff import delays_s
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ChipwattError, ConfigError
from chipwatt.core.retry_hint import retry_delay_s
from chipwatt.core.settings import Duration
from chipwatt.core.tls import Renewals
from chipwatt.core.wire import SCHEMA_VERSION
from chipwatt.v1 import telemetry_pb2 as pb

MAX_HINT_S = 300.0
"""A collector that asks for a longer absence is tried again after this."""
LOOK_S = 5.0
"""How long the first choice may take to be connected to when it is looked at."""
RENEWAL_EVERY_S = 5.0
"""Between two looks for certificates that were replaced."""
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
class Host:
    """Who says hello."""

    host_id: bytes
    boot_id: bytes
    agent_version: int
    """major * 1000000 + minor * 1000 + patch."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a stream, or the attempt at one, ended."""

    progress: bool = False
    """The collector answered for records."""
    left: bool = False
    """This side ended it, for the sake of the first choice or of new certificates."""
    refused: bool = False
    """For a reason that only a person can mend."""
    hint_s: float | None = None
    """When the collector, which is full, wants to be asked again."""


class Uplink:
    """Runs until it is cancelled; ``state`` says how it goes."""

    def __init__(
        self,
        endpoints: Endpoints,
        config: UplinkConfig,
        tls: TlsConfig,
        host: Host,
        spool: ThreadedSpool,
        *,
        return_after: Duration = RETURN_AFTER,
        on_cadence: Callable[[int], None] = lambda _: None,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare; raises ConfigError where ``compression`` cannot be had.

        ``on_cadence`` is told at each welcome how many milliseconds the collector
        wants between batches, 0 where it leaves that to the agent.
        """
        self._endpoints = endpoints
        self._config = config
        self._tls = tls
        self._renewals = None if tls.files is None else Renewals(tls.files)
        self._host = host
        self._spool = spool
        self._return_after_s = return_after / NS_PER_S
        self._on_cadence = on_cadence
        self._unix_ns = unix_ns
        self._encode = encoder(config.compression)
        self._said: set[str] = set()
        """Failures that were logged since the last welcome."""
        self.state = UplinkState(address=endpoints.current)

    async def run(self) -> None:
        """Open streams, one after the other, for ever."""
        delays = self._delays()
        all_refused = True
        while True:
            began_s = time.monotonic()
            end = await self._once()
            lasted_s = time.monotonic() - began_s
            if end.progress or lasted_s * NS_PER_S > self._config.retry_most:
                delays = self._delays()
            if end.left:
                continue
            if end.hint_s is not None:
                # All that were sent away together must not come back together.
                await asyncio.sleep(end.hint_s * _jitter(1, 1.5) + next(delays))
                continue
            if end.progress:
                all_refused = True
                await asyncio.sleep(next(delays))
                continue
            all_refused = all_refused and end.refused
            if not self._endpoints.failed():
                await asyncio.sleep(_jitter(0, self._config.retry_least / NS_PER_S))
            elif all_refused:
                with suppress(TimeoutError):
                    delay_s = _jitter(0.5, 1) * self._config.retry_refused / NS_PER_S
                    await asyncio.wait_for(self._renewal(), delay_s)
            else:
                all_refused = True
                await asyncio.sleep(next(delays))

    async def _once(self) -> _End:
        """Run one stream to its end."""
        address = self.state.address = self._endpoints.current
        stream: Stream | None = None
        refused = False
        hint_s: float | None = None
        try:
            if self._renewals is not None:
                self._renewals.read()
            async with open_channel(address, self._tls) as channel:
                stream = Stream(
                    channel,
                    self._spool,
                    self.state,
                    self._encode,
                    self._config.max_in_flight,
                    self._unix_ns,
                )
                await self._run(stream)
            if not stream.is_left:
                self._failed(f"collector {address} closed the stream")
        except grpc.aio.AioRpcError as error:
            refused = error.code() in _NEEDS_A_PERSON
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                hint_s = _hint_s(error)
            self._failed(_sentence(address, error))
        except TimeoutError:
            self._failed(
                f"collector {address} sent no welcome within {HELLO_TIMEOUT_S:.0f} s; "
                "it is overloaded, or something else listens there"
            )
        except EOFError as error:
            self._failed(f"collector {address}: {error}")
        except ConfigError as error:
            refused = True
            self._failed(str(error))
        except ChipwattError as error:
            self._failed(str(error))
        return _End(
            progress=stream is not None and stream.progress,
            left=stream is not None and stream.is_left,
            refused=refused,
            hint_s=hint_s,
        )

    async def _run(self, stream: Stream) -> None:
        looks = [
            asyncio.create_task(look)
            for look in (self._look_for_first_choice(stream), self._look_for_renewal(stream))
        ]
        try:
            await stream.run(self._hello(), self._welcomed)
        finally:
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)

    async def _look_for_renewal(self, stream: Stream) -> None:
        """Leave a stream that began with certificates which were replaced since."""
        await self._renewal()
        _log.info("certificates were replaced; connecting anew", cert=self._tls.cert)
        stream.leave()

    async def _renewal(self) -> None:
        """Return once there are certificates other than those used last."""
        while True:
            await asyncio.sleep(RENEWAL_EVERY_S * _jitter(0.5, 1))
            if self._renewals is not None and self._renewals.is_renewed():
                return

    async def _look_for_first_choice(self, stream: Stream) -> None:
        """Leave a stream over another address once the first choice can be reached again."""
        first = self._endpoints.first_choice
        while self._endpoints.current != first:
            await asyncio.sleep(self._return_after_s * _jitter(1, 1.5))
            with suppress(TimeoutError, ConfigError):
                async with open_channel(first, self._tls) as channel, asyncio.timeout(LOOK_S):
                    await channel.channel_ready()
                _log.info("the first choice answers again", collector=first)
                self._endpoints.go_back()
                stream.leave()
                return

    def _welcomed(self, welcome: pb.Welcome) -> None:
        self._endpoints.welcomed()
        self._said.clear()
        self._on_cadence(welcome.cadence_ms)

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            schema_version=SCHEMA_VERSION,
            host_id=self._host.host_id,
            boot_id=self._host.boot_id,
            agent_version=self._host.agent_version,
            sent_unix_ns=self._unix_ns(),
        )

    def _failed(self, sentence: str) -> None:
        if sentence not in self._said:
            _log.warning("not delivering", reason=sentence)
        self._said.add(sentence)
        self.state.last_error = sentence

    def _delays(self) -> Iterator[float]:
        return delays_s(self._config.retry_least / NS_PER_S, self._config.retry_most / NS_PER_S)


def _jitter(least: float, most: float) -> float:
    return random.uniform(least, most)  # noqa: S311 - no secret hangs on it


def _hint_s(error: grpc.aio.AioRpcError) -> float | None:
    hint_s = retry_delay_s(tuple(error.trailing_metadata() or ()))
    return None if hint_s is None else min(hint_s, MAX_HINT_S)


def _sentence(address: str, error: grpc.aio.AioRpcError) -> str:
    code = error.code()
    details = " ".join((error.details() or "").split())
    if code is grpc.StatusCode.UNAVAILABLE:
        reason = details.rpartition(": ")[2]  # what is before it tells of gRPC, not of the network
        return f"no collector answers at {address} ({reason}); records wait in the spool"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return f"collector {address} takes no more for now: {details}; records wait in the spool"
    if code in _NEEDS_A_PERSON:
        return (
            f"collector {address} refuses this agent: {details} ({code.name}); "
            "records wait in the spool until that is mended"
        )
    return f"collector {address}: {details} ({code.name})"
