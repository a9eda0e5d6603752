"""What a pod is expected to draw: by its class, else by the resources that it requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from chipwatt.adapters.asked import Pod
from chipwatt.client import Demand, InlineProfile

POD = "pod"
"""In a table of draws: what every pod draws beside the resources that it requests."""
DRAW_MW = {POD: 5_000, "cpu": 6_000, "nvidia.com/gpu": 700_000, "amd.com/gpu": 750_000}
"""Peak of one of each: a core of a 64-core server part of 400 W, an H100 SXM, an MI300X."""
MOST_KEPT = 20_000
_MOST_MW = 10**15
"""As much as a collector takes; nothing has room for it."""


class Demands:
    """Demands of pods, remembered by uid, as bind is told no more; safe between threads."""

    def __init__(self, draw_mw: Mapping[str, int]) -> None:
        self._draw_mw = draw_mw
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Demand] = OrderedDict()

    def of(self, pod: Pod, *, without_class: bool = False) -> Demand:
        """Return the pod's demand and remember it."""
        if pod.class_id and not without_class:
            demand = Demand(class_id=pod.class_id, replicas=pod.replicas, gang_id=pod.gang_id)
        else:
            peak_mw = self._peak_mw(pod)
            demand = Demand(inline=InlineProfile(peak_mw, peak_mw), gang_id=pod.gang_id)
        with self._lock:
            self._kept[pod.uid] = demand
            self._kept.move_to_end(pod.uid)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return demand

    def recall(self, uid: str) -> Demand | None:
        """Return what was remembered of a pod."""
        with self._lock:
            return self._kept.get(uid)

    def _peak_mw(self, pod: Pod) -> int:
        """Return the peak of all that is requested, rounded up; it may be drawn all the time."""
        requested = sum(
            -(-milli * self._draw_mw[name] // 1000) for name, milli in pod.requests_milli.items()
        )
        return min(max(1, self._draw_mw.get(POD, 0) + requested), _MOST_MW)
