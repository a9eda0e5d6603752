"""When telemetry has taken over from a committed reservation, also under a clock that jumps.

A reservation is absorbed once every host beneath its node has been heard for two hundred
seconds after Commit: by then whoever sees power by the minute sees a whole one that began
at least a minute after it. Commit may come while the wall clock is ahead; set back, it
would put that moment off by as much. So a commit from the future counts from now, and
waits in full once more: telemetry from before says nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chipwatt.collector.placement.grants import heard_until_s
from chipwatt.collector.placement.reservation import Reservation, ReservationState
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.core.clock import NS_PER_S

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

ABSORB_S = 200
_WAIT_NS = ABSORB_S * NS_PER_S


class Absorption:
    """Looks through the book once a second. Not safe between threads; raises StoreError."""

    def __init__(self, book: ReservationBook) -> None:
        self._book = book
        self._not_before_unix_ns: dict[str, int] = {}
        """Of what was committed under a clock ahead: when, by the book, it may be absorbed."""

    def tick(self, outlook: Outlook) -> None:
        """End what telemetry shows by now."""
        topology, now_unix_ns = outlook.topology, self._book.now_unix_ns()
        committed = [
            of
            for of in self._book.live()
            if of.state is ReservationState.COMMITTED and of.node_id in topology.index
        ]
        self._restate(committed, outlook.as_of_unix_ns, now_unix_ns)
        due = [
            of
            for of in committed
            if of.committed_unix_ns + _WAIT_NS <= outlook.as_of_unix_ns
            and of.id not in self._not_before_unix_ns
        ]
        if not due:
            return
        until_s = heard_until_s(topology, outlook.newest_s[topology.hosts])
        self._book.keep(
            *(
                replace(of, state=ReservationState.ABSORBED, ended_unix_ns=now_unix_ns)
                for of in due
                if until_s[topology.index[of.node_id]] * NS_PER_S >= of.committed_unix_ns + _WAIT_NS
            )
        )

    def _restate(
        self, committed: Sequence[Reservation], as_of_unix_ns: int, now_unix_ns: int
    ) -> None:
        waiting = self._not_before_unix_ns.items()
        self._not_before_unix_ns = {key: at for key, at in waiting if at > now_unix_ns}
        ahead = [of for of in committed if of.committed_unix_ns > as_of_unix_ns + _WAIT_NS]
        if ahead:
            self._book.keep(*(replace(of, committed_unix_ns=as_of_unix_ns) for of in ahead))
            self._not_before_unix_ns |= {of.id: now_unix_ns + _WAIT_NS for of in ahead}
