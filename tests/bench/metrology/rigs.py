"""One rig a source: a fake that plays a load, and what its chip then really drew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.amd_smi import library_folder as amd_folder
from fakes.build import HERE, build
from fakes.event_source import SCALE
from fakes.hwmon import add_chip
from fakes.nvml import gpu
from fakes.nvml import library_folder as nvml_folder
from fakes.powercap import PowercapTree
from fakes.scenario import FakeDevice, Point, write_scenario

MS = 1_000_000
UNIT_NJ = 61_035
"""2^-14 J as the kernel truncates it; the usual step of RAPL."""
FAKE_PMU = 77
JITTER_NS = 467_000
"""Uniform, plus or minus: a standard deviation of 0.27 ms, as measured on Ice Lake."""


@dataclass(frozen=True, slots=True)
class Rig:
    """How a source is put in front of a load.

    ``prepare(folder, load, fault)`` writes the fake and returns what the sensing
    process needs; ``refresh_ns`` and ``resolution_uj`` are those of the fake's
    counter, whose settings a fault may overrule.
    """

    source: str
    prepare: Callable[[Path, Sequence[Point], Mapping[str, int]], Bench]
    refresh_ns: int
    resolution_uj: int
    gauge: bool = False
    averaging_ns: int = 0
    jitter_ns: int = 0
    faults: Sequence[str] = ()


@dataclass(slots=True)
class Bench:
    """A fake that is ready to be read."""

    start_mono_ns: int
    tables: dict[str, dict[str, Any]]
    environment: dict[str, str] = field(default_factory=dict)
    player: subprocess.Popen[bytes] | None = None
    domain: str = ""
    """The domain that is judged; the others are siblings."""

    def stop(self) -> None:
        if self.player is not None and self.player.stdin is not None:
            self.player.stdin.close()
            self.player.wait(timeout=10)


def _play(folder: Path) -> subprocess.Popen[bytes]:
    program = build("file-player", [HERE / "file_player.c"], "file_player") / "file_player"
    environment = {**os.environ, "CHIPWATT_FAKE_DIR": str(folder)}
    return subprocess.Popen([program], env=environment, stdin=subprocess.PIPE)


def powercap(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play a package with jittered 1 ms updates and a DRAM sibling."""
    tree = PowercapTree(folder)
    tree.cpuinfo()
    zones = [
        tree.zone("intel-rapl:0", "package-0", unit_nj=fault.get("unit_nj", UNIT_NJ)),
        tree.zone("intel-rapl:0:0", "dram", unit_nj=UNIT_NJ),
    ]
    loads = (load, [(0, 20_000), (3_600_000 * MS, 20_000)])
    devices = []
    for number, (zone, points) in enumerate(zip(zones, loads, strict=True)):
        common = {"energy": 1, "unit_nj": UNIT_NJ, "refresh_ns": MS, "jitter_ns": JITTER_NS}
        numbers = {**common, **fault} if number == 0 else common
        text = {"file": str((zone.folder / "energy_uj").resolve())}
        devices.append(FakeDevice(zone.folder.name, points, numbers, text))
    tree.close()
    start = write_scenario(folder, devices)
    tables = {"rapl_powercap": {"sysfs": str(tree.sysfs), "procfs": str(tree.procfs)}}
    return Bench(start, tables, player=_play(folder), domain="PACKAGE")


def perf(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play an energy PMU: package and DRAM in one group."""
    pmu = folder / "sys/bus/event_source/devices/power"
    (pmu / "events").mkdir(parents=True)
    (pmu / "type").write_text(f"{FAKE_PMU}\n")
    (pmu / "cpumask").write_text("0\n")
    for config, event in enumerate(("energy-pkg", "energy-ram")):
        (pmu / "events" / event).write_text(f"event=0x{config:02x}\n")
        (pmu / "events" / f"{event}.scale").write_text(f"{SCALE}\n")
    numbers = {"unit_nj": UNIT_NJ, "refresh_ns": MS}
    dram = FakeDevice("ram", [(0, 20_000), (3_600_000 * MS, 20_000)], numbers)
    start = write_scenario(folder, [FakeDevice("pkg", load, {**numbers, **fault}), dram])
    library = build("perf", [HERE / "perf_shim.c"], "libfakeperf.so", extra=["-ldl"])
    environment = {
        "LD_PRELOAD": str(library / "libfakeperf.so"),
        "CHIPWATT_FAKE_DIR": str(folder),
        "CHIPWATT_FAKE_PMU": str(FAKE_PMU),
    }
    return Bench(
        start, {"rapl_perf": {"sysfs": str(folder / "sys")}}, environment, domain="PACKAGE"
    )


def nvml(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play two data-centre GPUs that refresh every 100 ms; the first is judged."""
    steady = [(0, 300_000), (3_600_000 * MS, 300_000)]
    devices = [gpu(1, load, **fault), gpu(2, steady)]
    start = write_scenario(folder, devices)
    environment = {"LD_LIBRARY_PATH": str(nvml_folder()), "CHIPWATT_FAKE_DIR": str(folder)}
    return Bench(start, {}, environment, domain="BOARD")


def nvml_gauge(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play a GPU without an energy counter."""
    return nvml(folder, load, {**fault, "error_energy": 3, "field_error_83": 3})


def amdsmi(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play two MI300X with a 1 ms cache; the first is judged."""
    steady = [(0, 300_000), (3_600_000 * MS, 300_000)]
    devices = [
        FakeDevice("a", load, {"offset": 1 << 30, **fault}, {"bdf": "0000:c1:00.0"}),
        FakeDevice("b", steady, {}, {"bdf": "0000:c6:00.0"}),
    ]
    start = write_scenario(folder, devices)
    environment = {
        "LD_LIBRARY_PATH": str(amd_folder()),
        "CHIPWATT_FAKE_DIR": str(folder),
        "ROCM_PATH": str(folder),
    }
    return Bench(start, {"amdsmi": {"check_seconds": 0.1}}, environment, domain="BOARD")


def amdsmi_gauge(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play an MI300X whose accumulator is not supported: current power only."""
    return amdsmi(folder, load, {**fault, "no_energy": 1})


def hwmon_energy(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play the energy counters of two Intel GPUs; the first is judged."""
    devices = []
    steady = [(0, 60_000), (3_600_000 * MS, 60_000)]
    for number, (points, settings) in enumerate(((load, fault), (steady, {}))):
        files = {"energy1_input": "0", "energy1_label": "card"}
        node = add_chip(folder / "sys", number, "xe", files, device=f"0000:0{3 + number}:00.0")
        numbers = {"energy": 1, "unit_nj": UNIT_NJ, "refresh_ns": MS, **settings}
        file = {"file": str(node / "energy1_input")}
        devices.append(FakeDevice(f"xe{number}", points, numbers, file))
    start = write_scenario(folder, devices)
    tables = {"hwmon": {"sysfs": str(folder / "sys")}}
    return Bench(start, tables, player=_play(folder), domain="BOARD")


def hwmon_gauge(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play the power meter of a Grace socket: a 50 ms mean every 50 ms."""
    numbers = {"refresh_ns": 50 * MS, "averaging_ns": 50 * MS, **fault}
    files = {"power1_average": "0", "power1_oem_info": "Grace Power Socket 0"}
    node = add_chip(folder / "sys", 0, "power_meter", files)
    file = {"file": str(node / "power1_average")}
    start = write_scenario(folder, [FakeDevice("grace", load, numbers, file)])
    return Bench(start, {"hwmon": {"sysfs": str(folder / "sys")}}, player=_play(folder))


def hsmp(folder: Path, load: Sequence[Point], fault: Mapping[str, int]) -> Bench:
    """Play the power message of an EPYC socket."""
    start = write_scenario(folder, [FakeDevice("s0", load, {"refresh_ns": MS, **fault})])
    mailbox = folder / "hsmp"
    mailbox.touch()
    library = build("hsmp", [HERE / "hsmp.c"], "libfakehsmp.so", extra=["-ldl"])
    environment = {
        "LD_PRELOAD": str(library / "libfakehsmp.so"),
        "CHIPWATT_FAKE_DIR": str(folder),
        "CHIPWATT_FAKE_HSMP": str(mailbox.resolve()),
    }
    return Bench(start, {"hsmp": {"device": str(mailbox)}}, environment)


_FILE_FAULTS = ("wrap", "double wrap", "reset", "stall", "freeze", "spike", "backwards", "denied")
_GAUGE_FAULTS = ("stall", "freeze", "denied", "slow")

RIGS: Mapping[str, Rig] = {
    "rapl_powercap": Rig(
        "rapl_powercap", powercap, MS, 61, jitter_ns=JITTER_NS, faults=_FILE_FAULTS
    ),
    "rapl_perf": Rig("rapl_perf", perf, MS, 61, faults=("stall", "freeze", "denied")),
    "nvml energy": Rig(
        "nvml", nvml, 100 * MS, 1000, faults=("reset", "stall", "freeze", "denied", "slow")
    ),
    "nvml gauge": Rig(
        "nvml", nvml_gauge, 100 * MS, 1, gauge=True, averaging_ns=25 * MS, faults=_GAUGE_FAULTS
    ),
    "amdsmi energy": Rig(
        "amdsmi", amdsmi, MS, 16, faults=("reset", "stall", "freeze", "backwards", "denied", "slow")
    ),
    "amdsmi gauge": Rig("amdsmi", amdsmi_gauge, MS, 1, gauge=True, faults=_GAUGE_FAULTS),
    "hwmon energy": Rig("hwmon", hwmon_energy, MS, 61, faults=_FILE_FAULTS[2:]),
    "hwmon gauge": Rig(
        "hwmon", hwmon_gauge, 50 * MS, 1, gauge=True, averaging_ns=50 * MS, faults=_GAUGE_FAULTS[:3]
    ),
    "hsmp": Rig("hsmp", hsmp, MS, 1, gauge=True, faults=_GAUGE_FAULTS[:3]),
}
