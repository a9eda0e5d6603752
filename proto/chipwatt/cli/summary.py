"""What a run of ``chipwatt up`` comes to, for people and for programs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.cli.cost import Cost
from chipwatt.cli.live import ESTIMATED, Seen, device_table
from chipwatt.cli.quantities import duration_text, energy_text, share_text, size_text
from chipwatt.cli.tables import plain
from chipwatt.core.model import Flag, flag_names

if TYPE_CHECKING:
    from chipwatt.client import CollectorStatus, DeviceInfo


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a run, from the collector's books and the agent's own."""

    address: str
    elapsed_ns: int
    seen: Seen
    before: CollectorStatus
    """The collector's counters as the run began; a kept store has a past."""
    after: CollectorStatus
    host: str
    devices: Sequence[DeviceInfo]
    agent: Mapping[str, Any]
    """The agent's last word of itself."""
    costs: Sequence[Cost]
    start_cpu_ns: int
    """CPU time of the agent's processes until the first second had arrived."""
    state_dir: Path | None
    failed: Sequence[str] = ()
    """Why the run ended before it was asked to."""

    @property
    def sources(self) -> list[str]:
        """The interfaces in use, by name."""
        sensors = (sensor for info in self.devices for sensor in info.sensors)
        return sorted({sensor.interface.name.lower() for sensor in sensors})

    @property
    def unacked(self) -> int:
        """Records in the agent's spool that the collector has not confirmed."""
        spool = self.agent.get("spool", {})
        return int(spool.get("unacked", 0)) + int(spool.get("held", 0))

    @property
    def problems(self) -> list[str]:
        """What went wrong and still is as the run ends, a phrase each."""
        found = [*self.failed, *self.seen.problems()]
        if self.agent.get("problem"):
            found.append(str(self.agent["problem"]))
        restarts = self.agent.get("sensing", {}).get("restarts", 0)
        if restarts:
            found.append(f"the sensing process died and was started again (restarts: {restarts})")
        if self.after.ledger_holes:
            energy = energy_text(self.after.ledger_hole_uj)
            found.append(f"the books lack {energy} in {self.after.ledger_holes} places")
        if self.after.ledger_twice_uj:
            found.append(f"the books have {energy_text(self.after.ledger_twice_uj)} twice")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain values with their units in the names."""
        return {
            "host": self.host,
            "elapsed_ns": self.elapsed_ns,
            "sources": self.sources,
            "devices": len(self.devices),
            "host_seconds_stored": self._grown("host_seconds_stored"),
            "device_windows_stored": self._grown("device_windows_stored"),
            "gaps_stored": self._grown("gaps_stored"),
            "energy_uj": self._grown("root_energy_uj"),
            "unacked": self.unacked,
            "flags": flag_names(self.seen.flags & ~Flag.ROOT),
            "problems": self.problems,
            "sensors": [
                {
                    "device": str(tally.device),
                    "domain": tally.domain.name.lower(),
                    "statistic": tally.statistic.name.lower(),
                    "root": tally.root,
                    "energy_uj": tally.energy_uj,
                    "time_ns": tally.time_ns,
                    "mean_mw": tally.mean_mw,
                    "silence_ns": self.seen.silence_ns(tally),
                }
                for tally in sorted(self.seen.tallies.values(), key=lambda each: each.sort_key)
            ],
            "cost": {
                "cpu_ppm": sum(cost.cpu_ppm for cost in self.costs),
                "pss_kib": sum(cost.pss_kib for cost in self.costs),
                "start_cpu_ns": self.start_cpu_ns,
                "processes": [asdict(cost) for cost in self.costs],
            },
        }

    def text(self) -> str:
        """Return the run as a person reads it, with one hint what to do next."""
        parts = [ESTIMATED] if self.seen.estimated else []
        if self.seen.tallies:
            width = shutil.get_terminal_size((140, 24)).columns
            parts.append(plain(device_table(self.seen, width)))
        parts.append("\n".join(self._lines()))
        return "\n\n".join(parts)

    def _lines(self) -> list[str]:
        energy = energy_text(self._grown("root_energy_uj"))
        sources = ", ".join(self.sources) or "no sensor"
        devices = "1 device" if len(self.devices) == 1 else f"{len(self.devices)} devices"
        seconds, windows, gaps = (
            self._grown(f"{kind}_stored") for kind in ("host_seconds", "device_windows", "gaps")
        )
        lines = [
            f"{energy} in {duration_text(self.elapsed_ns)} by {devices}, through {sources}",
            f"stored: {seconds} host seconds, {windows} device windows, {gaps} gaps",
            f"not yet acked: {self.unacked}",
            *(f"problem: {problem}" for problem in self.problems),
        ]
        if self.costs:
            share = share_text(sum(cost.cpu_ppm for cost in self.costs))
            memory = size_text(sum(cost.pss_kib for cost in self.costs) << 10)
            each = "; ".join(
                f"{cost.name} {share_text(cost.cpu_ppm)}, {size_text(cost.pss_kib << 10)}"
                for cost in self.costs
            )
            lines += [
                f"the agent's own cost: {share} of one core, {memory} PSS ({each})",
                f"its start took {duration_text(self.start_cpu_ns)} of CPU time",
            ]
        return [*lines, self._hint()]

    def _hint(self) -> str:
        if not self.seen.tallies:
            return "nothing was measured: `chipwatt sensors` says why, and what would change that."
        if self.state_dir is not None:
            return (
                f"next: `chipwatt collector --state-dir {self.state_dir}/collector` serves what "
                "was kept; `chipwatt profile --last 1h` draws it."
            )
        return (
            "next: while `chipwatt up` runs, `chipwatt profile` in a second terminal draws what it "
            "sees, with the --collector and --tls that `up` shows; `chipwatt sensors` tells what "
            "else could be measured."
        )

    def _grown(self, name: str) -> int:
        return int(getattr(self.after, name)) - int(getattr(self.before, name))
