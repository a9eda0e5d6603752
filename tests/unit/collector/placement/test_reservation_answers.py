from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.absorption import ABSORB_S
from chipwatt.collector.placement.reservation_answers import MAX_LISTED, MAX_TTL_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb
from unit.collector.placement.hall import Hall, W, a_request, topology_text

WORKLOAD = "ab" * 16
Code = grpc.StatusCode


def refusal(code: Code, call: object, *args: object) -> str:
    assert callable(call)
    with pytest.raises(Refused) as refused:
        call(*args)
    assert refused.value.code is code
    return str(refused.value)


def grants(of: pb.Reservation) -> dict[str, int]:
    return {grant.node_id: grant.granted_mw for grant in of.grants}


def committed(hall: Hall, key: str = "key", node_id: str = "h0") -> pb.Reservation:
    made = hall.reservations.reserve(a_request(key, node_id)).reservation
    request = pb.CommitRequest(reservation_id=made.reservation_id, workload_id=WORKLOAD)
    return hall.reservations.commit(request).reservation


def test_power_is_granted_at_the_node_and_every_ancestor(hall: Hall) -> None:
    answer = hall.reservations.reserve(a_request(watts=50))
    made = answer.reservation
    assert grants(made) == {
        "h0": 50 * W, "r0": 50 * W, "a": 30 * W, "b": 20 * W, "site": 50 * W,
    }  # fmt: skip
    assert made.state == pb.RESERVATION_STATE_HELD
    assert made.expires_unix_ns - made.created_unix_ns == 60 * NS_PER_S
    assert answer.provenance.as_of_unix_ns == hall.clock.unix_ns()
    assert answer.provenance.reporting_ppm == 1_000_000
    reserved = dict(
        zip(hall.outlooks.latest().topology.index, hall.outlooks.latest().reserved_mw, strict=True)
    )
    assert reserved == {**dict.fromkeys(("h1", "h2", "h3", "r1"), 0), **grants(made)}


def test_the_same_request_has_the_same_answer_in_the_next_process_too(hall: Hall) -> None:
    first = hall.reservations.reserve(a_request()).reservation
    assert hall.reservations.reserve(a_request()).reservation == first
    hall.restart()
    assert hall.reservations.reserve(a_request()).reservation == first
    assert len(hall.book.live()) == 1
    hall.clock.sleep_until(61 * NS_PER_S)
    later = hall.reservations.reserve(a_request()).reservation
    assert later.reservation_id == first.reservation_id
    assert later.state == pb.RESERVATION_STATE_EXPIRED


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (a_request(node_id="h1"), "node_id"),
        (a_request(watts=101), "demand"),
        (a_request(ttl_s=60), "ttl_s"),
        (pb.ReserveRequest(idempotency_key="key"), "node_id"),
    ],
)
def test_a_key_with_another_body_is_refused(
    hall: Hall, other: pb.ReserveRequest, field: str
) -> None:
    hall.reservations.reserve(a_request())
    words = refusal(Code.ALREADY_EXISTS, hall.reservations.reserve, other)
    assert words.startswith(f"{field}: idempotency_key 'key' stands for")


def test_what_does_not_fit_names_the_node_that_lacks_most(hall: Hall) -> None:
    reserve = hall.reservations.reserve
    peak_mw = hall.outlooks.latest().peak_mw(600, 0.99)
    left_w = 800 - int(peak_mw[hall.outlooks.latest().topology.index["r0"]]) // W
    words = refusal(Code.RESOURCE_EXHAUSTED, reserve, a_request("1", "r0", left_w + 7))
    assert words.startswith("node_id: 'r0' lacks 7000 mW: it allows 800000 mW, of which")
    reserve(a_request("2", "r0", left_w))
    words = refusal(Code.RESOURCE_EXHAUSTED, reserve, a_request("3", "r0", 1))
    assert words.startswith("node_id: 'r0' lacks 1000 mW")
    assert f"reservations {left_w * W} mW" in words
    assert [r.key for r in hall.book.live()] == ["2"]
    # What a host can draw is a budget as well.
    words = refusal(Code.RESOURCE_EXHAUSTED, reserve, a_request("4", "h3", 500))
    assert words.startswith("node_id: 'h3' lacks")


def test_the_other_feed_may_bind(tmp_path: Path) -> None:
    with Hall(tmp_path, topology_text(feed_a=300, rack_0=2_000)) as hall:
        hall.history(0, 0, 0, 0)
        request = a_request("key", "r0", 600)
        words = refusal(Code.RESOURCE_EXHAUSTED, hall.reservations.reserve, request)
        assert words.startswith("node_id: 'a' lacks 60000 mW")


def test_a_gang_reserves_the_sum_of_its_peaks(hall: Hall) -> None:
    made = hall.reservations.reserve(a_request(watts=20, replicas=4)).reservation
    assert grants(made)["r0"] == 80 * W
    assert made.demand.replicas == 4


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (a_request(""), Code.INVALID_ARGUMENT, "idempotency_key: 0 characters"),
        (a_request("k" * 129), Code.INVALID_ARGUMENT, "idempotency_key: 129 characters"),
        (a_request(ttl_s=MAX_TTL_S + 1), Code.INVALID_ARGUMENT, "ttl_s: 86401 s"),
        (a_request(node_id="h00"), Code.NOT_FOUND, "node_id: no power node 'h00'; did you mean"),
        (a_request(node_id=""), Code.NOT_FOUND, "node_id: no power node ''"),
        (a_request(watts=10**9, replicas=2**32 - 1), Code.INVALID_ARGUMENT, "demand.replicas: "),
        (a_request(watts=10**9, replicas=10**6), Code.INVALID_ARGUMENT, "demand: 1000000 replicas"),
        (pb.ReserveRequest(idempotency_key="k", node_id="h0"), Code.INVALID_ARGUMENT, "demand"),
        (
            pb.ReserveRequest(idempotency_key="k", node_id="h0", horizon_s=61),
            Code.INVALID_ARGUMENT,
            "horizon_s: 61",
        ),
        (
            pb.ReserveRequest(idempotency_key="k", node_id="h0", quantile_ppm=999_001),
            Code.INVALID_ARGUMENT,
            "quantile_ppm: 999001",
        ),
    ],
)
def test_bad_input(hall: Hall, request_: pb.ReserveRequest, code: Code, words: str) -> None:
    assert refusal(code, hall.reservations.reserve, request_).startswith(words)
    assert hall.book.live() == []


def test_commit_binds_once(hall: Hall) -> None:
    made = committed(hall)
    assert made.state == pb.RESERVATION_STATE_COMMITTED
    assert (made.workload_id, made.committed_unix_ns) == (WORKLOAD, hall.clock.unix_ns())
    request = pb.CommitRequest(reservation_id=made.reservation_id, workload_id=WORKLOAD.upper())
    hall.clock.sleep_until(5 * NS_PER_S)
    assert hall.reservations.commit(request).reservation == made
    request.workload_id = "cd" * 16
    words = refusal(Code.FAILED_PRECONDITION, hall.reservations.commit, request)
    assert words.startswith(f"workload_id: {made.reservation_id} is bound")
    request.workload_id = "pod-7"
    words = refusal(Code.INVALID_ARGUMENT, hall.reservations.commit, request)
    assert words.startswith("workload_id: a workload id is 32 hexadecimal digits")


def test_nothing_is_committed_that_no_longer_counts(hall: Hall) -> None:
    made = hall.reservations.reserve(a_request(ttl_s=1)).reservation
    hall.clock.sleep_until(NS_PER_S)
    request = pb.CommitRequest(reservation_id=made.reservation_id, workload_id=WORKLOAD)
    words = refusal(Code.FAILED_PRECONDITION, hall.reservations.commit, request)
    assert words == f"reservation_id: {made.reservation_id} is expired; reserve again"
    other = committed(hall, "other")
    hall.reservations.release(pb.ReleaseRequest(reservation_id=other.reservation_id))
    request = pb.CommitRequest(reservation_id=other.reservation_id, workload_id=WORKLOAD)
    assert "released" in refusal(Code.FAILED_PRECONDITION, hall.reservations.commit, request)
    request = pb.CommitRequest(reservation_id="x" * 99, workload_id=WORKLOAD)
    words = refusal(Code.NOT_FOUND, hall.reservations.commit, request)
    assert words == f"reservation_id: no reservation '{'x' * 40}'"


def test_release_frees_and_may_be_said_twice(hall: Hall) -> None:
    made = committed(hall)
    request = pb.ReleaseRequest(reservation_id=made.reservation_id)
    released = hall.reservations.release(request).reservation
    assert released.state == pb.RESERVATION_STATE_RELEASED
    assert hall.reservations.release(request).reservation == released
    assert not hall.outlooks.latest().reserved_mw.any()
    unknown = pb.ReleaseRequest(reservation_id="1")
    assert refusal(Code.NOT_FOUND, hall.reservations.release, unknown).startswith("reservation_id")


def states(hall: Hall, state: int = 0, node_id: str = "") -> list[str]:
    request = pb.ListReservationsRequest(
        node_id=node_id, state=pb.ReservationState.ValueType(state)
    )
    found = hall.reservations.list_reservations(request).reservations
    return [reservation.idempotency_key for reservation in found]


def test_a_node_that_there_never_was_is_no_empty_list(hall: Hall) -> None:
    assert states(hall, node_id="h0") == []
    request = pb.ListReservationsRequest(node_id="h00")
    words = refusal(Code.NOT_FOUND, hall.reservations.list_reservations, request)
    assert words.startswith("node_id: no power node 'h00'; did you mean 'h0'?")


def test_every_answer_says_how_far_to_trust_it(hall: Hall) -> None:
    made = hall.reservations.reserve(a_request())
    told = [made.provenance]
    of = made.reservation.reservation_id
    bound = pb.CommitRequest(reservation_id=of, workload_id="0" * 32)
    told.append(hall.reservations.commit(bound).provenance)
    told.append(hall.reservations.release(pb.ReleaseRequest(reservation_id=of)).provenance)
    assert {p.predictor for p in told} == {made.provenance.predictor}
    assert made.provenance.predictor != pb.PREDICTOR_UNSPECIFIED
    listed = hall.reservations.list_reservations(pb.ListReservationsRequest())
    assert [*told, listed.provenance][-1].as_of_unix_ns == hall.clock.unix_ns()
    assert all(p.HasField("calibration") for p in told)


def test_lists_by_state_and_node(hall: Hall) -> None:
    hall.reservations.reserve(a_request("held", watts=1))
    gone = hall.reservations.reserve(a_request("released", "h1", 1)).reservation
    hall.clock.sleep_until(1)
    committed(hall, "committed")
    hall.reservations.release(pb.ReleaseRequest(reservation_id=gone.reservation_id))
    assert states(hall) == ["held", "committed"]
    assert states(hall, node_id="h1") == []
    assert states(hall, pb.RESERVATION_STATE_COMMITTED) == ["committed"]
    assert states(hall, pb.RESERVATION_STATE_RELEASED, "h1") == ["released"]
    assert states(hall, pb.RESERVATION_STATE_ABSORBED) == []
    assert refusal(Code.INVALID_ARGUMENT, states, hall, 9).startswith("state: 9")


def test_a_list_that_is_too_long_is_refused(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chipwatt.collector.placement.reservation_answers.MAX_LISTED", 1)
    hall.reservations.reserve(a_request("1", watts=1))
    assert len(states(hall)) == 1 < MAX_LISTED
    hall.reservations.reserve(a_request("2", "h1", watts=1))
    assert refusal(Code.RESOURCE_EXHAUSTED, states, hall).startswith("node_id: more than 1 ")
    assert states(hall, node_id="h1") == ["2"]


def state_of(hall: Hall, of: pb.Reservation) -> int:
    found = hall.book.by_id(of.reservation_id)
    assert found is not None
    return int(found.state)


def test_a_node_that_is_gone_counts_above_until_it_is_released(hall: Hall) -> None:
    made = committed(hall)
    hall.path.write_text(topology_text(hosts=[1, 2, 3]))
    hall.run(ABSORB_S + 5, 100, 100, 100, 100)
    topology, outlook = hall.outlooks.latest().topology, hall.outlooks.latest()
    assert "h0" not in topology.index
    assert state_of(hall, made) == pb.RESERVATION_STATE_COMMITTED
    assert outlook.reserved_mw[topology.index["r0"]] == 100 * W
    assert outlook.reserved_mw[topology.index["a"]] == 60 * W
    hall.reservations.release(pb.ReleaseRequest(reservation_id=made.reservation_id))
    assert not hall.outlooks.latest().reserved_mw.any()
    # Asked again, it has its answer, although the node cannot be found any longer.
    again = hall.reservations.reserve(a_request()).reservation
    assert again.state == pb.RESERVATION_STATE_RELEASED
    assert again.node_gone
    assert not made.node_gone
