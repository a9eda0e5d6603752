"""Intel and AMD RAPL energy counters from the powercap tree (``/sys/class/powercap``).

``sensing.powercap`` says which zones there are and what each becomes.

A zone whose file disappears is *lost*: ``poll`` gives no reading for it, tries
to open it again once a second, and goes on with the same sensor when it is
back. The other zones are not touched. A zone that may not be read from the start
is *missing* until it may.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from chipwatt.agent.sensing.closed_files import ClosedFiles
from chipwatt.agent.sensing.contract import (
    Missing,
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.cpuinfo import read_cpuinfo
from chipwatt.agent.sensing.powercap import Zone, find_zones
from chipwatt.agent.sensing.registry import source
from chipwatt.agent.sensing.sysfs import Attribute, Vanished
from chipwatt.core.clock import NS_PER_S, Clock, SystemClock
from chipwatt.core.model import AbsentReason, Domain, Flag, Interface
from chipwatt.core.records import Throttle

_REFRESH_NS = 1_000_000  # measured 0.97 to 1.01 ms: github.com/lukalt/icpe-2024-rapl-validation
_REOPEN_NS = NS_PER_S
_PREEMPTED_NS = 200_000
"""A read takes microseconds; after this long another process ran between value and stamp."""

_HOW_TO_OPEN = (
    "run the agent as root, give its service AmbientCapabilities=CAP_DAC_READ_SEARCH, or as root "
    "run: chmod 0444 {path}"
)

_reading: Callable[[tuple[int, int, int]], Reading] = partial(tuple.__new__, Reading)
"""Makes a reading in half the time that its own constructor takes."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RaplPowercapConfig:
    """``[sources.rapl_powercap]``."""

    sysfs: Path = Path("/sys")
    """Where sysfs is mounted; containers and tests point elsewhere."""
    procfs: Path = Path("/proc")
    """Where procfs is mounted; cpuinfo tells whether firmware adds noise to the readings."""


@source("rapl_powercap", RaplPowercapConfig)
class RaplPowercapSource:
    """One energy counter a powercap zone."""

    name: ClassVar[str] = "rapl_powercap"
    interface: ClassVar[Interface] = Interface.RAPL_POWERCAP
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = False

    def __init__(self, config: RaplPowercapConfig) -> None:
        self._config = config
        self.clock: Clock = SystemClock()
        """Stamps the readings; whoever drives the sampler on another clock sets it before open."""
        self.transient_errors = 0
        """Reads that failed since open, with those that poll did not raise for others' sake."""
        self._open: list[tuple[int, Attribute]] = []
        self._lost: dict[int, tuple[Path, int]] = {}
        self._closed = ClosedFiles()

    @property
    def missing(self) -> Sequence[Missing]:
        """Zones that may not be read."""
        return self._closed.missing

    def open(self) -> Sequence[Sensor]:
        base = self._config.sysfs / "class" / "powercap"
        zones = find_zones(base)
        if not zones:
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT,
                f"{base} shows no RAPL zone: this CPU has no energy counter that the kernel knows "
                "(virtual machines hide it), or the module intel_rapl_msr is not loaded",
            )
        readable, last_error = self._open_counters(zones)
        if not readable:
            if self._closed.denied:
                raise SourceUnavailable(AbsentReason.PERMISSION_DENIED, _how_to_allow(base))
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT,
                f"no RAPL zone below {base} has a readable energy_uj ({last_error})",
            )
        has_package = any(zone.domain is Domain.PACKAGE for zone in readable)
        info = read_cpuinfo(self._config.procfs)
        flags = int(Flag.FILTERED) if info is not None and info.energy_filtered else 0
        for zone in readable:
            if problem := zone.beyond_range():
                _log.warning("%s", problem)
        return [_sensor(zone, has_package=has_package, flags=flags) for zone in readable]

    def poll(self) -> Sequence[Reading]:
        readings: list[Reading] = []
        failure: TransientReadError | None = None
        gone: list[int] = []
        now = self.clock.mono_ns
        read_ns = now()
        if self._lost:
            self._reopen(read_ns)
        if self._closed:
            self._closed.look(read_ns)
        for position, attribute in self._open:
            before_ns = read_ns
            try:
                value = attribute.read(before_ns)
                read_ns = now()
                if read_ns - before_ns > _PREEMPTED_NS:
                    value = attribute.read(read_ns)
                    read_ns = now()
            except TransientReadError as error:
                self.transient_errors += 1
                failure = error
            except Vanished:
                gone.append(position)
            else:
                readings.append(_reading((position, read_ns, value)))
        if gone:
            self._lose(gone, read_ns)
        if failure is not None and not readings:
            raise failure
        return readings

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return ()  # powercap has limits, but no time spent under them

    def close(self) -> None:
        for _, attribute in self._open:
            attribute.close()
        self._open.clear()
        self._lost.clear()
        self._closed.clear()

    def _open_counters(self, zones: list[Zone]) -> tuple[list[Zone], str]:
        readable: list[Zone] = []
        last_error = ""
        for zone in zones:
            try:
                attribute = Attribute(zone.folder / "energy_uj")
            except OSError as error:
                path, what = zone.folder / "energy_uj", f"{zone.device} ({zone.name})"
                self._closed.add(path, what, error, _HOW_TO_OPEN.format(path=path))
                last_error = str(error.strerror)
                continue
            self._open.append((len(readable), attribute))
            readable.append(zone)
        return readable, last_error

    def _lose(self, positions: list[int], now_ns: int) -> None:
        for position, attribute in self._open:
            if position in positions:
                attribute.close()
                self._lost[position] = (attribute.path, now_ns + _REOPEN_NS)
        self._open = [pair for pair in self._open if pair[0] not in positions]

    def _reopen(self, now_ns: int) -> None:
        for position, (path, due_ns) in list(self._lost.items()):
            if now_ns < due_ns:
                continue
            try:
                self._open.append((position, Attribute(path)))
            except OSError:
                self._lost[position] = (path, now_ns + _REOPEN_NS)
            else:
                del self._lost[position]
                self._open.sort(key=lambda pair: pair[0])


def _sensor(zone: Zone, *, has_package: bool, flags: int) -> Sensor:
    modulus_uj, resolution_uj = zone.modulus()
    root = zone.domain in (Domain.PACKAGE, Domain.DRAM)
    return Sensor(
        device=zone.device,
        domain=zone.domain,
        interface=Interface.RAPL_POWERCAP,
        quantity=Quantity.ENERGY_UJ,
        root=root or (zone.domain is Domain.PSYS and not has_package),
        label=zone.name,
        modulus_uj=modulus_uj,
        resolution_uj=resolution_uj,
        refresh_ns=_REFRESH_NS,
        max_power_mw=zone.max_power_mw(),
        flags=flags,
    )


def _how_to_allow(base: Path) -> str:
    return (
        f"the counters {base}/intel-rapl:*/energy_uj are readable by root only (since "
        "CVE-2020-8694): run the agent as root, or give its service AmbientCapabilities="
        "CAP_DAC_READ_SEARCH, or as root run: "
        f"chmod 0444 {base}/intel-rapl:*/energy_uj {base}/intel-rapl:*:*/energy_uj"
    )
