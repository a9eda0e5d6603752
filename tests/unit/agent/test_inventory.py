from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from chipwatt.agent.inventory import Inventory, open_inventory
from chipwatt.agent.sensing.contract import Quantity, Sensor, SourceUnavailable
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sources.hwmon import HwmonConfig, HwmonSource
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface, Statistic
from chipwatt.core.records import AbsentInterface
from fakes.file_sensors import FileConfig, FileSource, LibraryFileSource, ModelSource
from fakes.hwmon import add_grace


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """A configuration that may name a trace."""

    root: Path
    file: Path | None = None


class RaplPerf(FileSource):
    """The first of two interfaces to the same packages."""

    interface: ClassVar[Interface] = Interface.RAPL_PERF


class RaplPowercap(FileSource):
    """The second."""

    interface: ClassVar[Interface] = Interface.RAPL_POWERCAP


class Forbidden(FileSource):
    """An interface whose files are closed to us."""

    interface: ClassVar[Interface] = Interface.HSMP

    def open(self) -> Sequence[Sensor]:
        raise SourceUnavailable(AbsentReason.PERMISSION_DENIED, "Run as root.")


class Faulty(FileSource):
    """A third party's source with a bug."""

    def open(self) -> Sequence[Sensor]:
        raise ZeroDivisionError("division by zero")


def chips(folder: Path, *numbers: int) -> Path:
    folder.mkdir()
    for number in numbers:
        (folder / f"{number}.uj").write_text("1")
    return folder


def find(
    sources: Mapping[str, tuple[type[FileSource], Path]],
    enabled: Sequence[str] = (),
    open_timeout_s: float = 5.0,
) -> Inventory:
    registry = {name: Registered(name, FileConfig, cls) for name, (cls, _) in sources.items()}
    configs = {name: FileConfig(root) for name, (_, root) in sources.items()}
    return open_inventory(registry, configs, enabled, open_timeout_s=open_timeout_s)


def used(inventory: Inventory) -> dict[str, list[int]]:
    return {
        each.name: [each.sensors[local].device.ordinal for local in each.kept]
        for each in inventory.opened
    }


def why(inventory: Inventory) -> dict[str, AbsentReason]:
    return {absence.name: absence.reason for absence in inventory.absent}


def test_a_domain_seen_twice_is_read_through_the_preferred_interface(tmp_path: Path) -> None:
    two = chips(tmp_path / "two", 0, 1)
    inventory = find({"rapl_perf": (RaplPerf, two), "rapl_powercap": (RaplPowercap, two)})
    assert used(inventory) == {"rapl_powercap": [0, 1]}
    assert why(inventory) == {"rapl_perf": AbsentReason.NOT_NEEDED}
    assert "rapl_powercap" in inventory.absent[0].detail
    assert len(inventory.sensors()) == 2


def test_what_the_preferred_interface_lacks_is_read_through_the_next(tmp_path: Path) -> None:
    inventory = find(
        {
            "rapl_powercap": (RaplPowercap, chips(tmp_path / "perf", 0)),
            "rapl_perf": (RaplPerf, chips(tmp_path / "cap", 0, 1)),
        }
    )
    assert used(inventory) == {"rapl_powercap": [0], "rapl_perf": [1]}
    ordinals = [sensor.device.ordinal for sensor in inventory.sensors()]
    assert ordinals == [0, 1]


def test_a_site_s_own_source_comes_before_ours(tmp_path: Path) -> None:
    one = chips(tmp_path / "one", 0)
    inventory = find({"rapl_perf": (RaplPerf, one), "in_house": (FileSource, one)})
    assert used(inventory) == {"in_house": [0]}


def test_a_model_serves_only_kinds_that_no_sensor_covers(tmp_path: Path) -> None:
    cpu, gpu = chips(tmp_path / "cpu", 0), chips(tmp_path / "gpu", 0)
    model = chips(tmp_path / "model", 0, 1, 2)
    sources = {"estimate": (ModelSource, model), "gpus": (LibraryFileSource, gpu)}
    inventory = find(sources)
    assert used(inventory) == {"gpus": [0], "estimate": [0, 1, 2]}
    inventory.close()
    inventory = find({**sources, "file": (FileSource, cpu)})
    assert used(inventory) == {"gpus": [0], "file": [0]}
    assert why(inventory) == {"estimate": AbsentReason.NOT_NEEDED}
    inventory.close()


def test_each_absence_has_its_reason_and_a_sentence(tmp_path: Path) -> None:
    inventory = find(
        {
            "file": (FileSource, tmp_path / "nothing"),
            "hsmp": (Forbidden, tmp_path),
            "faulty": (Faulty, tmp_path),
            "off": (RaplPerf, tmp_path),
        },
        enabled=("file", "hsmp", "faulty"),
    )
    assert inventory.opened == ()
    assert why(inventory) == {
        "file": AbsentReason.NOT_PRESENT,
        "hsmp": AbsentReason.PERMISSION_DENIED,
        "faulty": AbsentReason.LIBRARY_FAILED,
        "off": AbsentReason.DISABLED,
    }
    assert all(len(absence.detail) > 10 for absence in inventory.absent)
    assert AbsentInterface(Interface.HSMP, AbsentReason.PERMISSION_DENIED) in (
        inventory.absent_interfaces()
    )


def test_an_interface_that_serves_is_not_told_absent(tmp_path: Path) -> None:
    one = chips(tmp_path / "one", 0)
    inventory = find({"a": (FileSource, one), "b": (FileSource, one)})
    assert list(why(inventory)) == ["b"]
    assert inventory.absent_interfaces() == ()


def test_a_replay_keeps_everything_else_closed(tmp_path: Path) -> None:
    one = chips(tmp_path / "one", 0)
    registry = {
        "replay": Registered("replay", ReplayConfig, ModelSource),
        "file": Registered("file", FileConfig, FileSource),
    }
    configs = {"replay": ReplayConfig(one, file=one / "0.uj"), "file": FileConfig(one)}
    inventory = open_inventory(registry, configs, enabled=("file",))
    assert used(inventory) == {"replay": [0]}
    assert why(inventory) == {"file": AbsentReason.NOT_NEEDED}


def test_a_library_that_hangs_in_open_is_absent_and_holds_up_no_other(tmp_path: Path) -> None:
    class Hanging(LibraryFileSource):
        def open(self) -> Sequence[Sensor]:
            (self._root / "driver").read_text()  # a FIFO that nobody writes to
            return ()

    hung, good = chips(tmp_path / "hung", 0), chips(tmp_path / "good", 0)
    os.mkfifo(hung / "driver")
    sources = {"hung": (Hanging, hung), "good": (LibraryFileSource, good)}
    inventory = find(sources, open_timeout_s=0.1)
    assert used(inventory) == {"good": [0]}
    assert why(inventory) == {"hung": AbsentReason.LIBRARY_FAILED}
    assert "did not answer" in inventory.absent[0].detail
    inventory.close()
    (hung / "driver").write_text("awake")  # let the thread go


@pytest.mark.parametrize("kind", [DeviceKind.CPU, DeviceKind.GPU])
def test_sensors_keep_their_order(tmp_path: Path, kind: DeviceKind) -> None:
    cls = FileSource if kind is DeviceKind.CPU else LibraryFileSource
    inventory = find({"file": (cls, chips(tmp_path / "many", 3, 1, 2))})
    assert [sensor.device.ordinal for sensor in inventory.sensors()] == [1, 2, 3]
    assert {sensor.domain for sensor in inventory.sensors()} == {Domain.PACKAGE}
    inventory.close()


def test_a_module_is_not_added_to_what_it_contains(tmp_path: Path) -> None:
    add_grace(tmp_path / "sys", 0, {"Module": 900}, 0)
    hwmon = Registered("hwmon", HwmonConfig, HwmonSource)
    configs = {"hwmon": HwmonConfig(sysfs=tmp_path / "sys")}
    alone = open_inventory({"hwmon": hwmon}, configs)
    assert [sensor.root for sensor in alone.sensors()] == [True]
    alone.close()
    chip = Registered("in_house", FileConfig, FileSource)
    configs_of_both = {**configs, "in_house": FileConfig(chips(tmp_path / "chips", 0))}
    both = open_inventory({"hwmon": hwmon, "in_house": chip}, configs_of_both)
    assert [(sensor.domain, sensor.root) for sensor in both.sensors()] == [
        (Domain.PACKAGE, True),
        (Domain.MODULE, False),
    ]
    both.close()


class Boards(FileSource):
    """A vendor library that has a counter, a gauge and an averaged gauge of each board."""

    kinds: ClassVar[tuple[Statistic, ...]] = (
        Statistic.AVERAGE, Statistic.INSTANT, Statistic.ENERGY,
    )  # fmt: skip

    def open(self) -> Sequence[Sensor]:
        made = []
        for sensor in super().open():
            gauge = replace(sensor, quantity=Quantity.POWER_MW)
            every = {
                Statistic.ENERGY: sensor,
                Statistic.INSTANT: gauge,
                Statistic.AVERAGE: replace(gauge, averaging_ns=10**9),
            }
            made += [every[kind] for kind in self.kinds]
        return made


class Gauges(Boards):
    """The same without counters, and with a gauge that is listed twice."""

    kinds: ClassVar[tuple[Statistic, ...]] = (
        Statistic.AVERAGE, Statistic.INSTANT, Statistic.AVERAGE,
    )  # fmt: skip


def root_kinds(inventory: Inventory) -> list[tuple[int, Statistic, bool]]:
    return sorted((s.device.ordinal, s.statistic, s.root) for s in inventory.sensors())


def test_of_several_sensors_of_a_domain_the_best_is_added_up(tmp_path: Path) -> None:
    two = chips(tmp_path / "two", 0, 1)
    assert root_kinds(find({"boards": (Boards, two)})) == [
        (chip, kind, kind is Statistic.ENERGY) for chip in (0, 1) for kind in Statistic
    ]
    assert root_kinds(find({"gauges": (Gauges, two)})) == [
        (chip, kind, kind is Statistic.INSTANT)
        for chip in (0, 1)
        for kind in (Statistic.INSTANT, Statistic.AVERAGE)
    ]


def test_a_domain_stays_with_one_interface_whatever_it_has_of_it(tmp_path: Path) -> None:
    """A second interface's counter would make a sum of the same joules beside the first's."""
    sources = {
        "a": (Gauges, chips(tmp_path / "one", 0)),
        "b": (Boards, chips(tmp_path / "two", 0, 1)),
    }
    inventory = find(sources)
    assert [each.name for each in inventory.opened] == ["a", "b"]
    assert root_kinds(inventory) == [
        (0, Statistic.INSTANT, True),
        (0, Statistic.AVERAGE, False),
        (1, Statistic.ENERGY, True),
        (1, Statistic.INSTANT, False),
        (1, Statistic.AVERAGE, False),
    ]
