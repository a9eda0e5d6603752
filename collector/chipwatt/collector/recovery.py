"""Fills the newest state from the store when a collector starts.

What was committed lately is followed in whole blocks, for all hosts at once;
a host that has been silent for longer is looked up by itself. It may run while
agents already send: the newest wins, whatever comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from chipwatt.collector.latest import LATE_NS, RING_NS, Latest
from chipwatt.collector.store.contract import HostRow, Store
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import MAX_ROWS
from chipwatt.core.records import Records

_BLOCKS = 64
_LOOK = 8


def recover(latest: Latest, store: Store, is_wanted: Callable[[], bool] = lambda: True) -> None:
    """Read what the last process knew when it ended; stops early once it is not wanted.

    Raises StoreError.
    """
    hosts = store.hosts()
    latest.learn(hosts)
    if not hosts:
        return
    newest_ns = max(host.last_seen_unix_ns for host in hosts)
    position = _first_since(store, newest_ns - RING_NS - LATE_NS)
    while is_wanted() and (blocks := store.follow(position, limit=_BLOCKS)):
        # After the blocks, so that every position in them is known.
        latest.take_blocks(blocks, store.host_dictionary(), store.device_dictionary())
        position = blocks[-1].position
    for host in hosts:
        if is_wanted() and not latest.is_filled(host.host):
            _look_up(latest, store, host)


def _first_since(store: Store, start_unix_ns: int) -> int:
    """Return a position after which blocks are about as new as asked.

    Blocks follow each other by the time of their commit, so a host's backlog
    may stand between new ones: the search may then end too late and leave
    some seconds out, which is marked as a cold start, never too early.
    """

    def is_recent(after: int) -> bool:
        blocks = store.follow(after, limit=_LOOK)
        newest_ns = max((int(b.table["start_unix_ns"].max()) for b in blocks), default=None)
        return newest_ns is None or newest_ns >= start_unix_ns

    low, high = 0, 1
    while not is_recent(high):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if is_recent(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _look_up(latest: Latest, store: Store, host: HostRow) -> None:
    seen_ns = host.last_seen_unix_ns
    # What was heard last is some seconds old, and a host's clock may run ahead.
    newest_ns, end_ns = seen_ns - LATE_NS, seen_ns + RING_NS
    windows = store.windows(host.host, newest_ns, end_ns)
    seconds = store.host_seconds(host.host, newest_ns - RING_NS, end_ns)
    for start in range(0, max(len(windows), len(seconds)), MAX_ROWS):
        part = slice(start, start + MAX_ROWS)
        records = Records(windows=tuple(windows[part]), host_seconds=tuple(seconds[part]))
        latest.take(host.host, seen_ns, tables_from_records(records))
