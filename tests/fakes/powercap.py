"""A powercap tree on disk whose counters behave as the kernel's, and who knows their truth.

The layout is sysfs's own: zones below ``devices/virtual/powercap``, links to each
in ``class/powercap``. A counter is written in place with one ``pwrite``, so a
reader that keeps the file open sees every value, as it would in sysfs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fakes.scenario import Point, energy_uj

REGISTER = 1 << 32
_TEXT_BYTES = 24


class FakeZone:
    """One zone: a counter of ``modulus_steps`` steps of ``unit_nj`` each.

    What ``energy_uj`` shows is steps * unit_nj / 1000, truncated, as the kernel
    computes it. ``true_steps`` is what was really consumed since the zone was
    made, whatever the counter did meanwhile.
    """

    def __init__(
        self, folder: Path, name: str, unit_nj: int, modulus_steps: int, steps: int = 0
    ) -> None:
        self.folder = folder
        self.unit_nj = unit_nj
        self.modulus_steps = modulus_steps
        self.steps = steps
        self.true_steps = 0
        self.wraps = 0
        self.resets = 0
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "enabled").write_text("1\n")
        (folder / "max_energy_range_uj").write_text(f"{self._shown(modulus_steps - 1)}\n")
        self._fd = -1
        self.restore()

    @property
    def energy_uj(self) -> int:
        """What the file shows."""
        return self._shown(self.steps)

    @property
    def true_uj(self) -> int:
        """What was consumed, rounded down to µJ."""
        return self._shown(self.true_steps)

    def advance(self, steps: int) -> None:
        """Consume ``steps`` more, through as many wraps as that takes."""
        self.true_steps += steps
        wraps, self.steps = divmod(self.steps + steps, self.modulus_steps)
        self.wraps += wraps
        self._write()

    def reset(self, steps: int = 0) -> None:
        """Set the counter without anything consumed, as a suspended machine does."""
        self.steps = steps
        self.resets += 1
        self._write()

    def limit(self, modulus_steps: int) -> None:
        """Let the counter wrap at ``modulus_steps``; before anyone reads the zone."""
        self.modulus_steps = modulus_steps
        shown_uj = self._shown(modulus_steps - 1)
        (self.folder / "max_energy_range_uj").write_text(f"{shown_uj}\n")

    def constrain(self, number: int, **files: int) -> None:
        """Write ``constraint_<number>_<file>`` for each file."""
        for name, value in files.items():
            (self.folder / f"constraint_{number}_{name}").write_text(f"{value}\n")

    def remove(self) -> None:
        """Take the counter's file away, as an unloaded driver does; it goes on counting."""
        (self.folder / "energy_uj").unlink()

    def restore(self) -> None:
        """Put the file back with what the counter now shows."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(self.folder / "energy_uj", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._write()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _shown(self, steps: int) -> int:
        return steps * self.unit_nj // 1000

    def _write(self) -> None:
        os.pwrite(self._fd, f"{self.energy_uj}\n".ljust(_TEXT_BYTES).encode(), 0)


class PowercapTree:
    """``<root>/sys`` with powercap zones and ``<root>/proc`` with a cpuinfo."""

    def __init__(self, root: Path) -> None:
        self.sysfs = root / "sys"
        self.procfs = root / "proc"
        self.zones: list[FakeZone] = []
        self._links = self.sysfs / "class" / "powercap"
        self._links.mkdir(parents=True)
        self.procfs.mkdir(parents=True)

    def zone(
        self,
        folder: str,
        name: str,
        *,
        unit_nj: int = 1000,
        modulus_steps: int = REGISTER,
        steps: int = 0,
    ) -> FakeZone:
        """Add a zone, for instance ``zone("intel-rapl:0:1", "dram")``; parents first."""
        control_type, _, numbers = folder.partition(":")
        path = self.sysfs / "devices" / "virtual" / "powercap" / control_type
        for depth in range(len(numbers.split(":"))):
            path /= ":".join(folder.split(":")[: depth + 2])
        zone = FakeZone(path, name, unit_nj, modulus_steps, steps)
        for target in (path, path.parents[len(numbers.split(":")) - 1]):
            link = self._links / target.name
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(target, self._links))
        self.zones.append(zone)
        return zone

    def cpuinfo(self, vendor: str = "GenuineIntel", flags: str = "fpu sse2 avx512f") -> None:
        """Write a cpuinfo of one processor."""
        text = f"processor\t: 0\nvendor_id\t: {vendor}\nphysical id\t: 0\nflags\t\t: {flags}\n"
        (self.procfs / "cpuinfo").write_text(text)

    def close(self) -> None:
        for zone in self.zones:
            zone.close()


class Player:
    """Moves zones along loads of power, step by step or in real time.

    Loads are those of ``fakes.scenario``. Only whole steps are consumed; what is
    left over waits for the next, so nothing is lost.
    """

    def __init__(self, loads: Mapping[FakeZone, Sequence[Point]]) -> None:
        self._loads = dict(loads)
        self._played = dict.fromkeys(self._loads, 0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def advance_to(self, t_ns: int) -> None:
        """Bring every zone to what its load has consumed ``t_ns`` after its start."""
        for zone, load in self._loads.items():
            steps = energy_uj(load, 0, t_ns) * 1000 // zone.unit_nj
            zone.advance(steps - self._played[zone])
            self._played[zone] = steps

    def start(self, period_ns: int = 1_000_000) -> int:
        """Play in real time from now on, in a thread; return time zero (monotonic ns)."""
        start_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, args=(start_ns, period_ns), daemon=True)
        self._thread.start()
        return start_ns

    def stop(self) -> None:
        """Stop playing; the counters stay where they are."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, start_ns: int, period_ns: int) -> None:
        due_ns = start_ns
        while not self._stop.wait(max(0, due_ns - time.monotonic_ns()) / 1e9):
            self.advance_to(time.monotonic_ns() - start_ns)
            due_ns += period_ns
