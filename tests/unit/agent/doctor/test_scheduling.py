from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.finding import State
from chipwatt.agent.doctor.scheduling import scheduling
from fakes.machine import FakeMachine
from unit.agent.doctor.diagnosis import facts_of, told

LIMITS = "Limit                     Soft Limit           Hard Limit           Units     \n"


def test_a_plain_user_is_told_the_line_that_grants_it(tmp_path: Path) -> None:
    FakeMachine(tmp_path).user(998)
    finding = scheduling(facts_of(tmp_path), wanted=True)
    assert finding.state is State.BLOCKED
    assert "LimitRTPRIO=1" in told(finding)
    assert "AmbientCapabilities=CAP_SYS_NICE" in told(finding)
    assert "docker" not in told(finding)


@pytest.mark.parametrize(
    ("limit", "state"), [("0", State.BLOCKED), ("1", State.WORKS), ("unlimited", State.WORKS)]
)
def test_the_hard_limit_decides(tmp_path: Path, limit: str, state: State) -> None:
    machine = FakeMachine(tmp_path)
    machine.user(998)
    line = f"Max realtime priority     0                    {limit:<20} \n"
    machine.write("proc/self/limits", LIMITS + line)
    assert scheduling(facts_of(tmp_path), wanted=True).state is state


def test_the_capability_does_unless_it_is_one_of_a_namespace(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.user(0, capabilities=1 << 23)
    assert scheduling(facts_of(tmp_path), wanted=True).state is State.WORKS
    machine.write("proc/self/uid_map", "0 100000 65536\n")
    assert scheduling(facts_of(tmp_path), wanted=True).state is State.BLOCKED


def test_a_container_is_told_its_own_way(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.user(998)
    machine.write(".dockerenv", "")
    assert "--ulimit rtprio=1" in told(scheduling(facts_of(tmp_path), wanted=True))


def test_switched_off_nothing_is_asked_for(tmp_path: Path) -> None:
    FakeMachine(tmp_path).user(998)
    finding = scheduling(facts_of(tmp_path), wanted=False)
    assert finding.state is State.OFF
    assert not finding.remedies
