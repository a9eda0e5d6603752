"""The status file: one JSON object about the running agent, replaced as a whole each second.

::

    {"version": 1, "pid": …, "uptime_s": …, "ended": false, "state": "ok" | "degraded",
     "problem": "a sentence, or empty",
     "spool":   {"records", "bytes", "first_sequence", "last_sequence", "unacked",
                 "oldest_age_s", "coarsest_s", "appended", "appended_bytes", "refused",
                 "merged", "dropped", "damaged", "epochs",
                 "held", "held_bytes", "held_merged", "held_dropped"},
     "uplink":  {"collector", "connected", "acked", "refused", "reconnects", "sent_bytes",
                 "last_error"},
     "sensing": {"alive", "pid", "restarts", "payloads", "done", "left_out": {source: why}},
     "cost":    {"agent": {"cpu_ms", "memory_bytes", "memory_kind"}, "sensing": {…},
                 "merging": {"cpu_ms"}}}

``spool`` is ``SpoolCounts``; ``oldest_age_s`` is that of the oldest record which
no collector has acked, ``coarsest_s`` to what the coarsest records were merged
(0: none were). ``held`` are payloads that wait in memory since the disk takes
none; ``held_dropped`` those that were given up for want of memory.
``cost.sensing`` counts the CPU time of sensing processes that ended as well. A
value that cannot be had is null.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chipwatt.agent import selfmetrics
from chipwatt.agent.intake import Intake
from chipwatt.agent.sensing_child import SensingChild
from chipwatt.agent.spool.contract import SpoolCounts
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.stream import UplinkState
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_S, Clock

VERSION = 1
MEMORY_EVERY_NS = 10 * NS_PER_S
"""The kernel walks every page of a process to tell its PSS."""
_log = log.get(__name__)


class StatusFile:
    """Puts together what the stages say of themselves, and writes it."""

    def __init__(
        self,
        path: Path,
        collector: str,
        clock: Clock,
        spool: ThreadedSpool,
        intake: Intake,
        sensing: SensingChild,
        uplink: UplinkState,
    ) -> None:
        self._path = path
        self._collector = collector
        self._clock = clock
        self._spool = spool
        self._intake = intake
        self._sensing = sensing
        self._uplink = uplink
        self._began_ns = clock.mono_ns()
        self._memory: dict[int, selfmetrics.Memory] = {}
        self._memory_ns = -MEMORY_EVERY_NS
        self._refused = ""
        """Why the last attempt to write failed."""
        self._sensing_cost: dict[str, Any] = _cost(None, None)

    def write(self, *, ended: bool = False) -> None:
        """Replace the file; a disk that refuses is logged, no more."""
        text = json.dumps(self.status(ended=ended), indent=1) + "\n"
        scratch = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            scratch.write_text(text)
            scratch.replace(self._path)
            if self._refused:
                _log.info("status file is written again", path=self._path)
            self._refused = ""
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._refused:  # once, not each second
                _log.warning("status file not written", path=self._path, reason=reason)
            self._refused = reason
            with suppress(OSError):
                scratch.unlink(missing_ok=True)

    def status(self, *, ended: bool = False) -> Mapping[str, Any]:
        """Return what ``write`` writes."""
        counts, uplink, sensing = self._spool.counts, self._uplink, self._sensing
        held = self._intake.held
        problems = (self._intake.problem or self._spool.problem, "" if ended else sensing.problem)
        problem = "; ".join(filter(None, problems))
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "uptime_s": (self._clock.mono_ns() - self._began_ns) // NS_PER_S,
            "ended": ended,
            "state": "degraded" if problem else "ok",
            "problem": problem,
            "spool": {
                **self._spooled(counts),
                "held": len(self._intake),
                "held_bytes": held.bytes,
                "held_merged": held.merged,
                "held_dropped": self._intake.dropped,
            },
            "uplink": {
                "collector": uplink.address or self._collector,
                "connected": uplink.connected,
                "acked": uplink.acked,
                "refused": uplink.refused,
                "reconnects": max(0, uplink.streams - 1),
                "sent_bytes": uplink.sent_bytes,
                "last_error": uplink.last_error,
            },
            "sensing": {
                "alive": sensing.pid is not None,
                "pid": sensing.pid,
                "restarts": sensing.restarts,
                "payloads": self._intake.received,
                "done": sensing.done,
                "left_out": dict(sensing.left_out),
            },
            "cost": self._costs(sensing.pid, fresh=ended),
        }

    def _spooled(self, counts: SpoolCounts) -> dict[str, int]:
        values = asdict(counts)
        oldest_ns = values.pop("oldest_unix_ns")
        age_ns = self._clock.unix_ns() - oldest_ns if oldest_ns else 0
        values["oldest_age_s"] = max(0, age_ns) // NS_PER_S
        values["coarsest_s"] = values.pop("coarsest_ns") // NS_PER_S
        return values

    def _costs(self, sensing: int | None, *, fresh: bool) -> dict[str, Any]:
        now_ns = self._clock.mono_ns()
        pids = [pid for pid in (os.getpid(), sensing) if pid is not None]
        due = fresh or now_ns - self._memory_ns >= MEMORY_EVERY_NS
        if due or any(pid not in self._memory for pid in pids):
            measured = {pid: selfmetrics.memory(pid) for pid in pids}
            self._memory.update({pid: m for pid, m in measured.items() if m is not None})
            self._memory_ns = now_ns
        merging_ms = self._spool.merging.cpu_ms
        ended_ms = max(0, selfmetrics.dead_children_cpu_ms() - merging_ms)
        if sensing is not None:
            alive_ms = selfmetrics.cpu_ms(sensing) or 0
            self._sensing_cost = _cost(ended_ms + alive_ms, self._memory.get(sensing))
        elif self._sensing_cost["cpu_ms"] is not None:
            self._sensing_cost["cpu_ms"] = ended_ms
        own_ms = selfmetrics.cpu_ms(os.getpid())
        return {
            "agent": _cost(own_ms, self._memory.get(os.getpid())),
            "sensing": dict(self._sensing_cost),
            "merging": {"cpu_ms": merging_ms},
        }


def _cost(cpu_ms: int | None, memory: selfmetrics.Memory | None) -> dict[str, Any]:
    return {
        "cpu_ms": cpu_ms,
        "memory_bytes": memory.bytes if memory else None,
        "memory_kind": memory.kind if memory else None,
    }
