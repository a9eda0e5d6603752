"""What the sensing process reports of itself: its sensors, what is absent, its own cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chipwatt.agent.feed import Feed
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Flag, Method
from chipwatt.core.records import AbsentInterface, AgentHealth, Records, SensorStatus

_U32 = (1 << 32) - 1


def method_of(sensor: Sensor) -> Method:
    """Return how a sensor's energy comes about."""
    if sensor.flags & Flag.ESTIMATED:
        return Method.ESTIMATED
    return Method.COUNTER if sensor.quantity is Quantity.ENERGY_UJ else Method.INTEGRATED


def sensor_status(feed: Feed) -> tuple[SensorStatus, ...]:
    """Return what was measured about each sensor of one source."""
    return tuple(
        SensorStatus(
            device=sensor.device,
            domain=sensor.domain,
            statistic=sensor.statistic,
            interface=sensor.interface,
            method=method_of(sensor),
            root=sensor.root,
            refresh_us=min(meter.refresh_ns // 1000, _U32),
            averaging_us=min(feed.averaging.averaging_ns(slot) // 1000, _U32),
            period_us=min(feed.schedule.period_ns // 1000, _U32),
            call_cost_ns=min(feed.call_cost_ns(), _U32),
            max_power_mw=sensor.max_power_mw,
        )
        for slot, (sensor, meter) in enumerate(zip(feed.sensors, feed.meters, strict=True))
    )


class StatusReport:
    """Makes status records; health counts from the report before."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        absent: Sequence[AbsentInterface],
        *,
        cpu_ns: Callable[[], int],
        mono_ns: int,
    ) -> None:
        """Count from ``mono_ns`` on; ``cpu_ns`` gives the CPU time of this process so far."""
        self._feeds = feeds
        self._absent = tuple(absent)
        self._cpu_ns = cpu_ns
        self._started_ns = self._mono_ns = mono_ns
        self._before = self._totals()

    def records(self, mono_ns: int) -> Records:
        """Return the status at ``mono_ns``."""
        wall_ns = max(1, mono_ns - self._mono_ns)
        totals = self._totals()
        cpu, library, deadlines, late, transient, broken = (
            now - before for now, before in zip(totals, self._before, strict=True)
        )
        self._mono_ns, self._before = mono_ns, totals
        health = AgentHealth(
            uptime_s=min((mono_ns - self._started_ns) // NS_PER_S, _U32),
            cpu_ppm=min(cpu * 1_000_000 // wall_ns, _U32),
            library_ppm=min(max(0, library) * 1_000_000 // wall_ns, _U32),
            deadlines=deadlines,
            late_deadlines=late,
            transient_errors=transient,
            broken_sources=broken,
        )
        sensors = tuple(status for feed in self._feeds for status in sensor_status(feed))
        return Records(sensors=sensors, absent=self._absent, agent=(health,))

    def _totals(self) -> tuple[int, ...]:
        feeds = self._feeds
        return (
            self._cpu_ns(),
            sum(feed.library_ns() for feed in feeds),
            sum(feed.deadlines for feed in feeds),
            sum(feed.late_deadlines for feed in feeds),
            sum(feed.transient_errors for feed in feeds),
            sum(feed.breaks for feed in feeds),
        )
