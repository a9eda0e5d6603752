"""``chipwatt whatif``: changes from options, effects as a table."""

from __future__ import annotations

import json

import pytest

from fakes.desk import Desk, desk

__all__ = ["desk"]


def test_a_change_that_holds(desk: Desk) -> None:
    code, text = desk.run("whatif", "--place", "n1", "--peak", "5.6kW", "--replicas", 1)
    assert code == 0
    row = next(line for line in text.splitlines() if line.startswith("r "))
    assert "5.60 kW" in row
    assert "10.0 kW" in row
    assert "4.40 kW" in row
    assert "every budget holds." in text


def test_a_change_that_does_not(desk: Desk) -> None:
    code, text = desk.run("whatif", "--place", "n1", "--place", "n2", "--peak", "5.6kW")
    assert code == 3
    assert "100.00 %" in text
    assert "the budget of r would be exceeded." in text
    code, text = desk.run("whatif", "--feed-loss", "r")
    assert code == 3
    assert "without any feed: n1, n2" in text


def test_every_kind_of_change(desk: Desk) -> None:
    code, text = desk.run(
        "whatif", "--remove", "n1", "800W", "--move", "n1", "n2", "1kW", "--cap", "n1", "2kW",
        "--budget", "r", "3kW", "--snapshot", "s-0", "--horizon", "60s", "--quantile", "0.9",
        "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["effects"][0]["node_id"] == "r"
    (asked,) = desk.server.requests
    remove, move, cap, budget = asked.changes
    assert (remove.remove.node_id, remove.remove.power_mw) == ("n1", 800_000)
    assert (move.move.from_node_id, move.move.to_node_id) == ("n1", "n2")
    assert (cap.cap.cap_mw, budget.budget.budget_mw) == (2_000_000, 3_000_000)
    assert (asked.snapshot_id, asked.horizon_s, asked.quantile_ppm) == ("s-0", 60, 900_000)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], "nothing changes: give --place"),
        (["--place", "n1"], "give either --peak"),
        (["--cap", "n1", "much"], "power is a number with a unit"),
    ],
)
def test_mistakes_are_one_sentence(desk: Desk, args: list[str], complaint: str) -> None:
    code, text = desk.run("whatif", *args)
    assert code == 2
    assert complaint in text
