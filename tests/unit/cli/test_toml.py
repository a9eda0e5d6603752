"""TOML that is written reads back as it was."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.cli import toml

_KEY = st.text("abcdefghij_", min_size=1, max_size=6)
_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
_PLAIN = st.booleans() | st.integers(-(2**62), 2**62) | _TEXT | st.lists(_TEXT, max_size=3)
_TABLE = st.recursive(
    st.dictionaries(_KEY, _PLAIN, max_size=4),
    lambda below: st.dictionaries(_KEY, _PLAIN | below, max_size=4),
    max_leaves=8,
)


def _without_empty(table: dict[str, object]) -> dict[str, object]:
    # An empty table says nothing and is not written.
    kept = {
        key: _without_empty(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }
    return {key: value for key, value in kept.items() if value != {}}


@given(_TABLE)
def test_round_trip(table: dict[str, object]) -> None:
    assert tomllib.loads(toml.dumps(table)) == _without_empty(table)


def test_paths_are_text() -> None:
    assert tomllib.loads(toml.dumps({"a": {"file": Path("/x y/ü")}})) == {"a": {"file": "/x y/ü"}}


def test_merging_goes_table_by_table() -> None:
    base = {"sensing": {"window": "10s", "max_rate": 50}, "collector": "a"}
    over = {"sensing": {"window": "1s"}, "log": {"level": "debug"}}
    assert toml.merged(base, over) == {
        "sensing": {"window": "1s", "max_rate": 50},
        "collector": "a",
        "log": {"level": "debug"},
    }
    assert base["sensing"] == {"window": "10s", "max_rate": 50}
