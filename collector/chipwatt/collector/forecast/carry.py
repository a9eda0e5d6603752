"""Moving arrays over nodes from one list of nodes to another; nodes stand on the last axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipwatt.core.tables import Array

State = dict[str, Array]


def sources(old: Sequence[str], new: Sequence[str]) -> Array:
    """Return for each new node its place in the old list; -1: it is not there."""
    places = {name: place for place, name in enumerate(old)}
    return np.array([places.get(name, -1) for name in new], dtype=np.int64)


def carry(old: Array, new: Array, source: Array) -> None:
    """Fill the columns of ``new`` that ``old`` knows; the others stay as they are."""
    known = source >= 0
    new[..., known] = old[..., source[known]]


def half(shares: Array) -> Array:
    """Return shares of a scale in half precision: it ends at 65,504, which no node's reaches."""
    kept: Array = np.clip(shares, 0.0, 6e4).astype(np.float16)
    return kept


def prefixed(prefix: str, state: State) -> State:
    """Return the state with its names put under a prefix."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def under(prefix: str, state: State) -> State:
    """Return what stands under a prefix, with the prefix taken off."""
    start = f"{prefix}."
    return {n.removeprefix(start): v for n, v in state.items() if n.startswith(start)}
