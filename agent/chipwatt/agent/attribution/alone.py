"""Marks the windows of chips that one workload holds alone, for whoever lets data out.

A mark stays for as long as the agent runs, and at the collector for good: a chip that was
marked and no longer is would tell, by its counter, what its last workload used to the
µJ. Modules, boards and whole platforms contain chips, and are marked with them; memory
beside processors is marked with these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag
from chipwatt.core.records import DeviceWindow
from chipwatt.core.workload import Binding

_AROUND: Final = (Domain.MODULE, Domain.PSYS)
_AROUND_KINDS: Final = (DeviceKind.MODULE, DeviceKind.BOARD)
_PROCESSORS: Final = (DeviceKind.CPU, DeviceKind.MEMORY)


class Alone:
    """What one workload has held alone so far."""

    def __init__(self) -> None:
        self._chips: set[DeviceId] = set()
        self._has_cpus = False

    def bind(self, bindings: Iterable[Binding]) -> None:
        """Let these be all bindings from now on."""
        bound = tuple(bindings)
        holders = Counter(h.device for b in bound for h in b.devices)
        self._chips |= {device for device, count in holders.items() if count == 1}
        self._has_cpus = self._has_cpus or sum(bool(b.cgroup) for b in bound) == 1

    def marked(self, windows: list[DeviceWindow]) -> list[DeviceWindow]:
        """Return ``windows`` with the flag on those that are one workload's books."""
        if not self._chips and not self._has_cpus:
            return windows
        return [
            replace(window, flags=window.flags | Flag.HELD_ALONE)
            if self._is_held(window)
            else window
            for window in windows
        ]

    def _is_held(self, window: DeviceWindow) -> bool:
        kind = window.device.kind
        is_around = window.domain in _AROUND or kind in _AROUND_KINDS
        is_cpu = self._has_cpus and kind in _PROCESSORS
        return is_cpu or is_around or window.device in self._chips
