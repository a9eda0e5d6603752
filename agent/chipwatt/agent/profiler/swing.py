"""Oscillation of power between 0.1 and 20 Hz: the band that grids and voltage regulators feel.

The spectrum is taken from means over 10 ms under a Hann window; the place
and height of its tallest line come from a parabola through the logarithms
of the three highest points, and the attenuation by the 10 ms mean is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLE_S: Final = 0.01
LOW_MHZ: Final = 100
SHORTEST: Final = 200
"""Samples needed: two seconds."""


class Swing(NamedTuple):
    """Dominant frequency, its amplitude, the band's share of all alternating power."""

    frequency_mhz: int
    amplitude_mw: int
    share_ppm: int


def find_swing(series: Sequence[NDArray[np.float64]], top_mhz: int) -> Swing | None:
    """Return the swing of successive 10 ms means in mW, up to ``top_mhz``.

    None where there are too few samples, no frequency to look at, or nothing
    that swings by a milliwatt.
    """
    count = sum(map(len, series))
    if count < SHORTEST:
        return None
    power_mw = np.concatenate(series)
    window = _hann(count)
    lines = np.fft.rfft((power_mw - power_mw.mean()) * window)
    weights = lines.real**2 + lines.imag**2
    frequency_hz = np.arange(len(lines)) / (count * SAMPLE_S)
    tolerance = 1e-9
    band = (frequency_hz >= LOW_MHZ / 1000 - tolerance) & (
        frequency_hz <= top_mhz / 1000 + tolerance
    )
    band[0] = False
    if not band.any():
        return None
    first = int(np.argmax(band))
    peak = first + int(np.argmax(weights[band]))
    shift, height = _parabola(weights, peak)
    hz = (peak + shift) / (count * SAMPLE_S)
    amplitude_mw = 2 * np.sqrt(height) / window.sum() / np.sinc(hz * SAMPLE_S)
    if round(amplitude_mw) < 1:
        return None
    share = weights[band].sum() / weights[1:].sum()
    frequency_mhz = min(max(round(1000 * hz), LOW_MHZ), top_mhz)
    return Swing(frequency_mhz, round(amplitude_mw), min(1_000_000, round(1e6 * share)))


@lru_cache(maxsize=4)
def _hann(count: int) -> NDArray[np.float64]:
    window: NDArray[np.float64] = np.hanning(count + 1)[:-1]
    return window


def _parabola(weights: NDArray[np.float64], peak: int) -> tuple[float, float]:
    """Return the offset in bins and the height of the line whose highest point is ``peak``."""
    if not 0 < peak < len(weights) - 1 or min(weights[peak - 1 : peak + 2]) <= 0:
        return 0.0, float(weights[peak])
    left, middle, right = np.log(weights[peak - 1 : peak + 2])
    bend = left - 2 * middle + right
    if bend >= 0:
        return 0.0, float(weights[peak])
    shift = float(np.clip((left - right) / (2 * bend), -0.5, 0.5))
    return shift, float(np.exp(middle - (left - right) * shift / 4))
