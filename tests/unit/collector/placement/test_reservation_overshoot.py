"""However many ask at once and whatever comes between, no budget is promised twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.answering import Refused
from chipwatt.v1 import placement_pb2 as pb
from unit.collector.placement.hall import Hall, a_request

WORKLOAD = "ab" * 16
Code = grpc.StatusCode


def overshoot_mw(hall: Hall) -> float:
    """Return by how much power promised passes what is allowed, at the worst node."""
    outlook = hall.outlooks.latest()
    reserved = hall.book.reserved_mw(outlook.topology)
    return float((outlook.peak_mw(600, 0.99) + reserved - outlook.allowed_mw).max())


def test_two_hundred_at_once_never_overshoot(hall: Hall) -> None:
    ready = threading.Barrier(8)
    worst: list[float] = []
    codes: set[Code] = set()

    def place(worker: int) -> int:
        ready.wait(10)
        made = 0
        for number in range(25):
            host = f"h{(worker + number) % 4}"
            try:
                hall.reservations.reserve(a_request(f"{worker}-{number}", host, 11))
                made += 1
            except Refused as refused:
                codes.add(refused.code)
            worst.append(overshoot_mw(hall))
        return made

    with ThreadPoolExecutor(8) as pool:
        made = sum(pool.map(place, range(8)))
    assert max(worst) <= 0
    assert codes == {Code.RESOURCE_EXHAUSTED}
    assert made == len(hall.book.live()) > 0
    # As many as fit, and not one fewer: every rack is full.
    for host in ("h0", "h2"):
        with pytest.raises(Refused, match="mW"):
            hall.reservations.reserve(a_request("last", host, 11))


ACTIONS = st.one_of(
    st.tuples(
        st.just("reserve"),
        st.integers(0, 30),
        st.sampled_from(["h0", "h1", "h2", "h3", "r0", "r1", "a", "b", "site"]),
        st.integers(1, 700),
        st.integers(1, 90),
    ),
    st.tuples(st.sampled_from(["commit", "release"]), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("restart")),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(ACTIONS, max_size=20))
def test_nothing_that_is_done_overshoots(actions: list[tuple[object, ...]]) -> None:
    with TemporaryDirectory() as folder, Hall(Path(folder)) as hall:
        hall.history(100, 50, 200, None)
        made: dict[object, str] = {}
        for what, *args in actions:
            try:
                if what == "reserve":
                    number, node_id, watts, ttl_s = args
                    request = a_request(f"k{number}", str(node_id), int(str(watts)))
                    request.ttl_s = int(str(ttl_s))
                    made[number] = hall.reservations.reserve(request).reservation.reservation_id
                elif what == "commit" and args[0] in made:
                    hall.reservations.commit(
                        pb.CommitRequest(reservation_id=made[args[0]], workload_id=WORKLOAD)
                    )
                elif what == "release" and args[0] in made:
                    hall.reservations.release(pb.ReleaseRequest(reservation_id=made[args[0]]))
                elif what == "wait":
                    hall.skip(int(str(args[0])), 100, 50, 200, None)
                elif what == "restart":
                    hall.restart()
            except Refused:
                pass
            assert overshoot_mw(hall) <= 0 or not hall.book.live()
