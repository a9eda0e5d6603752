"""The rule for the socket at which schedulers bind workloads: can it be where it is to be."""

from __future__ import annotations

import os
from pathlib import Path

from chipwatt.agent.doctor.finding import Finding, State
from chipwatt.agent.workload_service import WorkloadsConfig
from chipwatt.agent.workload_socket import check_place
from chipwatt.core.errors import ConfigError

NAME = "workloads"


def schedulers(config: WorkloadsConfig, path: Path) -> Finding:
    """Return the finding about the socket at ``path``, which the configuration may have chosen."""
    if not config.enabled:
        off = Finding(NAME, State.OFF)
        off.notes.append("workloads.enabled is false: no workload can be bound here")
        return off
    is_there = os.access(path.parent, os.F_OK)
    if not os.access(path.parent, os.X_OK) and (is_there or config.socket is None):
        why = "closed to this user" if is_there else "made at the agent's first start"
        return Finding(NAME, State.WORKS, there=[f"{path}, unseen: its folder is {why}"])
    try:
        check_place(path, config.group)
    except ConfigError as error:
        finding = Finding(NAME, State.BLOCKED, missing=[str(error)])
        finding.notes.append(
            "the agent does not start with this"
            if config.is_chosen
            else "the agent measures, but no workload can be bound here"
        )
        return finding
    whom = f"root and the group {config.group}" if config.group else "root and the agent's user"
    return Finding(NAME, State.WORKS, there=[f"{path}, for {whom}"])
