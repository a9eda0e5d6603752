"""A small hall with real telemetry: topology file, newest state, outlooks, reservations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.event_answers import EventAnswers
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.profiles import Profiles
from chipwatt.collector.placement.reservation_answers import ReservationAnswers
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.v1 import placement_pb2 as pb
from fakes.telemetry_records import T0_S, a_batch, a_host, steady

W = 1_000
HOSTS = 4
HISTORY_S = 600


def topology_text(
    *,
    site: int = 2_000,
    feed_a: int = 1_500,
    rack_0: int = 800,
    hosts: Iterable[int] = range(HOSTS),
) -> str:
    """Return a site with two feeds, a rack on both, a rack on one; budgets in W."""
    text = f"""
[[node]]
id = "site"
kind = "site"
budget = "{site}W"
[[node]]
id = "a"
kind = "feed"
parents = ["site"]
budget = "{feed_a}W"
[[node]]
id = "b"
kind = "feed"
parents = ["site"]
[[node]]
id = "r0"
kind = "rack"
parents = [{{ id = "a", feed = "A", share = 0.6 }}, {{ id = "b", feed = "B", share = 0.4 }}]
budget = "{rack_0}W"
[[node]]
id = "r1"
kind = "rack"
parents = ["a"]
budget = "1000W"
safety_margin = 0.1
"""
    for number in hosts:
        text += f"""
[[node]]
id = "h{number}"
kind = "host"
parents = ["r{number // 2}"]
rated = "500W"
host = "{a_host(number).hex()}"
"""
    return text


class Hall:
    """Hosts h0, h1 on rack r0 (both feeds), h2, h3 on rack r1 (feed a); a clock that is told."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.folder = folder
        self.path = folder / "topology.toml"
        self.path.write_text(text or topology_text())
        self.clock = VirtualClock(T0_S * NS_PER_S)
        self.latest = Latest()
        self._sequence = 0
        self.open()

    def open(self) -> None:
        """Start as a process would: from the files and the newest state."""
        file = TopologyFile(self.path)
        database = self.folder / "placement.sqlite"
        self.book = ReservationBook(database, self.clock.unix_ns, self.clock.mono_ns)
        self.outlooks = Outlooks(
            self.latest, self.clock.unix_ns, file=file, reserved_mw=self.book.reserved_mw
        )
        self.profiles = Profiles(database)
        self.reservations = ReservationAnswers(self.book, self.outlooks, self.profiles)
        self.events = EventAnswers(self.outlooks, self.book)

    def close(self) -> None:
        self.events.close()
        self.book.close()
        self.profiles.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now_s(self) -> int:
        return self.clock.unix_ns() // NS_PER_S

    def hear(self, seconds: Iterable[int], *watts: int | None) -> None:
        """Let hosts report what each draws in these seconds; None: nothing."""
        span = list(seconds)
        batches = []
        for number, drawn in enumerate(watts):
            if drawn is not None:
                self._sequence += 1
                records = steady(span[0], [(drawn * W, drawn * W)] * len(span))
                batches.append(a_batch(a_host(number), records, sequence=self._sequence))
        self.latest.on_commit(batches)

    def history(self, *watts: int | None) -> None:
        """Let the ten minutes up to now be known."""
        self.hear(range(self.now_s - HISTORY_S + 1, self.now_s + 1), *watts)

    def run(self, seconds: int, *watts: int | None) -> Outlook:
        """Let time pass: hosts report each second, and everything ticks once a second."""
        outlook = self.outlooks.latest()
        for _ in range(seconds):
            self.clock.sleep_until(self.clock.mono_ns() + NS_PER_S)
            self.hear([self.now_s], *watts)
            outlook = self.tick()
        return outlook

    def skip(self, seconds: int, *watts: int | None) -> Outlook:
        """Let time pass with one tick at its end."""
        first_s = self.now_s + 1
        self.clock.sleep_until(self.clock.mono_ns() + seconds * NS_PER_S)
        self.hear(range(first_s, self.now_s + 1), *watts)
        return self.tick()

    def tick(self) -> Outlook:
        outlook = self.outlooks.tick()
        self.reservations.tick(outlook)
        self.events.tick(outlook)
        return outlook


def a_request(
    key: str = "key", node_id: str = "h0", watts: int = 100, *, replicas: int = 0, ttl_s: int = 0
) -> pb.ReserveRequest:
    """Return a request for one workload with this peak."""
    inline = pb.InlineProfile(mean_mw=watts * W // 2, peak_mw=watts * W)
    demand = pb.Demand(inline=inline, replicas=replicas, gang_id="g" if replicas else "")
    return pb.ReserveRequest(idempotency_key=key, node_id=node_id, demand=demand, ttl_s=ttl_s)
