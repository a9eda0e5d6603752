from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from chipwatt.agent.sensing.contract import Quantity, Reading, SourceUnavailable
from chipwatt.agent.sources.replay import ReplayConfig, ReplaySource, speed_of
from chipwatt.agent.trace.reader import read_trace
from chipwatt.core import settings
from chipwatt.core.clock import VirtualClock
from chipwatt.core.errors import ConfigError, TraceError
from chipwatt.core.model import AbsentReason, Flag

T0 = 1_700_000_000_000_000_000
S = 1_000_000_000


def written(folder: Path, rows: Sequence[tuple[int, str, int]], column: str = "power_mw") -> Path:
    path = folder / "t.csv"
    lines = [f"unix_ns,device,{column}", *(f"{T0 + t},{d},{p}" for t, d, p in rows)]
    path.write_text("\n".join(lines))
    return path


ROWS = [
    (0, "gpu/a", 10),
    (0, "gpu/b", 20),
    (S, "gpu/a", 30),
    (S + 5, "gpu/b", 70),
    (3 * S, "cpu/0", 5),
]


def test_every_sample_comes_once_at_its_own_time(tmp_path: Path) -> None:
    source = ReplaySource(ReplayConfig(written(tmp_path, ROWS), "max"))
    sensors = source.open()
    assert [(str(s.device), s.label) for s in sensors] == [
        ("gpu/0", "gpu/a"), ("gpu/1", "gpu/b"), ("cpu/0", "cpu/0"),
    ]  # fmt: skip
    assert all(s.stamped and s.root and s.flags == Flag.REPLAYED for s in sensors)
    assert sensors[1].max_power_mw == 140
    clock = source.clock
    assert isinstance(clock, VirtualClock)
    assert (clock.unix_ns(), source.next_due_ns(), source.exhausted) == (T0, 0, False)
    assert source.poll() == [Reading(0, 0, 10), Reading(1, 0, 20)]
    assert source.poll() == []
    assert source.next_due_ns() == S
    clock.sleep_until(S)
    assert source.poll() == [Reading(0, S, 30)]
    clock.sleep_until(9 * S)
    assert source.poll() == [Reading(1, S + 5, 70), Reading(2, 3 * S, 5)], (
        "a late poll loses nothing"
    )
    assert (source.exhausted, source.next_due_ns(), source.end_mono_ns) == (True, None, 3 * S)


def test_jumping_from_sample_to_sample_plays_the_recorded_trace_whole(data_dir: Path) -> None:
    path = data_dir / "power" / "mi300x_8gpu_llama31-8b_bs1_6s.csv"
    source = ReplaySource(ReplayConfig(path, "max"))
    sensors = source.open()
    seen: list[Reading] = []
    polls = 0
    while (due_ns := source.next_due_ns()) is not None:
        source.clock.sleep_until(due_ns)
        seen.extend(source.poll())
        polls += 1
    assert (len(seen), polls, source.exhausted) == (4072, 509, True)
    assert [r.mono_ns for r in seen] == sorted(r.mono_ns for r in seen)
    trace = read_trace(path)
    for position, sensor in enumerate(sensors):
        device = trace.device(sensor.label)
        mine = [(r.mono_ns + trace.start_unix_ns, r.value) for r in seen if r.sensor == position]
        assert mine == list(zip(device.stamps_unix_ns, device.values, strict=True))
        assert sensor.max_power_mw == 2 * max(device.values)


def test_a_counter_is_replayed_as_one(data_dir: Path) -> None:
    path = data_dir / "power" / "power9_occ_accumulator_runs.tsv"
    (sensor,) = ReplaySource(ReplayConfig(path)).open()
    assert (sensor.quantity, sensor.resolution_uj, sensor.modulus_uj) == (
        Quantity.ENERGY_UJ,
        500,
        0,
    )
    assert 521_000 < sensor.max_power_mw // 2 < 600_000


def test_a_speed_paces_the_trace(tmp_path: Path) -> None:
    source = ReplaySource(ReplayConfig(written(tmp_path, ROWS), "60"))
    source.open()
    began_ns = time.monotonic_ns()
    source.clock.sleep_until(3 * S)
    assert time.monotonic_ns() - began_ns >= 3 * S // 60
    assert len(source.poll()) == len(ROWS)
    assert source.clock.unix_ns() >= T0 + 3 * S


def test_what_surrounds_the_chips_is_not_added_to_them(tmp_path: Path) -> None:
    rows = [(0, "gpu/0", 1), (0, "board/0", 1), (0, "module/0", 1), (0, "memory/0", 1)]
    sensors = ReplaySource(ReplayConfig(written(tmp_path, rows))).open()
    assert [s.root for s in sensors] == [True, False, False, True]
    sensors = ReplaySource(ReplayConfig(written(tmp_path, rows[1:2]))).open()
    assert [s.root for s in sensors] == [True]


def test_without_a_file_it_is_not_needed() -> None:
    source = ReplaySource(ReplayConfig())
    with pytest.raises(SourceUnavailable, match=r"sources\.replay\.file") as caught:
        source.open()
    assert caught.value.reason is AbsentReason.NOT_NEEDED
    assert not source.exhausted
    source.close()


def test_a_bad_file_is_a_trace_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        _ = ReplaySource(ReplayConfig(tmp_path / "absent.csv")).clock


@pytest.mark.parametrize(("text", "speed"), [("1", 1), ("60", 60), ("0.5", Fraction(1, 2))])
def test_speeds(text: str, speed: Fraction) -> None:
    assert speed_of(text) == speed
    assert speed_of("max") is None


@pytest.mark.parametrize("text", ["0", "-1", "fast", "", "1e3"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"speed is a number from 0\.000001 to 1000000"):
        settings.build(ReplayConfig, {"speed": text}, "test")
