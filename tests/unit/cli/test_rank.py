"""``chipwatt rank``: the question that options make, and answers for people and programs."""

from __future__ import annotations

import json

import grpc
import pytest

from chipwatt.v1 import placement_pb2 as pb
from fakes.desk import Desk, desk
from fakes.placement_server import KNOWN_CLASS

__all__ = ["desk"]


def test_a_table_best_first_with_reasons(desk: Desk) -> None:
    code, text = desk.run("rank", "n1", "x", "--peak", "700W")
    assert code == 0
    rows = [line.split() for line in text.splitlines()]
    assert rows[0][:3] == ["host", "fits", "score"]
    assert rows[2][:2] == ["n1", "yes"]
    assert rows[3][:2] == ["x", "no"]
    assert "700 W" in text
    assert "9.30 kW" in text
    assert "unknown host; not there" in text
    assert "conformal, partial; data 1.50 s old; placement p-1, snapshot s-1" in text


def test_the_whole_question(desk: Desk) -> None:
    desk.run(
        "rank", "--peak", "1kW", "--mean", "600W", "--swing", "strong", "--replicas", 4, "--gang",
        "g", "--priority", 7, "--horizon", "1h", "--quantile", "95%", "--limit", 3, "--weights",
        "headroom=0.5, pack=50%",
    )  # fmt: skip
    (asked,) = desk.server.requests
    assert asked == pb.RankCandidatesRequest(
        demand=pb.Demand(
            inline=pb.InlineProfile(mean_mw=600_000, peak_mw=1_000_000, swing_class=3),
            replicas=4, gang_id="g", priority=7,
        ),
        horizon_s=3600,
        quantile_ppm=950_000,
        objective=pb.Objective(headroom_ppm=500_000, pack_ppm=500_000),
        limit=3,
    )  # fmt: skip


def test_json_has_every_field(desk: Desk) -> None:
    code, text = desk.run("rank", "--class", KNOWN_CLASS, "--json")
    assert code == 0
    answer = json.loads(text)
    assert answer["candidates"][0]["marginal_peak_mw"] == 400_000
    assert answer["candidates"][0]["parts"]["headroom_ppm"] == 0
    assert answer["provenance"]["calibration"]["coverage_7d_ppm"] == 991_000
    assert answer["snapshot_id"] == "s-1"


def test_nothing_fits(desk: Desk) -> None:
    code, text = desk.run("rank", "--peak", "11kW")
    assert code == 3
    assert "rack r is full" in text


@pytest.mark.parametrize(
    ("args", "code", "complaint"),
    [
        ([], 2, "give either --peak, as --peak 700W, or --class"),
        (["--peak", "1W", "--class", KNOWN_CLASS], 2, "give either --peak"),
        (["--peak", "1W", "--replicas", "0"], 2, "--replicas is at least 1"),
        (["--peak", "1W", "--limit", "-1"], 2, "--limit is at least 0"),
        (["--peak", "1W", "--weights", "speed=1"], 2, "--weights: 'speed' is none of headroom"),
        (["--peak", "1W", "--weights", "carbon=nan"], 2, "--weights: carbon: 'nan' is no share"),
        (["--class", "cd" * 16], 1, "demand.class_id: no profile of it yet"),
    ],
)
def test_mistakes_are_one_sentence(desk: Desk, args: list[str], code: int, complaint: str) -> None:
    assert desk.run("rank", *args)[0] == code
    assert complaint in desk.run("rank", *args)[1]


def test_a_collector_that_is_away(desk: Desk) -> None:
    desk.server.behaviour.abort = (grpc.StatusCode.UNAVAILABLE, "")
    assert desk.run("rank", "--peak", "1W")[0] == 69
