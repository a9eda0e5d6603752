"""WatchPowerEvents: what happens in the power topology, told as it happens, resumable.

The first answer of a stream has no event: its token says where the stream begins, so
that a watcher that is cut off before anything happens can go on there, and ``missed``
says whether it has missed events before. An answer after it has one event each.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from chipwatt.collector.answering import Refused, invalid
from chipwatt.collector.placement.asking import selected
from chipwatt.collector.placement.cap_advice import VALID_S
from chipwatt.collector.placement.event_finder import EventFinder
from chipwatt.collector.placement.event_levels import RECENT_S, Sight
from chipwatt.collector.placement.event_log import EventLog
from chipwatt.collector.placement.power_event import PowerEvent, Severity
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook
    from chipwatt.collector.placement.outlooks import OutlookSource

Context = grpc.aio.ServicerContext[Any, Any]
MAX_WATCHERS = 256


class EventAnswers:
    """Looks at an outlook once a second in a thread and tells every watcher what has changed."""

    def __init__(self, outlooks: OutlookSource, book: ReservationBook) -> None:
        self._outlooks = outlooks
        self._finder = EventFinder(book.priorities)
        self._log = EventLog()
        self._topology: Topology | None = None
        self._closed = False

    def tick(self, outlook: Outlook) -> None:
        """Find what has begun or ended; once a second, from one thread at a time."""
        self._topology = outlook.topology

        def sight(budgeted: Array) -> Sight:
            return Sight(
                second=outlook.as_of_unix_ns // NS_PER_S,
                now_mw=outlook.now_mw,
                recent_mw=outlook.settled_mw(budgeted, RECENT_S),
                newest_s=outlook.newest_s[outlook.topology.hosts],
                heard=outlook.fresh,
            )

        self._log.append(map(event_message, self._finder.find(outlook.topology, sight)))

    def close(self) -> None:
        """End every stream."""
        self._log.close()

    async def watch(
        self, request: pb.WatchPowerEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchPowerEventsResponse]:
        """Yield events after the request's token, or from now on, until it is cancelled.

        Aborts with a sentence for what cannot be watched, and where the node that the
        selector names disappears from the topology.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            # A loop that has closed has no watcher left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(news.set)

        stop = self._log.listen(wake)
        try:
            self._check_room()
            topology = await self._current()
            wanted = selected(topology, request.selector)
            least = _severity(request.min_severity)
            seq, missed = self._start(request.resume_token)
            yield pb.WatchPowerEventsResponse(resume_token=self._log.token(seq), missed=missed)
            missed = False
            while not self._log.closed:
                news.clear()
                events, lost = self._log.after(seq)
                missed |= lost
                if topology is not (topology := await self._current()):
                    wanted = selected(topology, request.selector)
                for event in events:
                    seq = event.seq
                    if event.severity >= least and (wanted is None or event.node_id in wanted):
                        yield pb.WatchPowerEventsResponse(
                            event=event, resume_token=self._log.token(seq), missed=missed
                        )
                        missed = False
                if not events:
                    await news.wait()
        except Refused as refused:
            await context.abort(refused.code, str(refused))
        finally:
            stop()

    async def _current(self) -> Topology:
        if self._topology is None:
            self._topology = (await asyncio.to_thread(self._outlooks.latest)).topology
        return self._topology

    def _check_room(self) -> None:
        if self._log.listening > MAX_WATCHERS:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"selector: {MAX_WATCHERS} streams of events are open, no more are served",
            )

    def _start(self, token: str) -> tuple[int, bool]:
        if not token:
            return self._log.newest, False
        try:
            return self._log.resume(token)
        except ValueError as error:
            raise invalid(f"resume_token: {error}") from None


def event_message(event: PowerEvent) -> pb.PowerEvent:
    """Lay an event out for watchers."""
    kind = pb.PowerEventKind.ValueType(event.rule.kind)
    until_unix_ns = event.at_unix_ns + VALID_S * NS_PER_S
    return pb.PowerEvent(
        node_id=event.node_id,
        kind=pb.POWER_EVENT_KIND_CLEARED if event.is_over else kind,
        cleared_kind=kind if event.is_over else pb.POWER_EVENT_KIND_UNSPECIFIED,
        severity=pb.Severity.ValueType(event.rule.severity),
        at_unix_ns=event.at_unix_ns,
        observed_mw=event.observed_mw,
        limit_mw=event.limit_mw,
        time_to_trip_s=event.time_to_trip_s,
        cap_advice=[
            pb.CapAdvice(
                target_id=advice.target_id,
                cap_mw=advice.cap_mw,
                order=order,
                priority=advice.priority,
                expected_saving_mw=advice.expected_saving_mw,
                valid_until_unix_ns=until_unix_ns,
            )
            for order, advice in enumerate(event.advice)
        ],
    )


def _severity(asked: int) -> int:
    if asked and asked not in tuple(Severity):
        raise invalid(f"min_severity: {asked} is no severity")
    return asked
