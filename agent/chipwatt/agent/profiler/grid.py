"""Blocks of one second on the wall clock, measured on the monotonic one.

The mapping between the clocks is fixed at the start. A small difference, as
NTP's slewing makes it, is taken up by the length of the next block, so that
blocks stay aligned; a jump is a step: the block that it falls into keeps its
start and ends at the next whole second of the new time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chipwatt.agent.profiler.partial import CELL_NS
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import COLUMNS, SectionKind

STEP_NS: Final = NS_PER_S // 2
"""A larger difference between mapping and wall clock is a step."""
_DRIFT_NS: Final = NS_PER_MS
"""A smaller one is left alone: reading two clocks takes time."""
_SHORTEST_NS: Final = NS_PER_S // 10
_EARLIEST_UNIX_NS: Final = next(
    spec.low for spec in COLUMNS[SectionKind.HOST_SECOND] if spec.name == "start_unix_ns"
)


@dataclass(frozen=True, slots=True)
class Span:
    """One block: where it lies on both clocks and what ends with it."""

    start_ns: int
    end_ns: int
    start_unix_ns: int
    ends_window: bool
    ends_batch: bool
    stepped: bool
    """The wall clock jumped inside."""

    @property
    def length_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def cells(self) -> int:
        """Cells of (about) 100 ms in which the power of several sensors is added up."""
        return max(1, round(self.length_ns / CELL_NS))

    def unix_ns(self, mono_ns: int) -> int:
        """Return the wall time of a moment near this block, never before the year 2000."""
        return max(_EARLIEST_UNIX_NS, self.start_unix_ns + mono_ns - self.start_ns)


class Grid:
    """Plans one block after the other; ``current`` is the one not yet closed."""

    def __init__(self, mono_ns: int, unix_ns: int, window_ns: int, batch_ns: int) -> None:
        self._window_ns = _whole_seconds("window", window_ns)
        self._batch_ns = _whole_seconds("batch", batch_ns)
        self._offset_ns = self.offset_ns = unix_ns - mono_ns
        self._step: tuple[int, int] | None = None
        self.current = self._plan(mono_ns, unix_ns)

    offset_ns: int
    """Wall time minus monotonic time, newest; the current block may still go by an older one."""

    def clock(self, mono_ns: int, unix_ns: int) -> None:
        """Compare the mapping with both clocks read together."""
        offset_ns = unix_ns - mono_ns
        error_ns = abs(offset_ns - self.offset_ns)
        if error_ns <= _DRIFT_NS:
            return
        self.offset_ns = offset_ns
        if error_ns > STEP_NS:
            self._step = (mono_ns, offset_ns)
            if mono_ns < self.current.end_ns:
                end_ns, end_unix_ns = self._end(mono_ns, offset_ns)
                start_ns, start_unix_ns = self.current.start_ns, self.current.start_unix_ns
                self.current = self._span(
                    start_ns, end_ns, start_unix_ns, end_unix_ns, stepped=True
                )

    def set_batch(self, batch_ns: int) -> None:
        """Let batches end at multiples of ``batch_ns`` from the block after the current one."""
        self._batch_ns = _whole_seconds("batch", batch_ns)

    def advance(self) -> Span:
        """Close the current block, return it and plan the next."""
        done = self.current
        if self._step is None or done.stepped:
            self._offset_ns, self._step = self.offset_ns, None
        # The end lies on a whole second but for what has drifted since it was planned.
        start_unix_ns = _nearest_second(done.end_ns + self._offset_ns)
        self.current = self._plan(done.end_ns, start_unix_ns)
        return done

    def cut(self, end_ns: int) -> Span:
        """Return the current block, ended early at ``end_ns``; nothing comes after it."""
        span = self.current
        return Span(span.start_ns, end_ns, span.start_unix_ns, True, True, span.stepped)

    def _plan(self, start_ns: int, start_unix_ns: int) -> Span:
        end_ns, end_unix_ns = self._end(start_ns, self._offset_ns)
        stepped = self._step is not None and self._step[0] < end_ns
        if stepped and self._step:
            step_ns, offset_ns = self._step
            end_ns, end_unix_ns = self._end(max(start_ns, step_ns), offset_ns)
        return self._span(start_ns, end_ns, start_unix_ns, end_unix_ns, stepped=stepped)

    def _span(
        self, start_ns: int, end_ns: int, start_unix_ns: int, end_unix_ns: int, *, stepped: bool
    ) -> Span:
        ends_window = end_unix_ns % self._window_ns == 0
        ends_batch = end_unix_ns % self._batch_ns == 0
        return Span(start_ns, end_ns, start_unix_ns, ends_window, ends_batch, stepped)

    @staticmethod
    def _end(start_ns: int, offset_ns: int) -> tuple[int, int]:
        unix_ns = start_ns + offset_ns + _SHORTEST_NS
        end_unix_ns = (unix_ns // NS_PER_S + 1) * NS_PER_S
        return end_unix_ns - offset_ns, end_unix_ns


def _whole_seconds(name: str, value_ns: int) -> int:
    if value_ns < NS_PER_S or value_ns % NS_PER_S:
        raise ValueError(f"{name} of {value_ns} ns: a whole number of seconds is needed")
    return value_ns


def _nearest_second(unix_ns: int) -> int:
    return (unix_ns + NS_PER_S // 2) // NS_PER_S * NS_PER_S
