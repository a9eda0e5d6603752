"""What the sensing process says to people at its start: a line for each source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from chipwatt.agent.feed import Feed
from chipwatt.agent.opening import Absence
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.model import AbsentReason

_NAMED = 4
"""Sensors named in a line, at most."""
_log = logging.getLogger(__name__)


def absent(absences: Sequence[Absence]) -> None:
    """Log what gives nothing, and why; once the sources are open.

    What a person switched off is no news.
    """
    for absence in absences:
        if absence.reason is AbsentReason.DISABLED:
            continue
        why = absence.reason.name.lower().replace("_", " ")
        _log.info("%s: absent (%s): %s", absence.name, why, absence.detail)


def found(feeds: Sequence[Feed]) -> None:
    """Log what each source gives; once refresh was measured."""
    for feed in feeds:
        _log.info("%s", line(feed))


def line(feed: Feed) -> str:
    """Return ``nvml: 2 sensors (…); refresh 100 ms (measured); averaging …; polled each …``."""
    names = [f"{s.device} {s.domain.name.lower()} {s.statistic.name.lower()}" for s in feed.sensors]
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"{feed.name}: {len(names)} sensor{'s' * (len(names) != 1)} ({shown}{more}); "
        f"refresh {_refresh(feed)}; averaging {_averaging(feed)}; "
        f"polled each {_range([feed.schedule.period_ns])}"
    )


def _refresh(feed: Feed) -> str:
    known = [meter for meter in feed.meters if meter.refresh_ns]
    if not known:
        return "not known yet"
    measured = sum(meter.measured for meter in known)
    by = "measured" if measured == len(feed.meters) else f"{measured} measured"
    return f"{_range(meter.refresh_ns for meter in known)} ({by if measured else 'documented'})"


def _averaging(feed: Feed) -> str:
    gauges = [slot for slot, sensor in enumerate(feed.sensors) if sensor.statistic.name != "ENERGY"]
    if not gauges:
        return "none (counters)"
    measured = sum(feed.averaging.measured(slot) is not None for slot in gauges)
    by = f"{measured} of {len(gauges)} measured" if measured else "documented, not measured yet"
    return f"{_range(feed.averaging.averaging_ns(slot) for slot in gauges)} ({by})"


def _range(times_ns: Iterable[int]) -> str:
    ordered = sorted(times_ns)
    ends = [f"{round(each / NS_PER_MS, 2):g}" for each in (ordered[0], ordered[-1])]
    return f"{ends[0]} ms" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} ms"
