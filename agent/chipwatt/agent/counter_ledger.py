"""A firmware energy counter to edges: wraps, resets, jumps, resumption, freezes.

A counter that is judged frozen (``profiler.stillness``) still answers, but what is drawn
after its last change is not known. Once it moves by more than can have been drawn since its
last answer, it was only late, and the energy is exact. Otherwise it did not count:
that is a gap, of what it rose by at least; after ``GIVE_UP_NS`` one is told in any case.
"""

from __future__ import annotations

from chipwatt.agent.ledger import NS_MW_PER_UJ, Break, Ledger
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import MAX_ENERGY_UJ
from chipwatt.core.model import Flag, GapReason

GIVE_UP_NS = 86_400 * NS_PER_S
"""Longest stretch of a frozen counter whose energy may still become known."""
_Bounds = tuple[int, int]
_CONVINCED = 3
"""Rising readings, plausible to one another, that make an impossible level believed."""


class CounterLedger(Ledger):
    """A firmware counter of µJ; ``cumulative_uj`` is the counter itself, unwrapped."""

    counter = True

    def __init__(
        self,
        timing: Timing,
        *,
        max_power_mw: int,
        unix_offset_ns: int,
        modulus_uj: int = 0,
        resolution_uj: int = 1,
        utmost_mw: int = 0,
    ) -> None:
        super().__init__(
            timing, max_power_mw=max_power_mw, unix_offset_ns=unix_offset_ns, utmost_mw=utmost_mw
        )
        self._modulus_uj = modulus_uj
        self._resolution_uj = resolution_uj
        self._highest_uj = modulus_uj - 1 if modulus_uj else MAX_ENERGY_UJ
        self._raw_uj = 0
        self._total_uj = 0
        self._doubtful: list[tuple[int, int]] = []
        self._fallen: list[tuple[int, int]] = []
        self._gone = False
        """Whether a frozen counter fell silent, and may start anew while nobody sees it."""
        self._late = False
        """Whether the value of a frozen counter may be late, rather than wrong."""
        self._base_uj = 0
        """Cumulative energy at which this epoch began here."""
        self.retime(timing)

    @property
    def total_uj(self) -> int:
        """Cumulative energy at the newest change."""
        return self._total_uj

    @property
    def moved(self) -> bool:
        """Whether it has counted anything here since its epoch began, or since a restart."""
        return self._total_uj > self._base_uj

    def observe(self, mono_ns: int, value: int) -> None:
        since_ns = mono_ns - self.seen_ns
        delta_uj = value - self._raw_uj
        if 0 < since_ns <= self._plain_ns and 0 <= delta_uj <= self._plain_uj:
            if not delta_uj:
                self.seen_ns = mono_ns
                self.repeated += 1
                return
            if mono_ns - self.changed_ns <= self._stall_ns:
                self.seen_ns = self.changed_ns = mono_ns
                self._raw_uj = value
                self._total_uj += delta_uj
                self.got += 1
                self.times_ns.append(mono_ns)
                self.cumulative_uj.append(self._total_uj)
                return
        self._look_twice(mono_ns, value)

    def resume(
        self, epoch: int, cumulative_uj: int, end_mono_ns: int, *, frozen: bool = False
    ) -> None:
        super().resume(epoch, cumulative_uj, end_mono_ns, frozen=frozen)
        self._total_uj = self._base_uj = cumulative_uj
        self._raw_uj = cumulative_uj % self._modulus_uj if self._modulus_uj else cumulative_uj

    def freeze(self) -> None:
        """Judge it stuck since its last change."""
        if not self.away:
            self._stick(late=True)

    def lost(self, reason: GapReason) -> None:
        super().lost(reason)
        self._gone = self.frozen

    def retime(self, timing: Timing) -> None:
        super().retime(timing)
        self._stall_ns = timing.stall_ns
        # Up to here a rise is possible in any interval and cannot hide a wrap in a short one.
        self._plain_uj = self._possible_uj(0)
        if self._modulus_uj:
            unique_uj = self._modulus_uj - self._possible_uj(timing.allowed_ns)
            self._plain_uj = min(self._plain_uj, unique_uj)

    def _possible_uj(self, span_ns: int) -> int:
        slack_ns = span_ns + self.timing.slack_ns
        return self._resolution_uj + self._max_power_mw * slack_ns // NS_MW_PER_UJ

    def _look_twice(self, mono_ns: int, value: int) -> None:
        if not 0 <= value <= self._highest_uj:
            self._reject(mono_ns, value, 0, self._highest_uj)
            return
        if not self.times_ns:
            self._begin(mono_ns, value, None)
            return
        since_ns = mono_ns - self.seen_ns
        if since_ns <= 0:
            self.repeated += 1
            return
        if self.frozen and value == self._raw_uj:
            self._stay(mono_ns)
        else:
            self._weigh(mono_ns, value, since_ns)

    def _weigh(self, mono_ns: int, value: int, since_ns: int) -> None:
        delta_uj = value - self._raw_uj
        if self._modulus_uj:
            delta_uj %= self._modulus_uj
        possible_uj = self._possible_uj(since_ns)
        # A counter may owe a rise since its last change; a wrap is believed only if
        # the time since the last answer, when it had not wrapped yet, is enough for it.
        owed_ns = since_ns if value < self._raw_uj else mono_ns - self.changed_ns
        if delta_uj < 0 or delta_uj > self._possible_uj(owed_ns):
            (self._fall if value < self._raw_uj else self._doubt)(mono_ns, value)
        elif self.frozen and not (self._gone and value <= possible_uj):
            self._thaw(mono_ns, value, delta_uj)
        elif self._away is GapReason.SPOOL_DAMAGED:
            bounds = (0, delta_uj + self._wraps(delta_uj, possible_uj) * self._modulus_uj)
            self._begin(mono_ns, value, self._away, bounds)
        elif self._away not in {None, GapReason.AGENT_DOWN} and value <= possible_uj:
            # It went away and may have started anew at zero in between: a restarted
            # counter cannot show more than what the time since allows.
            self._begin(mono_ns, value, self._away)
        elif wraps := self._wraps(delta_uj, possible_uj):
            bounds = (delta_uj, delta_uj + wraps * self._modulus_uj)
            self._begin(mono_ns, value, self._away or GapReason.SENSOR_STALLED, bounds)
        else:
            self._go_on(mono_ns, value, delta_uj)

    def _wraps(self, delta_uj: int, possible_uj: int) -> int:
        return max(0, (possible_uj - delta_uj) // self._modulus_uj) if self._modulus_uj else 0

    def _stick(self, *, late: bool) -> None:
        self.frozen, self._late = True, late
        self._away, self._plain_ns = GapReason.SENSOR_STALLED, 0

    def _stay(self, mono_ns: int) -> None:
        if mono_ns - self.times_ns[-1] > GIVE_UP_NS:
            self._begin(mono_ns, self._raw_uj, GapReason.SENSOR_STALLED)
            self._stick(late=False)
            return
        self.seen_ns = mono_ns
        self.repeated += 1
        self._doubtful.clear()

    def _thaw(self, mono_ns: int, value: int, delta_uj: int) -> None:
        """Take the first new value of a frozen counter."""
        unseen_ns = mono_ns - self.times_ns[-1]
        possible_uj = self._possible_uj(unseen_ns)
        wraps = self._wraps(delta_uj, possible_uj)
        if self._late and not wraps and delta_uj > self._lately_uj(mono_ns):
            self._go_on(mono_ns, value, delta_uj)
        else:
            bounds_uj = (delta_uj if self._late else 0, max(delta_uj, possible_uj))
            self._begin(mono_ns, value, GapReason.SENSOR_STALLED, bounds_uj)

    def _lately_uj(self, mono_ns: int) -> int:
        """Return the most that can have been drawn since the last answer."""
        since_ns = mono_ns - self.seen_ns + self.timing.unseen_ns
        return self._resolution_uj + self._max_power_mw * since_ns // NS_MW_PER_UJ

    def _go_on(self, mono_ns: int, value: int, delta_uj: int) -> None:
        self._drop_fallen()
        since_ns = mono_ns - self.seen_ns
        # More than the time since the last answer can explain was owed since before a
        # stall: it was not spent at once, and its course is not known.
        stalled = mono_ns - self.changed_ns > self._stall_ns
        caught_up = stalled and delta_uj > self._lately_uj(mono_ns)
        if self._away is not None or since_ns > self.timing.silence_ns or caught_up:
            flags = Flag.RESUMED if self._away is GapReason.AGENT_DOWN else 0
            flags |= Flag.SUSPECT if self.frozen or (caught_up and self._away is None) else 0
            self.hold()
            last_ns = self.times_ns[-1]
            self.breaks.append(Break(last_ns, mono_ns, self.epoch, delta_uj, delta_uj, None, flags))
            self._total_uj += delta_uj
            self._edge(mono_ns, self._total_uj)
        else:
            if since_ns > self.timing.allowed_ns:
                self.holes.append((self.seen_ns, mono_ns))
            self._total_uj += delta_uj
            if delta_uj:
                self._edge(mono_ns, self._total_uj)
        if delta_uj:
            self.got += 1
            self.changed_ns = mono_ns
        else:
            self.repeated += 1
        self._raw_uj, self.seen_ns = value, mono_ns
        self._doubtful.clear()
        self._resume_plain()

    def hold(self) -> None:
        if self._fallen:
            self._start_anew()
        if self.frozen:
            return
        if self.moved and self.times_ns and self.seen_ns - self.changed_ns > self._stall_ns:
            while self.holes and self.holes[-1][0] >= self.times_ns[-1]:
                self.holes.pop()  # it lies inside the stall
            self.holes.append((self.times_ns[-1], self.seen_ns))
        super().hold()

    def settle(self) -> None:
        if self._fallen:
            self._start_anew()
        super().settle()

    def _fall(self, mono_ns: int, value: int) -> None:
        """Believe a reset once the fall lasts.

        A library that is called from several threads may once give another
        chip's value; taking that for a reset would count the way back up as energy.
        """
        self._plain_ns = 0
        self._fallen.append((mono_ns, value))
        if self._away is not None or len(self._fallen) >= _CONVINCED:
            self._start_anew()

    def _drop_fallen(self) -> None:
        for mono_ns, value in self._fallen:
            self._reject(mono_ns, value, self._raw_uj, self._highest_uj)
        self._fallen.clear()

    def _start_anew(self) -> None:
        (first_ns, first_uj), *later = self._fallen
        self._fallen.clear()
        down = self._away is GapReason.AGENT_DOWN
        self._begin(first_ns, first_uj, self._away if down else GapReason.COUNTER_RESET)
        for later_ns, later_uj in later:
            self.observe(later_ns, later_uj)

    def _doubt(self, mono_ns: int, value: int) -> None:
        """Drop a jump upwards, unless the counter lives on at its new level.

        A sentinel that is read again and again does not rise, so it never convinces.
        """
        most_uj = self._raw_uj + self._possible_uj(mono_ns - self.changed_ns)
        self._reject_power(mono_ns, value, self._raw_uj, most_uj)
        self._plain_ns = 0
        if self._doubtful:
            before_ns, before_uj = self._doubtful[-1]
            if value == before_uj or mono_ns <= before_ns:
                return
            if not 0 < value - before_uj <= self._possible_uj(mono_ns - before_ns):
                self._doubtful.clear()
        self._doubtful.append((mono_ns, value))
        if len(self._doubtful) < _CONVINCED:
            return
        (first_ns, first_uj), *later = self._doubtful
        self._begin(first_ns, first_uj, self._away or GapReason.IMPLAUSIBLE)
        for later_ns, later_uj in later:
            self.observe(later_ns, later_uj)

    def _begin(
        self, mono_ns: int, value: int, reason: GapReason | None, bounds_uj: _Bounds | None = None
    ) -> None:
        """Open an epoch at ``value``; with a ``reason`` the time before it is a gap."""
        self._drop_fallen()
        self.epoch = self._next_epoch(mono_ns)
        self.first_epoch = self.first_epoch or self.epoch
        if reason is not None:
            self.hold()
            unseen_ns = mono_ns - self.times_ns[-1] + self.timing.unseen_ns
            bounds_uj = bounds_uj or (0, self._max_power_mw * unseen_ns // NS_MW_PER_UJ)
            self._gap(mono_ns, reason, *bounds_uj)
        self._raw_uj = self._total_uj = self._base_uj = value
        self.seen_ns = self.changed_ns = mono_ns
        self.got += 1
        self._edge(mono_ns, value)
        self._doubtful.clear()
        self._resume_plain()

    def _resume_plain(self) -> None:
        super()._resume_plain()
        self.frozen = self._gone = False
