"""The shipped examples say the defaults; what a program prints can be compared with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "packaging" / "config"


@pytest.mark.parametrize("program", ["agent", "collector"])
def test_an_example_is_what_the_program_prints(program: str, tmp_path: Path) -> None:
    example = (CONFIG / f"{program}.toml").read_text()
    # Without the first paragraph, which speaks of the file itself.
    said = example.partition("\n\n")[2]
    command = [sys.executable, "-m", f"chipwatt.{program}", "--print-config",
               "--state-dir", "/var/lib/chipwatt"]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said == printed.stdout, "put into it what --print-config prints"
