from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.topology import Breaker, NodeKind, Parent, Redundancy
from chipwatt.collector.placement.topology_file import load_topology, parse_topology
from chipwatt.collector.placement.topology_node import parse_power_mw
from chipwatt.core.errors import TopologyError

GOOD = """\
[[node]]
id = "hall"
kind = "site"
budget = "1.2MW"
safety_margin = 0.05

[[node]]
id = "pdu-a"
kind = "pdu"
parents = [{ id = "hall", feed = "A" }]
rated = "40kW"
derate = 0.8
breaker = { trip_curve = "iec-very-inverse", continuous = "34kW" }
redundancy = "N+1"

[[node]]
id = "pdu-b"
kind = "pdu"
parents = ["hall"]

[[node]]
id = "n1"
kind = "host"
parents = [{ id = "pdu-a", feed = "A", share = 0.6 }, { id = "pdu-b", feed = "B", share = 0.4 }]
rated = "10200W"
host = "00112233445566778899aabbccddeeff"
thermal_zone = "aisle-3"
hw_class = "hgx-h100"
labels = { room = "3" }

[[node]]
id = "n1-gpu-0"
kind = "chip"
parents = ["n1"]
rated = "700W"
"""
EXAMPLE = Path(__file__).parents[4] / "packaging" / "config" / "topology.toml"


def refusal(text: str) -> str:
    with pytest.raises(TopologyError) as caught:
        parse_topology(text, "site.toml")
    return str(caught.value)


def outcome(text: str) -> str:
    """Return how the refusal of ``text`` begins; nothing where it is right."""
    try:
        parse_topology(text, "t")
    except TopologyError as error:
        return str(error)[:2]
    return ""


def test_reads_every_field() -> None:
    topology = parse_topology(GOOD, "site.toml")
    by_id = {node.id: node for node in topology.nodes}
    assert by_id["hall"].budget_mw == 1_200_000_000
    assert by_id["hall"].allowed_mw == 1_140_000_000
    assert by_id["pdu-a"].rated_mw == 40_000_000
    assert by_id["pdu-a"].budget_mw == 32_000_000
    assert by_id["pdu-a"].parents == (Parent("hall", "A"),)
    assert by_id["pdu-b"].budget_mw == 0
    host = by_id["n1"]
    assert host.kind is NodeKind.HOST
    assert host.parents == (Parent("pdu-a", "A", 600_000), Parent("pdu-b", "B", 400_000))
    assert host.host == "00112233445566778899aabbccddeeff"
    assert (host.thermal_zone, host.hw_class, host.labels) == ("aisle-3", "hgx-h100", {"room": "3"})
    assert by_id["pdu-a"].derate_ppm == 800_000
    assert by_id["pdu-a"].breaker == Breaker("iec-very-inverse", 34_000_000)
    assert by_id["pdu-a"].redundancy is Redundancy.N_PLUS_1
    assert (by_id["pdu-b"].breaker, by_id["pdu-b"].redundancy) == (None, Redundancy.UNSPECIFIED)
    assert by_id["n1-gpu-0"].kind is NodeKind.CHIP


def test_the_shipped_example_is_right() -> None:
    topology = load_topology(EXAMPLE)
    assert {node.kind for node in topology.nodes} >= {NodeKind.SITE, NodeKind.HOST, NodeKind.RACK}
    assert any(len(node.parents) == 2 for node in topology.nodes)


def test_shares_left_out_are_even_and_whole() -> None:
    nodes = "".join(f'[[node]]\nid = "f{i}"\nkind = "feed"\n' for i in range(3))
    text = nodes + '[[node]]\nid = "h"\nkind = "host"\nparents = ["f0", "f1", "f2"]\n'
    shares = [p.share_ppm for p in parse_topology(text, "t").nodes[-1].parents]
    assert sum(shares) == 1_000_000
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '["hall"]',
            '["hal"]',
            "site.toml:17: node 'pdu-b' has an unknown parent 'hal'; did you mean 'hall'?",
        ),
        ('id = "pdu-b"', 'id = "hall"', "site.toml:17: the id 'hall' is taken by an earlier node"),
        (
            'kind = "site"',
            'kind = "site"\nparents = ["n1"]',
            "site.toml:2: node 'hall' hangs on 'n1', a host, which feeds nobody",
        ),
        ("0.4 }", "0.3 }", "site.toml:22: node 'n1': the shares of its parents sum to 0.9, not 1"),
        ('"40kW"', '"-40kW"', "site.toml:8: node 'pdu-a': rated: power must be above 0"),
        ('"40kW"', "40", "site.toml:8: node 'pdu-a': rated: power is text with a unit"),
        ('"40kW"', '"40kVA"', "rated: power is text with a unit"),
        ("derate", "derrate", "unknown key 'derrate'; did you mean 'derate'?"),
        ('kind = "host"', 'kind = "server"', "kind 'server' is not one of site, feed"),
        ("0.05", "1.5", "safety_margin is a number from 0 to 1"),
        ("0.05", "nan", "safety_margin is a number from 0 to 1"),
        ("0.05", "true", "safety_margin is a number from 0 to 1"),
        ('rated = "40kW"', 'rated = "40kW"\nbudget = "50kW"', "budget '50kW' is above its rating"),
        ('rated = "40kW"', 'host = "x"', "only a node of kind 'host' has a host"),
        ('id = "hall"\n', "", "site.toml:1: a node has no id"),
        ('id = "hall"', "id = 7", "site.toml:2: id is text, not 7"),
        ('"N+1"', '"3N"', "site.toml:8: node 'pdu-a': redundancy '3N' is not one of N, N+1, 2N"),
        ('"34kW"', '"-1W"', "node 'pdu-a': breaker: continuous: power must be above 0"),
        ("trip_curve", "curve", "unknown key 'curve'; did you mean 'trip_curve'?"),
        ('room = "3"', "room = 3", "labels: 'room' is text, not 3"),
        ('parents = ["n1"]', 'parents = ["hall"]', "'n1-gpu-0' hangs on 'hall'; a chip hangs on a"),
        ('parents = ["n1"]', "parents = []", "node 'n1-gpu-0' is a chip, which hangs on one host"),
        ('kind = "site"', 'kind = "site"\nparents = ["n1-gpu-0"]', "a chip, which feeds nobody"),
        ("[[node]]\nid", "[[nodes]]\nid", "unknown key 'nodes'; did you mean 'node'?"),
        ('["hall"]', '"hall"', "parents is a list"),
        ('["hall"]', '["hall", "hall"]', "parent 'hall' stands there twice"),
        ('["hall"]', "[3]", "a parent is an id or"),
        ('["hall"]', '[{ id = "hall", shar = 1 }]', "unknown key 'shar'; did you mean 'share'?"),
        ('kind = "pdu"', 'kind = "pdu', "not valid TOML"),
        (
            "iec-very-inverse",
            "iec-very-inversed",
            "site.toml:8: node 'pdu-a': breaker: trip_curve 'iec-very-inversed' is none of iec-st",
        ),
        (
            "iec-very-inverse",
            "iec-very-inversed",
            "may end in @ and its time multiplier; did you mean 'iec-very-inverse'?",
        ),
        ("iec-very-inverse", "C63", "multiplier; leave it out where the curve is another"),
        ("iec-very-inverse", "iec-very-inverse@-1", "site.toml:8: node 'pdu-a': breaker: trip_c"),
        (', continuous = "34kW"', "", "breaker: it trips at nothing without continuous"),
        ('"hall"', '"a\\u001b[31m"', "an id is at most 253 printable characters, not 'a\\x1b[31m'"),
        ('"hall"', f'"{"h" * 254}"', "site.toml:2: an id is at most 253 printable characters"),
        ('"aisle-3"', '"a\\u0000"', "thermal_zone is at most 253 printable characters"),
        ('room = "3"', 'room = "\\n"', "room is at most 253 printable characters"),
    ],
)
def test_refuses_with_place_and_reason(old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in refusal(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("hosts", "shown"), [(("n", "n"), "'n'"), (("ab" * 16, "AB" * 16), repr("AB" * 16))]
)
def test_one_host_behind_two_nodes(hosts: tuple[str, str], shown: str) -> None:
    text = "".join(
        f'[[node]]\nid = "n{i}"\nkind = "host"\nhost = "{host}"\n' for i, host in enumerate(hosts)
    )
    message = refusal(text)
    assert f"site.toml:6: node 'n1': its host {shown} stands behind node 'n0' (line 2)" in message


@pytest.mark.parametrize("step", [1, -1])
def test_a_long_chain_takes_no_long_time(step: int) -> None:
    count = 3_000
    tables = [
        f'[[node]]\nid = "n{i}"\nkind = "pdu"\n' + (f'parents = ["n{i - 1}"]\n' if i else "")
        for i in range(count)
    ]
    began_s = time.process_time()
    assert len(parse_topology("".join(tables[::step]), "t").nodes) == count
    assert time.process_time() - began_s < 3


def test_nested_beyond_reason() -> None:
    assert "not valid TOML: nested too deeply" in refusal("a = " + "[" * 5_000)
    with pytest.raises(TopologyError, match="cannot be read: that is no path"):
        load_topology(Path("with\0nul"))


def test_prints_a_circle() -> None:
    text = "".join(
        f'[[node]]\nid = "{child}"\nkind = "pdu"\nparents = ["{parent}"]\n'
        for child, parent in (("a", "b"), ("b", "c"), ("c", "a"), ("leaf", "a"))
    )
    message = refusal(text)
    assert "nodes feed each other in a circle: a -> b -> c -> a" in message
    assert message.startswith("site.toml:2:")


def test_an_empty_or_missing_file(tmp_path: Path) -> None:
    assert refusal("") == "site.toml: it holds no [[node]]"
    with pytest.raises(TopologyError, match="cannot be read: No such file"):
        load_topology(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"id = '\xe9'")
    with pytest.raises(TopologyError, match="no UTF-8"):
        load_topology(tmp_path / "latin.toml")


@given(st.integers(1, 10**15), st.sampled_from(["mW", "W", "kW", "MW"]))
def test_power_is_exact(power_mw: int, unit: str) -> None:
    factor = {"mW": 1, "W": 10**3, "kW": 10**6, "MW": 10**9}[unit]
    assert parse_power_mw(f"{Decimal(power_mw) / factor:f}{unit}") == power_mw


@pytest.mark.parametrize("text", ["0W", "0.1mW", "1 kw", "", "W", "1e3W", "9" * 5_000 + "MW", None])
def test_power_that_is_none(text: object) -> None:
    with pytest.raises(ValueError, match=r"power|milliwatts"):
        parse_power_mw(text)


@given(st.text(max_size=200))
def test_no_text_makes_a_traceback(text: str) -> None:
    assert outcome(text) in ("", "t:")


_value = st.one_of(
    st.sampled_from(['"a"', '"b"', '"site"', '"host"', '"1kW"', "0.5", "-1", "true", "[]", "{}"]),
    st.sampled_from(['["a"]', '[{ id = "b", share = 0.5 }]', "[[1]]", "1979-05-27", "inf"]),
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "kind", "parents", "rated", "budget", "derate", "host"]), _value
        ),
        max_size=4,
    )
)
def test_no_toml_makes_a_traceback(tables: list[dict[str, str]]) -> None:
    text = "".join(
        "[[node]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
        for table in tables
    )
    assert outcome(text) in ("", "t:")
