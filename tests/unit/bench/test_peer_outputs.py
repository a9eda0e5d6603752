"""What other tools print: real excerpts of each format, and what must not be taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrology.peer_outputs import (
    Stretch,
    alumet_points,
    alumet_stretch,
    sample,
    zeusd_uj,
)

NODE_EXPORTER = """\
# HELP node_rapl_dram_joules_total Current RAPL dram value in joules
# TYPE node_rapl_dram_joules_total counter
node_rapl_dram_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:0"} 0.24
# HELP node_rapl_package_joules_total Current RAPL package value in joules
# TYPE node_rapl_package_joules_total counter
node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 1.2345e+04
node_rapl_package_joules_total{index="1",path="/sys/class/powercap/intel-rapl:1"} 55
"""
KEPLER = """\
# HELP kepler_node_cpu_joules_total Energy consumption of cpu at node level in joules
# TYPE kepler_node_cpu_joules_total counter
kepler_node_cpu_joules_total{node_name="n",path="/sys/…/intel-rapl:0:0",zone="dram"} 2340
kepler_node_cpu_joules_total{node_name="n",path="/sys/…/intel-rapl:0",zone="package"} 12300
kepler_node_cpu_watts{node_name="n",path="/sys/…/intel-rapl:0",zone="package"} 12
"""
SCAPHANDRE = """\
# HELP scaph_socket_energy_microjoules Socket related energy measurement in microjoules.
# TYPE scaph_socket_energy_microjoules counter
scaph_socket_energy_microjoules{socket_id="1"} 246521945562
scaph_domain_energy_microjoules{domain_name="dram",socket_id="0",domain_id="0"} 7243356492
scaph_socket_energy_microjoules{socket_id="0"} 43038699818
scaph_host_energy_microjoules 346728467994
"""
ZEUSD = """{
  "0": {"cpu_energy_uj": 123456, "dram_energy_uj": 78901},
  "1": {"cpu_energy_uj": 234567, "dram_energy_uj": null}
}"""
HEAD = "metric;timestamp;value;resource_kind;resource_id;consumer_kind;consumer_id"
ALUMET = f"""\
{HEAD};domain;__late_attributes
rapl_consumed_energy_J;2026-01-01T12:00:00.5Z;4.5;cpu_package;0;local_machine;;package;
rapl_consumed_energy_J;2026-01-01T12:00:00.5Z;0.5;cpu_package;1;local_machine;;package;
rapl_consumed_energy_J;2026-01-01T12:00:00.5Z;2.0;cpu_package;0;local_machine;;pp0;
rapl_consumed_energy_J;2026-01-01T12:00:00.5Z;1.0;dram;0;local_machine;;dram;
rapl_consumed_energy_J;2026-01-01T12:00:00.5Z;5.0;local_machine;;local_machine;;package_total;
mem_total_kB;2026-01-01T12:00:00.6Z;8;local_machine;;local_machine;;;
rapl_consumed_energy_J;2026-01-01T12:00:01.500000001Z;7.25;cpu_package;0;local_machine;;package;
"""
NOON_NS = 1_767_268_800_000_000_000


def test_every_package_of_node_exporter_and_no_other_zone() -> None:
    assert sample(NODE_EXPORTER, "node_rapl_package_joules_total") == 12400.0


def test_keplers_package_is_told_from_its_dram() -> None:
    assert sample(KEPLER, "kepler_node_cpu_joules_total", zone="package") == 12300.0


def test_scaphandres_sockets_without_its_domains_or_host() -> None:
    assert sample(SCAPHANDRE, "scaph_socket_energy_microjoules") == 246521945562 + 43038699818


def test_a_sample_without_labels() -> None:
    assert sample(SCAPHANDRE, "scaph_host_energy_microjoules") == 346728467994


@pytest.mark.parametrize(
    ("name", "labels"),
    [("kepler_node_cpu_joules", {}), ("kepler_node_cpu_joules_total", {"zone": "psys"})],
)
def test_a_sample_that_is_not_there_is_an_error_and_not_zero(
    name: str, labels: dict[str, str]
) -> None:
    with pytest.raises(LookupError, match=name):
        sample(KEPLER, name, **labels)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.text("xyz{}, =0"), min_size=1),
    st.floats(0, 1e15),
)
def test_labels_in_any_order_with_any_text(labels: dict[str, str], value: float) -> None:
    line = "m{" + ",".join(f'{key}="{text}"' for key, text in labels.items()) + f"}} {value!r}"
    assert sample(line, "m", **labels) == value


def test_zeusds_packages_without_memory() -> None:
    assert zeusd_uj(ZEUSD) == 123456 + 234567


def test_alumets_packages_add_up_and_nothing_is_counted_twice() -> None:
    assert alumet_points(ALUMET) == [
        (NOON_NS + 500_000_000, 5.0),
        (NOON_NS + 1_500_000_001, 7.25),
    ]


def test_alumets_attribute_that_came_late() -> None:
    text = f"{HEAD};__late_attributes\n"
    text += (
        "rapl_consumed_energy;2026-01-01T12:00:00Z;3;cpu_package;0;local_machine;;domain=package\n"
    )
    assert alumet_points(text) == [(NOON_NS, 3.0)]


def test_the_first_point_inside_brings_no_energy_of_its_own() -> None:
    points = [(10, 1.0), (20, 2.0), (30, 4.0), (40, 8.0)]
    assert alumet_stretch(points, 15, 35) == Stretch(4e6, 20, 30)
    with pytest.raises(LookupError, match="fewer than two"):
        alumet_stretch(points, 35, 45)
