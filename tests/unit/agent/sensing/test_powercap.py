from __future__ import annotations

import pytest

from chipwatt.agent.sensing.powercap import find_zones
from fakes.powercap import PowercapTree


def found(tree: PowercapTree) -> list[tuple[str, str, str]]:
    zones = find_zones(tree.sysfs / "class" / "powercap")
    return [(zone.name, str(zone.device), zone.domain.name) for zone in zones]


def test_a_two_socket_server_with_everything(powercap: PowercapTree) -> None:
    for package in range(2):
        powercap.zone(f"intel-rapl:{package}", f"package-{package}")
        powercap.zone(f"intel-rapl:{package}:0", "core")
        powercap.zone(f"intel-rapl:{package}:1", "dram")
    powercap.zone("intel-rapl:2", "psys")
    powercap.zone("intel-rapl-mmio:0", "package-0")
    powercap.zone("intel-rapl-mmio:0:0", "dram")
    assert found(powercap) == [
        ("package-0", "cpu/0", "PACKAGE"),
        ("core", "cpu/0", "CORE"),
        ("dram", "cpu/0", "DRAM"),
        ("package-1", "cpu/1", "PACKAGE"),
        ("core", "cpu/1", "CORE"),
        ("dram", "cpu/1", "DRAM"),
        ("psys", "board/0", "PSYS"),
    ]


def test_dies_are_devices(powercap: PowercapTree) -> None:
    names = ["package-0-die-0", "package-0-die-1", "package-1-die-0", "package-1-die-1"]
    for number, name in enumerate(names):
        powercap.zone(f"intel-rapl:{number}", name)
    powercap.zone("intel-rapl:3:0", "dram")
    assert [device for _, device, _ in found(powercap)] == [
        "cpu/0", "cpu/1", "cpu/2", "cpu/3", "cpu/3",
    ]  # fmt: skip


def test_zones_are_ordered_by_number_not_by_letter(powercap: PowercapTree) -> None:
    for number in range(12):
        powercap.zone(f"intel-rapl:{number}", f"package-{number}")
    assert [device for _, device, _ in found(powercap)] == [f"cpu/{n}" for n in range(12)]


def test_the_memory_mapped_copy_serves_where_it_is_alone(powercap: PowercapTree) -> None:
    powercap.zone("intel-rapl-mmio:0", "package-0")
    assert found(powercap) == [("package-0", "cpu/0", "PACKAGE")]


def test_a_tree_without_the_flat_links_is_found(powercap: PowercapTree) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "dram")
    for link in (powercap.sysfs / "class" / "powercap").iterdir():
        if ":" in link.name:
            link.unlink()
    assert [name for name, _, _ in found(powercap)] == ["package-0", "dram"]


def test_unknown_zones_are_left_alone(powercap: PowercapTree) -> None:
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "something-new")
    powercap.zone("dtpm:0", "soc")
    assert [name for name, _, _ in found(powercap)] == ["package-0"]


@pytest.mark.parametrize(
    ("limits_uw", "expected_mw"),
    [
        ({}, 600_000),
        ({"max_power_uw": 500_000_000}, 750_000),
        ({"max_power_uw": 125_000_000, "power_limit_uw": 4_095_875_000}, 6_143_812),
        ({"max_power_uw": 10**18}, 50_000_000),
    ],
)
def test_largest_possible_power(
    powercap: PowercapTree, limits_uw: dict[str, int], expected_mw: int
) -> None:
    powercap.zone("intel-rapl:0", "package-0").constrain(0, **limits_uw)
    (zone,) = find_zones(powercap.sysfs / "class" / "powercap")
    assert zone.max_power_mw() == expected_mw


def test_a_range_that_the_counter_has_passed_is_not_believed(powercap: PowercapTree) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0", steps=5000)
    (found_zone,) = find_zones(powercap.sysfs / "class" / "powercap")
    assert found_zone.beyond_range() == ""
    assert found_zone.modulus() == (1 << 32, 1)
    (zone.folder / "max_energy_range_uj").write_text("5000\n")
    assert found_zone.beyond_range() == "", "the range is the largest value"
    assert found_zone.modulus() == (5001, 1)
    zone.advance(1)
    assert "energy_uj shows 5001, beyond max_energy_range_uj 5000" in found_zone.beyond_range()
    assert found_zone.modulus() == (0, 1)
