"""Polls a card while it idles, steps and swings, and says what its sensors made of that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardware import series as of
from hardware.series import Series, record

TESTS = Path(__file__).resolve().parents[1]
_MS = 1_000_000
_TAIL_NS = 300 * _MS
"""Polled beyond a load's end: what a sensor shows late belongs to it."""
PATTERNS = {
    "step": (4000, 3000, 1),
    "square 2 s": (1000, 1000, 5),
    "square 200 ms": (100, 100, 40),
    "square 50 ms": (25, 25, 160),
}
"""Busy ms, idle ms, how often."""


class Load:
    """The spinning program, on one card."""

    def __init__(self, uuid: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hardware.spin", uuid],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        )
        said = json.loads(self._read() or '{"error": "it died"}')
        self.problem: str = said.get("error", "")
        """Why there is no load; empty where there is."""

    def play(self, busy_ms: int, idle_ms: int, count: int) -> list[tuple[int, int]]:
        """Run a pattern to its end; return its busy times, monotonic ns."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{busy_ms} {idle_ms} {count}\n")
        self._process.stdin.flush()
        return [(start, end) for start, end in json.loads(self._read())]

    def close(self) -> None:
        """End the program."""
        self._process.communicate(timeout=30)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def idle(nvml: Any, handle: Any, seconds: float) -> Series:
    """Poll for a time."""
    end_ns = time.monotonic_ns() + int(seconds * 1e9)
    return record(nvml, handle, lambda: time.monotonic_ns() >= end_ns)


def under_load(
    nvml: Any, handle: Any, load: Load, pattern: tuple[int, int, int]
) -> tuple[Series, list[tuple[int, int]]]:
    """Poll while a pattern runs; return what was seen and when the card was busy."""
    times: list[tuple[int, int]] = []
    playing = threading.Thread(target=lambda: times.extend(load.play(*pattern)))
    began_ns = time.monotonic_ns()
    playing.start()

    def is_over() -> bool:
        nonlocal began_ns
        if playing.is_alive():
            began_ns = time.monotonic_ns()
        return time.monotonic_ns() >= began_ns + _TAIL_NS

    seen = record(nvml, handle, is_over)
    playing.join()
    return seen, times


def describe(seen: Series, busy: Sequence[tuple[int, int]] = ()) -> dict[str, Any]:
    """Return the figures of one recording; None for what could not be found."""
    compared = of.energies(seen)
    fitted = of.averaging_ns(seen)
    row: dict[str, Any] = {
        "polls": len(seen.times_ns),
        "refresh_ms": {
            name: _ms(of.refresh_ns(seen.times_ns, values))
            for name, values in (
                ("energy", seen.energy_mj),
                ("average", seen.average_mw),
                ("instant", seen.instant_mw),
            )
        },
        "averaging_ms": _ms(fitted[0]) if fitted else None,
        "averaging_misfit_mw": round(fitted[1]) if fitted else None,
        "power_mw": {
            name: [min(values), max(values)] if values else None
            for name, values in (("average", seen.average_mw), ("instant", seen.instant_mw))
        },
        "energy": None,
    }
    if compared is not None:
        row["energy"] = {
            "seconds": round(compared.seconds, 3),
            "counter_mj": compared.counter_mj,
            "instant_mj": compared.instant_mj,
            "average_mj": compared.average_mj,
            "counter_over_instant_ppm": compared.counter_over_instant_ppm,
        }
    if len(busy) == 1:
        (start_ns, end_ns), *_ = busy
        row["lag_ms"] = {
            name: _ms(of.lag_ns(seen.times_ns, values, start_ns, end_ns)) if values else None
            for name, values in (("average", seen.average_mw), ("instant", seen.instant_mw))
        }
    return row


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / _MS, 2)
