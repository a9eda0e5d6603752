"""A powercap tree whose player knows the truth: wraps, a reset and a file that goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from chipwatt.core.model import Flag, GapReason
from chipwatt.core.records import DeviceWindow, Gap
from e2e.programs import NS, Agent, Collector, energy_uj, no_traceback, until
from fakes.powercap import FakeZone, Player, PowercapTree
from fakes.scenario import steady

pytestmark = pytest.mark.e2e
MODULUS_STEPS = 1_000_000_000
"""1 kJ of 1 µJ steps: at 500 W a wrap every two seconds."""
LOAD_MW = 500_000


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[PowercapTree]:
    made = PowercapTree(tmp_path / "machine")
    made.cpuinfo()
    yield made
    made.close()


def settings(tree: PowercapTree) -> dict[str, object]:
    own = {"sysfs": tree.sysfs, "procfs": tree.procfs}
    return {"sensing": {"sources": ["rapl_powercap"]}, "sources": {"rapl_powercap": own}}


def play(zone: FakeZone, seconds: float) -> None:
    """Consume for a while, in real time."""
    player = Player({zone: steady(LOAD_MW)})
    player.start()
    time.sleep(seconds)
    player.stop()


def rest(seconds: float = 0.5) -> None:
    """Let the agent see the counters stand still, so that nothing happens unseen."""
    time.sleep(seconds)


def run(tmp_path: Path, tree: PowercapTree, script: object) -> tuple[list[DeviceWindow], list[Gap]]:
    """Play ``script`` before an agent and return what a collector stored of it."""
    assert callable(script)
    with Collector(tmp_path / "collector") as collector, collector.client() as client:
        with Agent(tmp_path / "agent", collector.address, settings(tree)) as agent:
            until(lambda: client.status().host_seconds_stored > 0, what="the first second")
            script()
            rest()
            assert agent.stop() == 0
        status = agent.status()
        assert status["spool"]["unacked"] == 0, status
        host = next(client.hosts()).host_id
        stored = list(client.windows(host)), list(client.gaps(host))
        no_traceback(agent.said(), collector.said())
    return stored


def test_two_wraps_and_a_reset_are_exact(tmp_path: Path, tree: PowercapTree) -> None:
    zone = tree.zone("intel-rapl:0", "package-0", modulus_steps=MODULUS_STEPS, steps=400_000_000)

    def script() -> None:
        play(zone, 4.0)
        assert zone.wraps == 2
        rest()
        zone.reset()
        rest()
        play(zone, 1.0)

    windows, gaps = run(tmp_path, tree, script)
    assert zone.resets == 1
    assert sum(window.energy_uj for window in windows) == zone.true_uj
    epochs = sorted({window.epoch for window in windows})
    assert len(epochs) == 2, "a wrap ends no epoch, a reset does"
    for epoch in epochs:
        mine = [window for window in windows if window.epoch == epoch]
        assert all(window.energy_uj >= 0 for window in mine)
        for before, after in pairwise(mine):
            assert after.cumulative_uj - before.cumulative_uj == after.energy_uj
    first_of_second = min(w.start_mono_ns for w in windows if w.epoch == epochs[1])
    starts = [w for w in windows if w.flags & Flag.EPOCH_START and w.epoch == epochs[1]]
    assert [window.start_mono_ns for window in starts] == [first_of_second]
    resets = [gap for gap in gaps if gap.reason is GapReason.COUNTER_RESET]
    assert len(resets) == 1
    assert resets[0].lower_uj == 0, "nothing was consumed there, and the bounds allow it"
    highest_mw = max(window.profile.max_mw or 0 for window in windows)
    assert highest_mw < 2 * LOAD_MW, "no phantom power"


def test_a_counter_file_that_goes_away_and_comes_back(tmp_path: Path, tree: PowercapTree) -> None:
    package = tree.zone("intel-rapl:0", "package-0")
    other = tree.zone("intel-rapl:1", "package-1")

    def script() -> None:
        play(package, 0.5)
        rest()
        package.remove()
        play(other, 2.5)
        package.restore()
        rest(1.5)
        play(package, 0.5)

    windows, gaps = run(tmp_path, tree, script)
    sums: dict[int, int] = {}
    for window in windows:
        sums[window.device.ordinal] = sums.get(window.device.ordinal, 0) + window.energy_uj
    lost_uj = [gap for gap in gaps if gap.device.ordinal == 0]
    assert sums[1] == other.true_uj, "the other zone is not touched"
    assert not [gap for gap in gaps if gap.device.ordinal == 1]
    low_uj = sums[0] + sum(gap.lower_uj for gap in lost_uj)
    high_uj = sums[0] + sum(gap.upper_uj for gap in lost_uj)
    assert low_uj <= package.true_uj <= high_uj
    if not lost_uj:
        assert sums[0] == package.true_uj


def test_nested_domains_are_stored_but_added_once(tmp_path: Path, tree: PowercapTree) -> None:
    package = tree.zone("intel-rapl:0", "package-0")
    core = tree.zone("intel-rapl:0:0", "core")
    dram = tree.zone("intel-rapl:0:1", "dram")

    def script() -> None:
        loads = {package: steady(90_000), core: steady(60_000), dram: steady(11_000)}
        player = Player(loads)
        player.start()
        time.sleep(1.5)
        player.stop()

    with Collector(tmp_path / "collector") as collector, collector.client() as client:
        with Agent(tmp_path / "agent", collector.address, settings(tree)) as agent:
            until(lambda: client.status().host_seconds_stored > 0, what="the first second")
            script()
            rest()
            agent.stop()
        stored = energy_uj(client)
        assert stored == {
            "cpu/0 package": package.true_uj,
            "cpu/0 core": core.true_uj,
            "cpu/0 dram": dram.true_uj,
        }
        status = client.status()
        assert status.root_energy_uj == package.true_uj + dram.true_uj
        host = next(client.hosts()).host_id
        seconds = list(client.host_seconds(host))
        of_seconds_mj = sum(s.cpu_mj + s.memory_mj for s in seconds)
        total_mj = (package.true_uj + dram.true_uj) / 1000
        assert of_seconds_mj == pytest.approx(total_mj, abs=2 * len(seconds))
        assert all(second.duration_ns < 2 * NS for second in seconds)
