"""Samples of one workload's power in, one coarse window a minute out; without clock or I/O.

A sample is the workload's power over some time; the host takes tenths of a
second (``SAMPLE_NS``), the sum of all its chips. Integers only: a sum of floats
would depend on the order in which samples come, and with it the bytes.

How much of the time was spent in each class of power is rounded by ``dither``. The swing
class is off: it tells how requests follow each other, which ``tests.bench.leakage``
reads with an accuracy of 0.9 from it and of 0.5 without. It is the mean step between
successive half seconds, as a share of the limit: none below 1/64, weak below 1/16, clear
below 1/8, strong from there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from chipwatt.agent.attribution.dither import dithered, offset_of
from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.model import Attribution
from chipwatt.core.records import WorkloadWindow

SAMPLE_NS: Final = 100 * NS_PER_MS
SWING_NS: Final = 500 * NS_PER_MS
_SWING_FROM: Final = (64, 16, 8)
"""One over the shares of the limit at which the swing classes begin."""
_PJ_PER_UJ: Final = 1_000_000
"""A mW for a ns is a pJ."""


class WindowMaker:
    """Makes the windows of one workload, in order."""

    def __init__(
        self,
        workload_id: bytes,
        class_id: bytes,
        limit_mw: int,
        *,
        window_ns: int = coarse.WINDOW_NS,
        with_swing: bool = False,
        secret: bytes = b"",
    ) -> None:
        """Classes of power reach up to ``limit_mw``; raises ValueError where that is not positive.

        Without swing its class is always 0, and a window is a function of ``secret`` (1 to
        64 bytes, empty: made anew) and of the multiset of samples alone.
        """
        if limit_mw <= 0:
            raise ValueError(f"limit of {limit_mw} mW")
        self.limit_mw = limit_mw
        self._workload_id = workload_id
        self._class_id = class_id
        self._window_ns = window_ns
        self._with_swing = with_swing
        self._secret = secret or os.urandom(16)
        self._step_pj = coarse.step_uj(limit_mw, window_ns) * _PJ_PER_UJ
        self._owed_pj = 0
        """What rounding down has held back so far; less than one step after each window."""
        self._unsaid_pj = 0
        self._energy_pj = self._covered_ns = 0
        self._class_ns = [0] * coarse.POWER_CLASSES
        self._halves: dict[int, list[int]] = {}

    def observe(self, mono_ns: int, power_mw: int, duration_ns: int) -> None:
        """Take one sample: ``power_mw`` on average over ``duration_ns`` from ``mono_ns`` on."""
        self._add(mono_ns, power_mw * duration_ns, duration_ns)

    def observe_energy(self, mono_ns: int, energy_uj: int, duration_ns: int) -> None:
        """Take one sample by its energy, which stays exact."""
        self._add(mono_ns, energy_uj * _PJ_PER_UJ, duration_ns)

    def include_uj(self, energy_uj: int) -> None:
        """Add energy of which nobody knows when in the window it was used."""
        self._energy_pj += energy_uj * _PJ_PER_UJ

    @property
    def held_uj(self) -> int:
        """Energy that was taken in and that no window has said so far."""
        return (self._owed_pj + self._energy_pj + self._unsaid_pj) // _PJ_PER_UJ

    @property
    def is_seen(self) -> bool:
        """Whether enough of the open window was seen for it to be told."""
        return self._covered_ns * 1_000_000 >= coarse.LEAST_COVERAGE_PPM * self._window_ns

    def close(
        self,
        start_unix_ns: int,
        *,
        attribution: Attribution = Attribution.EXACT,
        withhold: bool = False,
    ) -> WorkloadWindow | None:
        """End the window that began at ``start_unix_ns``.

        None: it is withheld, since too little was seen of it or because of ``withhold``.
        """
        energy_pj, is_seen = self._energy_pj, self.is_seen
        class_ns, halves = self._class_ns, self._halves
        self._energy_pj = self._covered_ns = 0
        self._class_ns, self._halves = [0] * coarse.POWER_CLASSES, {}
        if withhold or not is_seen:
            self._unsaid_pj += energy_pj
            return None
        steps, self._owed_pj = divmod(self._owed_pj + energy_pj, self._step_pj)
        # A chip above its limit for long: what no window can say is told apart.
        self._unsaid_pj += max(0, steps - coarse.MAX_STEPS) * self._step_pj
        return WorkloadWindow(
            workload_id=self._workload_id,
            class_id=self._class_id,
            start_unix_ns=start_unix_ns,
            duration_ns=self._window_ns,
            attribution=attribution,
            limit_mw=self.limit_mw,
            energy_steps=min(steps, coarse.MAX_STEPS),
            occupancy=dithered(
                class_ns, coarse.OCCUPANCY_PARTS, offset_of(self._secret, start_unix_ns)
            ),
            swing_class=self._swing_class(halves) if self._with_swing else 0,
        )

    def take_unsaid_uj(self, *, ended: bool = False) -> int:
        """Hand over the energy that no window of this workload has said or will say, in µJ.

        That is of withheld windows; with ``ended`` also what is open and held back.
        """
        if ended:
            self._unsaid_pj += self._owed_pj + self._energy_pj
            self._owed_pj = self._energy_pj = 0
        unsaid_uj, self._unsaid_pj = divmod(self._unsaid_pj, _PJ_PER_UJ)
        return unsaid_uj

    def _add(self, mono_ns: int, energy_pj: int, duration_ns: int) -> None:
        if duration_ns <= 0:
            return
        self._energy_pj += energy_pj
        self._covered_ns += duration_ns
        level = energy_pj * coarse.POWER_CLASSES // (self.limit_mw * duration_ns)
        self._class_ns[min(max(level, 0), coarse.POWER_CLASSES - 1)] += duration_ns
        if self._with_swing:
            half = self._halves.setdefault(mono_ns // SWING_NS, [0, 0])
            half[0] += energy_pj
            half[1] += duration_ns

    def _swing_class(self, halves: dict[int, list[int]]) -> int:
        powers_mw = [energy // lasted for _, (energy, lasted) in sorted(halves.items())]
        if len(powers_mw) < 2:
            return 0
        moved_mw = sum(abs(b - a) for a, b in pairwise(powers_mw))
        mean_mw = moved_mw // (len(powers_mw) - 1)
        return sum(mean_mw * share >= self.limit_mw for share in _SWING_FROM)


def parts_of(weights: Sequence[int], parts: int) -> tuple[int, ...]:
    """Split ``parts`` by weights in whole numbers that add up: largest remainder, then first.

    Without any weight all of it is the first one's. Raises ValueError for a negative weight.
    """
    total = sum(weights)
    if min(weights) < 0:
        raise ValueError(f"weights {tuple(weights)}: one is negative")
    if not total:
        return (parts, *(0 for _ in weights[1:]))
    whole = [parts * weight // total for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda k: (-(parts * weights[k] % total), k))
    for k in by_rest[: parts - sum(whole)]:
        whole[k] += 1
    return tuple(whole)
