"""``chipwatt events``: one line an event, ended by time, resumable."""

from __future__ import annotations

import json

from chipwatt.v1 import placement_pb2 as pb
from fakes.desk import Desk, desk

__all__ = ["desk"]
OVER = pb.PowerEvent(
    seq=7,
    node_id="r",
    kind=pb.POWER_EVENT_KIND_OVER_BUDGET,
    severity=pb.SEVERITY_CRITICAL,
    at_unix_ns=1_800_000_000 * 10**9,
    observed_mw=11_000_000,
    limit_mw=10_000_000,
    time_to_trip_s=90,
    cap_advice=[
        pb.CapAdvice(target_id="n2", cap_mw=3_000_000, order=1, expected_saving_mw=500_000),
        pb.CapAdvice(target_id="n1", cap_mw=4_000_000, order=0, expected_saving_mw=600_000),
    ],
)
CLEARED = pb.PowerEvent(
    seq=8,
    node_id="r",
    kind=pb.POWER_EVENT_KIND_CLEARED,
    cleared_kind=pb.POWER_EVENT_KIND_OVER_BUDGET,
    severity=pb.SEVERITY_INFO,
)


def test_lines_for_people(desk: Desk) -> None:
    desk.server.behaviour.events = [
        pb.WatchPowerEventsResponse(resume_token="t6", missed=True),
        pb.WatchPowerEventsResponse(event=OVER),
        pb.WatchPowerEventsResponse(event=CLEARED),
    ]
    code, text = desk.run("events")
    assert code == 0
    missed, over, first, second, cleared = text.splitlines()
    assert missed == "(events before this one are no longer kept)"
    assert over.endswith("critical  r  over budget 11.0 kW of 10.0 kW trips in 90 s")
    assert first == "  advice 1: cap n1 at 4.00 kW, which saves 600 W"
    assert second.startswith("  advice 2: cap n2")
    assert cleared.endswith("info      r  over: over budget")


def test_json_lines_carry_the_token(desk: Desk) -> None:
    desk.server.behaviour.events = [
        pb.WatchPowerEventsResponse(resume_token="t6"),
        pb.WatchPowerEventsResponse(event=OVER, resume_token="t7"),
    ]
    _, text = desk.run(
        "events", "--json", "--beneath", "r", "--severity", "warning", "--resume", "t6"
    )
    begin, notice = [json.loads(line) for line in text.splitlines()]
    assert begin == {"event": None, "resume_token": "t6", "missed": False}
    assert (notice["resume_token"], notice["event"]["kind"]) == ("t7", "over_budget")
    (asked,) = desk.server.requests
    assert (asked.selector.beneath_id, asked.resume_token) == ("r", "t6")
    assert asked.min_severity == pb.SEVERITY_WARNING


def test_it_ends_after_its_time(desk: Desk) -> None:
    desk.server.behaviour.stay_open = True
    desk.server.behaviour.events = [
        pb.WatchPowerEventsResponse(resume_token="t"),
        pb.WatchPowerEventsResponse(event=CLEARED),
    ]
    code, text = desk.run("events", "--for", "1s")
    assert code == 0
    assert len(text.splitlines()) == 1
