"""A recorded trace through everything: what is stored is what the trace says, to the µJ."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from e2e.programs import Collector, chipwatt, data_dir, no_traceback

pytestmark = pytest.mark.e2e
MI300X = "mi300x_8gpu_llama31-8b_bs1_6s.csv"


def _trapezoids_uj(path: Path) -> tuple[dict[str, int], int]:
    """The trace's integrals and its unusable rows, by nothing of ours."""
    series: dict[str, list[tuple[Fraction, Fraction]]] = {}
    skipped = 0
    with path.open(newline="") as file:
        for row in list(csv.reader(file))[1:]:
            if len(row) >= 3 and row[1] and row[2]:
                series.setdefault(row[1], []).append((Fraction(row[0]), Fraction(row[2])))
            else:
                skipped += 1
    sums = {}
    for device, samples in series.items():
        joules = sum((p0 + p1) / 2 * (t1 - t0) for (t0, p0), (t1, p1) in pairwise(samples))
        sums[device] = int(joules * 1_000_000)
    return sums, skipped


def test_the_mi300x_trace_to_the_microjoule() -> None:
    path = data_dir() / "power" / MI300X
    if not path.exists():
        pytest.skip(f"recorded traces are not here: {path}; set CHIPWATT_DATA")
    result = chipwatt("replay", path, "--speed", "max", "--json")
    assert result.returncode == 0, result.stderr
    no_traceback(result.stdout, result.stderr)
    answer = json.loads(result.stdout.splitlines()[-1])
    truth, skipped = _trapezoids_uj(path)
    assert answer["skipped_rows"] == skipped == 509
    assert set(answer["devices"]) == {f"card{number}" for number in range(8)}
    for label, energy_uj in truth.items():
        assert answer["devices"][label] == {
            "stored_uj": energy_uj, "trace_uj": energy_uj, "rounded_to_mw": False, "rounding_uj": 0,
        }  # fmt: skip


def _write(path: Path, rows: list[tuple[object, ...]]) -> Path:
    lines = ["unix_ns,device,power_mw", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def _small(tmp_path: Path) -> Path:
    start_ns = 1_700_000_000 * 10**9
    rows: list[tuple[object, ...]] = []
    for step in range(400):
        power_mw = 100_000 + 50_000 * (step // 7 % 2) + step
        rows.append((start_ns + step * 100_000_000, "gpu/0", power_mw))
        if step % 3 == 0:
            rows.append((start_ns + step * 100_000_000 + 17, "cpu/0", 40_000 + step % 11))
    rows.insert(200, (start_ns, "gpu/0", ""))
    return _write(tmp_path / "small.csv", rows)


def test_human_form_and_what_is_kept(tmp_path: Path) -> None:
    trace = _small(tmp_path)
    kept = tmp_path / "kept"
    first = chipwatt("replay", trace, "--state-dir", kept)
    assert first.returncode == 0, first.stderr
    assert "skipped 1 rows" in first.stdout
    assert "equal to the microjoule" in first.stdout
    again = chipwatt("replay", trace, "--state-dir", kept, "--json")
    assert again.returncode == 0, "a second replay into the same store counts only its own"
    with Collector(tmp_path / "look", "127.0.0.1:0", None, "--state-dir", kept / "collector") as it:
        hosts = chipwatt("hosts", "--collector", it.address, "--json")
        assert json.loads(hosts.stdout)["devices"] == 2


def test_real_time_is_as_exact_as_full_speed(tmp_path: Path) -> None:
    result = chipwatt("replay", _small(tmp_path), "--speed", "20", "--json")
    assert result.returncode == 0, result.stderr
    for device in json.loads(result.stdout.splitlines()[-1])["devices"].values():
        assert device["stored_uj"] == device["trace_uj"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "the file is empty"),
        ("hello\nworld\n", "unknown trace format"),
        ("unix_ns,device,power_mw\n1,cpu/0,\n", "no usable row"),
    ],
)
def test_a_bad_trace_is_one_sentence(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    result = chipwatt("replay", path)
    assert result.returncode == 65
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_trace_and_a_bad_speed(tmp_path: Path) -> None:
    missing = chipwatt("replay", tmp_path / "nowhere.csv")
    assert "cannot be read" in missing.stderr
    assert missing.returncode == 65
    speed = chipwatt("replay", _small(tmp_path), "--speed", "warp")
    assert "speed" in speed.stderr
    assert len(speed.stderr.splitlines()) == 1


def test_digits_below_a_milliwatt_are_said_to_be_rounded(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    rows = "".join(f"{1_700_000_000 + k},{5000 + k}.4\n" for k in range(30))
    path.write_text("Timestamp (s),Power (mW)\n" + rows)
    result = chipwatt("replay", path, "--json")
    assert result.returncode == 0, result.stderr
    board = json.loads(result.stdout)["devices"]["board"]
    assert board["stored_uj"] == board["trace_uj"]
    assert (board["rounded_to_mw"], board["rounding_uj"]) == (True, 29 * 400)
    shown = chipwatt("replay", path)
    assert "board is played in whole mW" in shown.stdout
    assert "+11600 µJ beside the above" in shown.stdout


def test_a_long_hole_and_a_stamp_far_ahead_cost_what_they_must(tmp_path: Path) -> None:
    start_ns = 1_700_000_000 * 10**9
    stamps = [start_ns + n * 10**8 for n in (*range(100), *range(600, 700))]
    rows: list[tuple[object, ...]] = [(stamp, "gpu/0", 300_000) for stamp in stamps]
    rows.insert(20, (start_ns + 600 * 10**9, "gpu/0", 300_000))
    result = chipwatt("replay", _write(tmp_path / "hole.csv", rows))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped 1 rows: time stamp far ahead of those that follow" in result.stdout
    assert "holes in the recording: 1, the longest 50.1 s; 1 of more than 30 s" in result.stdout
    assert str(2 * 99 * 30_000_000) in result.stdout
