"""Every recorded file, with counts and sums computed from the text in another way."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.gather import DUPLICATE, MISSING
from chipwatt.agent.trace.reader import read_trace
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind

MI300X = "mi300x_8gpu_llama31-8b_bs1_6s.csv"


def trapezoid_uj(samples: list[tuple[Fraction, Fraction]]) -> int:
    """Energy of (seconds, watts) samples, in fractions of decimals; no integer of ours is used."""
    pairs = pairwise(samples)
    joules = sum(((p0 + p1) / 2 * (t1 - t0) for (t0, p0), (t1, p1) in pairs), Fraction())
    return int(joules * 1_000_000 // 1)


def test_mi300x_with_its_dirty_rows(data_dir: Path) -> None:
    path = data_dir / "power" / MI300X
    trace = read_trace(path)
    assert trace.skipped == {MISSING: 509}
    assert [d.label for d in trace.devices] == [f"card{n}" for n in range(8)]
    assert all(d.kind is DeviceKind.GPU and len(d.values) == 509 for d in trace.devices)
    assert sum(len(d.values) for d in trace.devices) == 4072
    values = [value for d in trace.devices for value in d.values]
    assert (min(values), max(values)) == (138_000, 751_000)
    assert trace.end_unix_ns - trace.start_unix_ns == 2598 * 10**9
    for device in trace.devices:
        rows = re.findall(rf"^(\d+),{device.label},([\d.]+)", path.read_text(), re.MULTILINE)
        assert trace.trapezoid_uj(device.label) == trapezoid_uj(
            [(Fraction(t), Fraction(p)) for t, p in rows]
        )


def test_jetson(data_dir: Path) -> None:
    trace = read_trace(data_dir / "power" / "jetson_ina3221_resnet50_12ms.csv")
    (board,) = trace.devices
    assert (len(board.values), trace.skipped_rows) == (3744, 0)
    assert (min(board.values), max(board.values)) == (4991, 5884)
    assert board.kind is DeviceKind.BOARD
    assert 11_500_000 < board.refresh_ns < 11_700_000


def test_mlperf_training_node(data_dir: Path) -> None:
    name = "mlperf_train_v5.0_8xB200_llama2-70b-lora_node_1s.mllog.txt"
    path = data_dir / "power" / name
    trace = read_trace(path)
    (node,) = trace.devices
    assert (node.label, len(node.values), trace.skipped_rows) == ("node_0", 624, 0)
    assert (min(node.values), max(node.values)) == (3_049_000, 10_096_000)
    found = re.findall(r'"time_ms": (\d+).*"power_reading", "value": ([\d.]+)', path.read_text())
    rows = [(Fraction(t) / 1000, Fraction(p)) for t, p in found]
    assert node.energy_uj == trapezoid_uj(rows)


def test_spec_ptdaemon(data_dir: Path) -> None:
    trace = read_trace(
        data_dir / "power" / "mlperf_inf_v1.0_dgx-a100_bert99_server_wall_1s.spl.txt"
    )
    (wall,) = trace.devices
    assert (wall.label, len(wall.values), trace.skipped_rows) == ("wall", 680, 0)
    assert (min(wall.values), max(wall.values)) == (1_564_700, 3_590_200)
    assert (wall.stamps_unix_ns[1] - wall.stamps_unix_ns[0]) == 1_015_000_000


def test_power9_sensor(data_dir: Path) -> None:
    trace = read_trace(data_dir / "power" / "power9_occ_hwmon_sensor_runs.tsv")
    (occ,) = trace.devices
    assert (min(occ.values), max(occ.values), trace.skipped_rows) == (521_000, 572_000, 0)
    assert len(occ.values) == 1796, "1176 runs of 1 to 11 renewals"
    assert len(occ.values) == round(71_975_149_803 / 40_075_500)
    assert abs(occ.refresh_ns - 40_080_000) < 10_000


def test_power9_accumulator(data_dir: Path) -> None:
    trace = read_trace(data_dir / "power" / "power9_occ_accumulator_runs.tsv")
    (occ,) = trace.devices
    assert (occ.quantity, occ.resolution_uj) == (Quantity.ENERGY_UJ, 500)
    assert (len(occ.values), trace.skipped_rows) == (1577, 0)
    assert occ.energy_uj == (14_099_345_499_566 - 14_099_279_038_081) * 500
    seconds = (trace.end_unix_ns - trace.start_unix_ns) / 1e9
    assert 521 < occ.energy_uj / 1e6 / seconds < 572, "in the range that the power sensor shows"


@pytest.mark.parametrize(
    ("name", "rows", "duplicates"),
    [
        ("node171_default", 859, 1),
        ("node171_peaks", 772, 1),
        ("node68_default", 805, 0),
        ("node68_peaks", 702, 0),
    ],
)
def test_peaks_by_ipmi(data_dir: Path, name: str, rows: int, duplicates: int) -> None:
    trace = read_trace(data_dir / "placement" / f"peaks_{name}_ipmi_1hz.csv")
    (node,) = trace.devices
    assert len(node.values) == rows - duplicates
    assert trace.skipped == ({DUPLICATE: duplicates} if duplicates else {})


def test_phase_means_are_refused_with_a_reason(data_dir: Path) -> None:
    with pytest.raises(TraceError, match=r"psu_phases\.tsv: a table of means .* no time series"):
        read_trace(data_dir / "power" / "power9_occ_vs_psu_phases.tsv")


@pytest.mark.parametrize("name", ["azure_llm_2023_conv.csv", "splitwise_perf_model.csv"])
def test_files_that_are_no_traces_are_refused(data_dir: Path, name: str) -> None:
    with pytest.raises(TraceError, match="unknown trace format"):
        read_trace(data_dir / "placement" / name)


def test_an_unknown_file_is_told_the_known_formats(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\x7fELF\x02\x00\xff\xfe" * 10)
    with pytest.raises(TraceError) as caught:
        read_trace(tmp_path / "x.csv")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/x.csv: unknown trace format (the file begins with '?ELF")
    assert "unix_ns,device,power_mw" in text
    assert "MLPerf" in text
    assert "\n" not in text


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        read_trace(tmp_path / "absent.csv")
    with pytest.raises(TraceError, match="cannot be read: Is a directory"):
        read_trace(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TraceError, match="the file is empty"):
        read_trace(tmp_path / "empty.csv")


def test_a_file_without_one_good_row_says_why(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("unix_ns,device,power_mw\n5,gpu/0,100\n,gpu/0,1\n")
    with pytest.raises(TraceError, match=r"no usable row .*1 x no usable time stamp, 1 x missing"):
        read_trace(tmp_path / "t.csv")


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeffTimestamp,Power,Hostname\r\n1729285272,189,a\r\n1729285273,190,a\r\n"
    (tmp_path / "t.csv").write_text(text, newline="")
    (node,) = read_trace(tmp_path / "t.csv").devices
    assert node.values == (189_000, 190_000)
