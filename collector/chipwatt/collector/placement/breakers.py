"""When an overloaded breaker trips: inverse-time curves, and the heat that it has gathered.

A curve is named in the topology (``trip_curve_id`` of the API). The three of IEC 60255-151
are known, with the time to trip at M times the current that is carried for ever::

    t = TMS * k / (M ** a - 1)

    iec-standard-inverse   k = 0.14   a = 0.02
    iec-very-inverse       k = 13.5   a = 1
    iec-extremely-inverse  k = 80     a = 2

``TMS`` is the time multiplier, 1 unless the id ends in ``@`` and a number, as in
``iec-very-inverse@0.5``; without a curve nobody says when. At changing power a breaker
gathers 1 / t a second and trips at 1, the dynamic form of the same standard; below its
limit it is taken to cool down within five minutes. Power stands for current, as voltage
hardly changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.placement.topology import Topology
from chipwatt.core.tables import Array

COOL_S = 300.0
CURVES = {
    "iec-standard-inverse": (0.14, 0.02),
    "iec-very-inverse": (13.5, 1.0),
    "iec-extremely-inverse": (80.0, 2.0),
}


@dataclass(frozen=True, slots=True)
class TripCurve:
    """An inverse-time curve."""

    k_s: float
    """Time multiplier included."""
    exponent: float


def trip_curve(name: str) -> TripCurve | None:
    """Return the curve of this name; None where it is not known."""
    family, at, factor = name.partition("@")
    try:
        multiplier = float(factor) if at else 1.0
    except ValueError:
        return None
    if family not in CURVES or not (math.isfinite(multiplier) and multiplier > 0):
        return None
    k, exponent = CURVES[family]
    return TripCurve(k * multiplier, exponent)


class Breakers:
    """The breakers of a topology and how warm they are; arrays with a row a breaker."""

    def __init__(self, topology: Topology) -> None:
        found = [
            (position, breaker.continuous_mw, trip_curve(breaker.trip_curve))
            for position, node in enumerate(topology.nodes)
            if (breaker := node.breaker) is not None and breaker.continuous_mw
        ]
        self._ids = [topology.nodes[position].id for position, _, _ in found]
        self.positions = np.array([position for position, _, _ in found], dtype=np.int64)
        self.continuous_mw = np.array([mw for _, mw, _ in found], dtype=np.float64)
        nan = math.nan
        self._k_s = np.array([c.k_s if c else nan for _, _, c in found], dtype=np.float64)
        self._exponent = np.array([c.exponent if c else nan for _, _, c in found], dtype=np.float64)
        self.heat = np.zeros(len(found))
        """0 cold to 1, at which it trips."""

    def step(self, power_mw: Array, elapsed_s: float) -> Array:
        """Warm or cool for a while at this power; returns the seconds left until each trips.

        Infinite where none is to be expected, not a number where the curve is unknown.
        """
        load = power_mw / self.continuous_mw
        over = load > 1.0
        trip_s = np.full(len(load), np.inf)
        trip_s[over] = self._k_s[over] / (load[over] ** self._exponent[over] - 1.0)
        known = over & ~np.isnan(trip_s)
        self.heat[known] += elapsed_s / trip_s[known]
        self.heat[~over] -= elapsed_s / COOL_S
        np.clip(self.heat, 0.0, 1.0, out=self.heat)
        trip_s[known] *= 1.0 - self.heat[known]
        return trip_s

    def warmth(self) -> dict[str, float]:
        """Return the heat of every breaker that is not cold, by node id."""
        return {
            name: heat for name, heat in zip(self._ids, self.heat.tolist(), strict=True) if heat
        }

    def rewarm(self, heat: Mapping[str, float]) -> None:
        """Take over the heat of another topology's breakers."""
        self.heat[:] = [heat.get(name, 0.0) for name in self._ids]
