"""The book of reservations against the plain sum of what is live."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chipwatt.collector.placement.reservation import Reservation, ReservationState, counted_grants
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.core.clock import NS_PER_S, VirtualClock
from unit.collector.placement.reserved import T0_NS, held, rack


class Lives(RuleBasedStateMachine):
    """Any sequence of changes, restarts and reloads against the plain sum of what is live."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = VirtualClock(T0_NS)
        self.path = Path(self.folder.name) / "placement.sqlite"
        self.book = ReservationBook(self.path, self.clock.unix_ns)
        self.topology = rack(3)
        self.all: dict[str, Reservation] = {}

    @rule(host=st.integers(0, 2), power_mw=st.integers(1, 10**9), ttl_s=st.integers(1, 100))
    def hold(self, host: int, power_mw: int, ttl_s: int) -> None:
        number = len(self.all)
        now_ns = self.book.now_unix_ns()
        self.put(held(number, f"h{host}", power_mw, ttl_s=ttl_s, now_ns=now_ns))

    @precondition(lambda self: self.all)
    @rule(data=st.data(), state=st.sampled_from(ReservationState))
    def change(self, data: st.DataObject, state: ReservationState) -> None:
        found = self.book.by_id(data.draw(st.sampled_from(sorted(self.all))))
        assert found is not None
        if found.is_live and state is not ReservationState.HELD:
            ended = 0 if state is ReservationState.COMMITTED else self.book.now_unix_ns()
            self.put(replace(found, state=state, ended_unix_ns=ended))

    @rule(seconds=st.integers(0, 60))
    def wait(self, seconds: int) -> None:
        self.clock.sleep_until(self.clock.mono_ns() + seconds * NS_PER_S)

    @rule()
    def restart(self) -> None:
        self.book.close()
        self.book = ReservationBook(self.path, self.clock.unix_ns)

    @rule(hosts=st.integers(0, 3))
    def reload(self, hosts: int) -> None:
        self.topology = rack(hosts)

    @rule()
    def upkeep(self) -> None:
        self.book.upkeep()

    @invariant()
    def reserved_is_the_sum_of_what_is_live(self) -> None:
        now_ns = self.clock.unix_ns()
        want: Counter[str] = Counter()
        for of in self.all.values():
            expired = of.state is ReservationState.HELD and of.expires_unix_ns <= now_ns
            if of.is_live and not expired:
                want.update(counted_grants(self.topology, of))
        got = self.book.reserved_mw(self.topology)
        assert np.array_equal(got, [float(want[node.id]) for node in self.topology.nodes])

    def put(self, of: Reservation) -> None:
        self.book.keep(of)
        self.all[of.id] = of

    def teardown(self) -> None:
        self.book.close()
        self.folder.cleanup()


Lives.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestLives = Lives.TestCase
