"""What a binding names and this host does not have now: sentences for who binds, never a refusal.

A scheduler may bind before it makes the cgroup, and a driver may load later. But a name
that is misspelt stays so, and its workload would be told to have used nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from chipwatt.agent.attribution.cpu_time import CGROUPS, file_of
from chipwatt.core.identity import DeviceId
from chipwatt.core.workload import Binding

MOST_NAMED: Final = 16
"""Chips named of a host that has many."""


def doubts(
    binding: Binding, devices: Collection[DeviceId] | None, root: Path = CGROUPS
) -> list[str]:
    """Return a sentence for each name that stands for nothing here, begun with its field.

    ``devices`` are the chips that are measured, None where that is not known yet; ``root``
    is the cgroup file system.
    """
    told = [
        _of_device(holding.device, devices)
        for holding in binding.devices
        if devices is not None and holding.device not in devices
    ]
    if binding.devices and devices is None:
        told.append(
            "devices: whether this host has them is not known yet: no sensing process has said "
            "what it measures"
        )
    if binding.cgroup and not os.access(file_of(binding.cgroup, root), os.F_OK):
        told.append(
            f"cgroup: no such cgroup now: {binding.cgroup}; its energy counts from when it appears"
        )
    return told


def _of_device(device: DeviceId, devices: Collection[DeviceId]) -> str:
    first = [str(each) for each in sorted(devices)[:MOST_NAMED]]
    if len(devices) > MOST_NAMED:
        first.append(f"and {len(devices) - MOST_NAMED} more")
    return f"devices: this host measures no {device}; it measures {', '.join(first) or 'none'}"
