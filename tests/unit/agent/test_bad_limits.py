"""Whatever firmware names in a file, the healthy counter beside it is measured and sent."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.admission import admit_throttle
from chipwatt.agent.inventory import open_inventory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sampler import Sampler
from chipwatt.agent.sensing.contract import Reading, TransientReadError
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.agent.sources.hwmon import HwmonConfig, HwmonSource
from chipwatt.agent.sources.rapl_powercap import RaplPowercapConfig, RaplPowercapSource
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.records import Records, Throttle
from fakes.file_sensors import FileConfig, FileSource, Hardware, registered
from fakes.hwmon import add_chip
from fakes.powercap import PowercapTree

HEALTHY = DeviceId(DeviceKind.CPU, 0)
SENTINELS = (2**31 - 1, 2**32 - 1, 2**47, 2**63 - 16, 2**63 - 1, 2**64 - 1, -1, 10**39)
TEXTS = st.one_of(
    st.sampled_from(SENTINELS).map(str),
    st.integers(-(2**63), 2**64 - 1).map(str),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=9),
)
AMD = tuple(f"power1_{name}" for name in ("average", "cap", "cap_min", "cap_max", "cap_default"))
GRACE = ("power1_average", "power1_average_interval", "power1_cap", "power1_cap_max")
NUMBERS = st.one_of(st.integers(1, 9), st.integers(1, 2**64), st.just(10**19 + 1))
PACKAGES = st.one_of(
    NUMBERS.map("package-{}".format),
    NUMBERS.map("package-0-die-{}".format),
    st.sampled_from(["psys", "package-", "package--1", "package-1-die-70000"]),
)
ZONE = ("max_energy_range_uj", "constraint_0_max_power_uw", "constraint_0_power_limit_uw")


def encodable(batches: Sequence[Records]) -> int:
    """Encode all; return how many windows the healthy counter has."""
    for records in batches:
        codec.decode_tables(codec.encode_records(records))
    return sum(window.device == HEALTHY for records in batches for window in records.windows)


def sampled(folder: Path) -> int:
    """Open the tree as the agent does and poll it for two seconds, on a clock of our own."""
    configs = {
        "rapl_powercap": RaplPowercapConfig(folder / "sys", folder / "proc"),
        "hwmon": HwmonConfig(folder / "sys"),
    }
    registry = {
        "rapl_powercap": Registered("rapl_powercap", RaplPowercapConfig, RaplPowercapSource),
        "hwmon": Registered("hwmon", HwmonConfig, HwmonSource),
    }
    inventory = open_inventory(registry, configs)
    reducer = Reducer(inventory.sensors(), mono_ns=0, unix_ns=1_750_000_000 * NS_PER_S)
    counter = folder / "sys/class/powercap/intel-rapl:0/energy_uj"
    for now_ns in range(0, 2 * NS_PER_S, 50 * NS_PER_MS):
        counter.write_text(f"{10**6 + now_ns // 10_000}\n")
        first = 0
        for opened in inventory.opened:
            places = {local: first + n for n, local in enumerate(opened.kept)}
            first += len(places)
            with suppress(TransientReadError):
                for local, _, value in opened.source.poll():
                    if local in places:
                        reducer.observe(places[local], now_ns, value)
            for local, throttle in opened.source.throttle():
                if local in places:
                    reducer.throttled(places[local], admit_throttle(throttle))
    inventory.close()
    return encodable(reducer.finish(2 * NS_PER_S))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_number_in_any_file_stops_the_healthy_counter(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = PowercapTree(folder)
        tree.cpuinfo()
        tree.zone("intel-rapl:0", "package-0")
        odd = tree.zone("intel-rapl:1", data.draw(PACKAGES, "zone"))
        for file in ZONE:
            (odd.folder / file).write_text(data.draw(TEXTS, file) + "\n")
        files = {file: data.draw(TEXTS, file) for file in AMD}
        add_chip(folder / "sys", 0, "amdgpu", files, device="0000:03:00.0")
        files = {file: data.draw(TEXTS, file) for file in GRACE}
        files["power1_oem_info"] = f"Grace Power Socket {data.draw(NUMBERS, 'socket')}"
        add_chip(folder / "sys", 1, "power_meter", files, device="ACPI000D:00")
        assert sampled(folder) > 0
        tree.close()


class Nonsense(FileSource):
    """A source of a site whose readings are none, from the third poll on."""

    gives: ClassVar[Any] = None
    polls = 0

    def poll(self) -> Sequence[Reading]:
        self.polls += 1
        return super().poll() if self.polls < 3 else self.gives

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return [(0, Throttle(limit_mw="all"))]  # type: ignore[arg-type]


@pytest.mark.parametrize("gives", [[Reading(99, 1, 1)], [(0, "now", 1)], [(0, 1)], 7])
def test_a_source_whose_readings_are_none_is_out_alone(
    tmp_path: Path, gives: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Nonsense, "gives", gives)
    hardware = Hardware(tmp_path, [(100_000, 10 * NS_PER_MS)])
    registry = registered(Nonsense, clock=hardware)
    inventory = open_inventory(registry, {"file": FileConfig(tmp_path)}, clock=hardware)
    reducer = Reducer(inventory.sensors(), mono_ns=hardware.mono_ns(), unix_ns=hardware.unix_ns())
    got: list[Records] = []
    sampler = Sampler(
        inventory, reducer, hardware, SensingConfig(), emit=got.extend, cpu_ns=lambda: 0
    )
    sampler.run(lambda: hardware.mono_ns() >= 5 * NS_PER_S)
    sampler.close()
    assert sum(health.broken_sources for records in got for health in records.agent) > 0
    encodable([*got, *reducer.finish(hardware.mono_ns())])
