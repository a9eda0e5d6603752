"""What a row says that other rows of the same line have not said yet; pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.model import Flag

SAME_BOOT_NS = 120 * NS_PER_S
"""Labels of rows of one boot differ from its monotonic clock by the same, but for steps."""
_KINDS = ("cpu_mj", "gpu_mj", "memory_mj", "other_mj")
_KEPT_MARKS = ("limit_mw", "interface", "method", "refresh_us", "averaging_us", "coverage_ppm")
_NONE_OF = (
    *("expected", "got", "repeated", "dropped"),
    *("hist_scale", "hist_offset", "hist_zero_ms", "hist_buckets"),
)
Row = dict[str, Any]


class Stretch(NamedTuple):
    """Where a row lies on the monotonic clock and on its counter."""

    line: tuple[int, ...]
    """Domain, statistic, epoch; empty for a host second."""
    start_ns: int
    end_ns: int
    from_uj: int
    to_uj: int
    boot_unix_ns: int
    """Wall time at the clock's origin."""
    merged: bool
    row: Row

    @classmethod
    def of(cls, row: Row) -> Stretch:
        """Place a row, as ``core.rows.values`` gives it."""
        start_ns, to_uj = row["start_mono_ns"], row.get("cumulative_uj", 0)
        line = (row["domain"], row["statistic"], row["epoch"]) if "epoch" in row else ()
        return cls(
            line,
            start_ns,
            start_ns + row["duration_ns"],
            to_uj - row.get("energy_uj", 0),
            to_uj,
            row["start_unix_ns"] - start_ns,
            bool(row["flags"] & Flag.MERGED),
            row,
        )

    def holds(self, other: Stretch) -> bool:
        """Whether ``other`` lies wholly in this one, in time and in energy."""
        return (
            self.start_ns <= other.start_ns
            and other.end_ns <= self.end_ns
            and self.from_uj <= other.from_uj
            and other.to_uj <= self.to_uj
        )

    def agrees(self, other: Stretch) -> bool:
        """Whether the two overlap in time and may well be of one clock and one counter."""
        if not (self.start_ns < other.end_ns and other.start_ns < self.end_ns):
            return False
        if abs(self.boot_unix_ns - other.boot_unix_ns) > SAME_BOOT_NS:
            return False
        return _in_step(other.start_ns - self.start_ns, other.from_uj - self.from_uj) and _in_step(
            other.end_ns - self.end_ns, other.to_uj - self.to_uj
        )


def _in_step(later_ns: int, more_uj: int) -> bool:
    """Whether a counter that never falls can have moved so in this time."""
    return later_ns * more_uj > 0 or not more_uj


def remainder(row: Row, stored: Iterable[Stretch]) -> list[Row] | None:
    """Return the rows that say what ``stored`` does not; None where that is the row as it is."""
    mine = Stretch.of(row)
    same = sorted(
        (other for other in stored if mine.agrees(other)), key=lambda other: other.start_ns
    )
    if any(other.merged and other.holds(mine) for other in same):
        return []
    if not mine.merged or not same:
        return None
    if mine.line:
        return [_window(row, *piece) for piece in _pieces(mine, same)]
    return _seconds(mine, same)


def _pieces(mine: Stretch, same: Sequence[Stretch]) -> list[tuple[int, int, int, int]]:
    """Return (start, end, counter at start, at end) of what no other stretch has."""
    pieces = []
    at_ns, at_uj = mine.start_ns, mine.from_uj
    for other in same:
        if other.start_ns > at_ns and other.from_uj >= at_uj:
            pieces.append((at_ns, other.start_ns, at_uj, other.from_uj))
        at_ns, at_uj = max(at_ns, other.end_ns), max(at_uj, other.to_uj)
    if at_ns < mine.end_ns:
        pieces.append((at_ns, mine.end_ns, at_uj, mine.to_uj))
    return pieces


def _window(row: Row, start_ns: int, end_ns: int, from_uj: int, to_uj: int) -> Row:
    """Return the part of a window whose energy and time are known, and nothing else of it."""
    duration_ns, energy_uj = end_ns - start_ns, to_uj - from_uj
    kept = {name: row[name] for name in _KEPT_MARKS}
    return {
        **dict.fromkeys(row),
        **dict.fromkeys(_NONE_OF, 0),
        "hist_counts_ms": (),
        **kept,
        "domain": row["domain"],
        "statistic": row["statistic"],
        "epoch": row["epoch"],
        "flags": row["flags"],
        "start_unix_ns": row["start_unix_ns"] + start_ns - row["start_mono_ns"],
        "start_mono_ns": start_ns,
        "duration_ns": duration_ns,
        "energy_uj": energy_uj,
        "cumulative_uj": to_uj,
        "mean_mw": min(MAX_POWER_MW, round(energy_uj * NS_PER_MS / duration_ns)),
    }


def _seconds(mine: Stretch, same: Sequence[Stretch]) -> list[Row]:
    """Return one row with the energy that the others do not have.

    Where one of them sticks out, how much of its energy lies in here is not known, and
    the rest is left out rather than told twice; windows, which know, have it all.
    """
    gaps = _pieces(mine, same)
    if not gaps or not all(mine.holds(other) for other in same):
        return []
    start_ns, end_ns = gaps[0][0], gaps[-1][1]
    row = {
        name: max(0, value - sum(other.row[name] for other in same)) if name in _KINDS else value
        for name, value in mine.row.items()
        if not name.endswith("_peak_mw")
    }
    row |= dict.fromkeys(name for name in mine.row if name.endswith("_peak_mw"))
    row["start_unix_ns"] += start_ns - mine.start_ns
    return [{**row, "start_mono_ns": start_ns, "duration_ns": end_ns - start_ns}]
