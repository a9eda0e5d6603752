"""A fake ``/sys`` with an energy PMU that real ``perf_event_open`` can open.

The PMU's type points at the kernel's software events: ``cpu-clock`` (config 0)
counts the nanoseconds of one CPU, so the counter is live, monotonic and its
truth is elapsed time times the scale.
"""

from __future__ import annotations

from pathlib import Path

SOFTWARE_PMU = 1
CPU_CLOCK = 0
SCALE = "2.3283064365386962890625e-10"


def make_event_source(
    sysfs: Path, events: tuple[str, ...] = ("energy-pkg", "energy-ram"), cpus: str = "0"
) -> Path:
    """Write the tree below ``sysfs`` and return ``sysfs``."""
    pmu = sysfs / "bus/event_source/devices/power"
    (pmu / "events").mkdir(parents=True)
    (pmu / "type").write_text(f"{SOFTWARE_PMU}\n")
    (pmu / "cpumask").write_text(f"{cpus}\n")
    for event in events:
        (pmu / "events" / event).write_text(f"event=0x{CPU_CLOCK:02x}\n")
        (pmu / "events" / f"{event}.scale").write_text(f"{SCALE}\n")
        (pmu / "events" / f"{event}.unit").write_text("Joules\n")
    return sysfs


def place_cpu(sysfs: Path, cpu: int, package: int) -> None:
    """Say which package a CPU belongs to."""
    topology = sysfs / f"devices/system/cpu/cpu{cpu}/topology"
    topology.mkdir(parents=True)
    (topology / "physical_package_id").write_text(f"{package}\n")
