"""A collector's counters on the command line: all of them, each with a word of meaning."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from chipwatt.cli.books import show_status
from chipwatt.client.values import CollectorStatus

STATUS = CollectorStatus(
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    ledger_holes=2,
    ledger_hole_uj=3_000_000,
    ledger_twice_uj=4_000_000,
    counted={"covered": 7},
    stalled="/store: the disk is full",
    store_failures=31,
    damaged=32,
    streams_shed=33,
)


def test_every_counter_is_shown_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(STATUS, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    for field in fields(CollectorStatus):
        name = field.name.removesuffix("_uj").removesuffix("_ms").replace("_", " ")
        (line,) = [line for line in lines if line.startswith(name + "  ")][:1] or [""]
        assert field.name == "counted" or len(line.split("  ")) > 2, field.name
    shown = "\n".join(lines)
    for said in ("3.00 J", "4.00 J", "the disk is full", "counted covered"):
        assert said in shown
    show_status(replace(STATUS, stalled=""), as_json=False)
    assert "the disk is full" not in capsys.readouterr().out


def test_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(STATUS, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {field.name for field in fields(CollectorStatus)}
    assert (said["damaged"], said["counted"]) == (32, {"covered": 7})
