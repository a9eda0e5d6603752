"""What is known of every node now: its limits, its newest bin, the highest it has drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.carry import State, carry
from chipwatt.collector.forecast.contract import NodeSpec
from chipwatt.core.tables import Array

Which = Array | slice
EVERY = slice(None)


@dataclass(frozen=True, slots=True)
class Bin:
    """One wall-clock second of every node; mW."""

    second: int
    mean_mw: Array
    """Of what was measured, without what stands in for the rest."""
    peak_mw: Array
    """Likewise."""
    assumed_mw: Array
    whole: Array
    """Everything beneath was heard from."""
    seen: Array
    """Something beneath was."""
    restart: Array
    """What stands in has changed: the measured part leaps without a change of load."""


class Nodes:
    """Arrays over nodes, in the order given."""

    def __init__(self, specs: Sequence[NodeSpec], cohort: Array, cohorts: int) -> None:
        self.ids = [spec.id for spec in specs]
        self.scale_mw = np.array([spec.scale_mw for spec in specs], dtype=np.float64)
        rated = np.array([spec.rated_mw for spec in specs], dtype=np.float64)
        self.nameplate_mw = np.where(rated > 0, rated, self.scale_mw)
        self.kinds = np.array([spec.kind for spec in specs], dtype=np.int64)
        self.hosts = np.array([spec.hosts for spec in specs], dtype=np.float32)
        self._cohort = cohort
        self._ratio = np.ones(cohorts)
        nodes = len(specs)
        self.mean_mw = np.zeros(nodes)
        self.assumed_mw = np.zeros(nodes)
        self.rc_like_mw = np.full(nodes, np.nan)
        self.whole = np.zeros(nodes, dtype=bool)
        self.seen = np.zeros(nodes, dtype=bool)
        self._highest_mw = np.zeros(nodes)

    def take(
        self,
        second: int,
        mean_mw: Array,
        peak_mw: Array,
        rc_like_mw: Array | None,
        assumed_mw: Array | None,
        known: Array | None,
    ) -> Bin:
        """Keep the newest bin; return its measured part. Raises ValueError for a wrong shape."""
        shape = (len(self.ids),)
        assumed = np.zeros(shape) if assumed_mw is None else np.asarray(assumed_mw, np.float64)
        share = np.ones(shape) if known is None else np.asarray(known)
        for name, column in (("mean", mean_mw), ("peak", peak_mw), ("assumed", assumed)):
            if column.shape != shape or not np.isfinite(column).all():
                raise ValueError(f"{name} power of {shape[0]} nodes: {column.shape}, or not finite")
        measured = np.maximum(mean_mw - assumed, 0.0)
        peak = np.maximum(peak_mw - assumed, measured)
        restart = assumed != self.assumed_mw
        self.mean_mw, self.assumed_mw = np.asarray(mean_mw, np.float64).copy(), assumed.copy()
        self.whole, self.seen = share >= 1.0, share > 0.0
        if rc_like_mw is not None:
            self.rc_like_mw = np.asarray(rc_like_mw, np.float64).copy()
        higher = self.whole & (peak > self._highest_mw)
        if higher.any():
            self._highest_mw[higher] = peak[higher]
            ratio = peak[higher] / self.nameplate_mw[higher]
            np.maximum.at(self._ratio, self._cohort[higher], ratio)
        return Bin(second, measured, peak, assumed, self.whole, self.seen, restart)

    def cap_mw(self, which: Which = EVERY) -> Array:
        """Return the most a node can draw: its nameplate, or as far beyond as its peers went.

        Chips exceed their rating for a moment, and what one does the next one can.
        """
        cap: Array = self.nameplate_mw[which] * self._ratio[self._cohort[which]]
        return cap

    def state(self) -> State:
        return {
            "ids": np.array(self.ids, dtype=np.str_),
            "scale_mw": self.scale_mw,
            "mean_mw": self.mean_mw,
            "assumed_mw": self.assumed_mw,
            "rc_like_mw": self.rc_like_mw,
            "whole": self.whole,
            "seen": self.seen,
            "highest_mw": self._highest_mw,
        }

    def restore(self, state: State, source: Array) -> Array:
        """Take over what is known; return what a share of each old scale is one of the new."""
        carry(state["mean_mw"], self.mean_mw, source)
        carry(state["assumed_mw"], self.assumed_mw, source)
        carry(state["rc_like_mw"], self.rc_like_mw, source)
        carry(state["whole"], self.whole, source)
        carry(state["seen"], self.seen, source)
        carry(state["highest_mw"], self._highest_mw, source)
        np.maximum.at(self._ratio, self._cohort, self._highest_mw / self.nameplate_mw)
        old_scale_mw = self.scale_mw.copy()
        carry(state["scale_mw"], old_scale_mw, source)
        rescaled: Array = old_scale_mw / self.scale_mw
        return rescaled
