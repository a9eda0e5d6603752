"""The same topology in YAML: the same nodes, the same refusals, the right lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.topology_file import load_topology, parse_topology
from chipwatt.core.errors import TopologyError
from unit.collector.placement.test_topology_file import GOOD as GOOD_TOML

GOOD = """\
# The same hall.
node:
  - kind: site
    id: hall
    budget: 1.2MW
    safety_margin: 0.05
  - id: pdu-a
    kind: pdu
    parents: [{id: hall, feed: A}]
    rated: 40kW
    derate: 0.8
    breaker: {trip_curve: iec-very-inverse, continuous: 34kW}
    redundancy: N+1
  - {id: pdu-b, kind: pdu, parents: [hall]}
  - id: n1
    kind: host
    parents:
      - {id: pdu-a, feed: A, share: 0.6}
      - {id: pdu-b, feed: B, share: 0.4}
    rated: 10200W
    host: 00112233445566778899aabbccddeeff
    thermal_zone: aisle-3
    hw_class: hgx-h100
    labels: {room: "3"}
  - {id: n1-gpu-0, kind: chip, parents: [n1], rated: 700W}
"""


def refusal(text: str, path: str = "site.yaml") -> str:
    with pytest.raises(TopologyError) as caught:
        parse_topology(text, path)
    return str(caught.value)


def outcome(text: str) -> str:
    """Return how the refusal of ``text`` begins; nothing where it is right."""
    try:
        parse_topology(text, "t.yaml")
    except TopologyError as error:
        return str(error)[:7]
    return ""


def test_reads_the_same_nodes_as_toml(tmp_path: Path) -> None:
    wanted = parse_topology(GOOD_TOML, "site.toml").nodes
    assert parse_topology(GOOD, "site.yaml").nodes == wanted
    path = tmp_path / "SITE.YML"
    path.write_text(GOOD)
    assert load_topology(path).nodes == wanted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[hall]", "[hal]", "site.yaml:14: node 'pdu-b' has an unknown parent 'hal'"),
        ("id: pdu-b,", "id: hall,", "site.yaml:14: the id 'hall' is taken by an earlier node"),
        ("share: 0.4", "share: 0.3", "site.yaml:15: node 'n1': the shares of its parents sum to"),
        ("1.2MW", "-1.2MW", "site.yaml:4: node 'hall': budget: power must be above 0"),
        ("1.2MW", "1200", "site.yaml:4: node 'hall': budget: power is text with a unit"),
        ("0.05", ".nan", "site.yaml:4: node 'hall': safety_margin is a number from 0 to"),
        ("0.05", "-.inf", "safety_margin is a number from 0 to 1, not -Infinity"),
        ("0.05", "true", "safety_margin is a number from 0 to 1"),
        ("0.05", "1:30.5", "site.yaml:6: '1:30.5' is no plain number"),
        ("rated: 40kW", "rated: 40kW\n    rated: 30kW", "site.yaml:11: the key 'rated' stands"),
        ("    id: hall\n", "", "site.yaml:3: a node has no id"),
        ("id: hall\n", "id: 7\n", "site.yaml:4: id is text, not 7: quote it"),
        ("kind: pdu\n", "kind: pdv\n", "site.yaml:7: node 'pdu-a': kind 'pdv' is not one of"),
        ("node:", "nodes:", "site.yaml: unknown key 'nodes'; did you mean 'node'?"),
        ("[hall]}", "[hall]", "not valid YAML"),
        ("  - {id: pdu-b,", "  - pdu-b\n  - {id: pdu-b,", "site.yaml:14: a node is a table"),
        ("[hall]}", "[pdu-a]}\n  - {id: x, kind: row, parents: [x]}",
         "site.yaml:15: nodes feed each other in a circle: x -> x"),
    ],
)  # fmt: skip
def test_refuses_with_place_and_reason(old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert message in refusal(GOOD.replace(old, new, 1))


def test_words_that_yaml_takes_for_something_else() -> None:
    text = "node:\n  - {id: no, kind: site}\n  - {id: 2025-01-01, kind: row, parents: [no]}\n"
    text += f"  - {{id: h, kind: host, parents: [2025-01-01], host: {1:032}}}\n"
    nodes = parse_topology(text, "t.yaml").nodes
    assert [node.id for node in nodes] == ["no", "2025-01-01", "h"]
    assert nodes[-1].host == f"{1:032}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "site.yaml: it holds no [[node]]"),
        ("- a", "site.yaml:1: it holds no mapping"),
        ("node: 3", "site.yaml: node is a list"),
        ("a: " + "[" * 50_000, "not valid YAML: "),
        ("a: &a [*a]", "site.yaml:1: not valid YAML: nested too deeply"),
        ("? [1]\n: 2", "site.yaml:1: a key is a word"),
        ("node: !!python/object:os.system [x]", "a node is a table of keys"),
        ("a: \x00", "not valid YAML: "),
    ],
)
def test_what_is_no_topology(text: str, message: str) -> None:
    assert message in refusal(text)


@given(st.text(max_size=200))
def test_no_text_makes_a_traceback(text: str) -> None:
    assert outcome(text) in ("", "t.yaml:")


_value = st.sampled_from(
    ["a", "b", "site", "host", "1kW", "0.5", "-1", "true", "[]", "{}", "[a]", "[{id: b}]", "[[1]]",
     "1979-05-27", ".inf", "~", "*x", "&x 1"]
)  # fmt: skip


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "kind", "parents", "rated", "labels", "breaker", "host"]), _value
        ),
        max_size=4,
    )
)
def test_no_yaml_makes_a_traceback(tables: list[dict[str, str]]) -> None:
    text = "node:\n" + "".join(
        "  - " + ("\n    ".join(f"{k}: {v}" for k, v in table.items()) or "{}") + "\n"
        for table in tables
    )
    assert outcome(text) in ("", "t.yaml:")
