"""What the shipped reducer and the shipped noise make of traces, as an attacker meets them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.leakage.traces import LIMIT_MW, Array
from chipwatt.agent.attribution.workload_window import SAMPLE_NS, WindowMaker
from chipwatt.collector.egress.noise import WINDOWS, Noise, release
from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.records import WorkloadWindow

WORKLOAD, CLASS = b"w" * 16, b"c" * 16
START_UNIX_NS = 1_700_000_040_000_000_000
_SAMPLE_MS = SAMPLE_NS // NS_PER_MS


def window_of(
    power_mw: Array, *, with_swing: bool = False, secret: bytes = b"", history_uj: int | None = None
) -> WorkloadWindow:
    """Return the window that a host makes of one trace, sample by sample as it takes them.

    ``history_uj`` is the energy of the minute before, without which rounding of energy
    would begin with the trace; None: any.
    """
    maker = WindowMaker(WORKLOAD, CLASS, LIMIT_MW, with_swing=with_swing, secret=secret)
    if history_uj is None:
        history_uj = random.randrange(LIMIT_MW * 60_000)
    maker.observe_energy(0, history_uj, coarse.WINDOW_NS)
    maker.close(START_UNIX_NS - coarse.WINDOW_NS)
    energies_uj = power_mw.reshape(-1, _SAMPLE_MS).sum(1, dtype=np.int64).tolist()
    for number, energy_uj in enumerate(energies_uj):
        maker.observe_energy(number * SAMPLE_NS, energy_uj, SAMPLE_NS)
    window = maker.close(START_UNIX_NS)
    assert window is not None
    return window


def placement(power_mw: Array, *, with_swing: bool = False) -> Array:
    """Return what reaches placement and the tier ``confidential``, a row a trace."""
    windows = [window_of(row, with_swing=with_swing) for row in power_mw]
    return np.array([(w.energy_steps, *w.occupancy, w.swing_class) for w in windows])


def dp_single(placed: Array, noise: Noise) -> Array:
    """Return what the tier ``dp`` shows of each window beside four that the attacker knows."""
    idle = _window((32, *[0] * (coarse.POWER_CLASSES - 1)))
    rows = [
        release([_window(row), *[idle] * (WINDOWS - 1)], noise).above
        for row in placed[:, 1:-1].tolist()
    ]
    return np.array(rows)


def dp_groups(groups: Array, noise: Noise) -> Array:
    """Return the same of groups of windows (group, window, field), five to a release."""
    count, times, _ = groups.shape
    fives = groups[:, :, 1:-1].reshape(count * times // WINDOWS, WINDOWS, -1).tolist()
    rows = [release([_window(row) for row in five], noise).above for five in fives]
    return np.array(rows).reshape(count, times // WINDOWS, -1)


def _window(occupancy: Sequence[int]) -> WorkloadWindow:
    return replace(_ANY, occupancy=tuple(occupancy))


_ANY = window_of(np.zeros((1, 60_000), np.int64)[0], history_uj=0)
