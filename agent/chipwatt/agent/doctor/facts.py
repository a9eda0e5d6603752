"""Everything that advice rests on, read once: pure readers below roots that are parameters."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chipwatt.agent.doctor.machine import Machine, read_machine
from chipwatt.agent.doctor.process import (
    Container,
    File,
    Process,
    read_container,
    read_file,
    read_process,
)
from chipwatt.agent.sensing.hwmon_chips import CHIPS
from chipwatt.agent.sensing.powercap import find_zones
from chipwatt.agent.sensing.sysfs import read_text

_CHANNEL = re.compile(r"(energy|power)\d+_(input|average)")
_NODES = ("nvidiactl", "nvidia0", "kfd", "hsmp")
_LIBRARIES = ("libnvidia-ml.so.1", "libamd_smi.so")
_LIBRARY_FOLDERS = (
    "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib",
    "usr/local/nvidia/lib64", "usr/lib/wsl/lib", "run/opengl-driver/lib", "opt/rocm/lib",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look. ``of`` takes what the sources' settings say into account."""

    root: Path = Path("/")
    sysfs: Path = Path("/sys")
    procfs: Path = Path("/proc")
    powercap: Path = Path("/sys/class/powercap")
    perf: Path = Path("/sys/bus/event_source/devices/power")
    hwmon: Path = Path("/sys/class/hwmon")
    hsmp: Path = Path("/dev/hsmp")
    library_folders: tuple[Path, ...] = ()
    """Searched before the usual ones."""

    @classmethod
    def of(cls, root: Path, configs: Mapping[str, Any]) -> Places:
        """Return the places below ``root``, or where a source was told to look."""
        sysfs = root / "sys"

        def place(source: str, name: str, otherwise: Path) -> Path:
            told = getattr(configs.get(source), name, None)
            # A default names the machine's own path, whatever the root.
            is_default = told in (None, Path("/sys"), Path("/dev/hsmp"))
            return otherwise if is_default else Path(str(told))

        return cls(
            root=root,
            sysfs=sysfs,
            procfs=root / "proc",
            powercap=place("rapl_powercap", "sysfs", sysfs) / "class/powercap",
            perf=place("rapl_perf", "sysfs", sysfs) / "bus/event_source/devices/power",
            hwmon=place("hwmon", "sysfs", sysfs) / "class/hwmon",
            hsmp=place("hsmp", "device", root / "dev/hsmp"),
            library_folders=_told_folders(root),
        )


@dataclass(frozen=True, slots=True)
class HwmonChip:
    """A chip of the hwmon class that we know to measure power."""

    name: str
    folder: Path
    channels: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The host as this process sees it."""

    places: Places = field(default_factory=Places)
    process: Process = field(default_factory=Process)
    container: Container = field(default_factory=Container)
    machine: Machine = field(default_factory=Machine)
    counters: Mapping[str, File] = field(default_factory=dict)
    """``energy_uj`` of each powercap zone, by the zone's name."""
    wrong_ranges: tuple[str, ...] = ()
    """What is wrong with each zone whose counter is beyond its range."""
    perf_events: tuple[str, ...] = ()
    """Energy events of the ``power`` PMU."""
    chips: tuple[HwmonChip, ...] = ()
    nodes: Mapping[str, File] = field(default_factory=dict)
    """Device nodes that exist, by name below ``/dev``."""
    render_nodes: tuple[File, ...] = ()
    libraries: Mapping[str, Path] = field(default_factory=dict)
    """Vendor libraries found in the usual folders."""
    bindings: frozenset[str] = frozenset()
    """Python modules of vendor bindings that are installed."""
    rocm: str = ""
    """Version of ROCm below ``/opt/rocm``."""


def gather(places: Places, is_installed: Callable[[str], bool] | None = None) -> Facts:
    """Read everything; ``is_installed`` tells whether a Python module can be imported."""
    root, procfs = places.root, places.procfs
    installed = is_installed or _can_import
    nodes = {name: read_file(root / "dev" / name) for name in _NODES}
    nodes["hsmp"] = read_file(places.hsmp)
    return Facts(
        places=places,
        process=read_process(procfs),
        container=read_container(root, procfs),
        machine=read_machine(root, places.sysfs, procfs),
        counters=_counters(places.powercap),
        wrong_ranges=tuple(filter(None, (z.beyond_range() for z in find_zones(places.powercap)))),
        perf_events=_perf_events(places.perf),
        chips=tuple(_chips(places.hwmon)),
        nodes={name: file for name, file in nodes.items() if file is not None},
        render_nodes=tuple(
            file
            for path in sorted((root / "dev/dri").glob("renderD*"))
            if (file := read_file(path)) is not None
        ),
        libraries=_libraries(root, places.library_folders),
        bindings=frozenset(name for name in ("pynvml", "amdsmi", "pyRAPL") if installed(name)),
        rocm=read_text(root / "opt/rocm/.info/version") or "",
    )


def _counters(powercap: Path) -> dict[str, File]:
    found: dict[str, File] = {}
    for zone in find_zones(powercap):
        file = read_file(zone.folder / "energy_uj")
        if file is not None:
            found[f"{zone.device} {zone.name}"] = file
    return found


def _perf_events(pmu: Path) -> tuple[str, ...]:
    events = pmu / "events"
    return tuple(sorted(p.name for p in events.glob("energy-*") if "." not in p.name))


def _chips(hwmon: Path) -> list[HwmonChip]:
    found = []
    for folder in sorted(hwmon.iterdir()) if hwmon.is_dir() else ():
        name = read_text(folder / "name") or ""
        if name not in CHIPS:
            continue
        paths = [p for place in (folder, folder / "device") for p in sorted(place.glob("*_*"))]
        files = [read_file(path) for path in paths if _CHANNEL.fullmatch(path.name)]
        found.append(HwmonChip(name, folder, tuple(file for file in files if file is not None)))
    return found


def _told_folders(root: Path) -> tuple[Path, ...]:
    if root != Path("/"):
        return ()
    told = [Path(each) for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]
    rocm = os.environ.get("ROCM_PATH") or os.environ.get("ROCM_HOME")
    return (*told, *([Path(rocm) / "lib"] if rocm else []))


def _libraries(root: Path, told: tuple[Path, ...]) -> dict[str, Path]:
    folders = (*told, *(root / folder for folder in _LIBRARY_FOLDERS))
    return {
        name: folder / name
        for name in _LIBRARIES
        for folder in reversed(folders)
        if (folder / name).exists()
    }


def _can_import(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
