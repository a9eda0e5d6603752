"""What a superchip's module does to the sum, where its parts report and where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from chipwatt.agent.inventory import Inventory, open_inventory
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.sensing.registry import Registered
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain
from fakes.file_sensors import FileConfig, FileSource, ModelSource


def chips(folder: Path, *numbers: int) -> Path:
    folder.mkdir()
    for number in numbers:
        (folder / f"{number}.uj").write_text("1")
    return folder


def find(sources: Mapping[str, tuple[type[FileSource], Path]]) -> Inventory:
    registry = {name: Registered(name, FileConfig, cls) for name, (cls, _) in sources.items()}
    configs = {name: FileConfig(root) for name, (_, root) in sources.items()}
    return open_inventory(registry, configs)


class Superchip(FileSource):
    """The module of ``N.uj`` is read; a GPU inside it only where ``gpu`` says so."""

    gpu: ClassVar[bool] = False
    cpu_known: ClassVar[bool] = True

    def open(self) -> Sequence[Sensor]:
        made = []
        for inner in super().open():
            n = inner.device.ordinal
            parts = [DeviceId(DeviceKind.GPU, n)] + [DeviceId(DeviceKind.CPU, n)] * self.cpu_known
            module = replace(
                inner,
                device=DeviceId(DeviceKind.MODULE, n),
                domain=Domain.MODULE,
                contains=tuple(parts),
            )
            board = replace(inner, device=parts[0], domain=Domain.BOARD)
            made += [module, board] if self.gpu else [module]
        return made


class WholeSuperchip(Superchip):
    """Its GPUs report for themselves, too."""

    gpu: ClassVar[bool] = True


class LooseSuperchip(Superchip):
    """Nobody knows which CPU is in which module."""

    cpu_known: ClassVar[bool] = False


@pytest.mark.parametrize(
    ("nvml", "added"),
    [
        (Superchip, {"module/0", "module/1", "cpu/2"}),
        (LooseSuperchip, {"module/0", "module/1"}),
        (WholeSuperchip, {"gpu/0", "gpu/1", "cpu/0", "cpu/1", "cpu/2"}),
    ],
)
def test_a_module_whose_gpu_says_nothing_is_added_up_instead_of_what_it_contains(
    tmp_path: Path, nvml: type[FileSource], added: set[str]
) -> None:
    modules, cpus = chips(tmp_path / "modules", 0, 1), chips(tmp_path / "cpus", 0, 1, 2)
    inventory = find({"nvml": (nvml, modules), "hwmon": (FileSource, cpus)})
    assert {str(sensor.device) for sensor in inventory.sensors() if sensor.root} == added
    everything = {"module/0", "module/1", "cpu/0", "cpu/1", "cpu/2"}
    assert {str(sensor.device) for sensor in inventory.sensors()} >= everything, (
        "parts stay visible"
    )


def test_a_model_of_the_cpu_is_not_added_to_a_module_that_contains_it(tmp_path: Path) -> None:
    module, model = chips(tmp_path / "module", 0), chips(tmp_path / "model", 0)
    inventory = find({"nvml": (Superchip, module), "estimate": (ModelSource, model)})
    assert [(str(s.device), s.root) for s in inventory.sensors()] == [
        ("module/0", True),
        ("cpu/0", False),
    ]
