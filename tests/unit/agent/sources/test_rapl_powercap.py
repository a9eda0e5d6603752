from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.sensing.contract import Reading, Sensor, SourceUnavailable, TransientReadError
from chipwatt.agent.sources.rapl_powercap import RaplPowercapConfig, RaplPowercapSource
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.core.model import AbsentReason, Domain, Flag
from fakes.powercap import FakeZone, Player, PowercapTree
from fakes.scenario import ramp, square

NOBODY = 65534


def opened(tree: PowercapTree) -> tuple[RaplPowercapSource, list[Sensor], VirtualClock]:
    source = RaplPowercapSource(RaplPowercapConfig(tree.sysfs, tree.procfs))
    clock = VirtualClock(0)
    source.clock = clock
    return source, list(source.open()), clock


def test_a_server_gives_its_domains_and_adds_up_package_and_dram(powercap: PowercapTree) -> None:
    package = powercap.zone("intel-rapl:0", "package-0", unit_nj=61_035, steps=1_000_000)
    package.constrain(0, max_power_uw=350_000_000)
    powercap.zone("intel-rapl:0:0", "core")
    powercap.zone("intel-rapl:0:1", "dram", unit_nj=15_300)
    powercap.zone("intel-rapl:1", "psys", unit_nj=1_000_000_000)
    powercap.zone("intel-rapl-mmio:0", "package-0")
    source, sensors, clock = opened(powercap)
    clock.sleep_until(7)
    assert [(s.label, str(s.device), s.domain, s.root) for s in sensors] == [
        ("package-0", "cpu/0", Domain.PACKAGE, True),
        ("core", "cpu/0", Domain.CORE, False),
        ("dram", "cpu/0", Domain.DRAM, True),
        ("psys", "board/0", Domain.PSYS, False),
    ]
    assert [(s.modulus_uj, s.resolution_uj) for s in sensors] == [
        (262_143_328_911, 62), (1 << 32, 1), (65_712_999_629, 16),
        (4_294_967_296_000_000, 1_000_000),
    ]  # fmt: skip
    assert [s.max_power_mw for s in sensors] == [600_000, 600_000, 200_000, 2_000_000]
    assert not any(s.flags or s.stamped for s in sensors)
    assert source.poll()[0] == Reading(0, 7, 61_035_000)
    source.close()
    source.close()


def test_the_platform_counts_only_where_no_package_does(powercap: PowercapTree) -> None:
    powercap.zone("intel-rapl:0", "psys")
    _, sensors, _ = opened(powercap)
    assert [(s.domain, s.root) for s in sensors] == [(Domain.PSYS, True)]


@pytest.mark.parametrize(("flags", "expected"), [("sgx", int(Flag.FILTERED)), ("avx", 0)])
def test_energy_filtering_is_said(powercap: PowercapTree, flags: str, expected: int) -> None:
    powercap.cpuinfo(flags=flags)
    powercap.zone("intel-rapl:0", "package-0")
    _, (sensor,), _ = opened(powercap)
    assert sensor.flags == expected


def test_no_zone_is_no_error(powercap: PowercapTree) -> None:
    with pytest.raises(SourceUnavailable, match="no RAPL zone") as caught:
        opened(powercap)
    assert caught.value.reason is AbsentReason.NOT_PRESENT


@contextmanager
def without_privileges() -> Iterator[None]:
    """Drop root for a while: the kernel then checks permissions as for anybody."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_denied_counter_tells_how_to_allow_it() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        tree = PowercapTree(Path(folder))
        zone = tree.zone("intel-rapl:0", "package-0")
        (zone.folder / "energy_uj").chmod(0o000 if os.geteuid() else 0o400)
        with without_privileges(), pytest.raises(SourceUnavailable) as caught:
            opened(tree)
        assert caught.value.reason is AbsentReason.PERMISSION_DENIED
        assert "CAP_DAC_READ_SEARCH" in caught.value.detail
        assert f"chmod 0444 {tree.sysfs}/class/powercap/intel-rapl:*/energy_uj" in str(caught.value)
        tree.close()


def test_a_readable_zone_is_used_though_another_is_denied() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree = PowercapTree(Path(folder))
        (tree.zone("intel-rapl:0", "package-0").folder / "energy_uj").chmod(0o000)
        tree.zone("intel-rapl:0:0", "dram", steps=5)
        with without_privileges():
            source, sensors, _ = opened(tree)
            assert [s.domain for s in sensors] == [Domain.DRAM]
            assert [(r.sensor, r.value) for r in source.poll()] == [(0, 5)]
            (missing,) = source.missing
            assert missing.what == "cpu/0 (package-0)"
            assert missing.reason is AbsentReason.PERMISSION_DENIED
            assert "chmod 0444" in missing.detail
        source.close()
        tree.close()


def test_a_lost_zone_leaves_the_others_alone_and_comes_back(powercap: PowercapTree) -> None:
    package = powercap.zone("intel-rapl:0", "package-0", steps=10)
    dram = powercap.zone("intel-rapl:0:0", "dram", steps=20)
    source, _, clock = opened(powercap)
    assert [tuple(r) for r in source.poll()] == [(0, 0, 10), (1, 0, 20)]
    package.remove()
    for step in range(1, 4):
        dram.advance(1)
        clock.sleep_until(step)
        assert [tuple(r) for r in source.poll()] == [(1, step, 20 + step)]
    package.advance(5)
    package.restore()
    clock.sleep_until(NS_PER_S // 2)
    assert [r.sensor for r in source.poll()] == [1], "opened again once a second, not at each poll"
    clock.sleep_until(2 * NS_PER_S)
    assert [tuple(r) for r in source.poll()] == [(0, 2 * NS_PER_S, 15), (1, 2 * NS_PER_S, 23)]
    source.close()


def test_every_zone_lost_gives_nothing_and_no_error(powercap: PowercapTree) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    source, _, clock = opened(powercap)
    source.poll()
    zone.remove()
    for second in range(5):
        clock.sleep_until(second * NS_PER_S)
        assert source.poll() == []
    zone.restore()
    clock.sleep_until(6 * NS_PER_S)
    assert len(source.poll()) == 1


def test_a_failed_read_is_transient_and_counted(powercap: PowercapTree) -> None:
    package = powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram", steps=3)
    source, _, _ = opened(powercap)
    (package.folder / "energy_uj").write_text("")
    assert [(r.sensor, r.value) for r in source.poll()] == [(1, 3)]
    assert source.transient_errors == 1
    (powercap.zones[1].folder / "energy_uj").write_text("")
    with pytest.raises(TransientReadError, match="energy_uj"):
        source.poll()
    package.restore()
    assert [r.sensor for r in source.poll()] == [0]


def unwrapped(values: list[int], modulus_uj: int) -> int:
    return sum((b - a) % modulus_uj for a, b in pairwise(values))


@settings(max_examples=40, deadline=None)
@given(
    modulus=st.integers(min_value=1_000_000, max_value=100_000_000),
    start=st.integers(min_value=0, max_value=999_999),
    top_mw=st.integers(min_value=1, max_value=400_000),
)
def test_differences_modulo_the_range_are_the_players_truth(
    modulus: int, start: int, top_mw: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = PowercapTree(Path(folder))
        zone = tree.zone("intel-rapl:0", "package-0", modulus_steps=modulus, steps=start)
        player = Player({zone: ramp(0, top_mw, NS_PER_S)})
        source, (sensor,), clock = opened(tree)
        values = [source.poll()[0].value]
        for step in range(1, 1001):  # 1 ms of 400 W is 0.4 J, less than the smallest modulus
            player.advance_to(step * NS_PER_S // 1000)
            clock.sleep_until(step * NS_PER_S // 1000)
            values.append(source.poll()[0].value)
        assert sensor.modulus_uj == modulus
        assert unwrapped(values, sensor.modulus_uj) == zone.true_uj == top_mw * 500
        source.close()
        tree.close()


def test_the_kernels_own_arithmetic_loses_less_than_a_step_over_wraps(
    powercap: PowercapTree,
) -> None:
    zone: FakeZone = powercap.zone("intel-rapl:0", "package-0", unit_nj=61_035)
    source, (sensor,), _ = opened(powercap)
    values = [source.poll()[0].value]
    for _ in range(30):
        zone.advance(1_000_000_007)
        values.append(source.poll()[0].value)
    assert zone.wraps == 6
    assert abs(unwrapped(values, sensor.modulus_uj) - zone.true_uj) <= zone.wraps < 62


def test_a_player_in_real_time_loses_nothing(powercap: PowercapTree) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0", modulus_steps=3_000_000)
    player = Player({zone: square(100_000, 300_000, 10_000_000)})
    source, (sensor,), _ = opened(powercap)
    values = [source.poll()[0].value]
    player.start()
    while zone.wraps < 2:
        values.append(source.poll()[0].value)
    player.stop()
    values.append(source.poll()[0].value)
    assert unwrapped(values, sensor.modulus_uj) == zone.true_uj
