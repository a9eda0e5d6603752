"""A folder that looks like a machine's root: what ``/proc``, ``/sys`` and ``/dev`` would show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

XEON = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: Xeon\n"
EPYC = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: AMD EPYC 9654\n"
GRACE = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"
NOBODY_HERE = 61_001
"""A user who is not the one that runs the tests, whose files these are."""
_PERFMON, _DAC_READ_SEARCH = 38, 2


class FakeMachine:
    """Starts as a bare machine of one unprivileged user; each method adds one thing."""

    def __init__(self, root: Path, cpuinfo: str = XEON, flags: str = "fpu") -> None:
        self.root = root
        self.write("proc/cpuinfo", f"{cpuinfo}flags\t\t: {flags}\n")
        self.write("proc/self/uid_map", "         0          0 4294967295\n")
        self.user(NOBODY_HERE)
        self.kernel("6.8.0-45-generic")
        self.modules()

    def write(self, path: str, text: str = "") -> Path:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def user(
        self, uid: int, groups: Iterable[int] = (), capabilities: int = 0, seccomp: int = 0
    ) -> None:
        """Be this user; ``capabilities`` as the kernel's bit mask."""
        self.write(
            "proc/self/status",
            f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\t{uid}\t{uid}\t{uid}\n"
            f"Groups:\t{' '.join(map(str, groups))} \nCapEff:\t{capabilities:016x}\n"
            f"Seccomp:\t{seccomp}\n",
        )

    def kernel(self, release: str, paranoid: int = 2) -> None:
        self.write("proc/sys/kernel/osrelease", f"{release}\n")
        self.write("proc/sys/kernel/perf_event_paranoid", f"{paranoid}\n")

    def modules(self, *names: str) -> None:
        self.write("proc/modules", "".join(f"{name} 1 0 - Live 0x0\n" for name in names))

    def zone(self, folder: str, name: str, mode: int = 0o400) -> Path:
        """Add a powercap zone: ``zone("intel-rapl:0", "package-0")``."""
        self.write(f"sys/class/powercap/{folder}/name", f"{name}\n")
        counter = self.write(f"sys/class/powercap/{folder}/energy_uj", "1\n")
        counter.chmod(mode)
        return counter

    def energy_pmu(self, *events: str) -> None:
        for event in events:
            for name in (event, f"{event}.scale", f"{event}.unit"):
                self.write(f"sys/bus/event_source/devices/power/events/{name}", "x\n")

    def gpu(self, address: str, vendor: int, driver: str = "", runtime: str = "") -> None:
        """Add a display controller to the bus."""
        folder = f"sys/bus/pci/devices/{address}"
        self.write(f"{folder}/vendor", f"0x{vendor:04x}\n")
        self.write(f"{folder}/class", "0x030200\n")
        if runtime:
            self.write(f"{folder}/power/runtime_status", f"{runtime}\n")
        if driver:
            target = self.root / "sys/bus/pci/drivers" / driver
            target.mkdir(parents=True, exist_ok=True)
            (self.root / folder / "driver").symlink_to(target)

    def node(self, name: str, mode: int = 0o666) -> Path:
        """Add something below ``/dev``."""
        file = self.write(f"dev/{name}")
        file.chmod(mode)
        return file

    def hwmon(self, number: int, name: str, *files: str, mode: int = 0o444) -> None:
        self.write(f"sys/class/hwmon/hwmon{number}/name", f"{name}\n")
        for file in files:
            self.write(f"sys/class/hwmon/hwmon{number}/{file}", "1000000\n").chmod(mode)

    def allow_perf(self) -> None:
        self.user(NOBODY_HERE, capabilities=1 << _PERFMON)

    def allow_reading(self) -> None:
        self.user(NOBODY_HERE, capabilities=1 << _DAC_READ_SEARCH)
