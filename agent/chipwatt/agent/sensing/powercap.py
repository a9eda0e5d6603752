"""The powercap tree of RAPL zones (``/sys/class/powercap``), each physical counter once.

Zones and what becomes of them:

* ``package-N``: device ``cpu/N``, domain package.
* ``package-N-die-M``: a device a die, since each die has counters of its own;
  its ordinal is ``N * dies + M``, where ``dies`` is the largest number of dies
  that any package shows.
* ``dram``, ``core``, ``uncore`` below a package: the same device. Memory is
  outside the package's counter, core and uncore are inside it.
* ``psys``: the whole platform, packages included: ``board/0``.
* ``intel-rapl-mmio`` repeats a package through another register path: left
  out wherever the first path has the zone.

AMD's zones carry the same names (kernel 5.11 and newer) and have no ``dram``.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from chipwatt.agent.sensing.counter import modulus_of_range
from chipwatt.agent.sensing.plausible import CEILING_MW, FLOOR_MW
from chipwatt.agent.sensing.sysfs import read_int, read_text
from chipwatt.core.columns import MAX_ENERGY_UJ
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain

_FOLDER = re.compile(r"intel-rapl(?P<mmio>-mmio)?(?P<numbers>(?::\d+)+)", re.ASCII)
_PACKAGE = re.compile(r"package-(\d{1,4})(?:-die-(\d{1,2}))?", re.ASCII)
"""A number beyond these digits is no machine's, and would count as so many dies."""
_INNER = {"dram": Domain.DRAM, "core": Domain.CORE, "uncore": Domain.UNCORE}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Zone:
    """One powercap zone."""

    folder: Path
    name: str
    """As the kernel gives it: ``package-0``, ``dram``."""
    device: DeviceId
    domain: Domain

    def modulus(self) -> tuple[int, int]:
        """Return the counter's modulus and smallest step in µJ.

        That is (0, 1) where no range is given, or a wrong one (``beyond_range``): all
        readings would be called impossible. Without a modulus they count, and a wrap
        is told as a reset.
        """
        return modulus_of_range(0 if self.beyond_range() else self._range_uj())

    def beyond_range(self) -> str:
        """Say by what the counter is beyond its range; empty where it is inside, or closed."""
        value_uj, range_uj = read_int(self.folder / "energy_uj") or 0, self._range_uj()
        if not 0 < range_uj < value_uj:
            return ""
        return (
            f"{self.folder}: energy_uj shows {value_uj}, beyond max_energy_range_uj {range_uj}, "
            "which is therefore not believed: a wrap of this counter will be told as a reset"
        )

    def _range_uj(self) -> int:
        range_uj = read_int(self.folder / "max_energy_range_uj") or 0
        return range_uj if 0 < range_uj < MAX_ENERGY_UJ else 0

    def max_power_mw(self) -> int:
        """Return 1.5 times the largest power in mW that any constraint of the zone names.

        ``max_power_uw`` is a thermal design power, which turbo exceeds, so limits
        in force count too; never below a floor for the domain, since too low a
        bound would turn wraps into resets, and too high a one costs nothing (a
        reset taken for a wrap would imply megawatts).
        """
        named_uw = [
            read_int(path) or 0
            for pattern in ("constraint_*_max_power_uw", "constraint_*_power_limit_uw")
            for path in self.folder.glob(pattern)
        ]
        named_mw = min(max(named_uw, default=0) * 3 // 2000, CEILING_MW)
        return max(FLOOR_MW[self.domain], named_mw)


def find_zones(base: Path) -> list[Zone]:
    """Return the zones below ``base``, packages in order, each followed by what it contains."""
    folders: dict[str, Path] = {}
    for pattern in ("*", "intel-rapl*/*", "intel-rapl*/*/*"):  # flat links, then the tree itself
        for folder in base.glob(pattern):
            if _FOLDER.fullmatch(folder.name):
                folders.setdefault(folder.name, folder)
    names = {key: read_text(folder / "name") or "" for key, folder in folders.items()}
    packages = [match for name in names.values() if (match := _PACKAGE.fullmatch(name))]
    dies = max((int(match[2] or 0) + 1 for match in packages), default=1)
    zones: dict[tuple[str, str], Zone] = {}
    for key in sorted(folders, key=_folder_order):
        name, parent = names[key], names.get(key.rpartition(":")[0], "")
        package = _PACKAGE.fullmatch(parent if name in _INNER else name)
        if package is not None:
            device = DeviceId(DeviceKind.CPU, int(package[1]) * dies + int(package[2] or 0))
            domain = _INNER.get(name, Domain.PACKAGE)
        elif name == "psys":
            device, domain = DeviceId(DeviceKind.BOARD), Domain.PSYS
        else:
            if name.startswith("package-"):
                _log.warning("%s: no machine has a zone %.60r; left out", folders[key], name)
            continue
        zones.setdefault((parent, name), Zone(folders[key], name, device, domain))
    return list(zones.values())


def _folder_order(folder: str) -> tuple[bool, list[int]]:
    """Order numerically, with the zones that may be repetitions last."""
    _, _, numbers = folder.partition(":")
    return folder.startswith("intel-rapl-mmio"), [int(number) for number in numbers.split(":")]
