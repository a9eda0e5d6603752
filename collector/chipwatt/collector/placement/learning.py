"""From minutes of workloads to profiles of their classes, each minute once.

On which hardware a class ran is what the operator's topology says of the host;
nothing of it comes from the host or from whoever runs there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chipwatt.collector.placement.profiles import MAX_HW_CLASS, Profiles, WorkloadWindow
from chipwatt.core.coarse import NOBODY
from chipwatt.core.log import get

if TYPE_CHECKING:
    from chipwatt.collector.placement.topology import Topology
    from chipwatt.collector.store.workloads import Minute, Workloads

AT_ONCE = 500
_log = get(__name__)


class ClassLearner:
    """Reads the store with a cursor of its own, which is kept with what was learned."""

    def __init__(
        self,
        workloads: Workloads,
        profiles: Profiles,
        topology: Callable[[], Topology],
        resolve: Callable[[str], bytes | None],
    ) -> None:
        """``resolve`` gives the id of the host that a topology's node names."""
        self._workloads = workloads
        self._profiles = profiles
        self._topology = topology
        self._resolve = resolve

    def tick(self) -> None:
        """Learn what was stored since the last time. Raises StoreError."""
        after = self._profiles.position
        newest = self._workloads.newest()
        if newest < after:
            _log.warning("the store is younger than the class profiles; going on with it")
            after = 0
        if newest == after:
            return
        hw_classes = self._hw_classes()
        while minutes := self._workloads.follow(after, limit=AT_ONCE):
            after = minutes[-1].position
            learned = [window for minute in minutes for window in _windows(minute, hw_classes)]
            self._profiles.learn(learned, position=after)

    def _hw_classes(self) -> Mapping[bytes, str]:
        topology = self._topology()
        classes = {}
        for position in topology.hosts.tolist():
            node = topology.nodes[position]
            host = self._resolve(node.host)
            if host is not None and len(node.hw_class) <= MAX_HW_CLASS:
                classes[host] = node.hw_class
        return classes


def _windows(minute: Minute, hw_classes: Mapping[bytes, str]) -> list[WorkloadWindow]:
    return [
        WorkloadWindow(
            class_id=window.class_id,
            hw_class=hw_classes.get(minute.host, ""),
            start_unix_ns=window.start_unix_ns,
            duration_ns=window.duration_ns,
            energy_uj=window.energy_uj,
            occupancy=window.occupancy,
            swing_class=window.swing_class,
            limit_mw=window.limit_mw,
            workload_id=window.workload_id,
        )
        for window in minute.windows
        if window.class_id != NOBODY
    ]
