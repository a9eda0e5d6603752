"""How far each host's wall clock is ahead of ours, as far as a one-way message can tell.

A message that says when it was sent arrives later by its delay, so ``sent -
received`` is the offset less the delay: never too large, and nearest to the truth
for the message that was fastest. Of the last minutes the largest one counts. A clock
that is set back leaves old samples that are too large: they go once a run of
messages agrees that they are.
"""

from __future__ import annotations

from collections import deque

from chipwatt.core.clock import NS_PER_S

WINDOW_NS = 600 * NS_PER_S
"""How long a sample counts."""
MAX_SAMPLES = 64
STEP_NS = 2 * NS_PER_S
STEP_SAMPLES = 4
"""So many samples in a row that are lower by a step, and all before them are of another time."""
_MOST_NS = 1 << 62


class Clocks:
    """Offsets by host; used in one event loop, read from anywhere."""

    def __init__(self) -> None:
        self._samples: dict[bytes, deque[tuple[int, int]]] = {}
        self._offsets: dict[bytes, int] = {}

    def note(self, host: bytes, sent_unix_ns: int, received_unix_ns: int) -> int:
        """Take a message's stamp; return the host's offset in ns, positive where it is ahead."""
        sample = max(-_MOST_NS, min(_MOST_NS, sent_unix_ns - received_unix_ns))
        samples = self._samples.get(host)
        if samples is None:
            samples = self._samples[host] = deque(maxlen=MAX_SAMPLES)
        samples.append((received_unix_ns, sample))
        while samples[0][0] < received_unix_ns - WINDOW_NS or samples[0][0] > received_unix_ns:
            samples.popleft()
        newest = [offset for _, offset in samples][-STEP_SAMPLES:]
        offset_ns = max(offset for _, offset in samples)
        if len(newest) == STEP_SAMPLES and max(newest) < offset_ns - STEP_NS:
            offset_ns = max(newest)
            while len(samples) > STEP_SAMPLES:
                samples.popleft()
        self._offsets[host] = offset_ns
        return offset_ns

    def offset_ns(self, host: bytes) -> int | None:
        """Return how far the host's clock is ahead of ours; None where it never said a time."""
        return self._offsets.get(host)
