from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.spool.merger import (
    MergeFailed,
    Merger,
    Request,
    read_answers,
    read_request,
    write_answers,
    write_request,
)
from chipwatt.core.clock import NS_PER_S
from fakes.lines import gaps_in, line, line_energy_uj, windows_in

binaries = st.lists(st.binary(max_size=50), max_size=5)
u64 = st.integers(0, (1 << 64) - 1)


@given(u64, st.integers(0, 9), binaries)
def test_a_request_comes_back(resolution_ns: int, before: int, payloads: list[bytes]) -> None:
    file = io.BytesIO()
    write_request(file, Request(resolution_ns, before, payloads))
    file.seek(0)
    assert read_request(file) == Request(resolution_ns, before, payloads)


@given(u64, binaries, st.data())
def test_answers_come_back_and_cut_ones_are_found(
    cpu_ns: int, payloads: list[bytes], data: st.DataObject
) -> None:
    answers = [(number, payload) for number, payload in enumerate(payloads)]
    file = io.BytesIO()
    write_answers(file, cpu_ns, answers)
    assert read_answers(file.getvalue()) == (cpu_ns, answers)
    cut = data.draw(st.integers(0, len(file.getvalue()) - 1))
    try:
        _, found = read_answers(file.getvalue()[:cut])
    except MergeFailed:
        return
    assert found == answers[: len(found)]


def test_a_process_of_its_own_merges_and_finds_gaps() -> None:
    merger = Merger()
    answers = merger.coarser(line(12), 60 * NS_PER_S)
    assert [replaces for replaces, _ in answers] == [12]
    found = windows_in(payload for _, payload in answers)
    assert [w.energy_uj for w in found] == [
        line_energy_uj(6),
        line_energy_uj(12) - line_energy_uj(6),
    ]
    (gap,) = gaps_in([merger.gap(line(2), line(2, 3))])
    assert gap.lower_uj == gap.upper_uj == line_energy_uj(3) - line_energy_uj(2)
    assert merger.cpu_ms > 20


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise SystemExit('out of luck')", "ended with 1: out of luck"),
        ("", "broke off"),
        ("import sys; sys.stdout.buffer.write(bytes(8))", "left payloads out"),
    ],
)
def test_a_process_that_fails_is_one_sentence(program: str, sentence: str) -> None:
    with pytest.raises(MergeFailed, match=sentence):
        Merger((sys.executable, "-c", program)).coarser(line(1), NS_PER_S)
    with pytest.raises(MergeFailed, match="did not run"):
        Merger(("/nonexistent/program",)).coarser(line(1), NS_PER_S)
