from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.trace import gather
from chipwatt.agent.trace.formats import kind_of_label
from chipwatt.agent.trace.gather import Gather
from chipwatt.agent.trace.power9 import Power9Accumulator, Power9Sensor
from chipwatt.agent.trace.reader import FORMATS, read_trace
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind

T = 1_700_000_000


def read(tmp_path: Path, text: str) -> tuple[dict[str, list[int]], dict[str, int]]:
    path = tmp_path / "trace"
    path.write_text(text)
    trace = read_trace(path)
    return {d.label: list(d.values) for d in trace.devices}, dict(trace.skipped)


def test_every_kind_of_bad_row_is_counted_under_its_reason(tmp_path: Path) -> None:
    rows = [
        f"{T},card0,100.5",
        f"{T + 1},card0,",
        f"{T + 1},",
        f"{T + 1}",
        f"{T + 1},card0,N/A",
        f"{T + 1},card0,warm",
        f"{T + 1},card0,-3",
        f"{T + 1},card0,99999999",
        "noon,card0,100",
        f"{T},card0,101",
        f"{T - 5},card0,101",
        f"{T - 5},card1,7",
        f'"{T + 2}","card0","102"',
        "",
        f"{T + 3},card0,103,700,extra",
    ]
    values, skipped = read(tmp_path, "timestamp,device,power_watts\n" + "\n".join(rows))
    assert values == {"card0": [100_500, 102_000, 103_000], "card1": [7_000]}
    assert skipped == {
        gather.MISSING: 4, gather.NOT_A_NUMBER: 1, gather.NEGATIVE: 1, gather.IMPOSSIBLE: 1,
        gather.BAD_STAMP: 1, gather.DUPLICATE: 1, gather.BACKWARDS: 1,
    }  # fmt: skip


def test_a_stray_quote_costs_one_row(tmp_path: Path) -> None:
    text = f'Timestamp,Power,Hostname\n{T},1,a\n{T + 1},"2,a\n{T + 2},3,a\n'
    values, skipped = read(tmp_path, text)
    assert (values["a"], skipped) == ([1000, 2000, 3000], {})


def test_mllog_lines_that_are_cut_are_counted(tmp_path: Path) -> None:
    reading = ':::MLLOG {"time_ms": %d, "key": "power_reading", "value": %s, "metadata": {}}'
    text = "\n".join(
        [
            ':::MLLOG {"time_ms": 1, "key": "conversion_eff", "value": 0.94, "metadata": {}}',
            reading % (T * 1000, "8244.25"),
            reading % (T * 1000 + 1000, "null"),
            "noise between the lines",
            ':::MLLOG {"time_ms": 17000000',
            ":::MLLOG [1, 2]",
            ":::MLLOG " + "[" * 100_000,
            reading % (T * 1000 + 2000, "8245"),
        ]
    )
    values, skipped = read(tmp_path, text)
    assert values == {"node": [8_244_250, 8_245_000]}
    assert skipped == {gather.NOT_A_NUMBER: 1, gather.UNREADABLE: 3}


def test_ptdaemon_minus_one_is_missing(tmp_path: Path) -> None:
    text = (
        "Time,03-17-2021 22:48:22.821,Watts,1564.700000,Volts,-1.0\n"
        "Time,03-17-2021 22:48:23.821,Watts,-1.000000,Volts,-1.0\n"
        "Time,03-17-2021,Watts,5\n"
        "Uncertainty is high\n"
        "Time,03-17-2021 22:48:24.821,Watts,1600\n"
    )
    values, skipped = read(tmp_path, text)
    assert values == {"wall": [1_564_700, 1_600_000]}
    assert skipped == {gather.MISSING: 1, gather.BAD_STAMP: 1, gather.UNREADABLE: 1}


def test_power9_runs_become_one_sample_a_renewal() -> None:
    found = Gather()
    lines = ["#sensor_value\t...", "535000000\t1\t120240000\t9", "rubbish\t1\t40080000\t9",
             "537500000\t1\t20000000\t9"]  # fmt: skip
    Power9Sensor().read(lines, found)
    (device,) = found.trace("t", "f").devices
    start = device.stamps_unix_ns[0]
    assert [at - start for at in device.stamps_unix_ns] == [0, 40_080_000, 80_160_000, 160_320_000]
    assert device.values == (535_000, 535_000, 535_000, 537_500)
    assert found.skipped == {gather.NOT_A_NUMBER: 1}


@pytest.mark.parametrize("damaged", ["1\t1", "1\t1\tlong\t1", "1\t1\t0\t1"])
def test_a_run_of_unknown_length_ends_the_reading(damaged: str) -> None:
    with pytest.raises(TraceError, match="line 2 does not tell how long"):
        Power9Accumulator().read(["1\t1\t5\t1", damaged], Gather())


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("gpu/0", DeviceKind.GPU), ("cpu/0", DeviceKind.CPU), ("memory/1", DeviceKind.MEMORY),
        ("rack/7", DeviceKind.OTHER), ("gpu", DeviceKind.OTHER), ("card0", DeviceKind.OTHER),
    ],
)  # fmt: skip
def test_kinds_in_names(label: str, kind: DeviceKind) -> None:
    assert kind_of_label(label) is kind


HEADS = [
    "unix_ns,device,power_mw", "unix_ns,device,energy_uj", "timestamp,device,power_watts",
    "Timestamp (s),Power (mW)", "Timestamp,Power,Hostname", ":::MLLOG {}",
    "Time,03-17-2021 22:48:22.821,Watts,1.0",
    "#sensor_value\tdelta_value\tduration_ns\tduration_samples",
    "#acc_value\tdelta_value\tduration_ns\tduration_samples",
]  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_recognised_by_one_format(head: str) -> None:
    assert sum(each.recognise(head) for each in FORMATS) == 1


@given(head=st.sampled_from(HEADS), body=st.text(max_size=300))
def test_whatever_follows_a_head_is_read_or_refused(head: str, body: str) -> None:
    """Rows are used, counted or refused in a sentence; nothing else is ever raised."""
    lines = [head, *(line + "\n" for line in body.split("\n"))]
    found = Gather()
    for each in FORMATS:
        if each.recognise(head):
            try:
                each.read(lines, found)
                found.trace("t", each.name)
            except TraceError as error:
                assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
