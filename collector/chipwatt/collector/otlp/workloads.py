"""The export of workloads: reads their minutes at a pace of its own and sends what may be told.

Its place in the store is a number in a file, which moves once the receiver has answered. It
begins with what comes from now on: older minutes have been told to other readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.workloads import Told
from chipwatt.collector.otlp import semconv, wire
from chipwatt.collector.otlp.request import Request, RequestWriter
from chipwatt.collector.otlp.table import Metric
from chipwatt.collector.otlp.workload_table import WORKLOAD_ABOVE, WORKLOAD_POWER
from chipwatt.collector.store.workloads import Minute
from chipwatt.core.durable import replace_durably
from chipwatt.core.errors import StoreError
from chipwatt.core.log import get

AT_ONCE = 500
_POLL_S = 5.0
_log = get(__name__)
Policy = Callable[[Iterable[Minute]], Iterator[Told]]


class Minutes(Protocol):
    """What it needs of the store."""

    def newest(self) -> int: ...

    def follow(self, after: int, *, limit: int = 1000) -> list[Minute]: ...


class Settles(Protocol):
    """Whoever takes requests."""

    async def send(self, request: Request) -> None: ...

    async def close(self) -> None: ...


class WorkloadEncoder:
    """Makes requests of what may be told."""

    def __init__(self, *, version: str, namespace: str, tier: Tier) -> None:
        self._version, self._namespace, self._tier = version, namespace, tier

    def requests(self, told: Iterable[Told], names: Mapping[bytes, str]) -> Iterator[Request]:
        """Yield the requests, host by host; ``names`` are those of hosts."""
        by_host: dict[bytes, list[Told]] = {}
        for each in told:
            by_host.setdefault(each.host, []).append(each)
        writer = RequestWriter(self._version)
        for host, of_host in by_host.items():
            resource = semconv.resource(
                host.hex(),
                names.get(host) or host.hex(),
                version=self._version,
                namespace=self._namespace,
                tier=self._tier,
            )
            for metric, points in _points(of_host):
                yield from writer.add(resource, metric, points)
        yield from writer.rest()


def _points(told: Iterable[Told]) -> Iterator[tuple[Metric, list[bytes]]]:
    power: list[bytes] = []
    above: list[bytes] = []
    for each in told:
        span = (each.start_unix_ns, each.end_unix_ns)
        named = [
            semconv.text("chipwatt.workload.id", each.workload_id.hex()),
            semconv.text("chipwatt.workload.class", each.class_id.hex()),
        ]
        power.append(wire.number(semconv.of_number(named), *span, each.mean_mw / 1000))
        for eighths, share in enumerate(each.above, start=1):
            level = semconv.text("chipwatt.eighths", str(eighths))
            above.append(wire.number(semconv.of_number([*named, level]), *span, share))
    yield WORKLOAD_POWER, power
    yield WORKLOAD_ABOVE, above


class WorkloadExport:
    """From the store to one receiver."""

    def __init__(
        self,
        minutes: Minutes,
        policy: Policy,
        encoder: WorkloadEncoder,
        sender: Settles,
        names: Callable[[], Mapping[bytes, str]],
        place: Path | None = None,
    ) -> None:
        """Keep the place in the file ``place``; None: begin anew with each process."""
        self._minutes = minutes
        self._policy = policy
        self._encoder = encoder
        self._sender = sender
        self._names = names
        self._place = place

    async def run(self) -> None:
        """Export until cancelled. A store that cannot be read is tried again."""
        position: int | None = None
        try:
            while True:
                try:
                    if position is None:
                        position = await asyncio.to_thread(self._begin)
                    position = await self._some(position)
                except StoreError as error:
                    _log.warning("workloads cannot be exported, will retry", reason=str(error))
                await asyncio.sleep(_POLL_S)
        finally:
            await self._sender.close()

    async def _some(self, position: int) -> int:
        """Send what was stored after ``position``; return where that ends."""
        while minutes := await asyncio.to_thread(self._minutes.follow, position, limit=AT_ONCE):
            requests = await asyncio.to_thread(
                lambda: list(self._encoder.requests(self._policy(minutes), self._names()))
            )
            for request in requests:
                await self._sender.send(request)
            position = minutes[-1].position
            await asyncio.to_thread(self._keep, position)
        return position

    def _begin(self) -> int:
        newest = self._minutes.newest()
        try:
            kept = int(self._place.read_text()) if self._place else newest
        except (OSError, ValueError):
            kept = newest
        return min(kept, newest)

    def _keep(self, position: int) -> None:
        if self._place is None:
            return
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            replace_durably(self._place, b"%d\n" % position, mode=0o600)
        except OSError as error:
            raise StoreError(f"{self._place}: cannot be written: {error.strerror}") from None
