"""The deadline loop: polls every source on time and gives its slack to the reducer.

Deadlines are absolute and monotonic. What is not a poll (reducing, renewing
estimates, talking to the agent) happens between two deadlines, in pieces short
enough not to touch the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from chipwatt.agent import announce
from chipwatt.agent.cost_budget import CostBudget
from chipwatt.agent.deadlines import collect_garbage
from chipwatt.agent.feed import Feed, ReplayFeed
from chipwatt.agent.inventory import REPLAY, Inventory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.agent.status import StatusReport
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, Clock, VirtualClock
from chipwatt.core.records import Records

_STEP_EVERY_NS = 100 * NS_PER_MS
_STEP_OVERDUE_NS = NS_PER_S
"""The reducer gets a turn this often even where the slack seems too short for it."""
_TURN_NS = 100 * NS_PER_MS
"""Between two looks at the agent's socket and at the threads of libraries."""
_CARE_NS = NS_PER_S
_ASSESS_NS = 10 * NS_PER_S
_STATUS_NS = 300 * NS_PER_S
_GARBAGE_NS = 60 * NS_PER_S
_NEVER_NS = 1 << 62
_MARGIN_NS = 100_000
"""Time kept free before a deadline, for the wake-up itself."""


class Sampler:
    """Polls an inventory's sources into a reducer until told to stop."""

    def __init__(
        self,
        inventory: Inventory,
        reducer: Reducer,
        clock: Clock,
        config: SensingConfig,
        *,
        emit: Callable[[Sequence[Records]], None],
        cpu_ns: Callable[[], int] = time.process_time_ns,
    ) -> None:
        """Start every source's first measurement; ``emit`` takes what was finished together."""
        self._reducer = reducer
        self._clock = clock
        self._config = config
        self._emit = emit
        self.feeds: list[Feed] = []
        position = 0
        for opened in inventory.opened:
            if opened.name == REPLAY:
                feed: Feed = ReplayFeed(opened, position, reducer, clock)
            else:
                feed = Feed(opened, position, reducer, clock, config.fastest_ns)
            self.feeds.append(feed)
            position += len(feed.positions)
        self._inline = [feed for feed in self.feeds if not feed.library]
        self._replay = [feed for feed in self.feeds if isinstance(feed, ReplayFeed)]
        self._trace_alone = bool(self._replay) and isinstance(clock, VirtualClock)
        now_ns = clock.mono_ns()
        self._budget = CostBudget(
            config.cpu_budget, config.library_budget, cpu_ns=cpu_ns, mono_ns=now_ns
        )
        self._status = StatusReport(
            self.feeds, inventory.absent_interfaces(), cpu_ns=cpu_ns, mono_ns=now_ns
        )
        self._measured = False
        self._waiting = False
        self._chore_ns = _MARGIN_NS
        self._step_ns = self._overdue_ns = self._turn_ns = self._care_ns = now_ns
        self._assess_ns = now_ns + _ASSESS_NS
        self._status_ns = now_ns + _STATUS_NS
        self._garbage_ns = now_ns + _GARBAGE_NS

    def run(self, control: Callable[[], bool]) -> None:
        """Sample until ``control``, which is asked about 10 times a second, says stop.

        Returns as well once a replayed trace has come to its end.
        """
        clock = self._clock
        now_ns = clock.mono_ns()
        while True:
            deadline_ns = self._next_deadline_ns()
            if self._waiting or now_ns >= self._step_ns:
                self._use_slack(deadline_ns)
            clock.sleep_until(deadline_ns)
            now_ns = clock.mono_ns()
            for feed in self._inline:
                if feed.schedule.next_ns <= now_ns and feed.is_open:
                    feed.poll(now_ns)
                    now_ns = clock.mono_ns()
            if now_ns >= self._turn_ns:
                self._turn_ns = now_ns + _TURN_NS
                if control():
                    return
                self._turn(now_ns)
            if self._replay and all(feed.exhausted for feed in self._replay):
                return

    def close(self) -> None:
        """Close the sources, take their last readings in and report a last time."""
        for feed in self.feeds:
            feed.close()
        self._emit([self._status.records(self._clock.mono_ns())])

    def _next_deadline_ns(self) -> int:
        deadline_ns = _NEVER_NS
        for feed in self._inline:
            if feed.schedule.next_ns < deadline_ns and feed.is_open:
                deadline_ns = feed.schedule.next_ns
        # A turn waits for the next poll, since a wake-up costs more than the turn itself. A trace
        # on a virtual clock sets the pace alone.
        latest_ns = _NEVER_NS - 1 if self._trace_alone else self._turn_ns + _TURN_NS
        return deadline_ns if deadline_ns <= latest_ns else self._turn_ns

    def _use_slack(self, deadline_ns: int) -> None:
        """Let the reducer work while there is time for one of its chores."""
        while True:
            now_ns = self._clock.mono_ns()
            if not self._waiting and now_ns < self._step_ns:
                return
            too_short = now_ns + self._chore_ns + _MARGIN_NS > deadline_ns
            if too_short and now_ns < self._overdue_ns:
                return
            for feed in self.feeds:
                feed.tell_due()
            self._waiting = self._reducer.step(now_ns)
            length_ns = self._clock.mono_ns() - now_ns
            # A decaying maximum: the next chore may be as long as the longest of late.
            self._chore_ns = max(length_ns, self._chore_ns * 15 // 16)
            self._step_ns = now_ns + _STEP_EVERY_NS
            self._overdue_ns = now_ns + _STEP_OVERDUE_NS

    def _turn(self, now_ns: int) -> None:
        for feed in self.feeds:
            feed.drain()
        self._emit(self._reducer.take())
        if now_ns >= self._care_ns:
            self._care_ns = now_ns + _CARE_NS
            self._care(now_ns)
        elif not self._replay and self._measured:
            for feed in self.feeds:
                if feed.look_closer(now_ns):
                    self._status_ns = now_ns  # at the next care

    def _care(self, now_ns: int) -> None:
        """Do what is due about once a second."""
        self._reducer.clock(now_ns, self._clock.unix_ns())
        if self._replay:
            return
        for feed in self.feeds:
            feed.look_after(now_ns, self._config.call_timeout)
        changed = self._assess(now_ns)
        if changed or now_ns >= self._status_ns:
            self._status_ns = now_ns + _STATUS_NS
            self._emit([self._status.records(now_ns)])
        if now_ns >= self._garbage_ns:
            self._garbage_ns = now_ns + _GARBAGE_NS
            collect_garbage()

    def _assess(self, now_ns: int) -> bool:
        """Renew refresh estimates and the cost budget; True where a period or an estimate moved."""
        library_ns = sum(feed.library_ns() for feed in self.feeds)
        if not self._measured:
            if any(now_ns < feed.measured_at_ns for feed in self.feeds):
                return False
            self._measured = True
            for feed in self.feeds:
                feed.assess()
                self._set_period(feed, now_ns)
            announce.found(self.feeds)
            self._budget.restart(now_ns, library_ns)
            return True
        budget_changed = False
        if now_ns >= self._assess_ns:
            self._assess_ns = now_ns + _ASSESS_NS
            budget_changed = self._budget.assess(now_ns, library_ns)
            due = self.feeds
        else:
            due = [feed for feed in self.feeds if not feed.refresh_known()]
        moved = [feed for feed in due if feed.assess()]
        for feed in self.feeds if budget_changed else moved:
            self._set_period(feed, now_ns)
        return budget_changed or bool(moved)

    def _set_period(self, feed: Feed, now_ns: int) -> None:
        feed.set_period(self._budget.factor(library=feed.library), now_ns)
