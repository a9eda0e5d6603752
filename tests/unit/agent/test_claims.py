"""Who reads a sensor is found by whoever wants to read it as well."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.claims import Claims, names
from chipwatt.agent.opening import Opened
from chipwatt.core.errors import ConfigError
from fakes.books import sensor


@dataclass
class Config:
    sysfs: Path = Path("/sys")
    max_power_w: int = 5


@pytest.fixture
def claims() -> Iterator[Callable[[str], Claims]]:
    made: list[Claims] = []

    def make(state_dir: str) -> Claims:
        made.append(Claims(state_dir))
        return made[-1]

    yield make
    for each in made:
        each.close()


def patient(_: float) -> bool:
    return True


def opened(*numbers: int, name: str = "rapl", worker: Any = None) -> Opened:
    sensors = tuple(sensor(number) for number in numbers)
    return Opened(name, None, sensors, tuple(range(len(sensors))), None, worker)  # type: ignore[arg-type]


def test_a_second_agent_is_told_of_the_first(
    tmp_path: Path, claims: Callable[[str], Claims]
) -> None:
    name = f"cpu/0 PACKAGE {tmp_path}"
    first, second = claims("/var/lib/one"), claims("/var/lib/two")
    first.take([name], patient)
    with pytest.raises(ConfigError) as refused:
        second.take([name], patient, patience_s=0.3)
    said = str(refused.value)
    assert said.startswith(f"cpu/0 package is read by process {os.getpid()} already")
    assert "/var/lib/one" in said
    assert "sensing.exclusive" in said
    second.take([f"cpu/1 PACKAGE {tmp_path}"], patient)


def test_one_that_is_about_to_end_is_waited_for(
    tmp_path: Path, claims: Callable[[str], Claims]
) -> None:
    name = f"cpu/0 PACKAGE {tmp_path}"
    first, second = claims("one"), claims("two")
    first.take([name], patient)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            first.close()
        return True

    second.take([name], wait)
    assert len(waits) == 3
    with pytest.raises(ConfigError, match="two"):
        claims("three").take([name], patient, patience_s=0.0)


def test_who_is_to_stop_waits_no_longer(tmp_path: Path, claims: Callable[[str], Claims]) -> None:
    name = f"cpu/0 PACKAGE {tmp_path}"
    claims("one").take([name], patient)
    claims("two").take([name], lambda _: False)


def test_what_is_read_elsewhere_is_something_else() -> None:
    configs = {"rapl": Config(), "perf": Config(), "fake": Config(Path("/tmp/tree"))}
    found = names([opened(0, 1)], configs)
    assert found == ["cpu/0 PACKAGE", "cpu/1 PACKAGE"]
    assert names([opened(0, name="perf")], configs) == found[:1]
    assert names([opened(0, name="fake")], configs) == ["cpu/0 PACKAGE sysfs=/tmp/tree"]


def test_so_is_what_another_library_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = {"rapl": Config()}
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/fake")
    assert names([opened(0, worker=object())], configs) == ["cpu/0 PACKAGE /opt/fake"]
    assert names([opened(0)], configs) == ["cpu/0 PACKAGE"]
