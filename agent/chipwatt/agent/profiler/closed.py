"""What a track leaves behind: windows that wait to be written out, and its memory."""

from __future__ import annotations

from dataclasses import dataclass

from chipwatt.agent.profiler.window import Counts, Window
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import DeviceWindow


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives a restart of the sensing process inside one boot."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    epoch: int
    cumulative_uj: int
    end_mono_ns: int
    frozen: bool = False
    """Whether its counter was judged stuck there."""
    in_doubt: bool = False
    """Whether windows behind it may be at a collector: what was used since may be counted."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that only needs to be written out, which is a chore of its own."""

    sensor: Sensor
    window: Window
    end_ns: int
    cumulative_uj: int
    timing: Timing
    counts: Counts

    def build(self) -> DeviceWindow:
        return self.window.build(
            self.sensor, self.end_ns, self.cumulative_uj, self.timing, self.counts
        )
