"""A window of averaging that the sampler measures reaches windows and status, by virtual time."""

from __future__ import annotations

from pathlib import Path

from chipwatt.agent.inventory import open_inventory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sampler import Sampler
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.model import Statistic
from chipwatt.core.records import Records
from fakes.file_sensors import FileConfig, Hardware, registered
from fakes.gauged import Gauged


def test_what_is_measured_replaces_the_vendor_s_word_in_what_is_shipped(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(80_000, 20 * NS_PER_MS)])
    registry = registered(Gauged, clock=hardware)
    inventory = open_inventory(registry, {"file": FileConfig(tmp_path)}, clock=hardware)
    reducer = Reducer(inventory.sensors(), mono_ns=0, unix_ns=hardware.unix_ns())
    got: list[Records] = []
    sampler = Sampler(
        inventory, reducer, hardware, SensingConfig(), emit=got.extend, cpu_ns=lambda: 0
    )
    sampler.run(lambda: hardware.mono_ns() >= 45 * NS_PER_S)
    sampler.close()
    got += reducer.finish(hardware.mono_ns())
    shipped = [
        window.provenance.averaging_us
        for records in got
        for window in records.windows
        if window.statistic is Statistic.AVERAGE
    ]
    told = [
        status.averaging_us
        for records in got
        for status in records.sensors
        if status.statistic is Statistic.AVERAGE
    ]
    for series in (shipped, told):
        assert series[0] == 2_000_000, "what the vendor says, until it is seen"
        assert abs(series[-1] - 1_000_000) < 100_000
