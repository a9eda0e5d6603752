"""Payloads of adjacent times as fewer, coarser ones, and gaps where one between them is lost.

Energy, time and every gap stay exact; what is lost is resolution. Merging is
``core.rollup``'s. Of what is no history (sensors, absent interfaces, the
agent's health) the newest of each kind stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from chipwatt.core.codec import decode_tables, encode_records, encode_tables, records_from_tables
from chipwatt.core.columns import MAX_ENERGY_UJ, MAX_POWER_MW, MAX_ROWS, MAX_SPAN_NS, SectionKind
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Flag, GapReason, Statistic
from chipwatt.core.records import DeviceWindow, Gap, Records
from chipwatt.core.rollup import roll_up
from chipwatt.core.rows import KEPT, Rows, concatenate
from chipwatt.core.tables import Array, Table, Tables

TARGET_BYTES = 128 << 10
"""Payloads are joined up to about this; a collector takes twice as much."""
_FEW = 6
"""Payloads that are open at a time, at least; then as many more as begin in the same bin."""
_FEW_BYTES = TARGET_BYTES // 2
"""Of these at most: merged, histograms may take more than twice the bytes that they took apart."""
_DEVICE = ("kind", "ordinal", "uid_high", "uid_low")
_NS_MW_PER_UJ = 1_000_000
_BEGINS = int(Flag.EPOCH_START | Flag.REPLAYED)
_Device = tuple[int, ...]
Line = tuple[DeviceId, Domain, Statistic]
"""One statistic of one domain of one device."""


class Coarser(NamedTuple):
    """One payload that stands for some."""

    replaces: int
    """How many consecutive payloads of those that were given."""
    payload: bytes


class Stood(NamedTuple):
    """Where the line of a sensor ended."""

    end_mono_ns: int
    epoch: int
    cumulative_uj: int


class _Part(NamedTuple):
    """Some consecutive payloads, merged."""

    payloads: int
    bin: int
    """Which stretch of the coarser resolution they begin in."""
    tables: Tables


def coarsen(payloads: Iterable[bytes], resolution_ns: int) -> list[Coarser]:
    """Merge what starts in the same ``resolution_ns`` of the wall clock, over all ``payloads``.

    They are of one boot and in order; every one of them is in exactly one of
    the answers, which are in the same order. One that cannot be read stays as
    it is, for the collector to judge.
    """
    done: list[Coarser] = []
    parts: list[_Part] = []
    few: list[_Part] = []
    size = 0
    for payload in payloads:
        try:
            tables = decode_tables(payload)
        except InvalidPayload:
            done += _join(_gathered(parts, few, resolution_ns), resolution_ns)
            done.append(Coarser(1, payload))
            parts, few, size = [], [], 0
            continue
        begins = _first_bin(tables, resolution_ns, few or parts)
        size += len(payload)
        if size > _FEW_BYTES or (len(few) >= _FEW and begins != few[-1].bin):
            parts, few, size = _gathered(parts, few, resolution_ns), [], len(payload)
        few.append(_Part(1, begins, tables))
    return done + _join(_gathered(parts, few, resolution_ns), resolution_ns)


def gap_between(before: Sequence[bytes], after: Sequence[bytes]) -> bytes:
    """Return a payload with the gap that lost payloads leave, one a line that both sides know.

    ``before`` and ``after`` are payloads around the loss, in order. A counter
    that went on through it makes the gap's energy exact; after a reset it is
    anything that a chip can draw. The payload is empty where nothing is missing.
    """
    last: dict[Line, Stood] = {}
    for payload in before:
        last |= {
            _line(window): Stood(
                window.start_mono_ns + window.duration_ns, window.epoch, window.cumulative_uj
            )
            for window in _windows(payload)
        }
    return gap_after(last, 0, after)


def gap_after(stood: Mapping[Line, Stood], since_mono_ns: int, after: Sequence[bytes]) -> bytes:
    """Return the same, given where each line ``stood`` before the loss.

    A line that did not stand anywhere and goes on behind the loss has begun in it, not before
    ``since_mono_ns`` (0: nobody knows when, and nothing is told of it).
    """
    gaps: dict[Line, Gap | None] = {}
    for payload in after:
        for window in _windows(payload):
            line = _line(window)
            if line in gaps:
                continue
            before = stood.get(line)
            if before is None and since_mono_ns and not window.flags & _BEGINS:
                before = Stood(since_mono_ns, 0, 0)
            gaps[line] = None if before is None else _gap(before, window)
    found = tuple(gap for gap in gaps.values() if gap is not None)
    return encode_records(Records(gaps=found))


def _windows(payload: bytes) -> Sequence[DeviceWindow]:
    try:
        return records_from_tables(decode_tables(payload)).windows
    except InvalidPayload:
        return ()


def _line(window: DeviceWindow) -> Line:
    return (window.device, window.domain, window.statistic)


def _gap(before: Stood, after: DeviceWindow) -> Gap | None:
    duration_ns = after.start_mono_ns - before.end_mono_ns
    if not 0 < duration_ns <= MAX_SPAN_NS:
        return None
    lower_uj = after.cumulative_uj - after.energy_uj - before.cumulative_uj
    upper_uj = lower_uj
    if after.epoch != before.epoch or lower_uj < 0:
        lower_uj = 0
        upper_uj = min(MAX_ENERGY_UJ, duration_ns * MAX_POWER_MW // _NS_MW_PER_UJ)
    return Gap(
        device=after.device,
        domain=after.domain,
        statistic=after.statistic,
        start_unix_ns=after.start_unix_ns - duration_ns,
        start_mono_ns=before.end_mono_ns,
        duration_ns=duration_ns,
        lower_uj=lower_uj,
        upper_uj=upper_uj,
        reason=GapReason.SPOOL_DAMAGED,
    )


def _gathered(parts: list[_Part], few: list[_Part], resolution_ns: int) -> list[_Part]:
    """Return ``parts`` and behind them ``few`` as one part: small before there are too many."""
    if not few:
        return parts
    tables = _merged([part.tables for part in few], resolution_ns)
    return [*parts, _Part(sum(part.payloads for part in few), few[0].bin, tables)]


def _first_bin(tables: Tables, resolution_ns: int, before: Sequence[_Part]) -> int:
    starts = [int(tables[kind]["start_unix_ns"].min()) for kind in KEPT if kind in tables]
    if starts:
        return min(starts) // resolution_ns
    return before[-1].bin if before else 0


def _join(parts: Sequence[_Part], resolution_ns: int) -> list[Coarser]:
    """Merge parts into as few payloads as hold them."""
    if not parts:
        return []
    tables = parts[0].tables
    if len(parts) > 1:
        tables = _merged([part.tables for part in parts], resolution_ns)
    if all(table.rows <= MAX_ROWS for table in tables.values()):
        payload = encode_tables(tables)
        if len(payload) <= TARGET_BYTES or len(parts) == 1:
            return [Coarser(sum(part.payloads for part in parts), payload)]
    half = len(parts) // 2
    return _join(parts[:half], resolution_ns) + _join(parts[half:], resolution_ns)


def _merged(parts: Sequence[Tables], resolution_ns: int) -> dict[SectionKind, Table]:
    devices: dict[_Device, int] = {}
    history: dict[SectionKind, list[Rows]] = {}
    newest: dict[SectionKind, Table] = {}
    for tables in parts:
        numbers = _numbers(tables, devices)
        for kind, table in tables.items():
            if kind is SectionKind.HOST_SECOND:
                history.setdefault(kind, []).append(Rows(np.zeros(table.rows, "<u4"), table))
            elif kind in KEPT:
                history.setdefault(kind, []).append(Rows(numbers[table["device"]], table))
            elif kind is SectionKind.SENSOR:
                newest[kind] = _pointing(table, numbers[table["device"]])
            elif kind is not SectionKind.DEVICE:
                newest[kind] = table
    merged = dict(newest)
    for kind, rows in history.items():
        rolled = roll_up(concatenate(rows), resolution_ns)
        is_owned = kind is not SectionKind.HOST_SECOND
        merged[kind] = _pointing(rolled.table, rolled.owners) if is_owned else rolled.table
    if devices:
        merged[SectionKind.DEVICE] = _device_table(devices)
    return merged


def _numbers(tables: Tables, devices: dict[_Device, int]) -> Array:
    """Return the numbers of a payload's devices among ``devices``, which grow."""
    table = tables.get(SectionKind.DEVICE)
    if table is None:
        return np.zeros(0, "<u4")
    names = zip(*(table[name].tolist() for name in _DEVICE), strict=True)
    return np.array([devices.setdefault(name, len(devices)) for name in names], "<u4")


def _device_table(devices: Mapping[_Device, int]) -> Table:
    columns = {
        name: np.array([device[at] for device in devices], dtype)
        for at, (name, dtype) in enumerate(zip(_DEVICE, ("<u1", "<u2", "<u8", "<u8"), strict=True))
    }
    return Table(SectionKind.DEVICE, len(devices), columns)


def _pointing(table: Table, devices: Array) -> Table:
    return Table(table.kind, table.rows, {**table.columns, "device": devices.astype("<u2")})
