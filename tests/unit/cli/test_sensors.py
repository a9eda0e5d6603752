from __future__ import annotations

from typing import Any

import pytest

from chipwatt.cli.sensors import remarks, tables

SENSOR: dict[str, Any] = {
    "label": "0 H100", "device": "gpu/0", "domain": "BOARD", "statistic": "AVERAGE", "root": True,
    "method": "INTEGRATED", "flags": [], "power_mw": 150_000, "period_us": 50_000,
    "call_cost_ns": 20_000, "refresh_us": 100_000, "refresh_from": "documented",
    "refresh_uncertainty_us": None, "averaging_us": 1_000_000, "averaging_from": "documented",
    "averaging_uncertainty_us": None, "averaging_not_seen": True,
}  # fmt: skip


def told(**changed: Any) -> list[dict[str, Any]]:
    return [{"name": "nvml", "present": True, "sensors": [{**SENSOR, **changed}]}]


@pytest.mark.parametrize(
    ("source", "time_us", "uncertainty_us", "shown"),
    [
        ("documented", 1_000_000, None, "says 1.00 s"),
        ("measured", 980_000, 55_000, "980 ms ±55.0 ms"),
        ("measured", 0, 300_000, "≤300 ms"),
        ("unknown", 0, None, "unknown"),
        (None, 0, None, "-"),
    ],
)
def test_averaging_is_shown_with_whose_word_it_is(
    source: str | None, time_us: int, uncertainty_us: int | None, shown: str
) -> None:
    (table,) = tables(
        told(averaging_from=source, averaging_us=time_us, averaging_uncertainty_us=uncertainty_us)
    )
    row = dict(zip([name.lstrip(">") for name in table.headings], table.rows[0], strict=True))
    assert row["averaging"] == shown
    assert row["refresh"] == "says 100 ms"


def test_what_the_load_did_not_show_is_said() -> None:
    assert "1 gauge: load too steady to see" in remarks(told())[1]
    assert len(remarks(told(averaging_not_seen=False))) == 1
    trace = {"name": "replay", "present": True, "sensors": [{"averaging_us": 0}]}
    assert remarks([trace]) == []
