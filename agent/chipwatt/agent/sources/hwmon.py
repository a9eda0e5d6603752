"""Power and energy that drivers publish under ``/sys/class/hwmon``.

hwmon units (kernel document ``hwmon/sysfs-interface``): power in µW, energy in µJ.
Covers NVIDIA Grace, amdgpu without ROCm, Intel GPUs, Ampere Altra, X-Gene and
IBM POWER9; which channel means what stands in ``sensing/hwmon_chips.py``.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from chipwatt.agent.sensing.closed_files import ClosedFiles
from chipwatt.agent.sensing.contract import (
    Limits,
    Missing,
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.hwmon_chips import CHIPS, Chip, Meaning, meaning_of
from chipwatt.agent.sensing.plausible import Doubts
from chipwatt.agent.sensing.registry import source
from chipwatt.agent.sensing.sysfs import Attribute, Vanished, read_int, read_text
from chipwatt.core.identity import DeviceId, pci_uid
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

_CHANNEL = re.compile(r"(energy|power)(\d+)_(input|average)")
_HOW_TO_OPEN = (
    "give the sensing process's group read access with a udev rule (`chipwatt doctor` prints it)"
)
_OUTER = (Domain.MODULE, Domain.PSYS)


@dataclass(frozen=True, slots=True)
class HwmonConfig:
    """``[sources.hwmon]``."""

    sysfs: Path = Path("/sys")
    """Where sysfs is mounted."""
    ignore: tuple[str, ...] = ()
    """Chips to leave alone, by name or PCI address: some old GPUs hang when they are read."""
    max_power_w: int = 3000
    """Above this a value is impossible, where the chip does not tell its largest cap."""


@dataclass(frozen=True, slots=True)
class _Channel:
    attribute: Attribute
    sensor: Sensor
    microwatts: bool
    status_fd: int
    """The device's runtime power state, kept open; -1 where it has none."""

    def asleep(self) -> bool:
        """Whether the device is suspended: reading its power would wake it."""
        return self.status_fd >= 0 and os.pread(self.status_fd, 16, 0).startswith(b"suspended")

    def close(self) -> None:
        self.attribute.close()
        if self.status_fd >= 0:
            os.close(self.status_fd)


@source("hwmon", HwmonConfig)
class HwmonSource:
    """One sensor a channel that is known to be power of a chip."""

    name: ClassVar[str] = "hwmon"
    interface: ClassVar[Interface] = Interface.HWMON
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = False

    def __init__(self, config: HwmonConfig) -> None:
        self._config = config
        self._channels: list[_Channel] = []
        self._cap_paths: list[Path] = []
        self._doubts = Doubts()
        self._closed = ClosedFiles()

    @property
    def missing(self) -> Sequence[Missing]:
        """Channels that may not be read."""
        return self._closed.missing

    def open(self) -> Sequence[Sensor]:
        folder = self._config.sysfs / "class/hwmon"
        if not folder.is_dir():
            raise SourceUnavailable(AbsentReason.NOT_PRESENT, f"{folder} does not exist")
        for chip_folder in sorted(folder.iterdir(), key=_number):
            self._channels.extend(self._open_chip(chip_folder))
        self._channels = _outer_only_alone(self._channels)
        if not self._channels:
            if self._closed.denied:
                first = self._closed.missing[0]
                raise SourceUnavailable(AbsentReason.PERMISSION_DENIED, first.detail)
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT, f"no chip under {folder} measures power of a processor"
            )
        self._cap_paths = [
            c.attribute.path.with_name(c.attribute.path.name.split("_")[0] + "_cap")
            for c in self._channels
        ]
        return [channel.sensor for channel in self._channels]

    def poll(self) -> Sequence[Reading]:
        readings = []
        failure: TransientReadError | None = None
        if self._closed:
            self._closed.look(time.monotonic_ns())
        for position, channel in enumerate(self._channels):
            try:
                if channel.asleep():
                    continue
                value = channel.attribute.read()
            except (Vanished, OSError):
                continue  # no reading: the sampler reports the sensor lost
            except TransientReadError as error:
                failure = error
                continue
            readings.append(
                Reading(
                    position, time.monotonic_ns(), value // 1000 if channel.microwatts else value
                )
            )
        if failure is not None and not readings:
            raise failure
        return readings

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        caps = [(position, self._limit_mw(path)) for position, path in enumerate(self._cap_paths)]
        return [(position, Throttle(limit_mw=cap_mw)) for position, cap_mw in caps if cap_mw]

    def close(self) -> None:
        while self._channels:
            self._channels.pop().close()
        self._closed.clear()

    def _open_chip(self, folder: Path) -> Iterator[_Channel]:
        name = read_text(folder / "name") or ""
        chip = CHIPS.get(name)
        device = folder / "device"
        address = device.resolve().name
        if chip is None or name in self._config.ignore or address in self._config.ignore:
            return
        # acpi_power_meter keeps its files with the device, not with the hwmon node.
        for place in (folder, device):
            paths = sorted(place.glob("*[0-9]_*")) if place.is_dir() else []
            chosen = _preferred(paths)
            for path in chosen:
                described = self._describe(chip, path, address)
                if described is None:
                    continue
                try:
                    attribute = Attribute(path)
                except OSError as error:
                    what = f"{described.device} {described.domain.name.lower()}"
                    self._closed.add(path, what, error, _HOW_TO_OPEN)
                    continue
                yield _Channel(
                    attribute,
                    described,
                    described.quantity is Quantity.POWER_MW,
                    _open_status(device) if described.device.kind is DeviceKind.GPU else -1,
                )
            if chosen:
                return

    def _describe(self, chip: Chip, path: Path, address: str) -> Sensor | None:
        stem = path.name.rpartition("_")[0]
        label = read_text(path.with_name(f"{stem}_label")) or ""
        label = label or read_text(path.with_name(f"{stem}_oem_info")) or ""
        found = meaning_of(chip, label)
        if found is None:
            return None
        meaning, number = found
        gauge = stem.startswith("power")
        interval = path.with_name(f"{stem}_average_interval")
        averaging_ms = self._doubts.averaging_ms(read_int(interval), str(interval))
        averaging_ms = averaging_ms or chip.averaging_ms
        caps = [path.with_name(f"{stem}_cap_{end}") for end in ("min", "max", "default")]
        limits = Limits(*map(self._limit_mw, caps))
        return Sensor(
            device=_device(chip, meaning, number, address, path),
            domain=meaning.domain,
            interface=self.interface,
            quantity=Quantity.POWER_MW if gauge else Quantity.ENERGY_UJ,
            root=meaning.root,
            label=f"{read_text(path.parent / 'name') or address} {label}".strip(),
            refresh_ns=chip.refresh_ms * 1_000_000,
            averaging_ns=averaging_ms * 1_000_000 if gauge else 0,
            max_power_mw=self._doubts.max_power_mw(
                limits.max_mw, meaning.domain, self._config.max_power_w * 1000, str(caps[1])
            ),
            limits=limits,
        )

    def _limit_mw(self, path: Path) -> int | None:
        return self._doubts.limit_mw(read_int(path), str(path), units_per_mw=1000)


def _preferred(paths: Sequence[Path]) -> list[Path]:
    """Return energy counters, and gauges where a channel has none; input before average."""
    best: dict[str, Path] = {}
    for path in paths:
        match = _CHANNEL.fullmatch(path.name)
        if match is None:
            continue
        key = match[2]
        rank = (match[1] == "energy", match[3] == "input")
        held = _CHANNEL.fullmatch(best[key].name) if key in best else None
        if held is None or rank > (held[1] == "energy", held[3] == "input"):
            best[key] = path
    return [best[key] for key in sorted(best, key=int)]


def _device(chip: Chip, meaning: Meaning, number: int | None, address: str, path: Path) -> DeviceId:
    if chip.pci:
        try:
            return DeviceId(meaning.kind, 0, pci_uid(address))
        except ValueError:
            pass
    if number is None:
        number = _instance(path)
    return DeviceId(meaning.kind, number)


def _instance(path: Path) -> int:
    """Return which chip of its name this is, in the order of the hwmon numbers."""
    own = next((p for p in (path.parent, *path.parents) if p.name.startswith("hwmon")), None)
    if own is None or own.name == "hwmon":
        return 0
    name = read_text(own / "name")
    same = [p for p in sorted(own.parent.iterdir(), key=_number) if read_text(p / "name") == name]
    return same.index(own) if own in same else 0


def _outer_only_alone(channels: Sequence[_Channel]) -> list[_Channel]:
    """Take module and psys out of the sum where something inside them reports."""
    inner = any(c.sensor.root and c.sensor.domain not in _OUTER for c in channels)
    return [
        replace(c, sensor=replace(c.sensor, root=False))
        if inner and c.sensor.domain in _OUTER
        else c
        for c in channels
    ]


def _open_status(device: Path) -> int:
    try:
        return os.open(device / "power/runtime_status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _number(path: Path) -> int:
    digits = re.search(r"\d+$", path.name)
    return int(digits[0]) if digits else 0
