"""Rules about the tree itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORTIONS = ("agent", "collector", "proto")


def python_files() -> list[Path]:
    folders = (*PORTIONS, "tests", "packaging")
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_chipwatt_stays_a_namespace() -> None:
    assert [p for p in python_files() if p.parent.name == "chipwatt"] == []


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in python_files()
        if "_pb2" not in path.name
    }
    assert {name: n for name, n in lengths.items() if n > 300} == {}


def test_no_module_is_named_for_nothing() -> None:
    empty_names = {"utils", "helpers", "common", "manager", "util", "misc"}
    assert [p for p in python_files() if p.stem in empty_names] == []


def test_every_portion_is_typed() -> None:
    for portion in PORTIONS:
        for package in (ROOT / portion / "chipwatt").iterdir():
            if package.is_dir() and package.name != "__pycache__":
                assert (package / "py.typed").exists(), package


def test_generated_code_is_fresh() -> None:
    command = [sys.executable, "proto/generate.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
