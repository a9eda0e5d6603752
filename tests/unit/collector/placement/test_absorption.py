from __future__ import annotations

import numpy as np
import pytest

from chipwatt.collector.placement.absorption import ABSORB_S
from chipwatt.collector.placement.reservation_answers import MAX_TTL_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb
from unit.collector.placement.hall import Hall, W, a_request
from unit.collector.placement.test_reservation_answers import (
    WORKLOAD,
    committed,
    state_of,
    states,
)

DAY_NS = 86_400 * NS_PER_S


def test_two_minutes_of_telemetry_after_commit_absorb(hall: Hall) -> None:
    hall.run(3, 100, 100, 100, 100)
    made = committed(hall)
    hall.run(ABSORB_S - 1, 200, 100, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_COMMITTED
    outlook = hall.run(1, 200, 100, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_ABSORBED
    # Whenever the reservation stops to count, the telemetry that it gives way to counts.
    position = outlook.topology.index["h0"]
    assert outlook.history(np.array([position]))[0, -ABSORB_S:].min() == 200 * W
    assert not hall.outlooks.latest().reserved_mw.any()
    assert states(hall, pb.RESERVATION_STATE_ABSORBED) == ["key"]
    request = pb.ReleaseRequest(reservation_id=made.reservation_id)
    assert hall.reservations.release(request).reservation.state == pb.RESERVATION_STATE_RELEASED


@pytest.mark.parametrize("silent_s", [1, 40])
def test_without_telemetry_of_the_node_time_absorbs_nothing(hall: Hall, silent_s: int) -> None:
    hall.run(3, 100, 100, 100, 100)
    made, other = committed(hall), committed(hall, "other", "h1")
    rack = committed(hall, "rack", "r0")
    hall.run(ABSORB_S - 1, 100, 200, 100, 100)
    hall.run(silent_s, None, 200, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_COMMITTED
    assert state_of(hall, rack) == pb.RESERVATION_STATE_COMMITTED
    assert state_of(hall, other) == pb.RESERVATION_STATE_ABSORBED
    hall.run(1, 200, 200, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_ABSORBED
    assert state_of(hall, rack) == pb.RESERVATION_STATE_ABSORBED


def test_what_was_committed_under_a_clock_ahead_waits_no_longer_than_others(hall: Hall) -> None:
    hall.run(3, 100, 100, 100, 100)
    request = a_request()
    request.ttl_s = MAX_TTL_S
    made = hall.reservations.reserve(request).reservation
    ahead_ns = DAY_NS // 2
    hall.clock.step_wall(ahead_ns)
    commit = pb.CommitRequest(reservation_id=made.reservation_id, workload_id=WORKLOAD)
    told = hall.reservations.commit(commit).reservation
    hall.clock.step_wall(-ahead_ns)
    assert told.committed_unix_ns == hall.clock.unix_ns() + ahead_ns
    hall.run(ABSORB_S - 1, 200, 100, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_COMMITTED
    hall.run(3, 200, 100, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_ABSORBED


def test_a_clock_set_back_by_mistake_absorbs_nothing_early(hall: Hall) -> None:
    hall.run(3, 100, 100, 100, 100)
    made = committed(hall)
    hall.clock.step_wall(-DAY_NS)
    hall.tick()
    hall.clock.step_wall(DAY_NS)
    hall.run(ABSORB_S - 1, 200, 100, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_COMMITTED
    hall.run(3, 200, 100, 100, 100)
    assert state_of(hall, made) == pb.RESERVATION_STATE_ABSORBED
