from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.model import Trace, TraceDevice
from chipwatt.agent.trace.reader import read_trace
from chipwatt.agent.trace.writer import own_label, write_trace
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind

T0 = 1_700_000_000_000_000_000


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    quantity = draw(st.sampled_from(Quantity))
    labels = draw(st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True))
    devices = []
    for number, label in enumerate(labels):
        offsets = draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=20, unique=True))
        values = draw(st.lists(st.integers(0, 10**9), min_size=len(offsets), max_size=len(offsets)))
        stamps = tuple(T0 + offset for offset in sorted(offsets))
        kind = draw(st.sampled_from(DeviceKind))
        devices.append(TraceDevice(f"{number}{label}", kind, quantity, stamps, tuple(values)))
    return Trace("t", "f", tuple(devices), {})


@given(traces())
def test_what_was_written_is_read_back_sample_for_sample(trace: Trace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        write_trace(trace, path)
        again = read_trace(path)
    assert again.skipped_rows == 0
    assert len(again.devices) == len(trace.devices)
    for device in trace.devices:
        found = again.device(own_label(device).strip())
        assert (found.kind, found.quantity) == (device.kind, device.quantity)
        assert (found.stamps_unix_ns, found.values) == (device.stamps_unix_ns, device.values)
        assert found.energy_uj == device.energy_uj


def test_rows_are_in_order_of_time(tmp_path: Path) -> None:
    gpus = (DeviceKind.GPU, Quantity.POWER_MW)
    devices = (
        TraceDevice("card0", *gpus, (T0, T0 + 20), (1, 3)),
        TraceDevice("gpu/1", *gpus, (T0 + 10,), (2,)),
    )
    write_trace(Trace("t", "f", devices, {}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == (
        f"unix_ns,device,power_mw\n{T0},gpu/card0,1\n{T0 + 10},gpu/1,2\n{T0 + 20},gpu/card0,3\n"
    )


def test_gauges_and_counters_do_not_mix(tmp_path: Path) -> None:
    devices = tuple(
        TraceDevice(str(q), DeviceKind.CPU, q, (T0,), (1,)) for q in Quantity
    )  # fmt: skip
    with pytest.raises(TraceError, match="not both"):
        write_trace(Trace("t", "f", devices, {}), tmp_path / "t.csv")
    with pytest.raises(TraceError, match="cannot be written"):
        write_trace(Trace("t", "f", devices[:1], {}), tmp_path)
