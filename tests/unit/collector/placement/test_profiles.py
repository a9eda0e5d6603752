from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement import profiles as profiles_module
from chipwatt.collector.placement.class_sums import OCCUPANCY_PARTS, POWER_CLASSES, ClassSums
from chipwatt.collector.placement.demand import DemandShape, shape_of
from chipwatt.collector.placement.phases import ClassProfile, Phase, profile_of
from chipwatt.collector.placement.profiles import MIN_WINDOWS, Profiles, WorkloadWindow
from chipwatt.core.coarse import NOBODY
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb

CLASS = bytes(range(16))
MINUTE_NS = 60_000_000_000
LIMIT_MW = 400_000
A_JOULE_STEP_UJ = 1_000_000_000
"""A kilojoule, as G2 has it for a device of 800 W."""


def window_of(
    shares: Sequence[float] | Array,
    number: int = 0,
    *,
    limit_mw: int = LIMIT_MW,
    swing_class: int = 0,
    hw_class: str = "a100",
    class_id: bytes = CLASS,
    workload_id: bytes = NOBODY,
) -> WorkloadWindow:
    """Reduce a minute of power, as shares of the limit, to what leaves a host."""
    power = np.asarray(shares, dtype=np.float64)
    classes = np.clip((power * POWER_CLASSES).astype(int), 0, POWER_CLASSES - 1)
    times = np.bincount(classes, minlength=POWER_CLASSES) * OCCUPANCY_PARTS / len(power)
    parts = np.floor(times).astype(int)
    for k in np.argsort(parts - times, kind="stable")[: OCCUPANCY_PARTS - parts.sum()]:
        parts[k] += 1
    energy_uj = int(power.mean() * limit_mw * 60_000)
    return WorkloadWindow(
        class_id=class_id,
        hw_class=hw_class,
        start_unix_ns=number * MINUTE_NS,
        duration_ns=MINUTE_NS,
        energy_uj=round(energy_uj / A_JOULE_STEP_UJ) * A_JOULE_STEP_UJ,
        occupancy=tuple(parts.tolist()),
        swing_class=swing_class,
        limit_mw=limit_mw,
        workload_id=workload_id,
    )


windows = st.lists(
    st.builds(
        window_of,
        st.lists(st.floats(0.0, 1.1), min_size=32, max_size=64),
        st.integers(0, 50),
        limit_mw=st.integers(10_000, 1_000_000),
        swing_class=st.integers(0, 3),
    ),
    min_size=MIN_WINDOWS,
    max_size=12,
)


def learned(path: Path, *given: WorkloadWindow) -> ClassProfile | None:
    profiles = Profiles(path)
    profiles.learn(given)
    try:
        return profiles.profile(CLASS, "a100")
    finally:
        profiles.close()


def sure(profile: ClassProfile | None) -> ClassProfile:
    assert profile is not None
    return profile


def test_phases_are_those_of_the_wire() -> None:
    for phase in Phase:
        assert int(pb.Phase.Value(f"PHASE_{phase.name}")) == phase


def test_four_windows_say_nothing_and_five_do(tmp_path: Path) -> None:
    four = [window_of([0.5] * 60, n) for n in range(MIN_WINDOWS - 1)]
    assert learned(tmp_path / "a", *four) is None
    profile = sure(learned(tmp_path / "b", *four, window_of([0.5] * 60, 9)))
    assert profile.windows == MIN_WINDOWS
    assert profile.last_seen_unix_ns == 10 * MINUTE_NS


def splitwise_phases(data_dir: Path) -> tuple[float, float]:
    """Return the mean power of prefill and decode on A100, as shares of the limit."""
    path = data_dir / "placement" / "splitwise_perf_model.csv"
    with path.open() as file:
        rows = [r for r in csv.DictReader(file) if float(r["peak_power"]) > 0]
    busy = [r for r in rows if int(r["prompt_size"]) >= 256 and r["hardware"].startswith("a100")]
    prefill = np.mean([float(r["peak_power"]) for r in busy])
    decode = np.mean([float(r["average_power"]) for r in busy])
    return float(prefill), float(decode)


def test_serving_shows_its_levels(tmp_path: Path, data_dir: Path) -> None:
    prefill, decode = splitwise_phases(data_dir)
    rng = np.random.default_rng(3)
    given = []
    for number in range(20):
        course = rng.choice([0.2, decode, prefill], p=[0.2, 0.6, 0.2], size=6_000)
        given.append(window_of(course, number))
    profile = sure(learned(tmp_path / "p", *given))
    levels = {level.phase: level for level in profile.phases}
    assert set(levels) == {Phase.IDLE, Phase.DECODE, Phase.PREFILL}
    for phase, level, share in (
        (Phase.DECODE, decode, 0.6),
        (Phase.PREFILL, prefill, 0.2),
        (Phase.IDLE, 0.2, 0.2),
    ):
        assert levels[phase].level_mw == pytest.approx(level * LIMIT_MW, abs=LIMIT_MW / 16)
        assert levels[phase].share_ppm == pytest.approx(share * 1e6, abs=1e6 / 16)
    mean = 0.2 * 0.2 + 0.6 * decode + 0.2 * prefill
    assert profile.mean_mw == pytest.approx(mean * LIMIT_MW, rel=0.05)
    assert profile.peak_mw >= prefill * LIMIT_MW
    assert profile.swing_class == 0


def test_training_shows_its_swing(tmp_path: Path) -> None:
    square = np.tile(np.repeat([0.95, 0.45], [7, 3]), 600)
    given = [window_of(square, n, swing_class=3) for n in range(6)]
    given.append(window_of([0.5] * 60, 7, swing_class=0))
    profile = sure(learned(tmp_path / "p", *given))
    assert profile.swing_class == 3
    assert [level.phase for level in profile.phases] == [Phase.TRAIN_COMM, Phase.TRAIN_COMPUTE]
    assert profile.duty_ppm == pytest.approx(600_000, abs=40_000)
    assert profile.peak_mw == LIMIT_MW


def test_workloads_that_run_at_once_show_how_their_peaks_meet(tmp_path: Path) -> None:
    together = [window_of([0.8] * 60, n // 2) for n in range(40)]
    assert sure(learned(tmp_path / "a", *together)).coincidence_ppm == 1_000_000
    turns = [window_of([0.8 if n % 2 else 0.2] * 60, n // 2) for n in range(40)]
    profile = sure(learned(tmp_path / "b", *turns))
    assert profile.coincidence_ppm == pytest.approx(625_000, abs=60_000)
    alone = [window_of([0.8] * 60, n) for n in range(40)]
    assert sure(learned(tmp_path / "c", *alone)).coincidence_ppm == 1_000_000


@given(windows)
def test_a_profile_holds_together(given: list[WorkloadWindow]) -> None:
    sums = ClassSums()
    for window in given:
        sums.add(window)
    profile = profile_of(CLASS, "a100", sums)
    assert sum(profile.occupancy_ppm) == 1_000_000
    assert sum(level.share_ppm for level in profile.phases) == 1_000_000
    assert profile.p50_mw <= profile.p99_mw <= profile.peak_mw
    assert 0 <= profile.mean_mw <= profile.peak_mw
    highest = max(w.limit_mw * (w.peak_class + 1) / POWER_CLASSES for w in given)
    assert profile.peak_mw >= highest - 1  # never thought to draw less than it did
    assert 0 <= profile.duty_ppm <= 1_000_000
    assert 0 < profile.coincidence_ppm <= 1_000_000


@given(windows)
def test_sums_survive_the_disk(given: list[WorkloadWindow]) -> None:
    sums = ClassSums()
    for window in given:
        sums.add(window)
    row = sums.pack()
    again = ClassSums.unpack(row)
    assert profile_of(CLASS, "x", again) == profile_of(CLASS, "x", sums)
    assert len(row) == len(ClassSums().pack())


def test_the_heaviest_windows_fit_their_row() -> None:
    heavy = WorkloadWindow(
        class_id=CLASS,
        hw_class="",
        start_unix_ns=(1 << 62) - 1,
        duration_ns=600_000_000_000,
        energy_uj=2 * MAX_POWER_MW * 600_000,
        occupancy=(0, 0, 0, 0, 0, 0, 0, 32),
        swing_class=3,
        limit_mw=MAX_POWER_MW,
    )
    sums = ClassSums()
    for _ in range(3_000):
        sums.add(heavy)
        assert sums.pack()
    assert profile_of(CLASS, "", sums).mean_mw == MAX_POWER_MW
    assert sums.windows == 3_000


def test_what_a_class_was_gives_way_to_what_it_is(tmp_path: Path) -> None:
    high, low = window_of([0.9] * 60), window_of([0.3] * 60)
    old = [replace(high, start_unix_ns=n * MINUTE_NS) for n in range(1_500)]
    new = [replace(low, start_unix_ns=n * MINUTE_NS) for n in range(1_500, 6_500)]
    profile = sure(learned(tmp_path / "p", *old, *new))
    assert profile.p99_mw <= LIMIT_MW * 3 // 8
    assert profile.mean_mw == pytest.approx(0.3 * LIMIT_MW, rel=0.1)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path / "placement.sqlite")
    profiles.learn(window_of([0.5] * 60, n) for n in range(7))
    profiles.learn([window_of([0.7] * 60, 3, hw_class="h100")])
    before = list(profiles.all())
    profiles.close()
    again = Profiles(tmp_path / "placement.sqlite")
    assert list(again.all()) == before
    assert {p.hw_class for p in before} == {"a100", ""}
    again.close()


def test_classes_not_seen_for_longest_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles_module, "MAX_PROFILES", 4)
    profiles = Profiles(tmp_path / "placement.sqlite")
    for number in range(5):
        name = number.to_bytes(16, "big")
        profiles.learn(window_of([0.5] * 60, number * 10 + n, class_id=name) for n in range(5))
    kept = [p.class_id for p in profiles.all("a100")]
    assert kept == [n.to_bytes(16, "big") for n in (3, 4)]
    profiles.close()
    again = Profiles(tmp_path / "placement.sqlite")
    assert [p.class_id for p in again.all("a100")] == kept
    again.close()


def test_a_demand_takes_its_power_from_its_class(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path / "placement.sqlite")
    profiles.learn(window_of([0.5] * 60, n, swing_class=2) for n in range(5))
    known = sure(profiles.profile(CLASS, "a100"))
    demand = pb.Demand(class_id=CLASS.hex(), replicas=3)
    wanted = DemandShape(known.mean_mw, known.peak_mw, 2, 3, in_phase=True)
    assert shape_of(demand, profiles, "a100") == wanted
    assert shape_of(demand, profiles, "h100") == wanted  # as on all hardware together
    profiles.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_id": b"short"},
        {"hw_class": "x" * 65},
        {"duration_ns": MINUTE_NS - 1},
        {"duration_ns": 11 * MINUTE_NS},
        {"start_unix_ns": -1},
        {"energy_uj": -1},
        {"energy_uj": LIMIT_MW * 60_000 * 3},
        {"occupancy": (32,)},
        {"occupancy": (33, 0, 0, 0, 0, 0, 0, -1)},
        {"occupancy": (31, 0, 0, 0, 0, 0, 0, 0)},
        {"swing_class": 4},
        {"limit_mw": 0},
        {"limit_mw": MAX_POWER_MW + 1},
    ],
)
def test_a_window_of_another_shape_is_refused(wrong: dict[str, object]) -> None:
    right = window_of([0.5] * 60)
    fields = {name: getattr(right, name) for name in WorkloadWindow.__slots__}
    with pytest.raises(ValueError, match=r"\d"):
        WorkloadWindow(**{**fields, **wrong})


def test_sums_of_before_peaks_were_kept_count_every_minute_as_high() -> None:
    sums = ClassSums()
    for number, share in enumerate((0.3, 0.3, 0.9)):
        sums.add(window_of([share] * 60, number))
    assert ClassSums.unpack(sums.pack()).peaks == [0, 0, 2, 0, 0, 0, 0, 1]
    old = ClassSums.unpack(sums.pack()[: -8 * POWER_CLASSES])
    assert old.peaks == [0, 0, 0, 0, 0, 0, 0, 3]
    assert old.occupancy == sums.occupancy


@settings(deadline=None)
@given(windows, st.sampled_from([60, 600, 3_600]), st.floats(0.5, 0.999))
def test_class_peaks_hold_on_what_was_seen(
    given: list[WorkloadWindow], horizon_s: int, quantile: float
) -> None:
    sums = ClassSums()
    for window in given:
        sums.add(window)
    profile = profile_of(CLASS, "a100", sums)
    peak_mw = profile.peak_within_mw(horizon_s, quantile)
    assert profile.p50_mw <= peak_mw <= profile.peak_mw
    assert peak_mw >= profile.peak_within_mw(60, quantile) >= profile.peak_within_mw(60, 0.5)
    highest = [w.limit_mw * (w.peak_class + 1) / POWER_CLASSES for w in given]
    over = sum(mw > peak_mw for mw in highest) / len(highest)
    assert over <= 1.0 - quantile
