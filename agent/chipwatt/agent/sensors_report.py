"""What can be measured on this host, told to people.

Every sensor comes with what was measured about it, and every interface that
gives none with why, and what to do.

The report polls the sources itself: for a second to see their refresh and power,
longer where it may see over what windows gauges are averaged. That shows
only while the load moves. It needs no running agent, and two at once do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from chipwatt.agent.averaging import AveragingMeter
from chipwatt.agent.feed import MEASURE_NS, Feed
from chipwatt.agent.inventory import REPLAY, Inventory, open_inventory
from chipwatt.agent.opening import Careful, Opened
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.refresh import RefreshMeter
from chipwatt.agent.sensing import registry
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import SensingConfig, SourceTables, source_configs
from chipwatt.agent.status import method_of, sensor_status
from chipwatt.core.clock import NS_PER_S, Clock, SystemClock
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Flag, Statistic, flag_names

MEASURED, DOCUMENTED, UNKNOWN = "measured", "documented", "unknown"
LISTEN_NS: Final = 5 * NS_PER_S
_SLICE_NS: Final = NS_PER_S
_REFRESH_SHARE = 20
"""A refresh that comes like clockwork is measured within this part of it."""


def report(
    sensing: SensingConfig | None = None,
    sources: SourceTables | None = None,
    *,
    where: str = "defaults",
    registered: Mapping[str, Registered] | None = None,
    clock: Clock | None = None,
    listen_ns: int = LISTEN_NS,
    careful: Careful | None = None,
) -> dict[str, Any]:
    """Return ``{"interfaces": […], "estimated": bool}``, ready for JSON.

    Each interface has ``name``, ``interface``, ``present`` and either ``sensors``
    or ``reason`` with ``detail``. Listens for ``listen_ns`` at most, a second at least, and
    no longer than something may still be found. Raises ConfigError for settings that cannot
    be, naming ``where`` they come from; no source's fault is raised.
    """
    sensing = sensing or SensingConfig()
    registered = registry.load() if registered is None else registered
    clock = clock or SystemClock()
    configs = source_configs(registered, sensing, sources or {}, where)
    inventory = open_inventory(registered, configs, sensing.sources, clock, careful=careful)
    try:
        present = _measure(inventory, sensing, clock, listen_ns)
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


def _measure(
    inventory: Inventory, sensing: SensingConfig, clock: Clock, listen_ns: int
) -> list[dict[str, Any]]:
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
    polled_ns = [feed.schedule.period_ns for feed in feeds]
    for feed in feeds:
        feed.assess()
        feed.set_period(1, clock.mono_ns())
    _listen(feeds, now_ns + listen_ns, clock)
    limits_mw = {
        (window.device, window.domain, window.statistic): window.throttle.limit_mw
        for records in reducer.finish(clock.mono_ns())
        for window in records.windows
    }
    return [
        _measured(feed, powers, period_ns, limits_mw)
        for feed, powers, period_ns in zip(feeds, powers_mw, polled_ns, strict=True)
    ]


def _listen(feeds: Sequence[Feed], end_ns: int, clock: Clock) -> None:
    """Poll on, at the pace of the agent, while a window of averaging may still be found."""
    meters = [feed.averaging for feed in feeds]
    for feed, meter in zip(feeds, meters, strict=True):
        meter.step(clock.mono_ns(), feed.schedule.period_ns)
    while (now_ns := clock.mono_ns()) < end_ns and any(meter.is_open() for meter in meters):
        _poll_for(feeds, min(end_ns, now_ns + _SLICE_NS), clock)
        for meter in meters:
            meter.search_now()
            meter.finish()


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


def _measured(
    feed: Feed,
    powers_mw: Sequence[int | None],
    polled_ns: int,
    limits_mw: Mapping[tuple[DeviceId, Domain, Statistic], int | None],
) -> dict[str, Any]:
    return {
        "name": feed.name,
        "interface": feed.interface.name,
        "present": True,
        "sensors": [
            {
                **_identity(sensor),
                "power_mw": power_mw,
                **_refresh(feed.meters[slot], polled_ns),
                **_averaging(feed.averaging, slot, sensor),
                "period_us": status.period_us,
                "call_cost_ns": status.call_cost_ns,
                "limits": {
                    "enforced_mw": limits_mw.get((sensor.device, sensor.domain, sensor.statistic)),
                    **asdict(sensor.limits),
                },
            }
            for slot, (sensor, status, power_mw) in enumerate(
                zip(feed.sensors, sensor_status(feed), powers_mw, strict=True)
            )
        ],
    }


def _refresh(meter: RefreshMeter, polled_ns: int) -> dict[str, Any]:
    """Return a refresh, and by how much it may be wrong: wholly where polls were too rare."""
    known_ns = meter.refresh_ns
    if not meter.measured:
        said = DOCUMENTED if known_ns else UNKNOWN
        return {
            "refresh_us": known_ns // 1000,
            "refresh_from": said,
            "refresh_uncertainty_us": None,
        }
    wrong_ns = known_ns if known_ns <= polled_ns * 5 // 4 else known_ns // _REFRESH_SHARE
    return {
        "refresh_us": known_ns // 1000,
        "refresh_from": MEASURED,
        "refresh_uncertainty_us": wrong_ns // 1000,
    }


def _averaging(meter: AveragingMeter, slot: int, sensor: Sensor) -> dict[str, Any]:
    """Return a window of averaging; one measured as 0 is no longer than its uncertainty."""
    found = meter.measured(slot)
    told = {
        "averaging_us": meter.averaging_ns(slot) // 1000,
        "averaging_from": DOCUMENTED if sensor.averaging_ns else UNKNOWN,
        "averaging_uncertainty_us": None,
        "averaging_not_seen": found is None and meter.can_measure(slot),
    }
    if sensor.quantity is Quantity.ENERGY_UJ:
        return {**told, "averaging_from": None}
    if found is None:
        return told
    return {
        **told,
        "averaging_us": found.averaging_ns // 1000,
        "averaging_from": MEASURED,
        "averaging_uncertainty_us": found.uncertainty_ns // 1000,
    }


def _replayed(opened: Opened) -> dict[str, Any]:
    return {
        "name": opened.name,
        "interface": opened.source.interface.name,
        "present": True,
        "sensors": [
            {**_identity(sensor), "averaging_us": sensor.averaging_ns // 1000}
            for sensor in (opened.sensors[local] for local in opened.kept)
        ],
    }


def _identity(sensor: Sensor) -> dict[str, Any]:
    return {
        "label": sensor.label,
        "device": str(sensor.device),
        "domain": sensor.domain.name,
        "statistic": sensor.statistic.name,
        "root": sensor.root,
        "method": method_of(sensor).name,
        "flags": flag_names(sensor.flags),
    }
