"""The pods of a node as bindings, kept up to date with what the kubelet says.

The pod's UID is the workload id. The kubelet's pod-resources API does not say it, so
it is read off the folder of the pod's logs, ``<namespace>_<name>_<uid>``. The class
is what the site says of the namespace. Names of pods go no further than this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chipwatt.adapters.cgroups import ROOT, NoCgroup, of_pod
from chipwatt.adapters.gpus import Gpus, NoSuchGpu, together
from chipwatt.client.kubelet import PodDevices
from chipwatt.core.coarse import NOBODY
from chipwatt.core.workload import Binding, Holding, parse_id

LOGS = Path("/var/log/pods")
_OURS = "kubepods"
"""Begins the cgroup of every pod, so what begins so was bound from here."""


class Agent(Protocol):
    """What is asked of the local agent."""

    def bind(self, binding: Binding) -> object: ...

    def unbind(self, workload_id: bytes) -> None: ...

    def bindings(self) -> list[Binding]: ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What one look has changed."""

    bound: int = 0
    unbound: int = 0


def bindings_of(
    pods: Sequence[PodDevices],
    gpus: Gpus,
    classes: Mapping[str, bytes],
    logs: Path = LOGS,
    root: Path = ROOT,
) -> list[Binding]:
    """Return what pods hold; ``classes`` are by namespace.

    A pod that has no folder of logs or no cgroup yet is left for the next look.
    """
    uids = _uids(logs)
    found = []
    for pod in pods:
        for uid in uids.get((pod.namespace, pod.name), ()):
            try:
                cgroup = of_pod(uid, root)
            except NoCgroup:  # the log of an earlier pod of this name, or not begun
                continue
            class_id = classes.get(pod.namespace, NOBODY)
            found.append(Binding(parse_id(uid), class_id, cgroup, _held(pod, gpus)))
    return found


def follow(agent: Agent, wanted: Sequence[Binding]) -> Changes:
    """Let the agent's bindings of pods be these; others are left alone."""
    known = {binding.workload_id: binding for binding in agent.bindings()}
    changed = [binding for binding in wanted if known.get(binding.workload_id) != binding]
    stay = {binding.workload_id for binding in wanted}
    gone = [
        workload_id
        for workload_id, binding in known.items()
        if binding.cgroup.startswith(_OURS) and workload_id not in stay
    ]
    # First who has gone, so that a full agent has room and no chip is shared with the dead.
    for workload_id in gone:
        agent.unbind(workload_id)
    for binding in changed:
        agent.bind(binding)
    return Changes(len(changed), len(gone))


def _held(pod: PodDevices, gpus: Gpus) -> tuple[Holding, ...]:
    held = []
    for name in pod.device_ids:
        try:
            if not name.isdecimal():  # an index of some other kind of device
                held.append(gpus.find(name))
        except NoSuchGpu:
            continue
    return together(held)


def _uids(logs: Path) -> dict[tuple[str, str], list[str]]:
    """Return the UIDs of pods by namespace and name; neither may hold an underscore."""
    uids: dict[tuple[str, str], list[str]] = {}
    try:
        folders = sorted(folder.name for folder in logs.iterdir())
    except OSError:
        return uids
    for folder in folders:
        parts = folder.split("_")
        if len(parts) == 3:
            try:
                parse_id(parts[2])
            except ValueError:
                continue
            uids.setdefault((parts[0], parts[1]), []).append(parts[2])
    return uids
