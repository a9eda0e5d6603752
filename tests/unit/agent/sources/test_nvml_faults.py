"""NVML that is lost, reloaded, broken or not there, through the real binding in a child process."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.core.identity import parse_device
from chipwatt.core.model import Domain, GapReason, Interface, Statistic
from fakes import nvml
from fakes.nvml import OPEN, lines, polls
from fakes.scenario import NS_PER_S, FakeDevice, steady

MS = 1_000_000
ENERGY = 0
"""Of the three sensors of a GPU's board the first is its counter."""


@pytest.fixture(autouse=True)
def _library(fake_nvml: Path) -> None:
    assert (fake_nvml / nvml.SONAME).exists()


def heard(row: list[list[int]]) -> list[int]:
    """Return the GPUs that gave all three of their values."""
    positions = [reading[0] for reading in row]
    return [n for n in range(8) if all(3 * n + k in positions for k in range(3))]


def board(plain: dict[str, object]) -> Sensor:
    return Sensor(
        parse_device(str(plain["device"])), Domain.BOARD, Interface.NVML, Quantity.ENERGY_UJ,
        root=True, resolution_uj=1000, refresh_ns=100 * MS, max_power_mw=1_050_000,
    )  # fmt: skip


def test_a_lost_gpu_stops_and_the_others_go_on(tmp_path: Path) -> None:
    gpus = [nvml.gpu(1, steady(1000), lost_at_ns=2 * NS_PER_S), nvml.gpu(2, steady(1000))]
    steps = [OPEN, *polls(1000, 2000, 3000), {"do": "throttle", "at_ns": 3 * NS_PER_S}]
    _, *rows, throttles = nvml.drive(tmp_path, gpus, steps)
    assert [heard(row) for row in rows] == [[0, 1], [1], [1]]
    assert [position for position, _ in throttles] == [3]


def test_a_lost_gpu_is_found_again(tmp_path: Path) -> None:
    times = {"lost_at_ns": 2 * NS_PER_S, "lost_until_ns": 14 * NS_PER_S}
    gpus = [nvml.gpu(1, steady(1000), **times), nvml.gpu(2, steady(1000))]
    _, *rows = nvml.drive(tmp_path, gpus, [OPEN, *polls(1000, 3000, 13_500, 24_000, 24_100)])
    assert [heard(row) for row in rows] == [[0, 1], [1], [1], [0, 1], [0, 1]]


def test_when_all_are_lost_the_source_breaks_and_opens_anew(tmp_path: Path) -> None:
    times = {"lost_at_ns": NS_PER_S, "lost_until_ns": 3 * NS_PER_S}
    steps = [OPEN, *polls(500, 2000), {"do": "close"}, OPEN, {**OPEN, "at_ns": 4 * NS_PER_S}]
    _, good, lost, _, absent, again = nvml.drive(
        tmp_path, [nvml.gpu(1, steady(1000), **times)], [*steps, *polls(5000)]
    )[:6]
    assert heard(good) == [0]
    assert lost["error"] == "RuntimeError"
    assert absent["unavailable"] == "LIBRARY_FAILED"
    assert "GPU 0, which does not answer" in absent["detail"]
    assert len(again) == 3


def test_a_gpu_that_is_lost_at_the_start_is_missing_until_it_answers(tmp_path: Path) -> None:
    times = {"lost_at_ns": 0, "lost_until_ns": 12 * NS_PER_S}
    gpus = [nvml.gpu(1, steady(1000)), nvml.gpu(2, steady(1000), **times)]
    missing = {"do": "missing"}
    steps = [OPEN, missing, *polls(1000, 11_500), missing, *polls(23_000), missing]
    sensors, at_first, *_, later, _, at_last = nvml.drive(tmp_path, gpus, steps)
    assert len(sensors) == 3
    ((what, _, detail),) = at_first
    assert what == "GPU 1"
    assert "nvidia-smi" in detail
    assert later == at_first
    assert at_last == []


def test_an_unknown_error_passes(tmp_path: Path) -> None:
    bad = {"unknown_at_ns": NS_PER_S, "unknown_until_ns": 2 * NS_PER_S}
    both = [nvml.gpu(1, steady(1000), **bad), nvml.gpu(2, steady(1000))]
    _, *rows = nvml.drive(tmp_path / "both", both, [OPEN, *polls(500, 1500, 2500)])
    assert [heard(row) for row in rows] == [[0, 1], [1], [0, 1]]
    _, *rows = nvml.drive(tmp_path / "one", both[:1], [OPEN, *polls(500, 1500, 2500)])
    assert rows[1]["error"] == "TransientReadError"
    assert heard(rows[2]) == [0]


def test_an_unloaded_driver_breaks_the_source(tmp_path: Path) -> None:
    gpus = [nvml.gpu(1, steady(1000), unloaded_at_ns=NS_PER_S)]
    _, row = nvml.drive(tmp_path, gpus, [OPEN, *polls(2000)])
    assert row["error"] == "NVMLError_DriverNotLoaded"


def test_a_driver_reload_starts_the_counter_anew(tmp_path: Path) -> None:
    gpus = [nvml.gpu(1, steady(100_000), reset_at_ns=3 * NS_PER_S)]
    _, *rows = nvml.drive(tmp_path, gpus, [OPEN, *polls(2000, 4000)])
    assert [row[ENERGY][2] for row in rows] == [200_000_000, 100_000_000]


def test_a_reload_breaks_the_source_and_what_reopens_goes_on_in_a_new_epoch(tmp_path: Path) -> None:
    """The driver is gone for 3 s; energy of that time is a gap that contains the truth."""
    gone = {"unloaded_at_ns": 4 * NS_PER_S, "unloaded_until_ns": 7 * NS_PER_S}
    gpus = [nvml.gpu(1, steady(100_000), **gone)]
    before, after = range(0, 4000, 50), range(9000, 20_000, 50)
    early: list[dict[str, Any]] = [
        {"do": "close"},
        {**OPEN, "at_ns": 6 * NS_PER_S},
        {**OPEN, "at_ns": 8 * NS_PER_S},
    ]
    steps = [OPEN, *polls(*before), *polls(5000), *early, *polls(*after)]
    sensors, *rows = nvml.drive(tmp_path, gpus, steps)
    first, (broken, _, absent, reopened), second = rows[:80], rows[80:84], rows[84:]
    assert broken["error"] == "NVMLError_DriverNotLoaded"
    assert absent["unavailable"] == "LIBRARY_FAILED"
    assert lines(reopened) == lines(sensors)
    reducer = Reducer([board(sensors[ENERGY])], mono_ns=0, unix_ns=10**18)
    for row in first:
        reducer.observe(0, *row[ENERGY][1:])
    reducer.lost(0, 5 * NS_PER_S, GapReason.SENSOR_LOST)
    for row in second:
        reducer.observe(0, *row[ENERGY][1:])
    batches = reducer.finish(20 * NS_PER_S)
    windows = [window for records in batches for window in records.windows]
    (gap,) = [gap for records in batches for gap in records.gaps]
    assert len({window.epoch for window in windows}) == 2
    known_uj = sum(window.energy_uj for window in windows)
    span_ns = second[-1][ENERGY][1] - first[0][ENERGY][1]
    truth_uj = 100_000 * span_ns // 10**6
    slack_uj = 100_000 * 200 * MS // 10**6  # two refreshes: where the line begins and ends
    assert known_uj + gap.lower_uj <= truth_uj
    assert truth_uj - slack_uj <= known_uj + gap.upper_uj
    assert all(window.statistic is Statistic.ENERGY for window in windows)
    assert gap.statistic is Statistic.ENERGY


def test_a_reload_while_one_handle_lives_on_is_noticed(tmp_path: Path) -> None:
    """Nobody polled while the driver was away: the old session is dead all the same."""
    gone = {"unloaded_at_ns": 2 * NS_PER_S, "unloaded_until_ns": 2100 * MS}
    gpus = [nvml.gpu(1, steady(100_000), **gone)]
    _, _, broken, _, _, row = nvml.drive(
        tmp_path, gpus, [OPEN, *polls(1000, 3000), {"do": "close"}, OPEN, *polls(4100)]
    )
    assert broken["error"] == "NVMLError_DriverNotLoaded"
    assert row[ENERGY][2] == 200_000_000 - 10_000_000 + 10_000_000


@pytest.mark.parametrize(("code", "gone"), [(15, True), (3, False), (999, False)])
def test_one_value_s_return_code_counts(tmp_path: Path, code: int, gone: bool) -> None:
    """A lost GPU may say so in a single value of a call that succeeds."""
    late = {"field_error_186": code, "field_errors_from_ns": 2 * NS_PER_S}
    gpus = [nvml.gpu(1, steady(1000), **late), nvml.gpu(2, steady(1000))]
    steps = [OPEN, *polls(1000, 2000, 3000), {"do": "errors"}]
    _, *rows, errors = nvml.drive(tmp_path, gpus, steps)
    assert [reading[0] for reading in rows[0]] == [0, 1, 2, 3, 4, 5]
    assert [reading[0] for reading in rows[1]] == ([3, 4, 5] if gone else [0, 2, 3, 4, 5])
    assert errors == (0 if gone else 2)


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        ("9", "LIBRARY_FAILED", "modprobe nvidia"),
        ("18", "LIBRARY_FAILED", "nvidia-smi"),
        ("4", "PERMISSION_DENIED", "/dev/nvidiactl"),
    ],
)
def test_a_library_that_does_not_start(tmp_path: Path, code: str, reason: str, hint: str) -> None:
    (answer,) = nvml.drive(tmp_path, [], [OPEN], {"CHIPWATT_FAKE_NVML_INIT": code})
    assert answer["unavailable"] == reason
    assert hint in answer["detail"]


def test_no_gpu_at_all(tmp_path: Path) -> None:
    (answer,) = nvml.drive(tmp_path, [], [OPEN])
    assert answer["unavailable"] == "NOT_PRESENT"
    assert "lists no GPU" in answer["detail"]


def test_a_library_that_is_there_and_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / nvml.SONAME).write_text("not an ELF file")
    (answer,) = nvml.drive(tmp_path, [], [OPEN], library=tmp_path / "text")
    assert answer["unavailable"] == "LIBRARY_FAILED"
    assert "is on this host and cannot be loaded" in answer["detail"]
    assert "file too short" in answer["detail"] or "ELF" in answer["detail"]


def test_no_library(tmp_path: Path) -> None:
    try:
        ctypes.CDLL(nvml.SONAME)
    except OSError:
        pass
    else:
        pytest.skip("this machine has NVIDIA's library")
    (tmp_path / "empty").mkdir()
    (answer,) = nvml.drive(tmp_path, [], [OPEN], library=tmp_path / "empty")
    assert answer["unavailable"] == "LIBRARY_MISSING"
    assert "comes with the NVIDIA driver" in answer["detail"]


@pytest.mark.parametrize(
    ("module", "reason", "hint"),
    [
        ("raise ImportError", "LIBRARY_MISSING", "pip install 'chipwatt[nvidia]'"),
        ("def nvmlInit(): ...", "LIBRARY_FAILED", "pip uninstall pynvml"),
        (
            "import warnings; warnings.warn('old', FutureWarning)\nraise ImportError",
            "LIBRARY_MISSING", "pip install",
        ),
    ],
)  # fmt: skip
def test_no_binding_or_one_that_hides_it(
    tmp_path: Path, module: str, reason: str, hint: str
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pynvml.py").write_text(module)
    (answer,) = nvml.drive(tmp_path, [], [OPEN], first_on_path=tmp_path / "modules")
    assert answer["unavailable"] == reason
    assert hint in answer["detail"]


def test_a_slow_library_is_slow(tmp_path: Path) -> None:
    """The fake really blocks, which tests of time limits rely on."""
    gpus: list[FakeDevice] = [nvml.gpu(1, steady(1000), slow_ns=20 * MS)]
    _, took = nvml.drive(tmp_path, gpus, [OPEN, {"do": "poll", "timed": True}])
    assert took["took_ns"] >= 20 * MS
