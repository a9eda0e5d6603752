from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chipwatt.collector.telemetry.page import TABLES, page, rendered

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "packaging" / "otlp.md"


def test_the_page_is_fresh() -> None:
    text = PAGE.read_text()
    assert all(rendered(metrics) in text for metrics in TABLES.values())
    command = [sys.executable, "-m", "chipwatt.collector.telemetry.page", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_a_stale_page_is_told_and_written(tmp_path: Path) -> None:
    stale = tmp_path / "packaging" / "otlp.md"
    stale.parent.mkdir()
    stale.write_text(PAGE.read_text().replace("`hw.energy`", "`hw.enrgy`"))
    command = [sys.executable, "-m", "chipwatt.collector.telemetry.page"]
    refused = subprocess.run(
        [*command, "--check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "stale, run `python -m chipwatt.collector.telemetry.page`" in refused.stderr
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    table = rendered(TABLES["table"])
    assert table in stale.read_text()


@pytest.mark.parametrize("text", ["# nothing", "<!-- table: begin --><!-- table: end -->"])
def test_a_page_without_marks_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="begin"):
        page(text)
