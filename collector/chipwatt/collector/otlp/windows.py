"""Device windows become rows, and rows of one interval fewer rows, whole columns at a time.

Rows of one statistic of a domain, counter epoch and interval become one: energies, times
and histograms add up, peaks stay, the counter is that of the newest window. Adding up is
associative, so rows that wait are kept added up.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from chipwatt.collector.otlp.row import (
    GREATEST,
    POLLS,
    ROW,
    SWING,
    THROTTLED,
    UNKNOWN,
    Rows,
    empty,
)
from chipwatt.collector.store.contract import Block
from chipwatt.core.columns import SectionKind
from chipwatt.core.merge_columns import Groups, merged_histograms
from chipwatt.core.model import Flag
from chipwatt.core.tables import Array, Table

FINEST_SCALE: Final = 8
COARSEST_SCALE: Final = -4
"""Scales of histograms that back ends are known to take; Prometheus refuses coarser ones."""
_KEY: Final = ("host", "device", "domain", "statistic", "is_root", "epoch", "slot")
_SAME: Final = (
    *("domain", "statistic", "epoch", "start_unix_ns", "duration_ns", "energy_uj"),
    *("cumulative_uj", "method", "interface", "min_mw", "refresh_us", "averaging_us"),
    *("hist_zero_ms", "hist_scale", "hist_offset", "hist_buckets", *POLLS),
)
_ABSENT: Final = (1 << 32) - 1
# Within an epoch a counter never falls: the least value before is that of the first window.
_COMBINE: Final = (
    (
        np.add,
        (
            "energy_uj",
            "duration_ns",
            "covered_ns",
            "hist_zero_ms",
            "hist_mw_ms",
            *THROTTLED,
            *POLLS,
        ),
    ),
    (np.minimum, ("start_unix_ns", "base_uj", "position", "min_mw")),
    (
        np.maximum,
        (
            *("end_unix_ns", "cumulative_uj", "is_filtered", "is_suspect", "is_held"),
            *("refresh_us", "averaging_us", *GREATEST),
        ),
    ),
    (np.bitwise_or, ("throttle_known",)),
)


def rows_of(block: Block, interval_ns: int) -> Rows:
    """Return a row a window of ``block``; none where it holds something else."""
    table = block.table
    if block.kind is not SectionKind.DEVICE_WINDOW or not table.rows:
        return empty()
    rows = np.empty(table.rows, dtype=ROW)
    for name in _SAME:
        rows[name] = table[name]
    for name in (*GREATEST, *SWING, "limit_mw"):
        column = table[name].astype(np.int64)
        column[column == _ABSENT] = UNKNOWN
        rows[name] = column
    rows["throttle_known"] = 0
    for bit, name in enumerate(THROTTLED):
        is_known = table[name] != _ABSENT
        rows[name] = np.where(is_known, table[name], 0)
        rows["throttle_known"] |= (is_known << bit).astype("<u1")
    rows["host"], rows["device"] = block.hosts, block.devices
    rows["slot"] = rows["start_unix_ns"] // interval_ns
    rows["end_unix_ns"] = rows["start_unix_ns"] + rows["duration_ns"].astype(np.int64)
    rows["base_uj"] = rows["cumulative_uj"] - rows["energy_uj"]
    # 400 days of ns times a million would not fit 64 bits, and coverage is no ledger.
    rows["covered_ns"] = (rows["duration_ns"] * (table["coverage_ppm"] / 1e6)).astype(np.uint64)
    rows["is_root"] = (table["flags"] & np.uint32(Flag.ROOT)) != 0
    rows["is_filtered"] = (table["flags"] & np.uint32(Flag.FILTERED)) != 0
    rows["is_suspect"] = (table["flags"] & np.uint32(Flag.SUSPECT)) != 0
    rows["is_held"] = (table["flags"] & np.uint32(Flag.HELD_ALONE)) != 0
    rows["position"] = block.position
    return _with_histograms(rows, table)


def add_up(rows: Rows) -> Rows:
    """Return one row a (host, device, domain, statistic, epoch, interval), in that order."""
    if not len(rows):
        return rows
    keys = [rows.array[name] for name in reversed(_KEY)]
    rows = rows.take(np.lexsort([rows.array["end_unix_ns"], *keys]))
    array = rows.array
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = np.any([array[name][1:] != array[name][:-1] for name in _KEY], axis=0)
    groups = Groups(np.flatnonzero(is_first), len(rows))
    if len(groups.first) == len(rows):
        return rows
    total: Array = array[groups.first + groups.sizes - 1]
    for combine, names in _COMBINE:
        for name in names:
            total[name] = combine.reduceat(array[name], groups.first)
    strongest = groups.where_greatest(array["swing_amplitude_mw"], UNKNOWN)
    for name in SWING:
        total[name] = array[name][strongest]
    last_known = np.maximum.reduceat(
        np.where(array["limit_mw"] != UNKNOWN, np.arange(len(rows)), -1), groups.first
    )
    total["limit_mw"] = np.where(last_known < 0, UNKNOWN, array["limit_mw"][last_known])
    return Rows(total, merge_histograms(total, rows, groups))


def merge_histograms(total: Array, rows: Rows, groups: Groups) -> Array:
    """Put the merged histogram of each group into ``total``; return the counts.

    Every millisecond is kept, at the coarsest scale of the group or coarser.
    """
    names = ("hist_scale", "hist_offset", "hist_buckets")
    table = Table(
        SectionKind.DEVICE_WINDOW,
        len(rows),
        {**{name: rows.array[name] for name in names}, "hist_counts_ms": rows.counts},
    )
    merged = merged_histograms(table, groups, finest=FINEST_SCALE, counts="<u8")
    for name in names:
        total[name] = merged[name]
    return merged["hist_counts_ms"]


def _with_histograms(rows: Array, table: Table) -> Rows:
    counts = table["hist_counts_ms"].astype("<u8")
    lengths = rows["hist_buckets"].astype(np.int64)
    is_told = (lengths == 0) | (rows["hist_scale"] >= COARSEST_SCALE)
    if not is_told.all():
        counts = counts[np.repeat(is_told, lengths)]
        rows["hist_buckets"] *= is_told
        rows["hist_zero_ms"] *= is_told
    bounds = np.concatenate([[0], np.cumsum(counts)])
    ends = np.cumsum(rows["hist_buckets"], dtype=np.int64)
    told_ms = rows["hist_zero_ms"] + bounds[ends] - bounds[ends - rows["hist_buckets"]]
    mean_mw = np.where(table["mean_mw"] == _ABSENT, 0, table["mean_mw"])
    rows["hist_mw_ms"] = mean_mw * told_ms.astype(np.float64)
    found = Rows(rows, counts)
    if (rows["hist_scale"][lengths > 0] > FINEST_SCALE).any():
        one_each = Groups(np.arange(len(rows)), len(rows))
        found = Rows(rows, merge_histograms(rows, found, one_each))
    return found
