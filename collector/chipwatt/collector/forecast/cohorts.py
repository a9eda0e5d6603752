"""Who shares scores with whom: nodes of one kind and hardware class, by how volatile they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from chipwatt.collector.forecast.carry import State, sources
from chipwatt.collector.forecast.contract import NodeSpec
from chipwatt.core.tables import Array

BINS = 5
_PER_CLOSING = 100
"""Scores that a ring takes from one window, so that a large cohort's ring spans many windows."""
_EDGE_GAIN = 0.1
_OWN = 48
"""Cohorts of a class of their own; the rings of each take up to 2 MB."""


class Cohorts:
    """Cohorts of a list of nodes, the edges of their bins, and the numbers of their rings.

    Where there are more than 48 of them, the classes of the fewest nodes are one cohort a kind.
    A ring belongs to (cohort, horizon, with or without template, bin); the last bin of
    each is the pool of all.
    """

    def __init__(self, nodes: Sequence[NodeSpec], horizons: int) -> None:
        keys = _keys(nodes)
        self.keys = sorted(set(keys))
        place = {key: number for number, key in enumerate(self.keys)}
        self.of = np.array([place[key] for key in keys], dtype=np.int64)
        self.members = [np.flatnonzero(self.of == number) for number in range(len(self.keys))]
        self._horizons = horizons
        self._edges = np.zeros((horizons, len(self.keys), BINS - 1))
        self._turn = 0

    @property
    def rings(self) -> int:
        return len(self.keys) * self._per_cohort

    @property
    def _per_cohort(self) -> int:
        return self._horizons * 2 * (BINS + 1)

    def ring(self, horizon: int, cohort: Array, template: Array, volatility_bin: Array) -> Array:
        """Return ring numbers; ``volatility_bin`` BINS means the pool."""
        ring: Array = ((cohort * self._horizons + horizon) * 2 + template) * (BINS + 1)
        return ring + volatility_bin

    @property
    def minute_rings(self) -> int:
        return len(self.keys) * self._horizons

    def minute_ring(self, horizon: int | Array, cohort: Array) -> Array:
        """Return the rings of what whole cohorts' windows exceeded minutes by."""
        ring: Array = cohort * self._horizons + horizon
        return ring

    def bins(self, horizon: int, volatility: Array, settled: Array) -> Array:
        """Return each node's bin, moving the edges slowly towards the quintiles of now."""
        bins = np.zeros(len(self.of), dtype=np.uint8)
        for cohort, members in enumerate(self.members):
            edges = self._edges[horizon, cohort]
            known = volatility[members[settled[members]]]
            if len(known):
                now = np.quantile(known, np.arange(1, BINS) / BINS)
                edges += (_EDGE_GAIN if edges.any() else 1.0) * (now - edges)
            bins[members] = np.searchsorted(edges, volatility[members])
        return bins

    def samples(self, scored: Array, volatility_bin: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield (cohort, bin, nodes) whose scores are to be kept; ``scored``: whose could."""
        self._turn += 1
        for cohort, members in enumerate(self.members):
            could = members[scored[members]]
            if not len(could):
                continue
            bins = volatility_bin[could]
            yield cohort, BINS, self._thin(could)
            for number in range(BINS):
                if len(mine := could[bins == number]):
                    yield cohort, number, self._thin(mine)

    def _thin(self, nodes: Array) -> Array:
        step = -(-len(nodes) // _PER_CLOSING)
        taken: Array = nodes[self._turn % step :: step]
        return taken

    def state(self) -> State:
        return {
            "keys": np.array(self.keys, dtype=np.str_),
            "edges": self._edges,
            "turn": np.array(self._turn),
        }

    def restore(self, state: State) -> tuple[Array, Array, Array]:
        """Take edges over; return the places in the state, or -1.

        They are those of each cohort, of each ring and of each ring above minutes.
        """
        source = sources(state["keys"].tolist(), self.keys)
        self._turn = int(state["turn"])
        rings = np.full(self.rings, -1, dtype=np.int64)
        for cohort, place in enumerate(source.tolist()):
            if place >= 0:
                self._edges[:, cohort] = state["edges"][:, place]
                mine = cohort * self._per_cohort + np.arange(self._per_cohort)
                rings[mine] = place * self._per_cohort + np.arange(self._per_cohort)
        known = np.repeat(source >= 0, self._horizons)
        above = self.minute_ring(np.arange(self._horizons), source[:, np.newaxis]).ravel()
        return source, rings, np.where(known, above, -1)


def _keys(nodes: Sequence[NodeSpec]) -> list[str]:
    keys = [f"{node.kind}/{node.hw_class}" for node in nodes]
    sizes = Counter(keys)
    own = set(sorted(sizes, key=lambda key: (-sizes[key], key))[:_OWN])
    return [key if key in own else f"{node.kind}/" for key, node in zip(keys, nodes, strict=True)]
