"""A firmware power gauge to edges: the exact trapezoid in integers."""

from __future__ import annotations

from array import array

from chipwatt.agent.ledger import NS_MW_PER_UJ, Break, Ledger
from chipwatt.agent.timing import Timing
from chipwatt.core.model import GapReason


class GaugeLedger(Ledger):
    """A firmware gauge of mW, integrated by the trapezoid from 0 at its first sample.

    ``cumulative_uj`` is the floor of the exact integral. ``values_mw`` are the
    samples, one an edge.
    """

    counter = False

    def __init__(
        self, timing: Timing, *, max_power_mw: int, unix_offset_ns: int, utmost_mw: int = 0
    ) -> None:
        super().__init__(
            timing, max_power_mw=max_power_mw, unix_offset_ns=unix_offset_ns, utmost_mw=utmost_mw
        )
        self.values_mw = array("q")
        self._level_mw = -1
        self._total_uj = 0
        self._rest = 0
        """What the floor has left over, in units of mW ns / 2."""

    @property
    def level_mw(self) -> int:
        """The newest sample."""
        return self._level_mw

    def observe(self, mono_ns: int, value: int) -> None:
        since_ns = mono_ns - self.seen_ns
        if 0 < since_ns <= self._plain_ns and 0 <= value <= self._max_power_mw:
            self._sample(mono_ns, value, since_ns)
        elif value < 0:
            self._reject(mono_ns, value, 0, self._max_power_mw)
        elif value > self._max_power_mw:
            self._reject_power(mono_ns, value, 0, self._max_power_mw)
        elif since_ns <= 0:
            self.repeated += 1
        elif not self.times_ns or self._away is not None or since_ns > self.timing.bridge_ns:
            self._begin(mono_ns, value)
        else:
            self._bridge(mono_ns, value, since_ns)

    def resume(
        self, epoch: int, cumulative_uj: int, end_mono_ns: int, *, frozen: bool = False
    ) -> None:
        super().resume(epoch, cumulative_uj, end_mono_ns, frozen=frozen)
        self.values_mw.append(0)

    def forget(self, edges: int) -> None:
        super().forget(edges)
        del self.values_mw[:edges]

    def range_mw(self, first: int, last: int, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return the least and greatest sample from edge ``first`` to edge ``last``.

        An edge outside ``start_ns`` to ``end_ns`` does not count itself, but the
        mean of its segment does, which is what energy there was spread by.
        """
        values = self.values_mw
        cut_start, cut_end = self.times_ns[first] < start_ns, self.times_ns[last] > end_ns
        levels = list(values[first + cut_start : last + 1 - cut_end])
        if cut_start:
            levels.append((values[first] + values[first + 1]) // 2)
        if cut_end:
            levels.append((values[last - 1] + values[last]) // 2)
        return min(levels), max(levels)

    def hold(self) -> None:
        """Record nothing: a sample says nothing about the time after it."""

    def _sample(self, mono_ns: int, value: int, since_ns: int) -> None:
        added_uj, self._rest = divmod(
            self._rest + (self._level_mw + value) * since_ns, 2 * NS_MW_PER_UJ
        )
        self._total_uj += added_uj
        if value == self._level_mw and not self.timing.stamped:
            self.repeated += 1
        else:
            self.got += 1
            self._level_mw = value
            self.changed_ns = mono_ns
        self.seen_ns = mono_ns
        self.times_ns.append(mono_ns)
        self.cumulative_uj.append(self._total_uj)
        self.values_mw.append(value)

    def _bridge(self, mono_ns: int, value: int, since_ns: int) -> None:
        last_ns, before_uj = self.seen_ns, self._total_uj
        self._sample(mono_ns, value, since_ns)
        if since_ns > self.timing.silence_ns:
            delta_uj = self._total_uj - before_uj
            self.breaks.append(Break(last_ns, mono_ns, self.epoch, delta_uj, delta_uj, None))
        elif since_ns > self.timing.allowed_ns:
            self.holes.append((last_ns, mono_ns))

    def _begin(self, mono_ns: int, value: int) -> None:
        """Start, or start again after a gap; only a start of the agent opens an epoch, at 0."""
        if not self.times_ns or self._away in {GapReason.AGENT_DOWN, GapReason.SPOOL_DAMAGED}:
            self.epoch = self._next_epoch(mono_ns)
            self.first_epoch = self.first_epoch or self.epoch
        if self.times_ns:
            span_ns = mono_ns - self.times_ns[-1]
            upper_uj = self._max_power_mw * span_ns // NS_MW_PER_UJ
            self._gap(mono_ns, self._away or GapReason.SENSOR_STALLED, 0, upper_uj)
        self._level_mw = value
        self.seen_ns = self.changed_ns = mono_ns
        self.got += 1
        self._edge(mono_ns, self._total_uj)
        self.values_mw.append(value)
        self._resume_plain()
