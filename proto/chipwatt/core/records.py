"""The records that leave the sensing process, as values.

A value that a sensor cannot give is None, never zero. Energies are integers
of µJ, powers of mW, times of ns; see ``chipwatt.core.columns`` for the ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chipwatt.core import coarse
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import (
    AbsentReason,
    Attribution,
    Domain,
    GapReason,
    Interface,
    Method,
    Statistic,
)


@dataclass(frozen=True, slots=True)
class PowerHistogram:
    """Time spent at each power, base-2 exponential over watts as OTLP has it.

    Bucket ``k`` holds power in (2^((offset+k)/2^scale), 2^((offset+k+1)/2^scale)]
    watts; ``counts_ms`` are milliseconds. ``zero_ms`` is time at no power.
    """

    scale: int = 0
    offset: int = 0
    zero_ms: int = 0
    counts_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Statistics of power over one window of one domain."""

    mean_mw: int | None = None
    """Energy over covered time."""
    min_mw: int | None = None
    max_mw: int | None = None
    peak_10ms_mw: int | None = None
    """Largest mean over any 10 ms that ends in the window."""
    peak_100ms_mw: int | None = None
    peak_1s_mw: int | None = None
    rise_100ms_mw_per_s: int | None = None
    """Largest increase from one 100 ms mean to the next, over 100 ms."""
    fall_100ms_mw_per_s: int | None = None
    rise_1s_mw_per_s: int | None = None
    fall_1s_mw_per_s: int | None = None
    histogram: PowerHistogram = field(default_factory=PowerHistogram)
    swing_frequency_mhz: int | None = None
    """Dominant frequency between 0.1 and 20 Hz, in millihertz."""
    swing_amplitude_mw: int | None = None
    """Amplitude (half of peak to peak) of that frequency."""
    swing_share_ppm: int | None = None
    """Share of the alternating power that lies in the band."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """Limit in force and time spent under it, from the vendor's cumulative counters."""

    limit_mw: int | None = None
    power_ms: int | None = None
    thermal_ms: int | None = None
    brake_ms: int | None = None
    other_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a window's numbers come from and how much of it was seen."""

    interface: Interface
    method: Method
    expected: int = 0
    """Polls that were due."""
    got: int = 0
    """Polls that gave a fresh sample."""
    repeated: int = 0
    """Polls that gave the value before."""
    dropped: int = 0
    """Samples thrown away as sentinel, spike or impossible."""
    refresh_us: int = 0
    """Measured time between changes of the value; 0 not known."""
    averaging_us: int = 0
    """Averaging window of the value; 0 not averaged or not known."""
    coverage_ppm: int = 0
    """Share of the window between samples no further apart than the sensor allows."""


@dataclass(frozen=True, slots=True)
class DeviceWindow:
    """One window of one statistic of one domain of one device."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    start_unix_ns: int
    start_mono_ns: int
    duration_ns: int
    epoch: int
    """Names the counter's life between resets; grows."""
    energy_uj: int
    cumulative_uj: int
    """Of the epoch, at the window's end. Equals the counter itself, unwrapped."""
    profile: Profile
    throttle: Throttle
    provenance: Provenance
    flags: int


@dataclass(frozen=True, slots=True)
class HostSecond:
    """Sum over a host's root domains in one bin."""

    start_unix_ns: int
    start_mono_ns: int
    duration_ns: int
    cpu_mj: int
    gpu_mj: int
    memory_mj: int
    other_mj: int
    cpu_peak_mw: int | None
    """Largest 100 ms mean of the sum over the kind's root domains."""
    gpu_peak_mw: int | None
    memory_peak_mw: int | None
    other_peak_mw: int | None
    total_peak_mw: int | None
    heard: int
    """Root domains that were seen throughout the bin."""
    expected: int
    flags: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Energy that nobody can know, with bounds that contain it."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    start_unix_ns: int
    start_mono_ns: int
    duration_ns: int
    lower_uj: int
    upper_uj: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """A sensor in use and what was measured about it."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    interface: Interface
    method: Method
    root: bool
    refresh_us: int
    averaging_us: int
    period_us: int
    """Time between polls at present."""
    call_cost_ns: int
    """Wall time of one poll, its share where one call serves several sensors."""
    max_power_mw: int
    """Above this a sample is impossible."""


@dataclass(frozen=True, slots=True)
class AbsentInterface:
    """An interface that gives no sensor here, and why."""

    interface: Interface
    reason: AbsentReason


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """The agent's own cost and timing since its last report."""

    uptime_s: int
    cpu_ppm: int
    """CPU time of the sensing process over wall time; one core is 1,000,000."""
    library_ppm: int
    """Wall time inside vendor libraries over wall time."""
    deadlines: int
    late_deadlines: int
    """Deadlines met more than 0.5 ms late."""
    transient_errors: int
    broken_sources: int


@dataclass(frozen=True, slots=True)
class WorkloadWindow:
    """A minute of one workload, as coarse as it may leave its host; see ``chipwatt.core.coarse``.

    All but ``swing_class`` is a function of the multiset of the workload's samples.
    """

    workload_id: bytes
    """Sixteen bytes that the scheduler issued; zeros: the bucket of everybody else."""
    class_id: bytes
    """Sixteen bytes for workloads that are expected to behave alike; zeros: none."""
    start_unix_ns: int
    duration_ns: int
    attribution: Attribution
    limit_mw: int
    """Power limit of all chips that the workload holds; 0 in a row that stands for nobody."""
    energy_steps: int
    """Rounded down over the workload's life, so that sums stay within a step of the truth."""
    occupancy: tuple[int, ...]
    """Thirty-seconds of the time in each eighth of the power up to ``limit_mw``, lowest first."""
    swing_class: int
    """0 none, 1 weak, 2 clear, 3 strong. The one field that the order of samples reaches."""

    @property
    def energy_uj(self) -> int:
        """Attributed energy, in whole steps."""
        return self.energy_steps * coarse.step_uj(self.limit_mw, self.duration_ns)


@dataclass(frozen=True, slots=True)
class Records:
    """What one payload holds."""

    windows: tuple[DeviceWindow, ...] = ()
    host_seconds: tuple[HostSecond, ...] = ()
    gaps: tuple[Gap, ...] = ()
    sensors: tuple[SensorStatus, ...] = ()
    absent: tuple[AbsentInterface, ...] = ()
    agent: tuple[AgentHealth, ...] = ()
    workloads: tuple[WorkloadWindow, ...] = ()
