"""What a batch says that cannot be true: corrected where that is possible, flagged and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from chipwatt.collector.store.contract import AHEAD_NS, IncomingBatch
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.tables import Array, Table, Tables

BACKLOG_NS = 30 * 86_400 * NS_PER_S
"""A row that would be older than this was not made when its host's clock says."""
_ABSENT = (1 << 32) - 1
_STAMPED = (SectionKind.HOST_SECOND, SectionKind.DEVICE_WINDOW, SectionKind.GAP)


def examine(batch: IncomingBatch, offset_ns: int = 0) -> tuple[IncomingBatch, Counter[str]]:
    """Return the batch as it is to be stored, and how many rows were changed, by reason.

    ``offset_ns`` is how far the host's clock is known to be ahead of ours.
    """
    found: Counter[str] = Counter()
    tables = dict(batch.tables)
    for kind in _STAMPED:
        table = tables.get(kind)
        if table is not None and table.rows:
            ahead = table["start_unix_ns"] > batch.received_unix_ns + AHEAD_NS
            if ahead.any():
                found["ahead"] += int(ahead.sum())
                tables[kind] = _restamped(table, ahead, batch.received_unix_ns, offset_ns)
    minutes = tables.get(SectionKind.WORKLOAD)
    if minutes is not None and (minutes["start_unix_ns"] > batch.received_unix_ns + AHEAD_NS).any():
        # Classes are learned from them, for which a time that is made up is of no use.
        found["ahead"] += tables.pop(SectionKind.WORKLOAD).rows
    windows = tables.get(SectionKind.DEVICE_WINDOW)
    if windows is not None and windows.rows:
        wild = _wild(windows, tables)
        if wild.any():
            found["implausible"] += int(wild.sum())
            tables[SectionKind.DEVICE_WINDOW] = _flagged(windows, wild, Flag.IMPLAUSIBLE)
    return (replace(batch, tables=tables) if found else batch), found


def _restamped(table: Table, ahead: Array, received_unix_ns: int, offset_ns: int) -> Table:
    """Move rows back together, at least so far that the last of them ends as it comes in.

    A backlog of a clock that is known to be wrong goes back by what is known, so
    that an hour of it does not pile up in the minute of its arrival.
    """
    starts = table["start_unix_ns"].copy()
    ends = zip(starts[ahead].tolist(), table["duration_ns"][ahead].tolist(), strict=True)
    late_ns = max(start + duration for start, duration in ends) - received_unix_ns
    is_backlog = late_ns <= offset_ns <= late_ns + BACKLOG_NS
    shift_ns = offset_ns if is_backlog else late_ns
    starts[ahead] = np.clip(
        starts[ahead] - shift_ns, received_unix_ns - BACKLOG_NS, received_unix_ns
    )
    table = Table(table.kind, table.rows, {**table.columns, "start_unix_ns": starts})
    return table if table.kind is SectionKind.GAP else _flagged(table, ahead, Flag.CLOCK_AHEAD)


def _flagged(table: Table, which: Array, flag: Flag) -> Table:
    flags = table["flags"].copy()
    flags[which] |= np.uint32(flag)
    return Table(table.kind, table.rows, {**table.columns, "flags": flags})


def _wild(windows: Table, tables: Tables) -> Array:
    """Return which windows have a mean power that their own sensor says is impossible.

    The sensor's greatest power is believed where the payload says it, else the
    limit in force in the window, which a moment may exceed but no mean by half.
    """
    limit_mw = windows["limit_mw"].astype(np.float64)
    limit_mw[windows["limit_mw"] == _ABSENT] = 0
    sensors = tables.get(SectionKind.SENSOR)
    if sensors is not None and sensors.rows:
        most = dict(zip(_lines(sensors).tolist(), sensors["max_power_mw"].tolist(), strict=True))
        said = np.array([most.get(line, 0) for line in _lines(windows).tolist()], np.float64)
        limit_mw = np.where(said > 0, said, limit_mw)
    power_mw = windows["energy_uj"] * float(NS_PER_MS) / np.maximum(windows["duration_ns"], 1)
    wild: Array = (limit_mw > 0) & (windows["duration_ns"] > 0) & (power_mw > 1.5 * limit_mw)
    return wild


def _lines(table: Table) -> Array:
    columns = (table[name].astype(np.int64) for name in ("device", "domain", "statistic"))
    device, domain, statistic = columns
    lines: Array = device << 16 | domain << 8 | statistic
    return lines
