"""``chipwatt reservations``: what is set aside, and giving it back."""

from __future__ import annotations

import json
import time

from chipwatt.client import Demand, InlineProfile, PlacementClient
from fakes.desk import Desk, desk

__all__ = ["desk"]


def reserve(desk: Desk, key: str, node: str) -> str:
    desk.server.now_unix_ns = time.time_ns
    with PlacementClient(desk.server.address) as client:
        job = Demand(inline=InlineProfile(1, 700_000))
        return client.reserve(key, node, job, ttl_s=650).reservation_id


def test_a_table(desk: Desk) -> None:
    reserve(desk, "a", "n1")
    code, text = desk.run("reservations")
    assert code == 0
    row = text.splitlines()[2].split()
    assert row[:6] == ["id-a", "n1", "700", "W", "1", "held"]
    assert "10 min" in text


def test_one_node_and_json(desk: Desk) -> None:
    reserve(desk, "a", "n1")
    reserve(desk, "b", "n2")
    _, text = desk.run("reservations", "--node", "n2", "--state", "held", "--json")
    (only,) = [json.loads(line) for line in text.splitlines()]
    assert only["idempotency_key"] == "b"
    assert only["grants"][1] == {"node_id": "r", "granted_mw": 700_000}
    assert desk.server.requests[-1].state == 1


def test_giving_back(desk: Desk) -> None:
    reservation_id = reserve(desk, "a", "n1")
    code, text = desk.run("reservations", "--release", reservation_id)
    assert (code, "released" in text) == (0, True)
    assert desk.server.room_mw() == desk.server.budget_mw
    assert desk.run("reservations", "--release", "nobody") == (
        1,
        "chipwatt: reservation_id: no such reservation\n",
    )


def test_none(desk: Desk) -> None:
    assert desk.run("reservations") == (0, "no power is set aside.\n")
