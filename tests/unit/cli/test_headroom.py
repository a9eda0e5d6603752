"""``chipwatt headroom``: what is in use, set aside and left."""

from __future__ import annotations

import json

import pytest

from chipwatt.client import Demand, InlineProfile, PlacementClient
from fakes.desk import Desk, desk

__all__ = ["desk"]


def test_what_is_set_aside_has_a_column(desk: Desk) -> None:
    with PlacementClient(desk.server.address) as client:
        client.reserve("u", "n1", Demand(inline=InlineProfile(1, 2_500_000)), ttl_s=60)
    code, text = desk.run("headroom", "r")
    assert code == 0
    heading, _, row = text.splitlines()
    assert "reserved" in heading
    assert "predicted peak" in heading
    assert row.count("2.50 kW") == 4, "now, peak, predicted, reserved"
    assert "7.50 kW" in row
    assert "conformal, partial" in row


def test_several_predictions_have_a_column_each(desk: Desk) -> None:
    _, text = desk.run("headroom", "--horizon", "60s", "--horizon", "1h", "--quantile", "0.9",
                       "--quantile", "99.9%")  # fmt: skip
    heading = text.splitlines()[0]
    for words in ("peak 1 min q90 ", "peak 1 min q99.9", "peak 1 h q90 ", "peak 1 h q99.9"):
        assert words in heading
    asked = desk.server.requests[0]
    assert list(asked.horizon_s) == [60, 3600]
    assert list(asked.quantile_ppm) == [900_000, 999_000]
    assert asked.include_reservations


def test_json_has_it_all(desk: Desk) -> None:
    _, text = desk.run("headroom", "--without-reservations", "--json")
    rack, *hosts = [json.loads(line) for line in text.splitlines()]
    assert (rack["kind"], len(hosts)) == ("rack", 2)
    assert rack["predicted"] == [{"horizon_s": 600, "quantile_ppm": 990_000, "peak_mw": 0}]
    assert rack["reserved_mw"] == 0
    assert not desk.server.requests[0].include_reservations


@pytest.mark.parametrize(
    ("few", "heading"),
    [
        (set(), "peak 1 s "),
        ({"n1", "n2"}, "peak 1 s, or minute "),
        ({"r", "n1", "n2"}, "highest minute "),
    ],
)
def test_what_is_no_second_is_not_called_one(desk: Desk, few: set[str], heading: str) -> None:
    desk.server.few = few
    code, text = desk.run("headroom")
    assert code == 0
    first, _, *rows = text.splitlines()
    assert heading in first
    assert {row.split()[0] for row in rows if "by the minute" in row} == few
