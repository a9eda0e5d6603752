"""Rows of JSON have the names that the query API has."""

from __future__ import annotations

import json

from chipwatt.cli.rows import as_json
from chipwatt.client.values import ConflictInfo, OpenGap
from chipwatt.core.model import Domain, GapReason, Statistic
from chipwatt.core.records import Gap
from chipwatt.v1 import query_pb2
from unit.cli.test_live import second
from unit.cli.test_tally import window


def _names(message: type) -> set[str]:
    descriptor = message.DESCRIPTOR  # type: ignore[attr-defined]
    names = {field.name for field in descriptor.fields}
    return {"device" if name == "device_id" else name for name in names}


def test_a_window() -> None:
    row = json.loads(json.dumps(as_json(window(0, 100_000))))
    assert set(row) == _names(query_pb2.DeviceWindow)
    assert row["device"] == "gpu/0"
    assert row["peak_10ms_mw"] is None
    assert row["method"] == "counter"
    assert row["flags"] == ["ROOT"]
    assert sum(row["histogram"]["counts_ms"]) == 10_000


def test_a_second() -> None:
    row = json.loads(json.dumps(as_json(second(3))))
    assert set(row) == _names(query_pb2.HostSecond)
    assert row["gpu_peak_mw"] is None


def test_a_gap() -> None:
    device = window(0, 1).device
    gap = Gap(device, Domain.BOARD, Statistic.ENERGY, 10**18, 5, 7, 0, 9, GapReason.COUNTER_RESET)
    row = json.loads(json.dumps(as_json(gap)))
    assert set(row) == _names(query_pb2.Gap) | {"open"}
    assert row["open"] is False
    assert row["reason"] == "counter_reset"


def test_an_open_gap() -> None:
    device = window(0, 1).device
    gap = OpenGap(device, Domain.BOARD, Statistic.ENERGY, 10**18, 5, 7, 0, None, "sensor_lost")
    row = json.loads(json.dumps(as_json(gap)))
    assert set(row) == _names(query_pb2.OpenGap) | {"open"}
    assert (row["open"], row["upper_uj"], row["reason"]) == (True, None, "sensor_lost")


def test_a_conflict() -> None:
    row = json.loads(json.dumps(as_json(ConflictInfo("ab", "cd", 7, 8, "ef", 10**18))))
    assert set(row) == _names(query_pb2.Conflict)
