"""GPUs as schedulers name them, by index, UUID or MIG UUID, as the chips that are measured.

``nvidia-smi -L`` says which index and which MIG instance is which::

    GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-…)
      MIG 3g.40gb     Device  0: (UUID: MIG-…)

A MIG instance is so many of the seven compute slices of its GPU.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chipwatt.core.errors import ChipwattError
from chipwatt.core.workload import Holding, parse_holding

MIG_SLICES: Final = 7
_GPU = re.compile(r"GPU (\d+):.*\(UUID: (GPU-[0-9a-fA-F-]{36})\)", re.ASCII)
_MIG = re.compile(r"\s+MIG (?:\d+c\.)?(\d)g\..*\(UUID: (MIG-[^)\s]+)\)", re.ASCII)
_TIMEOUT_S = 20.0


class NoSuchGpu(ChipwattError):
    """A GPU that was named is not on this host."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """What nvidia-smi lists."""

    by_index: Mapping[int, Holding] = field(default_factory=dict)
    by_mig: Mapping[str, Holding] = field(default_factory=dict)

    def find(self, name: str) -> Holding:
        """Return what an index, ``GPU-<uuid>``, ``MIG-<uuid>`` or PCI address stands for.

        A device plugin that lets several share a GPU adds ``::<copy>`` to its name.
        Raises NoSuchGpu.
        """
        name = name.partition("::")[0]
        found = self.by_mig.get(name)
        if name.isdecimal():
            found = self.by_index.get(int(name))
        elif found is None and not name.startswith("MIG-"):
            try:
                found = parse_holding(f"gpu/{name}")
            except ValueError:
                found = None
        if found is None:
            raise NoSuchGpu(f"GPU {name!r}: not on this host, as far as nvidia-smi says")
        return found


def listed(text: str) -> Gpus:
    """Read what ``nvidia-smi -L`` prints; lines of another form are skipped."""
    by_index: dict[int, Holding] = {}
    by_mig: dict[str, Holding] = {}
    last: Holding | None = None
    for line in text.splitlines():
        if gpu := _GPU.match(line):
            last = by_index[int(gpu[1])] = parse_holding(f"gpu/{gpu[2]}")
        elif last is not None and (mig := _MIG.match(line)):
            by_mig[mig[2]] = Holding(last.device, int(mig[1]), MIG_SLICES)
    return Gpus(by_index, by_mig)


def together(holdings: list[Holding]) -> tuple[Holding, ...]:
    """Join several parts of one chip, as two MIG instances of a GPU."""
    parts: dict[str, Holding] = {}
    for holding in holdings:
        key = str(holding.device)
        before = parts.get(key)
        if before is not None and before.of == holding.of:
            both = min(holding.of, before.parts + holding.parts)
            holding = Holding(holding.device, both, holding.of)  # noqa: PLW2901
        parts[key] = holding
    return tuple(parts.values())


def here() -> Gpus:
    """Ask nvidia-smi; a host without it has none that needs it."""
    command = ["nvidia-smi", "-L"]
    try:
        done = subprocess.run(  # noqa: S603 - a list of our own
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return Gpus()
    return listed(done.stdout)
