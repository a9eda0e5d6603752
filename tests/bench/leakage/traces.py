"""Power of one chip at 1 kHz while it serves requests or trains, with one secret bit in it.

Levels, noise and drift are those of the reference's §1.3: idle 90 W, decode
350 ± 40 W in step with the tokens, prefill 620 W, AR(1) noise of 8 W, drift of ±6 W.
Other requests' prompts take 50 to 300 ms, so that one among many hides in their spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[Any]
WINDOW_MS = 60_000
LIMIT_MW = 800_000
_NOISE_W, _DRIFT_W, _MEMORY = 8.0, 6.0, 0.9
_ONE, _FEEDBACK = np.array([1], np.float32), np.array([1, -_MEMORY], np.float32)
_AT_ONCE = 50
_SHORT_MS, _LONG_MS = 50, 200
_TOKEN_MS = 20


@dataclass(frozen=True, slots=True)
class Family:
    """Levels of one model on one chip."""

    idle_w: float = 90.0
    decode_w: float = 350.0
    ripple_w: float = 40.0
    prefill_w: float = 620.0


FIRST = Family()
SHIFTED = Family(idle_w=75.0, decode_w=425.0, ripple_w=55.0, prefill_w=560.0)
"""Another model on another chip: attackers that learned from the first meet this one."""


@dataclass(frozen=True, slots=True)
class _Request:
    start_ms: int
    prefill_ms: int
    decode_ms: int


class _Canvas:
    """One trace under construction, in watts."""

    def __init__(self, family: Family, rng: np.random.Generator) -> None:
        self._family = family
        self._rng = rng
        self.power_w = np.full(WINDOW_MS, family.idle_w, np.float32)

    def serve(self, requests: list[_Request], token_ms: int = _TOKEN_MS) -> None:
        family = self._family
        for request in requests:
            decode = request.start_ms + request.prefill_ms
            self.power_w[request.start_ms : decode] = family.prefill_w
            phase = int(self._rng.integers(token_ms))
            at = np.arange(phase, phase + request.decode_ms)
            wave = np.where(at % token_ms < token_ms // 2, family.ripple_w, -family.ripple_w)
            room = self.power_w[decode : decode + request.decode_ms]
            room[:] = (family.decode_w + wave)[: len(room)]

    def train(self) -> None:
        """Steps of about 1.2 s, the fifth part of each waiting for other chips."""
        family, rng = self._family, self._rng
        step_ms = int(rng.integers(900, 1_500))
        at = np.arange(WINDOW_MS) + int(rng.integers(step_ms))
        busy = at % step_ms < 0.8 * step_ms
        self.power_w[:] = np.where(busy, family.prefill_w + 60, family.decode_w - 100)


def _spread(sizes_ms: Array, gaps: Array) -> list[int]:
    """Return starts of pieces in a row whose free time is split like ``gaps``."""
    free_ms = WINDOW_MS - int(sizes_ms.sum())
    cuts = np.floor(np.cumsum(gaps / gaps.sum())[:-1] * free_ms).astype(int)
    ends = np.concatenate([[0], np.cumsum(sizes_ms)[:-1]])
    return [int(start) for start in cuts + ends]


def _requests(
    rng: np.random.Generator, count: int, first_prefill_ms: int | None, gaps: Array | None = None
) -> list[_Request]:
    """Return ``count`` requests one after the other; the first bears the secret."""
    prefills = rng.integers(50, 300, count)
    if first_prefill_ms is not None:
        prefills[0] = first_prefill_ms
    longest_ms = 40_000 // count
    decodes = rng.integers(longest_ms // 4, longest_ms, count)
    sizes = prefills + decodes
    shares = rng.exponential(size=count + 1) if gaps is None else gaps
    starts = _spread(sizes, shares)
    return [
        _Request(start, int(prefill), int(decode))
        for start, prefill, decode in zip(starts, prefills, decodes, strict=True)
    ]


def _timing(canvas: _Canvas, rng: np.random.Generator, secret: int) -> None:
    gaps = rng.uniform(0.7, 1.3, 13)
    if secret:  # the same requests in two bursts
        gaps *= 0.05
        gaps[[0, 6, 12]] = rng.uniform(0.7, 1.3, 3)
    canvas.serve(_requests(rng, 12, None, gaps))


def _one_of(count: int) -> Callable[[_Canvas, np.random.Generator, int], None]:
    def paint(canvas: _Canvas, rng: np.random.Generator, secret: int) -> None:
        canvas.serve(_requests(rng, count, _LONG_MS if secret else _SHORT_MS))

    return paint


def _lone(canvas: _Canvas, rng: np.random.Generator, secret: int) -> None:
    start_ms = int(rng.integers(1_000, WINDOW_MS - 10_000))
    canvas.serve([_Request(start_ms, _LONG_MS if secret else _SHORT_MS, 200 * _TOKEN_MS)])


def _output(canvas: _Canvas, rng: np.random.Generator, secret: int) -> None:
    start_ms = int(rng.integers(1_000, WINDOW_MS - 10_000))
    canvas.serve([_Request(start_ms, 100, (260 if secret else 200) * _TOKEN_MS)])


def _cadence(canvas: _Canvas, rng: np.random.Generator, secret: int) -> None:
    canvas.serve(_requests(rng, 8, None), token_ms=40 if secret else 20)


def _purpose(canvas: _Canvas, rng: np.random.Generator, secret: int) -> None:
    if secret:
        canvas.train()
    else:
        canvas.serve(_requests(rng, int(rng.integers(8, 30)), None))


@dataclass(frozen=True, slots=True)
class Secret:
    """One bit that a trace may tell."""

    name: str
    paint: Callable[[_Canvas, np.random.Generator, int], None]
    is_within_tau: bool = True
    """Whether the two values differ in no more than a second of the trace."""


TIMING = Secret("request timing pattern", _timing, is_within_tau=False)
AMONG_30 = Secret("one prompt 50 or 200 ms among 30", _one_of(30))
AMONG_8 = Secret("the same among 8", _one_of(8))
LONE = Secret("the same, lone on an idle chip", _lone)
OUTPUT = Secret("output 200 or 260 tokens, lone (1.2 s)", _output, is_within_tau=False)
CADENCE = Secret("token cadence 20 or 40 ms", _cadence, is_within_tau=False)
PURPOSE = Secret("control: training or inference", _purpose, is_within_tau=False)
SECRETS = (TIMING, AMONG_30, AMONG_8, LONE, OUTPUT, CADENCE)


def traces(
    secret: Secret, count: int, seed: int, family: Family = FIRST
) -> Iterator[tuple[Array, Array]]:
    """Yield (power in mW by trace and millisecond, the secret by trace), some traces at a time."""
    rng = np.random.default_rng(seed)
    for begin in range(0, count, _AT_ONCE):
        size = min(_AT_ONCE, count - begin)
        bits = rng.permutation(np.arange(begin, begin + size) % 2)
        power_w = np.empty((size, WINDOW_MS), np.float32)
        for row, bit in zip(power_w, bits.tolist(), strict=True):
            canvas = _Canvas(family, rng)
            secret.paint(canvas, rng, bit)
            row[:] = canvas.power_w
        yield _measured(power_w, rng), bits


def _measured(power_w: Array, rng: np.random.Generator) -> Array:
    """Return the traces in mW with a sensor's noise and the slow drift of a chip's heat."""
    size = len(power_w)
    white = rng.standard_normal(power_w.shape, dtype=np.float32)
    white *= np.float32(_NOISE_W * (1 - _MEMORY**2) ** 0.5)
    power_w += lfilter(_ONE, _FEEDBACK, white, axis=1)
    ends = rng.uniform(-_DRIFT_W, _DRIFT_W, (2, size, 1)).astype(np.float32)
    power_w += ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, WINDOW_MS, dtype=np.float32)
    measured: Array = np.clip(power_w * 1000, 0, LIMIT_MW).astype(np.int32)
    return measured
