from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.cross_check import cross_check
from chipwatt.agent.sensing.contract import SourceUnavailable
from chipwatt.agent.sources.rapl_powercap import RaplPowercapConfig, RaplPowercapSource
from chipwatt.core.clock import VirtualClock
from fakes.powercap import FakeZone, PowercapTree

STEPS = 5_000_000


class Passing(VirtualClock):
    """A second in which every zone consumes something."""

    def __init__(self, *zones: FakeZone) -> None:
        super().__init__(0)
        self._zones = zones

    def sleep_until(self, mono_ns: int) -> None:
        super().sleep_until(mono_ns)
        for zone in self._zones:
            zone.advance(STEPS)


def reader(tree: PowercapTree) -> RaplPowercapSource:
    return RaplPowercapSource(RaplPowercapConfig(tree.sysfs, tree.procfs))


def test_two_readers_of_one_tree_agree_through_a_wrap(powercap: PowercapTree) -> None:
    package = powercap.zone("intel-rapl:0", "package-0", steps=(1 << 32) - 1000)
    dram = powercap.zone("intel-rapl:0:0", "dram", steps=77)
    compared = cross_check(reader(powercap), reader(powercap), Passing(package, dram))
    assert package.wraps == 1
    assert [(c.device, c.domain) for c in compared] == [("cpu/0", "PACKAGE"), ("cpu/0", "DRAM")]
    for each in compared:
        assert (each.ours_uj, each.theirs_uj, each.agrees) == (STEPS, STEPS, True)


def test_a_reader_of_something_else_is_found_out(tmp_path: Path) -> None:
    trees = [PowercapTree(tmp_path / name) for name in ("a", "b")]
    own, other = (
        tree.zone("intel-rapl:0", "package-0", steps=start)
        for tree, start in zip(trees, (1000, 999), strict=True)
    )
    own_only = trees[0].zone("intel-rapl:0:0", "dram")
    (compared,) = cross_check(reader(trees[0]), reader(trees[1]), Passing(own, other, own_only))
    assert not compared.agrees, "a value from before our own reading"
    for tree in trees:
        tree.close()


def test_a_reader_that_does_not_open_closes_both(powercap: PowercapTree, tmp_path: Path) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    ours = reader(powercap)
    nobody = RaplPowercapSource(RaplPowercapConfig(tmp_path / "none", tmp_path))
    with pytest.raises(SourceUnavailable):
        cross_check(ours, nobody, VirtualClock(0))
    assert ours.poll() == [], "closed"
