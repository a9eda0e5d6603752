"""What each reader is shown of a trace, as numbers that an attacker learns from."""

from __future__ import annotations

from typing import Final

import numpy as np

from bench.leakage.traces import LIMIT_MW, WINDOW_MS, Array

_BUCKETS: Final = 30
_RUNS: Final = 12
_PREFILL_MW: Final = 480_000
_BUSY_MW: Final = 200_000
_SMOOTH_MS: Final = 9


def raw(power_mw: Array) -> Array:
    """Return what a reader of every sample would look at: course, runs and spectrum."""
    course = _means(power_mw, 100)
    smooth = np.add.reduceat(power_mw, np.arange(0, WINDOW_MS, _SMOOTH_MS), axis=1) // _SMOOTH_MS
    runs = np.array(
        [_runs(row > _PREFILL_MW) + _runs(row > _BUSY_MW) for row in smooth], np.float32
    )
    return np.hstack([course, runs, _spectrum(power_mw)])


def seconds(power_mw: Array) -> Array:
    """Return means over 1 s."""
    return _means(power_mw, 1_000)


def tens(power_mw: Array) -> Array:
    """Return an exact histogram and the mean of every 10 s."""
    cut = power_mw.reshape(len(power_mw) * 6, -1)
    return np.hstack([histogram(cut, _BUCKETS), cut.mean(1)[:, None]]).reshape(len(power_mw), -1)


def exact(power_mw: Array) -> Array:
    """Return an exact histogram and the energy of the window."""
    return np.hstack([histogram(power_mw, _BUCKETS), power_mw.sum(1, dtype=np.int64)[:, None]])


def histogram(power_mw: Array, buckets: int) -> Array:
    """Return milliseconds by trace and power, in equal steps up to the limit."""
    step_mw = LIMIT_MW // buckets + 1
    flat = power_mw // step_mw + np.arange(len(power_mw))[:, None] * buckets
    counts = np.bincount(flat.ravel(), minlength=len(power_mw) * buckets)
    return counts.reshape(len(power_mw), buckets)


def _means(power_mw: Array, step_ms: int) -> Array:
    means: Array = power_mw.reshape(len(power_mw), -1, step_ms).mean(2, dtype=np.float32)
    return means


def _runs(is_on: Array) -> list[int]:
    """Return the number, sum and first lengths of stretches in which ``is_on``."""
    edges = np.diff(np.concatenate([[0], is_on.view(np.int8), [0]]))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    first = lengths[:_RUNS].tolist()
    return [len(lengths), int(lengths.sum()), *first, *[0] * (_RUNS - len(first))]


def _spectrum(power_mw: Array) -> Array:
    """Return the power by frequency, 1 Hz a step, up to 100 Hz."""
    centred = (power_mw - power_mw.mean(1, keepdims=True)).astype(np.float32)
    strength = np.abs(np.fft.rfft(centred, axis=1)[:, : 100 * 60]) ** 2
    by_hertz: Array = np.log1p(strength.reshape(len(power_mw), 100, 60).sum(2))
    return by_hertz
