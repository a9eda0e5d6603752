"""A third party's source that reads counters from files, and the hardware that writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.registry import Registered
from chipwatt.core.clock import Clock, SystemClock, VirtualClock
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

START_UNIX_NS = 1_750_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class FileConfig:
    """Where the counter files are."""

    root: Path = Path("/nonexistent")
    """Folder with one file a chip."""


class FileSource:
    """Reads ``<root>/*.uj``, one energy counter a CPU package; an empty file is a torn write."""

    name: ClassVar[str] = "file"
    interface: ClassVar[Interface] = Interface.EXTERNAL
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = False
    kind: ClassVar[DeviceKind] = DeviceKind.CPU

    def __init__(self, config: FileConfig, clock: Clock | None = None) -> None:
        self._root = config.root
        self._clock = clock or SystemClock()
        self._paths: list[Path] = []

    def open(self) -> Sequence[Sensor]:
        self._paths = sorted(self._root.glob("*.uj"))
        if not self._paths:
            raise SourceUnavailable(AbsentReason.NOT_PRESENT, f"No counter is in {self._root}.")
        return [
            Sensor(
                DeviceId(self.kind, int(path.stem)),
                Domain.PACKAGE,
                self.interface,
                Quantity.ENERGY_UJ,
                root=True,
                label=path.name,
            )
            for path in self._paths
        ]

    def poll(self) -> Sequence[Reading]:
        readings = []
        for index, path in enumerate(self._paths):
            mono_ns = self._clock.mono_ns()
            text = path.read_text()
            if not text:
                raise TransientReadError(path.name)
            readings.append(Reading(index, mono_ns, int(text)))
        return readings

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return [(0, Throttle(limit_mw=100_000))]

    def close(self) -> None:
        self._paths = []


class LibraryFileSource(FileSource):
    """The same behind a vendor library: a file that is a FIFO hangs the call until written."""

    library: ClassVar[bool] = True
    kind: ClassVar[DeviceKind] = DeviceKind.GPU


class ModelSource(FileSource):
    """The same as a last resort."""

    interface: ClassVar[Interface] = Interface.ESTIMATE
    fallback: ClassVar[bool] = True


def registered(
    cls: type[FileSource], name: str = "file", clock: Clock | None = None
) -> dict[str, Registered]:
    """Return the registry of a site that has this source alone."""

    def make(config: FileConfig) -> FileSource:
        return cls(config, clock)

    if clock is None:
        return {name: Registered(name, FileConfig, cls)}
    return {name: Registered(name, FileConfig, make)}


class Hardware(VirtualClock):
    """Chips that draw constant power, refresh their counters, and exist only as time passes.

    ``power_mw`` and ``refresh_ns`` are those of each chip; ``events`` maps a
    time to what happens then.
    """

    def __init__(self, root: Path, chips: Sequence[tuple[int, int]]) -> None:
        """Make one counter file for each ``(power_mw, refresh_ns)``."""
        super().__init__(START_UNIX_NS)
        self.root = root
        self.chips = list(chips)
        self.events: list[tuple[int, Callable[[], None]]] = []
        self.stuck: set[int] = set()
        self._write()

    def at(self, mono_ns: int, happens: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self.events.append((mono_ns, happens))

    def path(self, chip: int) -> Path:
        """Return the counter file of a chip."""
        return self.root / f"{chip}.uj"

    def tear(self, chip: int) -> None:
        """Leave the counter file empty until ``stuck`` is cleared."""
        self.stuck.add(chip)
        self.path(chip).write_text("")

    def remove(self, chip: int) -> None:
        """Take the chip out until ``stuck`` is cleared."""
        self.stuck.add(chip)
        self.path(chip).unlink()

    def sleep_until(self, mono_ns: int) -> None:
        super().sleep_until(mono_ns)
        for event in [event for event in self.events if event[0] <= self.mono_ns()]:
            self.events.remove(event)
            event[1]()
        self._write()

    def _write(self) -> None:
        for chip, (power_mw, refresh_ns) in enumerate(self.chips):
            if chip not in self.stuck:
                updated_ns = self.mono_ns() // refresh_ns * refresh_ns
                scratch = self.root / "scratch"
                scratch.write_text(str(power_mw * updated_ns // 1_000_000))
                scratch.replace(self.path(chip))
