"""What a broken counter or gauge can show, through real sources into the real reducer.

The rows of the table of bad input that sensors can cause: a counter that drops,
an impossible spike, a sensor that is stuck. Text that is no number is in
``test_bad_sensor_text``, what can be wrong on the wire in the collector's
``test_bad_wire_input``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.sources.hwmon import HwmonConfig, HwmonSource
from chipwatt.agent.sources.rapl_powercap import RaplPowercapConfig, RaplPowercapSource
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Flag, GapReason
from fakes.books import Books
from fakes.hwmon import add_chip
from fakes.powercap import FakeZone, Player, PowercapTree
from fakes.scenario import steady
from fakes.sensed import Sensed, sense

S = NS_PER_S
POWER_MW = 100_000
UNIT_NJ = 61_035
TERAWATTS_UJ = 3_690_000_000_000 * 10_000
"""What 3.69 TW would consume in the 10 ms between two polls (seen in the field)."""
SENTINELS = (2**63 - 16, 2**47, 2**32 - 1, 2**64 - 1, TERAWATTS_UJ, 10**22)


def package(tree: PowercapTree, steps: int = 0, unit_nj: int = UNIT_NJ) -> FakeZone:
    return tree.zone("intel-rapl:0", "package-0", unit_nj=unit_nj, steps=steps)


def source_of(tree: PowercapTree) -> RaplPowercapSource:
    return RaplPowercapSource(RaplPowercapConfig(tree.sysfs, tree.procfs))


def played(tree: PowercapTree, until_ns: int, **events: object) -> Sensed:
    """Sense every zone at 100 W; ``events`` are ``t<ms>=callable``."""
    player = Player({zone: steady(POWER_MW) for zone in tree.zones})
    due = {int(key[1:]) * 1_000_000: event for key, event in events.items()}
    return sense(source_of(tree), until_ns, player.advance_to, due)  # type: ignore[arg-type]


def assert_truth(line: Books, truth_uj: int, step_uj: int = 62) -> None:
    """The truth lies within what was sent, up to the counter's own step."""
    assert line.lower_uj - step_uj <= truth_uj <= line.upper_uj + step_uj


def test_a_wrap_loses_nothing_and_is_no_reset(powercap: PowercapTree) -> None:
    zone = package(powercap, steps=(1 << 32) - 5_000_000)
    line = played(powercap, 20 * S).only()
    assert zone.wraps == 1
    assert line.gaps == []
    assert len({w.epoch for w in line.windows}) == 1
    assert abs(line.known_uj - zone.true_uj) <= 1


@pytest.mark.parametrize("to_steps", [0, 1, 4_000_000])
def test_a_reset_is_a_gap_and_no_phantom_wrap(powercap: PowercapTree, to_steps: int) -> None:
    zone = package(powercap, steps=100_000_000)
    line = played(powercap, 20 * S, t7000=lambda: zone.reset(to_steps)).only()
    (gap,) = line.gaps
    assert gap.reason is GapReason.COUNTER_RESET
    assert gap.duration_ns <= 2 * 10_000_000
    assert line.windows[-1].epoch > line.windows[0].epoch
    assert sum(bool(w.flags & Flag.EPOCH_START) for w in line.windows) == 2
    assert_truth(line, zone.true_uj)
    assert line.upper_uj - line.lower_uj < 200_000_000, "262 kJ is what a wrap would have added"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "", None, str(2**50)])
def test_a_counter_that_drops_with_no_or_a_wrong_range(
    powercap: PowercapTree, text: str | None
) -> None:
    """Whether it wrapped cannot be told, so it is a gap: never negative, never 2^64."""
    zone = package(powercap, steps=(1 << 32) - 5_000_000)
    path = zone.folder / "max_energy_range_uj"
    path.unlink()
    if text is not None:
        path.write_text(text)
    line = played(powercap, 20 * S).only()
    assert zone.wraps == 1
    assert [gap.reason for gap in line.gaps] == [GapReason.COUNTER_RESET]
    assert all(0 <= w.energy_uj <= w.cumulative_uj for w in line.windows)
    assert_truth(line, zone.true_uj)


def test_a_range_below_the_counter_itself_is_told_and_costs_no_energy(
    powercap: PowercapTree, caplog: pytest.LogCaptureFixture
) -> None:
    zone = package(powercap, steps=100_000_000)
    (zone.folder / "max_energy_range_uj").write_text("1000")
    line = played(powercap, 12 * S).only()
    assert line.gaps == []
    assert_truth(line, zone.true_uj)
    (warning,) = caplog.messages
    assert f"{zone.folder.name}: energy_uj shows 6103500000" in warning
    assert "max_energy_range_uj 1000" in warning


@pytest.mark.parametrize("value", SENTINELS)
def test_one_impossible_value_of_a_counter_is_dropped_and_counted(
    powercap: PowercapTree, value: int
) -> None:
    zone = package(powercap, steps=1_000_000)

    def spike() -> None:
        (zone.folder / "energy_uj").write_text(str(value))

    sensed = played(powercap, 20 * S, t7000=spike)
    line = sensed.only()
    assert sensed.dropped() == 1
    assert line.gaps == []
    assert abs(line.known_uj - zone.true_uj) <= 62
    assert max(w.profile.max_mw or 0 for w in line.windows) <= POWER_MW * 21 // 20


@pytest.mark.parametrize("value", SENTINELS)
def test_a_sentinel_that_stays_does_not_become_energy(powercap: PowercapTree, value: int) -> None:
    zone = package(powercap, steps=1_000_000)
    player = Player({zone: steady(POWER_MW)})

    def at(now_ns: int) -> None:
        player.advance_to(now_ns)
        if 5 * S <= now_ns < 8 * S:
            (zone.folder / "energy_uj").write_text(str(value).ljust(60))
        elif now_ns == 8 * S:
            (zone.folder / "energy_uj").write_text(str(zone.energy_uj).ljust(60))

    sensed = sense(source_of(powercap), 20 * S, at)
    line = sensed.only()
    assert sensed.dropped() == 300
    assert_truth(line, zone.true_uj)
    assert line.upper_uj == line.lower_uj, "the counter itself tells what was consumed meanwhile"
    assert any(w.flags & Flag.PARTIAL for w in line.windows)


@pytest.mark.parametrize("value", [2**32 - 1, 2**37])
def test_a_sentinel_as_the_very_first_value(powercap: PowercapTree, value: int) -> None:
    zone = package(powercap, steps=1_000_000)
    (zone.folder / "max_energy_range_uj").write_text("0")
    player = Player({zone: steady(POWER_MW)})

    def at(now_ns: int) -> None:
        player.advance_to(now_ns)
        if now_ns < 50_000_000:
            (zone.folder / "energy_uj").write_text(str(value))

    line = sense(source_of(powercap), 20 * S, at).only()
    assert_truth(line, zone.true_uj)
    assert line.known_uj <= zone.true_uj


@pytest.mark.parametrize(
    "value_uw", [3_690_000_000_000 * 10**6, 2**63 - 16, 2**47, 2**32 - 1, 2**64 - 1, -(2**31)]
)
def test_an_impossible_value_of_a_gauge(tmp_path: Path, value_uw: int) -> None:
    """The bound is 1.5 times the board's largest cap, 600 W here; 4294967295 µW are 4.3 kW."""
    files = {"power1_input": "100000000", "power1_cap_max": "400000000"}
    folder = add_chip(tmp_path, 0, "amdgpu", files, device="0000:c1:00.0")
    gauge = folder / "power1_input"

    def at(now_ns: int) -> None:
        spiking = 7 * S <= now_ns < 7 * S + 50_000_000
        gauge.write_text(str(value_uw if spiking else POWER_MW * 1000))

    sensed = sense(HwmonSource(HwmonConfig(sysfs=tmp_path)), 20 * S, at)
    line = sensed.only()
    assert sensed.dropped() == 5
    assert line.gaps == []
    assert line.known_uj == 20 * POWER_MW * 1000
    assert {w.profile.max_mw for w in line.windows} == {POWER_MW}
    assert all(
        peak in (None, POWER_MW)
        for w in line.windows
        for peak in (w.profile.peak_10ms_mw, w.profile.peak_100ms_mw, w.profile.peak_1s_mw)
    )


def test_a_counter_that_is_stuck_while_its_sibling_moves(powercap: PowercapTree) -> None:
    stuck, moving = package(powercap), powercap.zone("intel-rapl:1", "package-1", unit_nj=UNIT_NJ)
    load = steady(POWER_MW)
    players = [Player({zone: load}) for zone in (stuck, moving)]

    def at(now_ns: int) -> None:
        players[1].advance_to(now_ns)
        if not 20 * S <= now_ns < 40 * S:
            players[0].advance_to(now_ns)

    lines = list(sense(source_of(powercap), 60 * S, at).lines.values())
    suspect = [bool(w.flags & Flag.SUSPECT) for w in lines[0].windows]
    assert suspect == [False, False, True, False, False], "one long window while it stood still"
    assert not any(w.flags & Flag.SUSPECT for w in lines[1].windows)
    for line in lines:
        assert abs(line.known_uj - stuck.true_uj) <= 62, "what it owed comes when it moves again"


def test_counters_that_all_stand_still_are_an_idle_machine(powercap: PowercapTree) -> None:
    package(powercap)
    powercap.zone("intel-rapl:1", "package-1")
    sensed = sense(source_of(powercap), 30 * S, lambda _: None)
    for line in sensed.lines.values():
        assert line.known_uj == 0
        assert not any(w.flags & Flag.SUSPECT for w in line.windows)
