"""Adjacent rows of one owner as one coarser row, for whole tables at once.

The same as ``chipwatt.core.profile.merge`` over the rows one after the other,
within the bounds of a bin: what is not adjacent (a gap, another counter epoch,
another boot) stays apart, for a sum over it would claim energy that nobody
knows. Adjacent gaps for the same reason become one whose bounds are the sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.columns import COLUMNS, MAX_ENERGY_UJ, MAX_POWER_MW, SectionKind
from chipwatt.core.merge_columns import Groups, merged_histograms
from chipwatt.core.model import Flag
from chipwatt.core.rows import Rows, take
from chipwatt.core.tables import Array, Table

_APART = {
    SectionKind.DEVICE_WINDOW: ("domain", "statistic", "epoch", "interface", "method"),
    SectionKind.HOST_SECOND: (),
    SectionKind.GAP: ("domain", "statistic", "reason"),
}
_ENERGIES = {
    SectionKind.DEVICE_WINDOW: ("energy_uj",),
    SectionKind.HOST_SECOND: ("cpu_mj", "gpu_mj", "memory_mj", "other_mj"),
    SectionKind.GAP: ("upper_uj",),
}
_ADDED = {
    SectionKind.DEVICE_WINDOW: (
        "duration_ns", "energy_uj", "hist_zero_ms", "expected", "got", "repeated", "dropped",
        "throttled_power_ms", "throttled_thermal_ms", "throttled_brake_ms", "throttled_other_ms",
    ),
    SectionKind.HOST_SECOND: ("duration_ns", "cpu_mj", "gpu_mj", "memory_mj", "other_mj"),
    SectionKind.GAP: ("duration_ns", "lower_uj", "upper_uj"),
}  # fmt: skip
_GREATEST = {
    SectionKind.DEVICE_WINDOW: (
        "max_mw", "peak_10ms_mw", "peak_100ms_mw", "peak_1s_mw",
        "rise_100ms_mw_per_s", "fall_100ms_mw_per_s", "rise_1s_mw_per_s", "fall_1s_mw_per_s",
        "refresh_us", "averaging_us",
    ),
    SectionKind.HOST_SECOND: (
        "cpu_peak_mw", "gpu_peak_mw", "memory_peak_mw", "other_peak_mw", "total_peak_mw",
        "expected",
    ),
    SectionKind.GAP: (),
}  # fmt: skip
_LEAST = {
    SectionKind.DEVICE_WINDOW: ("start_unix_ns", "min_mw"),
    SectionKind.HOST_SECOND: ("start_unix_ns", "heard"),
    SectionKind.GAP: ("start_unix_ns",),
}
_ABSENT_U32 = (1 << 32) - 1
_PARTIAL_PPM = 950_000
_SWING = ("swing_frequency_mhz", "swing_amplitude_mw", "swing_share_ppm")


def roll_up(rows: Rows, resolution_ns: int) -> Rows:
    """Return the rows with those that start in the same ``resolution_ns`` merged, by start time.

    A row that has no neighbour to merge with comes back as it is.
    """
    if not len(rows):
        return rows
    kind = rows.kind
    starts = rows.table["start_unix_ns"]
    keys = [starts - starts % resolution_ns, rows.owners]
    keys += [rows.table[name] for name in _APART[kind]]
    order = np.lexsort((starts, *reversed(keys)))
    rows, keys = take(rows, order), [key[order] for key in keys]
    groups = Groups(_edges(rows, keys), len(rows))
    table = rows.table
    merged: dict[str, Array] = {}
    for spec in COLUMNS[kind]:
        column = table.columns[spec.name]
        if spec.name in _ADDED[kind]:
            merged[spec.name] = groups.added(column, spec)
        elif spec.name in _GREATEST[kind]:
            merged[spec.name] = groups.greatest(column, spec)
        elif spec.name in _LEAST[kind]:
            merged[spec.name] = groups.least(column)
        elif spec.name == "flags":
            merged[spec.name] = groups.flags(column, int(Flag.MERGED))
        elif spec.name == "limit_mw":
            merged[spec.name] = groups.last_known(column, spec)
        elif not spec.ragged_by:
            merged[spec.name] = column[groups.first]
    if kind is SectionKind.DEVICE_WINDOW:
        merged |= _window_columns(table, groups, merged)
    count = len(groups.first)
    return _by_start(Rows(rows.owners[groups.first], Table(kind, count, merged)))


def _edges(rows: Rows, keys: list[Array]) -> Array:
    """Return where each group begins in sorted rows."""
    table = rows.table
    begins = np.zeros(len(rows), dtype=bool)
    begins[0] = True
    for key in keys:
        begins[1:] |= key[1:] != key[:-1]
    ends_mono_ns = table["start_mono_ns"] + table["duration_ns"]
    begins[1:] |= ends_mono_ns[:-1] != table["start_mono_ns"][1:]
    if rows.kind is SectionKind.DEVICE_WINDOW:
        before_uj = table["cumulative_uj"] - table["energy_uj"]
        begins[1:] |= table["cumulative_uj"][:-1] != before_uj[1:]
    first = np.flatnonzero(begins)
    too_much = np.zeros(len(first), dtype=bool)
    for name in _ENERGIES[rows.kind]:
        too_much |= np.add.reduceat(table[name].astype(np.float64), first) > MAX_ENERGY_UJ / 2
    if too_much.any():
        # No chip does this; but a sum that no column can hold must not be cut to fit.
        begins |= np.repeat(too_much, np.diff(np.append(first, len(rows))))
    return np.flatnonzero(begins)


def _window_columns(table: Table, groups: Groups, merged: Mapping[str, Array]) -> dict[str, Array]:
    """Return the columns of merged windows that are not plain sums or extremes."""
    last = groups.first + groups.sizes - 1
    coverage = groups.mean_by_time(table["coverage_ppm"], table["duration_ns"])
    flags = merged["flags"]
    partial = flags.dtype.type(Flag.PARTIAL)
    renewed = np.where(coverage < _PARTIAL_PPM, flags | partial, flags & ~partial)
    strongest = groups.where_greatest(table["swing_amplitude_mw"], _ABSENT_U32)
    known = groups.any(table["mean_mw"] != _ABSENT_U32)
    means = [
        min(MAX_POWER_MW, round(energy_uj * NS_PER_MS / duration_ns))
        if is_known and duration_ns
        else _ABSENT_U32
        for is_known, energy_uj, duration_ns in zip(
            known.tolist(),
            merged["energy_uj"].tolist(),
            merged["duration_ns"].tolist(),
            strict=True,
        )
    ]
    alone = groups.sizes == 1
    return {
        "coverage_ppm": coverage,
        "flags": np.where(alone, flags, renewed),
        "mean_mw": np.where(alone, table["mean_mw"][groups.first], means).astype("<u4"),
        "cumulative_uj": table["cumulative_uj"][last],
        **{name: table[name][strongest] for name in _SWING},
        **merged_histograms(table, groups),
    }


def _by_start(rows: Rows) -> Rows:
    return take(rows, np.argsort(rows.table["start_unix_ns"], kind="stable"))
