"""Side by side: the faults strike while tools measure, and errors are judged against the load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrology.loads import loads
from bench.metrology.peer_readers import TOOLS, Metered
from bench.metrology.peers import (
    AT_NS,
    BEGIN_NS,
    END_NS,
    LOAD,
    PACKAGES,
    PROGRAMS,
    Peer,
    faults,
    find,
    verdict,
)
from bench.metrology.rigs import UNIT_NJ
from fakes.powercap import REGISTER
from fakes.scenario import NS_PER_S, energy_uj, steady


def steps(t_ns: int, unit_nj: int = UNIT_NJ) -> int:
    return energy_uj(loads()[LOAD], 0, t_ns) * 1000 // unit_nj


def test_the_wrap_comes_in_the_middle_of_what_is_measured() -> None:
    start = faults(loads()[LOAD])["wrap"]["start_steps"]
    assert (start + steps(BEGIN_NS)) < REGISTER <= (start + steps(AT_NS)) < 2 * REGISTER
    assert (start + steps(END_NS)) < 2 * REGISTER


def test_three_wraps_are_three() -> None:
    unit_nj = faults(loads()[LOAD])["three wraps"]["unit_nj"]
    assert steps(END_NS, unit_nj) // REGISTER - steps(BEGIN_NS, unit_nj) // REGISTER == 3


@given(
    error_mj=st.integers(-(10**6), 10**6),
    begin_ns=st.integers(0, 50 * NS_PER_S),
    slack_ns=st.integers(0, 10**9),
)
def test_an_error_is_shown_with_what_the_moments_leave_open(
    error_mj: int, begin_ns: int, slack_ns: int
) -> None:
    start, watts = 1000, 500
    begin = (start + begin_ns, start + begin_ns + slack_ns)
    end = (start + begin_ns + 10 * NS_PER_S, start + begin_ns + 10 * NS_PER_S + slack_ns)
    uj = watts * 10 * 10**6 + error_mj * 1000.0
    cells = verdict(Metered("1", uj, begin, end), steady(watts * 1000), start)
    assert float(cells[0]) == pytest.approx(error_mj / 1000, abs=0.06)
    assert float(cells[1]) == pytest.approx(watts * slack_ns / NS_PER_S, abs=0.06)
    assert float(cells[2].removesuffix(" %")) == pytest.approx(error_mj / 50_000, abs=0.006)


def test_no_value_is_not_zero() -> None:
    cells = verdict(Metered("1", None, (0, 0), (1, 1)), steady(1), 0)
    assert cells == ["-", "-", "-", "gives no value"]


def test_programs_are_found_on_path_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "alumet-agent"
    program.write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [peer for peer in find(sys.executable) if peer.program] == []
    program.chmod(0o755)
    programs = [peer for peer in find(sys.executable) if peer.program]
    assert programs == [Peer("alumet", sys.executable, str(program))]


def test_every_named_tool_has_a_reader() -> None:
    assert {*PACKAGES, *PROGRAMS} == set(TOOLS)
