"""The metrology bench: which rows there are, what its truth is, and where its tables go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrology.__main__ import cases
from bench.metrology.faults import FAULTS
from bench.metrology.judge import true_peak_mw
from bench.metrology.loads import loads, training_swing
from bench.metrology.readme import README, markdown, replace
from bench.metrology.rigs import MS, RIGS
from fakes.scenario import energy_uj


def test_every_source_meets_every_load_and_its_own_faults() -> None:
    rows = cases([])
    assert len(set(rows)) == len(rows)
    assert {(row.rig, row.load) for row in rows if not row.fault} == {
        (rig, load) for rig in RIGS for load in loads()
    }
    for name, rig in RIGS.items():
        assert [row.fault for row in rows if row.rig == name and row.fault] == list(rig.faults)
    assert {row.fault for row in rows} - {""} == set(FAULTS)


def test_every_source_is_denied_and_freezes() -> None:
    assert all({"stall", "freeze", "denied"} <= set(rig.faults) for rig in RIGS.values())


@pytest.mark.parametrize("step_ms", [5000, 1250, 333])
def test_a_training_swing_runs_forward_in_time(step_ms: int) -> None:
    points = training_swing(step_ms)
    assert [t for t, _ in points] == sorted({t for t, _ in points})
    assert points[4][0] - points[0][0] == step_ms * MS


@given(
    st.lists(st.tuples(st.integers(1, 400 * MS), st.integers(0, 700_000)), min_size=1, max_size=12),
    st.integers(0, 300),
    st.integers(1, 900),
    st.integers(1, 50),
)
def test_the_true_peak_is_that_of_the_exact_integral(
    steps: list[tuple[int, int]], begin_ms: int, length_ms: int, span_ms: int
) -> None:
    load, t = [], 0
    for wait, power in steps:
        load.append((t, power))
        t += wait
    begin, end = begin_ms * MS, (begin_ms + length_ms) * MS
    means = [
        energy_uj(load, at, at + span_ms * MS) / span_ms
        for at in range(begin, end - span_ms * MS + 1, MS)
    ]
    expected = max(means, default=0.0)
    # energy_uj rounds each end down to 1 uJ.
    assert true_peak_mw(load, begin, end, span_ms * MS) == pytest.approx(expected, abs=2 / span_ms)


def test_the_readme_has_a_place_for_each_table() -> None:
    text = README.read_text()
    filled = replace(text, {"metrology": "T1", "peers": "T2"})
    assert "<!-- metrology: begin -->\nT1\n<!-- metrology: end -->" in filled
    assert (
        filled.split("<!-- metrology: begin -->")[0] == text.split("<!-- metrology: begin -->")[0]
    )


@given(part=st.text(), again=st.text("ab|\\1\n"))
def test_a_part_is_replaced_whole_whatever_is_in_it(part: str, again: str) -> None:
    text = "before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter"
    if "<!--" not in part:
        text = replace(text, {"x": part})
    expected = f"before\n<!-- x: begin -->\n{again}\n<!-- x: end -->\nafter"
    assert replace(text, {"x": again}) == expected


@pytest.mark.parametrize(
    "text", ["", "<!-- x: begin -->\n", "<!-- x: end -->\n<!-- x: begin -->\n", "<!-- x: begin -->"]
)
def test_a_file_without_the_markers_is_not_touched(text: str) -> None:
    with pytest.raises(LookupError, match="x: begin"):
        replace(text, {"x": "new"})


def test_a_bar_in_a_cell_does_not_make_a_column() -> None:
    assert markdown(["a"], [["b|c"]]) == "| a |\n| --- |\n| b\\|c |"
