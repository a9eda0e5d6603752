"""A recorded trace played back as if its sensors were here.

Time is the trace's own: 0 of the monotonic clock is the first sample, and the
wall clock shows the time of the recording. Whoever runs the sampler uses

* ``clock``: a ``VirtualClock`` at speed ``"max"`` (a wait is a jump), else one
  that runs at the speed asked for;
* ``next_due_ns()``: when the next sample is due, so that a virtual clock can
  jump there instead of going through every deadline in between;
* ``exhausted``: whether ``poll`` has returned the last sample.

``poll`` returns every sample that is due by now, each at its own time, devices
merged in order of time; a late poll loses nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from chipwatt.agent.sensing.contract import Quantity, Reading, Sensor, SourceUnavailable
from chipwatt.agent.sensing.registry import source
from chipwatt.agent.sensing.scaled_clock import ScaledClock
from chipwatt.agent.trace.model import Trace, TraceDevice
from chipwatt.agent.trace.reader import read_trace
from chipwatt.agent.trace.text import decimal
from chipwatt.core.clock import Clock, VirtualClock
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Flag, Interface
from chipwatt.core.records import Throttle

MAX_SPEED = "max"
_FASTEST = 1_000_000
_CHIPS = frozenset({DeviceKind.CPU, DeviceKind.GPU, DeviceKind.MEMORY})
_AROUND_CHIPS = frozenset({DeviceKind.MODULE, DeviceKind.BOARD})
"""What contains the chips is added up only where the trace has none of them."""


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """``[sources.replay]``."""

    file: Path | None = None
    """The recorded trace; without one this source is off, with one it is the only source."""
    speed: str = "1"
    """How many seconds of the trace pass in a second ("1", "0.5", "60"), or "max"."""

    def __post_init__(self) -> None:
        """Refuse a speed that is none; raises ValueError."""
        speed_of(self.speed)


def speed_of(text: str) -> Fraction | None:
    """Return a speed as a number, None for ``"max"``; raises ValueError."""
    if text.strip() == MAX_SPEED:
        return None
    millionths = decimal(text, 6)
    if millionths is None or not 0 < millionths <= _FASTEST * 1_000_000:
        raise ValueError(
            f'speed is a number from 0.000001 to {_FASTEST} (more is "max"), got {text!r}'
        )
    return Fraction(millionths, 1_000_000)


@source("replay", ReplayConfig)
class ReplaySource:
    """One stamped sensor a device of the trace."""

    name: ClassVar[str] = "replay"
    interface: ClassVar[Interface] = Interface.REPLAY
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = False

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._pending: Iterator[Reading] = iter(())
        self._next: Reading | None = None
        self._is_open = False

    @cached_property
    def trace(self) -> Trace:
        """The trace, read when first asked for. Raises TraceError, SourceUnavailable."""
        if self._config.file is None:
            raise SourceUnavailable(
                AbsentReason.NOT_NEEDED, "no trace is replayed: set sources.replay.file to play one"
            )
        return read_trace(self._config.file)

    @cached_property
    def clock(self) -> Clock:
        """The clock to sample on; a speed counts from when it was first asked for.

        Raises TraceError, SourceUnavailable.
        """
        speed = speed_of(self._config.speed)
        if speed is None:
            return VirtualClock(self.start_unix_ns)
        return ScaledClock(self.start_unix_ns, speed)

    @property
    def start_unix_ns(self) -> int:
        """Wall time of the first sample. Raises TraceError, SourceUnavailable."""
        return self.trace.start_unix_ns

    @property
    def end_mono_ns(self) -> int:
        """Monotonic time of the last sample. Raises TraceError, SourceUnavailable."""
        return self.trace.end_unix_ns - self.trace.start_unix_ns

    @property
    def exhausted(self) -> bool:
        """Whether the last sample has been returned; False until ``open``."""
        return self._is_open and self._next is None

    def next_due_ns(self) -> int | None:
        """Return the monotonic time of the next sample; None where there is none."""
        return self._next.mono_ns if self._next is not None else None

    def open(self) -> Sequence[Sensor]:
        """Return the sensors. Raises SourceUnavailable, TraceError."""
        sensors = _sensors(self.trace)
        self._pending = heapq.merge(
            *(
                _readings(position, device, self.start_unix_ns)
                for position, device in enumerate(self.trace.devices)
            ),
            key=lambda reading: (reading.mono_ns, reading.sensor),
        )
        self._next = next(self._pending, None)
        self._is_open = True
        return sensors

    def poll(self) -> Sequence[Reading]:
        now_ns = self.clock.mono_ns()
        due: list[Reading] = []
        while self._next is not None and self._next.mono_ns <= now_ns:
            due.append(self._next)
            self._next = next(self._pending, None)
        return due

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return ()  # no trace format tells limits

    def close(self) -> None:
        self._pending = iter(())
        self._next = None


def _readings(position: int, device: TraceDevice, start_unix_ns: int) -> Iterator[Reading]:
    for stamp_unix_ns, value in zip(device.stamps_unix_ns, device.values, strict=True):
        yield Reading(position, stamp_unix_ns - start_unix_ns, value)


def _sensors(trace: Trace) -> list[Sensor]:
    """Return a sensor a device; ordinals count the devices of one kind as they appear."""
    has_chips = any(device.kind in _CHIPS for device in trace.devices)
    seen: dict[DeviceKind, int] = {}
    sensors = []
    for device in trace.devices:
        ordinal = seen.get(device.kind, 0)
        seen[device.kind] = ordinal + 1
        sensors.append(
            Sensor(
                device=DeviceId(device.kind, ordinal),
                domain=device.domain,
                interface=Interface.REPLAY,
                quantity=device.quantity,
                root=device.kind not in _AROUND_CHIPS or not has_chips,
                label=device.label,
                resolution_uj=device.resolution_uj,
                refresh_ns=device.refresh_ns,
                max_power_mw=_max_power_mw(device),
                stamped=True,
                flags=int(Flag.REPLAYED),
            )
        )
    return sensors


def _max_power_mw(device: TraceDevice) -> int:
    """Return twice the trace's largest power: nothing in a recording is impossible."""
    if device.quantity is Quantity.POWER_MW:
        return 2 * max(*device.values, 1)
    steps = pairwise(zip(device.stamps_unix_ns, device.values, strict=True))
    rates = (max(0, e1 - e0) * 1_000_000 // (t1 - t0) for (t0, e0), (t1, e1) in steps)
    return min(2 * max(max(rates, default=0), 1), 4_000_000_000)
