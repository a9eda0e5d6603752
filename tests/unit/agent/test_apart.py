"""A look in a child survives a library that ends it, and its standard output stays clean."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from chipwatt.agent.apart import apart
from chipwatt.agent.opening import Careful
from chipwatt.core.errors import ChipwattError, ConfigError


def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(0)


@pytest.mark.parametrize("end", [crash, leave])
def test_a_source_that_ends_the_child_is_left_out(end: Any) -> None:
    def look(careful: Careful) -> dict[str, Any]:
        for name in ("good", "bad"):
            if name not in careful.left_out:
                careful.note(name, False)
                if name == "bad":
                    end()
                careful.note(name, True)
        return {"left_out": dict(careful.left_out)}

    answer = apart(look)
    assert list(answer["left_out"]) == ["bad"]


def test_what_a_library_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    def look(_: Careful) -> dict[str, Any]:
        os.write(1, b"NVML: hello {\n")
        return {"big": "x" * 1_000_000}

    assert len(apart(look)["big"]) == 1_000_000
    said = capfd.readouterr()
    assert said.out == ""
    assert "hello" in said.err


def test_a_fault_of_the_settings_is_raised_here() -> None:
    def look(_: Careful) -> dict[str, Any]:
        raise ConfigError("agent.toml: no source is called 'nvlm'")

    with pytest.raises(ConfigError, match="nvlm"):
        apart(look)


def test_a_child_that_dies_for_no_source_is_told() -> None:
    def look(_: Careful) -> dict[str, Any]:
        crash()
        return {}

    with pytest.raises(ChipwattError, match="code -9"):
        apart(look)
