"""A device that one workload holds alone, as coarse as the workload itself.

Such a device's exact books are the workload's trace. Outside the operator's trust its
counter moves in steps of ``STEP_UJ``, rounded down, so that energies add up to the
truth within one step however long; how power was spread, its peaks, its swing and
how often the sensor's value stood still are not told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.model import Flag
from chipwatt.core.records import DeviceWindow, Gap, Profile, Throttle

STEP_UJ: Final = coarse.step_uj(800_000)
"""The same for every chip: a step that followed a limit would move the counter with it."""


def told_uj(exact_uj: int, from_uj: int = 0) -> int:
    """Return what a counter is told to stand at: a whole step, or ``from_uj``.

    That is what it was told before: from there it must not fall.
    """
    return max(exact_uj // STEP_UJ * STEP_UJ, min(from_uj, up_uj(exact_uj)))


def up_uj(exact_uj: int) -> int:
    """Return the whole step at or above."""
    return -(-exact_uj // STEP_UJ) * STEP_UJ


def shielded(window: DeviceWindow) -> DeviceWindow:
    """Return a window as it may leave: coarse if one workload held its device alone."""
    if not window.flags & Flag.HELD_ALONE:
        return window
    cumulative_uj = told_uj(window.cumulative_uj)
    energy_uj = cumulative_uj - told_uj(window.cumulative_uj - window.energy_uj)
    mean_mw = None
    if window.duration_ns:
        mean_mw = min(MAX_POWER_MW, round(energy_uj * NS_PER_MS / window.duration_ns))
    return replace(
        window,
        cumulative_uj=cumulative_uj,
        energy_uj=energy_uj,
        profile=Profile(mean_mw=mean_mw),
        throttle=Throttle(limit_mw=window.throttle.limit_mw),
        provenance=replace(window.provenance, expected=0, got=0, repeated=0, dropped=0),
    )


def shielded_gap(gap: Gap) -> Gap:
    """Return a gap with bounds in whole steps, the exact ones inside them."""
    lower_uj, upper_uj = wide_uj(gap.lower_uj, gap.upper_uj)
    return replace(gap, lower_uj=lower_uj, upper_uj=upper_uj)


def wide_uj(lower_uj: int, upper_uj: int) -> tuple[int, int]:
    """Return bounds in whole steps around those that are given."""
    return lower_uj // STEP_UJ * STEP_UJ, up_uj(upper_uj)
