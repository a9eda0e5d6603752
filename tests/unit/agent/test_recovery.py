"""A sensor that falls silent is told to the reducer and to a person, once each way."""

from __future__ import annotations

import logging

import pytest

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.recovery import Silence
from chipwatt.agent.refresh import RefreshMeter
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Interface


def test_lost_and_back_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sensor = Sensor(
        DeviceId(DeviceKind.GPU), Domain.BOARD, Interface.NVML, Quantity.POWER_MW, root=True
    )
    reducer = Reducer([sensor], window_ns=NS_PER_S, batch_ns=NS_PER_S, mono_ns=0, unix_ns=0)
    meter = RefreshMeter(0, stamped=False)
    silence = Silence(reducer, [0], [meter], 0, ["gpu/0 board (nvml)"])
    for second in range(30):
        if second < 3 or second >= 20:
            meter.see(second * NS_PER_S, second)
        silence.check(second * NS_PER_S, NS_PER_S // 10, stalled=False)
    assert [record.getMessage() for record in caplog.records] == [
        "gpu/0 board (nvml): no reading for 6.0 s; it counts as lost",
        "gpu/0 board (nvml): back after 18.0 s without a reading",
    ]
