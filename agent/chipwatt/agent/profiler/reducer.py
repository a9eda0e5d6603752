"""Readings in, records out: a state machine without clock or I/O that works in small chores.

``observe`` only appends to a ledger. Everything else waits for ``step``: one
sensor's blocks, one window to write out, or one host second, the oldest first.

A block is a second. Blocks wait until the batch in which they are handed out
ends, and a sensor's are then reduced together, which costs a tenth of one by one;
as many at once as the fastest polling leaves time for, so that no deadline is
missed over it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chipwatt.agent.attribution.attributor import Attributor
from chipwatt.agent.ledger import Ledger
from chipwatt.agent.profiler.closed import Memory
from chipwatt.agent.profiler.grid import Grid, Span
from chipwatt.agent.profiler.host_second import Bin, HostSeconds
from chipwatt.agent.profiler.limits import limits_mw
from chipwatt.agent.profiler.standing import Turn
from chipwatt.agent.profiler.stillness import Stillness
from chipwatt.agent.profiler.track import Track
from chipwatt.agent.raw_ring import Take, both
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.model import GapReason
from chipwatt.core.records import DeviceWindow, Gap, HostSecond, Records, Throttle

__all__ = ["Memory", "Reducer"]

_MOST_BLOCKS = 10
"""Reduced in one chore, at most: about half a millisecond."""
_ROWS = 200
"""Device windows in one payload: at 160 buckets each they stay below its 256 KiB."""


@dataclass(slots=True)
class _Block:
    """A block whose time is over, on its way through the tracks."""

    span: Span
    turns: list[Turn]
    bin: Bin


class Reducer:
    """Reduces the readings of all sensors, numbered from 0 in the order given.

    ``window_ns`` and ``batch_ns`` are whole seconds (ValueError otherwise);
    windows are aligned to the wall clock, batches (host seconds, and what
    windows have closed) are handed out every ``batch_ns``.
    """

    def __init__(
        self,
        sensors: Sequence[Sensor],
        *,
        mono_ns: int,
        unix_ns: int,
        window_ns: int = 10 * NS_PER_S,
        batch_ns: int = 10 * NS_PER_S,
        memory: Sequence[Memory] = (),
        attributor: Attributor | None = None,
    ) -> None:
        """Go on from ``memory``; ``attributor`` gets each second of each chip if it wants it."""
        self._attributor = attributor
        self._grid = Grid(mono_ns, unix_ns, window_ns, batch_ns)
        remembered = {(entry.device, entry.domain, entry.statistic): entry for entry in memory}
        self._tracks = [
            Track(
                s,
                unix_ns - mono_ns,
                remembered.pop((s.device, s.domain, s.statistic), None),
            )
            for s in sensors
        ]
        self._absent = list(remembered.values())
        self._stillness = Stillness(sensors, [track.ledger for track in self._tracks])
        for position, doubted in self._stillness.doubts():
            self._tracks[position].doubted = doubted
        self._observe: list[Take] = [track.ledger.observe for track in self._tracks]
        self._host = HostSeconds(sum(s.root for s in sensors))
        self._blocks: deque[_Block] = deque()
        self._first = 0
        """Number of the oldest block in ``_blocks``."""
        self._done = [0] * len(self._tracks)
        """Number of each track's next block."""
        self._wanted = 0
        """Number of the first block that nobody waits for yet: past the newest end of a batch."""
        self._at_once = 0
        """Blocks that one chore may reduce; 0 to be worked out anew."""
        self._turn = 0
        self._asleep = False
        """Whether no sensor has a chore before the next block's end."""
        self._windows: list[DeviceWindow] = []
        self._seconds: list[HostSecond] = []
        self._batches: list[Records] = []
        self._finished_memory = self._memory_now()
        self._memory = self._finished_memory

    def set_batch(self, batch_ns: int) -> None:
        """Hand batches out every ``batch_ns``, whole seconds, from the next one on."""
        self._grid.set_batch(batch_ns)

    def observe(self, position: int, mono_ns: int, value: int) -> None:
        """Take one reading; an equal stamp is not a new one."""
        self._observe[position](mono_ns, value)

    def overhear(self, taker: Callable[[int], Take]) -> None:
        """Give readings to what ``taker`` returns for each sensor as well; before all others."""
        self._observe = [both(take, taker(n)) for n, take in enumerate(self._observe)]

    def observer(self, position: int) -> Callable[[int, int], None]:
        """Return ``observe`` of one sensor, for whoever has many readings."""
        return self._observe[position]

    def ledgers(self) -> list[Ledger]:
        """Return every sensor's ledger, for looking only."""
        return [track.ledger for track in self._tracks]

    def due(self, position: int, polls: int = 1) -> None:
        """Count polls that were due."""
        self._tracks[position].expected += polls

    def measured(
        self,
        position: int,
        *,
        refresh_ns: int,
        averaging_ns: int,
        period_ns: int,
        rate_reduced: bool,
    ) -> None:
        """Believe what the sampler has measured from now on."""
        track = self._tracks[position]
        sensor = track.sensor
        track.rate_reduced = rate_reduced
        track.ledger.retime(
            Timing(track.ledger.counter, sensor.stamped, refresh_ns, averaging_ns, period_ns)
        )
        self._at_once = 0

    def throttled(self, position: int, throttle: Throttle) -> None:
        """Take a limit and cumulative throttled times."""
        track = self._tracks[position]
        if track.throttle == Throttle():
            track.baseline(throttle)
        track.throttle = throttle

    def lost(self, position: int, mono_ns: int, reason: GapReason) -> None:  # noqa: ARG002
        """Expect nothing of a sensor until its next reading; what was known until then stays."""
        self._tracks[position].lost(reason)

    def clock(self, mono_ns: int, unix_ns: int) -> None:
        """Compare the wall clock with the mapping, both read together."""
        self._grid.clock(mono_ns, unix_ns)
        for track in self._tracks:
            track.ledger.unix_offset_ns = self._grid.offset_ns

    def step(self, mono_ns: int) -> bool:
        """Do one small chore; True if it did, and more may wait."""
        if mono_ns >= self._grid.current.end_ns:
            self._enqueue(self._grid.advance())
            return True
        return not self._asleep and bool(self._blocks) and self._chore(mono_ns)

    def take(self) -> list[Records]:
        """Hand out finished batches, oldest first."""
        batches, self._batches = self._batches, []
        if batches:
            self._memory = self._finished_memory
        return batches

    def finish(self, mono_ns: int) -> list[Records]:
        """Hand out all that is left; windows end at each sensor's last reading.

        Nothing may be observed afterwards.
        """
        while self.step(mono_ns):
            pass
        end_ns = self._grid.current.start_ns
        self._stillness.judge(mono_ns)
        for track in self._tracks:
            if not track.doubted():
                track.ledger.settle()
            if track.ledger.times_ns:
                end_ns = max(end_ns, track.ledger.times_ns[-1])
        while end_ns > self._grid.current.end_ns:
            self._enqueue(self._grid.advance())
        if end_ns > self._grid.current.start_ns:
            self._enqueue(self._grid.cut(end_ns))
        while self._blocks:
            self._chore(None)
        for track in self._tracks:
            track.end()
            self._write_out(track)
        self._emit()
        self._memory = self._finished_memory
        return self.take()

    def memory(self) -> list[Memory]:
        """Return where each sensor's line ends in what was handed out, for the next process."""
        return list(self._memory)

    def _enqueue(self, span: Span) -> None:
        by_chip = self._attributor is not None and self._attributor.is_wanted
        into, stuck = Bin(span, by_chip=by_chip), self._stillness.judge(span.end_ns)
        turns = [t.turn(span, into, suspect=n in stuck) for n, t in enumerate(self._tracks)]
        self._blocks.append(_Block(span, turns, into))
        self._asleep = False
        if span.ends_batch or span.ends_window:
            self._wanted = self._first + len(self._blocks)
            self._at_once = 0

    def _chore(self, mono_ns: int | None) -> bool:
        """Do the next chore; without a time nothing is waited for. False: all wait."""
        for track in self._tracks:
            if track.closed:
                self._windows.append(track.closed.popleft().build())
                return True
        if min(self._done, default=self._first + 1) > self._first:
            self._close_second(self._blocks.popleft())
            return True
        self._asleep = mono_ns is not None
        for _ in self._tracks:
            self._turn = (self._turn + 1) % len(self._tracks)
            if self._advance(self._turn, mono_ns):
                self._asleep = False
                return True
        return False

    def _leeway(self) -> int:
        """Return how many blocks may be reduced at once: a chore fits between two polls."""
        periods_ns = [track.timing.period_ns for track in self._tracks if track.settled]
        return max(1, min(_MOST_BLOCKS, min(periods_ns, default=0) // NS_PER_MS))

    def _advance(self, number: int, mono_ns: int | None) -> bool:
        """Reduce the blocks of one sensor that are due; False where none is."""
        track, blocks = self._tracks[number], self._blocks
        index = self._done[number] - self._first
        if index >= len(blocks):
            return False
        self._at_once = self._at_once or self._leeway()
        most = self._at_once if track.settled else 1
        wanted = self._wanted - self._done[number]
        together = min(most, len(blocks) - index, wanted if wanted > 0 else most)
        if mono_ns is not None:
            # What was known of a silent sensor until now must not wait for what it says next.
            silent = track.silent(mono_ns)
            together = 1 if silent else together
            if wanted <= 0 and together < most and not silent:
                return False
            if not track.ready(blocks[index + together - 1].span.end_ns, mono_ns):
                self._asleep = False
                return False
        turns = [blocks[n].turns[number] for n in range(index, index + together)]
        self._done[number] += track.advance(turns)
        return True

    def _close_second(self, block: _Block) -> None:
        self._first += 1
        if not block.bin.empty:
            self._seconds.append(self._host.close(block.bin))
        if self._attributor is not None and block.bin.chips is not None:
            self._attributor.second(block.span, block.bin.chips, limits_mw(self._tracks))
        if block.span.ends_batch:
            self._emit()

    def _write_out(self, track: Track) -> None:
        while track.closed:
            self._windows.append(track.closed.popleft().build())

    def _emit(self) -> None:
        """Make a batch of all that has closed; no window waits to be written at this point."""
        windows, seconds, self._windows, self._seconds = self._windows, self._seconds, [], []
        if self._attributor is not None:
            windows = self._attributor.alone.marked(windows)
        gaps: list[Gap] = []
        for track in self._tracks:
            gaps.extend(track.gaps)
            track.gaps.clear()
        for at in range(0, max(len(windows), len(seconds), len(gaps)), _ROWS):
            part = slice(at, at + _ROWS)
            self._batches.append(
                Records(tuple(windows[part]), tuple(seconds[part]), tuple(gaps[part]))
            )
        for minute in self._attributor.take() if self._attributor else ():
            # Alone in a payload: its size says nothing of what others had to say.
            self._batches.append(Records(workloads=minute))
        self._finished_memory = self._memory_now()

    def _memory_now(self) -> list[Memory]:
        known = (track.memory for track in self._tracks)
        return [entry for entry in known if entry is not None] + self._absent
