"""Rows on their way out of the operator's trust: devices that one workload holds, coarse.

See ``egress.shield``. A counter that was told exactly before goes on from there and never
falls: a back end would read a fall as a reset, and count all of it again. Where nobody knows
any more what it was told, it goes on from the next whole step, which is no reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from chipwatt.collector.egress.shield import told_uj, up_uj, wide_uj
from chipwatt.collector.otlp.gaps import GAP_ROW
from chipwatt.collector.otlp.row import (
    GREATEST,
    POLLS,
    SWING,
    THROTTLED,
    UNKNOWN,
    UNKNOWN_MIN,
    Rows,
)
from chipwatt.collector.otlp.streams import DomainStreams
from chipwatt.core.tables import Array

_LIFE: Final = ("device", "domain", "statistic", "is_root", "epoch")
_NOTHING: Final = (*THROTTLED, "throttle_known", *POLLS, "hist_mw_ms", "hist_zero_ms")


class Shield:
    """Remembers which devices were held, and from where their counters must not fall."""

    def __init__(self, streams: DomainStreams) -> None:
        self._streams = streams
        self._from_uj: dict[tuple[int, ...], int] = {}
        self._held: set[int] = set()
        self._is_restored = False

    def state(self) -> dict[str, Array]:
        """Return what a successor must know, so as not to tell a counter exactly once more."""
        lives = np.array([*self._from_uj], np.int64).reshape(-1, len(_LIFE))
        return {
            "shield_held": np.array(sorted(self._held), np.int64),
            "shield_lives": lives,
            "shield_from_uj": np.array([*self._from_uj.values()], np.uint64),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from where an earlier process stood; one before there was such a state had none."""
        if "shield_held" in state:
            self._is_restored = True
            self._held = set(state["shield_held"].tolist())
            lives = map(tuple, state["shield_lives"].tolist())
            self._from_uj = dict(zip(lives, state["shield_from_uj"].tolist(), strict=True))

    def take_up(self, devices: Iterable[int]) -> None:
        """Go on with what an earlier process told of ``devices``, after ``restore``.

        Where there was no state to restore, each of them may have been held.
        """
        if not self._is_restored:
            self._held.update(devices)

    def rows(self, rows: Rows) -> Rows:
        """Return ``rows`` with those of held devices coarse."""
        array = rows.array
        is_held = array["is_held"] != 0
        before = frozenset(self._held)
        self._held.update(array["device"][is_held].tolist())
        if not self._held:
            return rows
        array = array.copy()
        for at in np.flatnonzero(np.isin(array["device"], list(self._held))).tolist():
            if is_held[at]:
                self._coarsen(array[at], before)
            else:
                self._go_on(array[at])
        for name in _NOTHING:
            array[name][is_held] = 0
        for name in (*GREATEST, *SWING):
            array[name][is_held] = UNKNOWN
        array["min_mw"][is_held] = UNKNOWN_MIN
        kept = np.repeat(~is_held, array["hist_buckets"].astype(np.int64))
        array["hist_buckets"][is_held] = 0
        return Rows(array, rows.counts[kept])

    def gaps(self, gaps: Rows) -> Rows:
        """Return ``gaps`` with the bounds of held devices in whole steps."""
        is_held = np.isin(gaps.array["device"], list(self._held))
        if not is_held.any():
            return gaps
        array = gaps.array.copy()
        for at in np.flatnonzero(is_held).tolist():
            row = array[at]
            row["lower_uj"], row["upper_uj"] = wide_uj(int(row["lower_uj"]), int(row["upper_uj"]))
        return Rows(array.astype(GAP_ROW), gaps.counts)

    def _go_on(self, row: np.void) -> None:
        """Take a row that is told exactly, but where its counter was told to be a step ahead."""
        life = tuple(int(row[name]) for name in _LIFE)
        base_uj, cumulative_uj = int(row["base_uj"]), int(row["cumulative_uj"])
        from_uj = self._from_uj.get(life, 0)
        if base_uj < from_uj == up_uj(base_uj):
            lead_uj = min(from_uj, cumulative_uj) - base_uj
            row["base_uj"], row["cumulative_uj"] = from_uj, max(cumulative_uj, from_uj)
            row["energy_uj"] = max(0, int(row["energy_uj"]) - lead_uj)
        self._from_uj[life] = max(cumulative_uj, from_uj)

    def _coarsen(self, row: np.void, before: frozenset[int]) -> None:
        """Make a row coarse; ``before`` are the devices that had been held when it came."""
        life = tuple(int(row[name]) for name in _LIFE)
        base_uj, cumulative_uj = int(row["base_uj"]), int(row["cumulative_uj"])
        from_uj = self._from_uj.get(life)
        if from_uj is None:
            from_uj = self._from_uj[life] = self._began_uj(life, base_uj, before)
        gap_uj = cumulative_uj - base_uj - int(row["energy_uj"])
        base_uj, cumulative_uj = told_uj(base_uj, from_uj), told_uj(cumulative_uj, from_uj)
        row["base_uj"], row["cumulative_uj"] = base_uj, cumulative_uj
        # What the counter went through unseen is told as a gap, and not as energy too.
        row["energy_uj"] = max(0, cumulative_uj - base_uj - told_uj(gap_uj))

    def _began_uj(self, life: tuple[int, ...], base_uj: int, before: frozenset[int]) -> int:
        """Return from where the counter of a row that is held goes on, the first one we see."""
        device, domain, statistic, is_root, epoch = life
        if not self._streams.knows((device, domain, statistic, is_root), epoch):
            return 0
        # Of a device that nobody held its rows were told exactly: the last of them ended here.
        return up_uj(base_uj) if device in before else base_uj
