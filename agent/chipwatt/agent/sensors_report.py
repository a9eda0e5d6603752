"""What can be measured on this host, told to people.

Every sensor comes with what was measured about it, and every interface that
gives none with why, and what to do.

The report polls the sources itself for about a second; it needs no running
agent, and two at once do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chipwatt.agent.feed import MEASURE_NS, Feed
from chipwatt.agent.inventory import REPLAY, Inventory, Opened, open_inventory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing import registry
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import SensingConfig, SourceTables, source_configs
from chipwatt.agent.status import method_of, sensor_status
from chipwatt.core.clock import Clock, SystemClock
from chipwatt.core.model import Flag, flag_names


def report(
    sensing: SensingConfig | None = None,
    sources: SourceTables | None = None,
    *,
    where: str = "defaults",
    registered: Mapping[str, Registered] | None = None,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Return ``{"interfaces": […], "estimated": bool}``, ready for JSON.

    Each interface has ``name``, ``interface``, ``present`` and either ``sensors``
    or ``reason`` with ``detail``. Raises ConfigError for settings that cannot
    be, naming ``where`` they come from; no source's fault is raised.
    """
    sensing = sensing or SensingConfig()
    registered = registry.load() if registered is None else registered
    clock = clock or SystemClock()
    configs = source_configs(registered, sensing, sources or {}, where)
    inventory = open_inventory(registered, configs, sensing.sources, clock)
    try:
        present = _measure(inventory, sensing, clock)
    finally:
        inventory.close()
    missing = [
        {
            "name": absence.name,
            "interface": absence.interface.name,
            "present": False,
            "reason": absence.reason.name,
            "detail": absence.detail,
        }
        for absence in inventory.absent
    ]
    flags = [sensor["flags"] for each in present for sensor in each["sensors"]]
    return {
        "interfaces": [*present, *missing],
        "estimated": any(Flag.ESTIMATED.name in names for names in flags),
    }


def _measure(inventory: Inventory, sensing: SensingConfig, clock: Clock) -> list[dict[str, Any]]:
    now_ns = clock.mono_ns()
    reducer = Reducer(inventory.sensors(), mono_ns=now_ns, unix_ns=clock.unix_ns())
    if any(opened.name == REPLAY for opened in inventory.opened):
        return [_replayed(opened) for opened in inventory.opened]
    feeds: list[Feed] = []
    for opened in inventory.opened:
        first = sum(len(feed.positions) for feed in feeds)
        feeds.append(Feed(opened, first, reducer, clock, sensing.fastest_ns))
    # The first value's own update is not timed, so power counts from one seen a little later.
    _poll_for(feeds, now_ns + MEASURE_NS // 4, clock)
    before = [[meter.newest() for meter in feed.meters] for feed in feeds]
    _poll_for(feeds, now_ns + MEASURE_NS, clock)
    powers_mw = [
        list(map(_power_mw, feed.sensors, changes, [meter.newest() for meter in feed.meters]))
        for feed, changes in zip(feeds, before, strict=True)
    ]
    for feed in feeds:
        feed.assess()
        feed.set_period(1, clock.mono_ns())
    return list(map(_measured, feeds, powers_mw))


def _poll_for(feeds: Sequence[Feed], end_ns: int, clock: Clock) -> None:
    while feeds and (now_ns := clock.mono_ns()) < end_ns:
        due_ns = [end_ns]
        for feed in feeds:
            if feed.library or not feed.is_open:
                continue
            if feed.schedule.next_ns <= now_ns:
                feed.poll(now_ns)
            due_ns.append(feed.schedule.next_ns)
        clock.sleep_until(min(due_ns))
    for feed in feeds:
        feed.drain()


def _power_mw(
    sensor: Sensor, first: tuple[int, int] | None, last: tuple[int, int] | None
) -> int | None:
    """Return mean power between two changes of a counter, a gauge's last value, or None."""
    if last is None:
        return None
    if sensor.quantity is Quantity.POWER_MW:
        return last[1]
    if first is None or last[0] <= first[0] or last[1] < first[1]:
        return None
    return (last[1] - first[1]) * 1_000_000 // (last[0] - first[0])


def _measured(feed: Feed, powers_mw: Sequence[int | None]) -> dict[str, Any]:
    return {
        "name": feed.name,
        "interface": feed.interface.name,
        "present": True,
        "sensors": [
            {
                **_identity(sensor),
                "power_mw": power_mw,
                "refresh_us": status.refresh_us,
                "period_us": status.period_us,
                "call_cost_ns": status.call_cost_ns,
            }
            for sensor, status, power_mw in zip(
                feed.sensors, sensor_status(feed), powers_mw, strict=True
            )
        ],
    }


def _replayed(opened: Opened) -> dict[str, Any]:
    return {
        "name": opened.name,
        "interface": opened.source.interface.name,
        "present": True,
        "sensors": [_identity(opened.sensors[local]) for local in opened.kept],
    }


def _identity(sensor: Sensor) -> dict[str, Any]:
    return {
        "label": sensor.label,
        "device": str(sensor.device),
        "domain": sensor.domain.name,
        "statistic": sensor.statistic.name,
        "root": sensor.root,
        "method": method_of(sensor).name,
        "averaging_us": sensor.averaging_ns // 1000,
        "flags": flag_names(sensor.flags),
    }
